//! etcd, kube-apiserver and kube-controller-manager as processes.
//!
//! In: programs and a placement. Out: a [`ControlPlane`] that kills its own processes, by their ids, when it is dropped. It
//! must not touch any other process, and all its files are in a folder that is removed with it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::assets::Assets;
use super::certificates;
use super::error::{KubernetesError, at};
use super::kubectl::Kubectl;
use super::placement::Placement;
use crate::node::Background;
use crate::wait;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Long, for a machine with two busy cores.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
const PROBE: Duration = Duration::from_millis(200);
/// An API server in shutdown waits up to a minute for its watches, and serves them meanwhile.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Options of a control plane.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it runs.
    pub placement: Placement,
    /// Additional flags of kube-apiserver.
    pub api_server: Vec<String>,
    /// Controllers of kube-controller-manager; without any it is not started.
    pub controllers: Vec<String>,
}

impl Options {
    /// On this machine, without controllers.
    pub fn on_machine() -> Self {
        Self { placement: Placement::Machine, api_server: Vec::new(), controllers: Vec::new() }
    }
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    assets: Assets,
    options: Options,
    files: TempDir,
    api: SocketAddr,
    etcd: [u16; 2],
    running: Vec<RunningProgram>,
}

#[derive(Debug)]
struct RunningProgram {
    program: &'static str,
    process: Background,
}

const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";

