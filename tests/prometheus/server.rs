//! A Prometheus in this machine, with the rules of a test. In: rules, and the addresses to scrape. Out: the alerts that fire.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// The directory of the programs, or why there are none.
pub fn found(script: &Path) -> Result<PathBuf, String> {
    let output = Command::new(script).arg("--find").output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
}

/// The directory of the programs. Without them the reason is printed.
pub fn programs() -> Option<PathBuf> {
    match found(&super::super::root().join("hack/prometheus.sh")) {
        Ok(programs) => Some(programs),
        Err(reason) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
            eprintln!("skipped: {reason}");
            None
        }
    }
}

/// Runs promtool in the repository.
pub fn promtool(programs: &Path, arguments: &[&str], input: &str) -> Result<(), String> {
    let mut child = Command::new(programs.join("promtool"))
        .args(arguments)
        .current_dir(super::super::root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(()) } else { Err(text) }
}

/// A Prometheus that scrapes and evaluates every second.
pub struct Prometheus {
    address: SocketAddr,
    dir: tempfile::TempDir,
    child: Child,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts it without anything to scrape.
    pub fn start(programs: &Path, rules: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{
                "job_name": "perouter",
                "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}],
            }],
        });
        fs::write(file("rules.yaml"), rules).unwrap();
        fs::write(file("targets.json"), "[]").unwrap();
        fs::write(file("prometheus.yaml"), config.to_string()).unwrap();
        // Free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(programs.join("prometheus"))
            .arg(format!("--config.file={}", file("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(file("log")).unwrap())
            .spawn()
            .unwrap();
        Self { address, dir, child }
    }

    /// Scrapes these nodes from now on.
    pub fn scrape(&self, nodes: &[(&str, SocketAddr)]) {
        let target =
            |(node, address): &(&str, SocketAddr)| json!({"targets": [address.to_string()], "labels": {"node": node}});
        let targets: Vec<Value> = nodes.iter().map(target).collect();
        // Replaced as a whole: Prometheus may read it at any time.
        let new = self.dir.path().join("targets.new");
        fs::write(&new, Value::from(targets).to_string()).unwrap();
        fs::rename(new, self.dir.path().join("targets.json")).unwrap();
    }

    /// The alerts that fire, each with its node.
    pub fn firing(&self) -> Vec<(String, String)> {
        let answer: Value = serde_json::from_str(&self.get("/api/v1/alerts")).unwrap_or_default();
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
        let fires = alerts.iter().filter(|alert| alert["state"] == "firing");
        fires.map(|alert| (label(alert, "alertname"), label(alert, "node"))).collect()
    }

    /// The answer to a query, as JSON.
    pub fn query(&self, query: &str) -> String {
        let escaped = query.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        self.get(&format!("/api/v1/query?query={escaped}"))
    }

    /// What it logs.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn get(&self, path: &str) -> String {
        get(self.address, path).unwrap_or_default()
    }
}

/// The body of an answer; of HTTP 1.0, so that it is in one piece.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}
