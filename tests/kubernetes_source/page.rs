//! `perouter ui --source kubernetes` as an administrator runs it: without the right, with it, while a status changes, without an API server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::environment::{Environment, GROUP, LIMIT, NAMESPACE, node};
use super::proxy::{Link, Proxy};

/// A page that is served, and open.
struct Page {
    child: Child,
    events: TcpStream,
    received: String,
    dir: tempfile::TempDir,
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(kubeconfig: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perouter"));
    command.args(["ui", "--source", "kubernetes", "--address", "127.0.0.1:0", "--kubeconfig"]).arg(kubeconfig);
    command
}

impl Page {
    fn open(kubeconfig: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(dir.path().join("stderr")).unwrap();
        let mut child = command(kubeconfig).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let mut events = TcpStream::connect(&address).unwrap();
        events.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        // Of HTTP 1.0, so that the answer is not in chunks.
        write!(events, "GET /events HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
        Self { child, events, received: String::new(), dir }
    }

    fn terminal(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr")).unwrap()
    }

    /// The next event of this type whose document is as wanted.
    fn await_event(&mut self, event: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let (begin, mut buffer) = (Instant::now(), vec![0; 65536]);
        loop {
            let count = self.events.read(&mut buffer).unwrap_or_default();
            self.received += &String::from_utf8_lossy(&buffer[..count]);
            let data = format!("event: {event}\ndata: ");
            let documents = self.received.split(&data).skip(1).filter_map(|part| part.lines().next());
            let parsed = documents.filter_map(|text| serde_json::from_str::<Value>(text).ok());
            // A report is beside the pause before the next read.
            let mut parsed = parsed.map(|mut document| match document.get_mut("report").map(Value::take) {
                Some(report) => report,
                None => document,
            });
            let found = parsed.find(|document| wanted(document));
            if let Some(found) = found {
                self.received.clear();
                return found;
            }
            assert!(begin.elapsed() < LIMIT, "no {event}: {}\n{}", self.received, self.terminal());
        }
    }
}

fn report(environment: &Environment, name: &str, age: i64, down: &[Value]) {
    let observed = Timestamp::from_second(Timestamp::now().as_second() - age).unwrap().to_string();
    let connected = json!({ "type": "FabricConnected", "status": "True", "reason": "EvpnSession", "message": "",
        "lastTransitionTime": observed });
    // Two nodes with one VTEP would be a finding.
    let index = u32::from(name.as_bytes()[1] - b'0');
    let status = json!({ "index": index, "vtep": format!("100.65.0.{index}"), "vrfMode": "netns", "frrVersion": "10.7.1", "observedTime": observed,
        "conditions": [connected], "sessions": { "up": 1, "total": 1, "summary": "1/1" }, "vnis": { "ready": 0, "total": 0 },
        "sessionsDown": down });
    let patch = json!({ "status": status }).to_string();
    environment.admin.check(&["patch", "rns", name, "--subresource=status", "--type=merge", "-p", &patch]).unwrap();
}

fn named<'a>(page: &'a Value, name: &str) -> &'a Value {
    page["nodes"].as_array().and_then(|nodes| nodes.iter().find(|node| node["node"] == name)).unwrap_or(&Value::Null)
}

/// The kubeconfig of an account without a right of its own, by way of another address of the API server.
fn kubeconfig(environment: &Environment, url: &str, dir: &Path) -> PathBuf {
    environment.admin.check(&["-n", NAMESPACE, "create", "serviceaccount", "viewer"]).unwrap();
    let account = environment.plane.kubectl_of(NAMESPACE, "viewer").unwrap();
    let text = std::fs::read_to_string(account.kubeconfig()).unwrap();
    assert!(text.contains(&environment.plane.url()), "{text}");
    let file = dir.join("kubeconfig");
    std::fs::write(&file, text.replace(&environment.plane.url(), url)).unwrap();
    file
}

pub(crate) async fn the_page_of_all_nodes_is_read_from_the_api_server(environment: &Environment) {
    let proxy = Proxy::start(&environment.plane.url()).await;
    let dir = tempfile::tempdir().unwrap();
    let file = kubeconfig(environment, &proxy.url(), dir.path());
    for name in ["p1", "p2"] {
        let status = json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "RouterNodeStatus", "metadata": { "name": name },
            "spec": {} });
        environment.apply(&[node(name), status]);
        report(environment, name, 5, &[]);
    }

    let missing = command(&dir.path().join("nothing")).output().unwrap();
    let error = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(missing.status.code() == Some(2) && error.contains("read kubeconfig"), "{missing:?}");

    let mut page = Page::open(&file);
    let problem = page.await_event("problem", |_| true)["problem"].as_str().unwrap().to_owned();
    assert!(
        problem.starts_with("a right is missing: bind a ClusterRole that may `list` `routernodestatuses`"),
        "{problem}"
    );
    assert!(problem.contains("forbidden"), "{problem}");
    assert_eq!(page.terminal(), format!("error: {problem}\n"));

    let role = ["create", "clusterrole", "perouter-viewer", "--verb=list"];
    environment
        .admin
        .check(&[&role[..], &["--resource=routernodestatuses.openpe.openperouter.github.io"]].concat())
        .unwrap();
    let account = format!("--serviceaccount={NAMESPACE}:viewer");
    let binding = ["create", "clusterrolebinding", "perouter-viewer", "--clusterrole=perouter-viewer", &account];
    environment.admin.check(&binding).unwrap();
    let shown = page.await_event("report", |_| true);
    assert_eq!(
        (&named(&shown, "p1")["state"], &named(&shown, "p2")["isKnown"]),
        (&json!("ok"), &json!(true)),
        "{shown}"
    );
    assert!(page.terminal().ends_with("the nodes are read again\n"), "{}", page.terminal());

    let down = json!({ "vrf": "red", "peer": "192.169.10.2", "reason": "shut-down", "message": "the peer is shut down: enable it" });
    report(environment, "p1", 5, &[down]);
    report(environment, "p2", 900, &[]);
    let shown = page.await_event("report", |shown| {
        named(shown, "p1")["state"] == "fail" && named(shown, "p2")["state"] == "unknown"
    });
    let kinds: Vec<&str> =
        shown["findings"].as_array().unwrap().iter().filter_map(|finding| finding["kind"].as_str()).collect();
    assert!(kinds.contains(&"shut-down") && kinds.contains(&"controller-stopped"), "{kinds:?}");
    drop(page);

    proxy.set(Link::Cut);
    let mut page = Page::open(&file);
    let problem = page.await_event("problem", |_| true)["problem"].as_str().unwrap().to_owned();
    assert!(problem.starts_with("RouterNodeStatus cannot be read from the API server"), "{problem}");
    drop(page);
    environment.admin.check(&["delete", "rns", "p1", "p2"]).unwrap();
    environment.admin.check(&["delete", "node", "p1", "p2"]).unwrap();
    environment.admin.check(&["delete", "clusterrolebinding", "perouter-viewer"]).unwrap();
}