impl ControlPlane {
    /// Starts it and waits until the API server is ready.
    pub fn start(assets: Assets, options: Options) -> Result<Self, KubernetesError> {
        let files = tempfile::Builder::new().prefix("perouter-kubernetes-").tempdir().map_err(at("/tmp"))?;
        let (address, ports) = match options.placement {
            Placement::Machine => (LOOPBACK, free_ports()?),
            Placement::Node { address, .. } => (address, [6443, 2379, 2380]),
        };
        let [api, etcd @ ..] = ports;
        let api = SocketAddr::new(address, api);
        let mut plane = Self { assets, options, files, api, etcd, running: Vec::new() };
        plane.write_files()?;
        plane.start_etcd()?;
        plane.start_api_server()?;
        if !plane.options.controllers.is_empty() {
            plane.start_controller_manager()?;
        }
        Ok(plane)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.api)
    }

    /// The address of the API server.
    pub fn address(&self) -> SocketAddr {
        self.api
    }

    /// Its folder: logs, certificates, kubeconfigs.
    pub fn folder(&self) -> &Path {
        self.files.path()
    }

    /// kubectl of the administrator.
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl_with(self.file("admin.kubeconfig"))
    }

    /// kubectl of an existing service account, with its token only. The token names no node.
    pub fn kubectl_of(&self, namespace: &str, account: &str) -> Result<Kubectl, KubernetesError> {
        self.kubectl_with_token(namespace, account, account, &[])
    }

    /// kubectl with the token that an existing Pod has: it is bound to the Pod, and names the node of the Pod.
    pub fn kubectl_of_pod(&self, namespace: &str, account: &str, pod: &str) -> Result<Kubectl, KubernetesError> {
        let bound = ["--bound-object-kind", "Pod", "--bound-object-name", pod];
        self.kubectl_with_token(namespace, account, pod, &bound)
    }

    /// A token as [`ControlPlane::kubectl_of_pod`] has it, valid for this number of seconds.
    pub(super) fn token_of_pod(
        &self,
        namespace: &str,
        account: &str,
        pod: &str,
        seconds: u64,
    ) -> Result<String, KubernetesError> {
        self.token(namespace, account, seconds, &["--bound-object-kind", "Pod", "--bound-object-name", pod])
    }

    fn token(&self, namespace: &str, account: &str, seconds: u64, bound: &[&str]) -> Result<String, KubernetesError> {
        let duration = format!("{seconds}s");
        let words = ["--namespace", namespace, "create", "token", account, "--duration", &duration];
        Ok(self.kubectl().check(&[&words[..], bound].concat())?.trim().to_owned())
    }

    fn kubectl_with_token(
        &self,
        namespace: &str,
        account: &str,
        holder: &str,
        bound: &[&str],
    ) -> Result<Kubectl, KubernetesError> {
        let token = self.token(namespace, account, 24 * 60 * 60, bound)?;
        let file = self.file(&format!("{namespace}.{holder}.kubeconfig"));
        self.write_kubeconfig(&file, &token)?;
        Ok(self.kubectl_with(file))
    }

    /// Stops the API server; etcd keeps its data.
    pub fn stop_api_server(&mut self) -> Result<(), KubernetesError> {
        self.stop(API_SERVER)
    }

    /// Starts the API server, also after [`ControlPlane::stop_api_server`], and waits until it is ready.
    pub fn start_api_server(&mut self) -> Result<(), KubernetesError> {
        let etcd = format!("--etcd-servers=http://{}", SocketAddr::new(LOOPBACK, self.etcd[0]));
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.file(name).display());
        let mut words = vec![
            etcd,
            format!("--bind-address={}", self.api.ip()),
            format!("--advertise-address={}", self.api.ip()),
            format!("--secure-port={}", self.api.port()),
            file("tls-cert-file", "server.crt"),
            file("tls-private-key-file", "server.key"),
            file("token-auth-file", "tokens.csv"),
            file("service-account-key-file", "service-account.key"),
            file("service-account-signing-key-file", "service-account.key"),
        ];
        words.extend(API_SERVER_FLAGS.map(ToOwned::to_owned));
        words.extend(self.options.api_server.iter().cloned());
        self.run(API_SERVER, &words)?;
        self.wait_until_ready()
    }

    fn start_etcd(&mut self) -> Result<(), KubernetesError> {
        let url = |port: u16| format!("http://{}", SocketAddr::new(LOOPBACK, port));
        let [client, peer] = self.etcd.map(url);
        let words = [
            format!("--data-dir={}", self.file("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        self.run("etcd", &words)
    }

    fn start_controller_manager(&mut self) -> Result<(), KubernetesError> {
        let words = [
            format!("--kubeconfig={}", self.file("admin.kubeconfig").display()),
            format!("--controllers={}", self.options.controllers.join(",")),
            format!("--root-ca-file={}", self.file("ca.crt").display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        self.run(CONTROLLER_MANAGER, &words)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn write_files(&self) -> Result<(), KubernetesError> {
        let addresses = if self.api.ip() == LOOPBACK { vec![LOOPBACK] } else { vec![LOOPBACK, self.api.ip()] };
        certificates::create(self.files.path(), &addresses)?;
        let tokens = self.file("tokens.csv");
        fs::write(&tokens, "administrator,admin,admin,system:masters\n").map_err(at(&tokens))?;
        self.write_kubeconfig(&self.file("admin.kubeconfig"), "administrator")
    }

    fn write_kubeconfig(&self, file: &Path, token: &str) -> Result<(), KubernetesError> {
        let authority = self.file("ca.crt");
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": self.url(), "certificate-authority": authority}}],
            "users": [{"name": "lab", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        });
        fs::write(file, config.to_string()).map_err(at(file))
    }

    fn kubectl_with(&self, kubeconfig: PathBuf) -> Kubectl {
        Kubectl { program: self.assets.program("kubectl"), kubeconfig, placement: self.options.placement.clone() }
    }

    fn wait_until_ready(&mut self) -> Result<(), KubernetesError> {
        let kubectl = self.kubectl();
        let mut last = String::new();
        let waited = wait::until("the API server to be ready", READY_TIMEOUT, PROBE, || {
            if let Err(error) = self.all_alive() {
                return Some(Err(error));
            }
            match kubectl.run(&["get", "--raw", "/readyz"]) {
                Ok(output) if output.success() => Some(Ok(())),
                Ok(output) => {
                    last = output.stderr;
                    None
                }
                Err(error) => Some(Err(error)),
            }
        });
        waited.unwrap_or_else(|waited| Err(KubernetesError::NotReady { waited, last }))
    }

    fn all_alive(&mut self) -> Result<(), KubernetesError> {
        for RunningProgram { program, process } in &mut self.running {
            if let Some(status) = process.exit_status().map_err(at(*program))? {
                let log = process.log_tail();
                return Err(KubernetesError::Exited { program, status: status.to_string(), log });
            }
        }
        Ok(())
    }

    fn run(&mut self, program: &'static str, flags: &[String]) -> Result<(), KubernetesError> {
        let path = self.assets.program(program);
        let log = self.file(&format!("{program}.log"));
        let process = match &self.options.placement {
            Placement::Machine => {
                let file = fs::File::options().create(true).append(true).open(&log).map_err(at(&log))?;
                let mut command = Command::new(&path);
                command.args(flags).stdin(Stdio::null()).stdout(file.try_clone().map_err(at(&log))?).stderr(file);
                // Ctrl-C in the terminal must reach only the test, which then stops these in order.
                std::os::unix::process::CommandExt::process_group(&mut command, 0);
                Background::of(command.spawn().map_err(at(&path))?, &log)
            }
            Placement::Node { node, .. } => {
                let program = path.to_string_lossy().into_owned();
                let words: Vec<&str> = std::iter::once(&*program).chain(flags.iter().map(String::as_str)).collect();
                node.spawn(&words, &log)?
            }
        };
        self.running.push(RunningProgram { program, process });
        Ok(())
    }

    fn stop(&mut self, program: &'static str) -> Result<(), KubernetesError> {
        while let Some(index) = self.running.iter().position(|running| running.program == program) {
            self.running.remove(index).process.terminate(STOP_TIMEOUT).map_err(at(program))?;
        }
        Ok(())
    }
}

/// Flags of every API server of a lab.
const API_SERVER_FLAGS: [&str; 6] = [
    "--authorization-mode=RBAC",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--service-cluster-ip-range=10.96.0.0/16",
    "--allow-privileged=true",
    // The Service `kubernetes` is not used in the lab.
    "--endpoint-reconciler-type=none",
    "--profiling=false",
];

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // etcd last: an API server without it does not exit in time. No data is kept, so SIGKILL is enough.
        while let Some(mut running) = self.running.pop() {
            if let Err(error) = running.process.kill() {
                eprintln!("{}: {error}", running.program);
            }
        }
    }
}

fn free_ports<const N: usize>() -> Result<[u16; N], KubernetesError> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((LOOPBACK, 0)).map_err(at("a port of the loopback"))?;
        *port = listener.local_addr().map_err(at("a port of the loopback"))?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
