//! perouter on the host of a node of a cluster, with the manifests of `deploy/overlays/host` on a real API server: files are in force
//! before there are credentials, the `DaemonSet`'s script writes them, the objects of the API server join, a rotated token is
//! used, and a token without any Pod works. Real FRR. Skipped, with the reason, without root or where the control plane is
//! not built; an error where `CI=true`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test file")]

mod kubernetes;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kubernetes::control_plane;
use perouter::runtime::Runtime;
use perouter_lab::kubernetes::{ControlPlane, Kubectl, Options};
use serde_json::{Value, json};
use tempfile::TempDir;

const NAMESPACE: &str = "openperouter-system";
const NODE: &str = "worker-1";
const LABEL: &str = "example.com/index";
/// The client reads its token file again every minute.
const ROTATION: Duration = Duration::from_secs(120);

/// A node: the program on this machine, with paths of its own, and without an Underlay, so that it touches no NIC.
struct Host {
    dir: TempDir,
    runtime: Runtime,
    running: Vec<Child>,
}

impl Host {
    fn new() -> Self {
        let name = format!("perouter-host-{}", std::process::id());
        let runtime = Runtime::new(PathBuf::from("/run").join(&name), PathBuf::from("/run/netns").join(&name));
        let dir = TempDir::new().unwrap();
        for folder in ["config", "credentials", "projected", "state"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Self { dir, runtime, running: vec![] }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn perouter(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perouter"));
        command.arg(subcommand).arg("--run-dir").arg(self.runtime.dir()).arg("--state-dir").arg(self.path("state"));
        command.arg("--netns").arg(self.runtime.router_netns()).stdout(Stdio::null());
        command
    }

    fn run(&mut self) {
        let mut command = self.perouter("run");
        command.args([
            "--vrf-mode",
            "netns",
            "--source",
            "both",
            "--node-name",
            NODE,
            "--node-index-from-label",
            LABEL,
        ]);
        command.args(["--watch-namespace", NAMESPACE, "--node-label", &format!("{LABEL}=7")]);
        command
            .arg("--config-dir")
            .arg(self.path("config"))
            .arg("--kubeconfig")
            .arg(self.path("credentials/kubeconfig"));
        self.running.push(command.spawn().unwrap());
    }

    /// The script of the `DaemonSet`, as the API server has it.
    fn start_credentials(&mut self, admin: &Kubectl, server: &str) {
        let words = ["-n", NAMESPACE, "get", "daemonset", "credentials", "-o", "json"];
        let object: Value = serde_json::from_str(&admin.check(&words).unwrap()).unwrap();
        let container = &object["spec"]["template"]["spec"]["containers"][0];
        let words = |key: &str| container[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
        let words: Vec<String> = words("command").chain(words("args")).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("PATH", "/usr/bin:/bin");
        for variable in container["env"].as_array().unwrap() {
            command.env(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap_or_default());
        }
        let credentials = self.path("credentials");
        command.envs([("FROM", self.path("projected")), ("TO", credentials.clone()), ("ON_HOST", credentials)]);
        command.envs([("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443"), ("PERIOD", "1")]);
        self.running.push(command.env("API_SERVER", server).spawn().unwrap());
    }

    /// What kubelet writes into the projected volume, whole.
    fn project(&self, name: &str, text: &str) {
        let path = self.path("projected").join(name);
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    /// Names of the objects that the status has.
    fn objects(&self) -> Vec<String> {
        let status: Value = fs::read_to_string(self.runtime.status())
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let resources = status["resources"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> = resources.iter().map(|found| found["name"].as_str().unwrap().to_owned()).collect();
        names.dedup();
        names
    }

    fn index(&self) -> Option<u32> {
        fs::read_to_string(self.runtime.node_index()).ok()?.trim().parse().ok()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for child in &mut self.running {
            // By SIGTERM, as kubelet and systemd do.
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::SIGTERM);
            let _ = child.wait();
        }
        assert!(self.perouter("cleanup").status().unwrap().success());
    }
}

fn until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "{what}");
        sleep(Duration::from_millis(100));
    }
    eprintln!("{what}: {:.1} s", start.elapsed().as_secs_f64());
}

fn l3vni(name: &str, vni: u32, spec: &Value) -> String {
    let mut object = json!({ "apiVersion": "openpe.openperouter.github.io/v1alpha1", "kind": "L3VNI",
        "metadata": { "name": name, "namespace": NAMESPACE }, "spec": { "asn": 64514, "vni": vni } });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object.to_string()
}

/// A Pod of the `DaemonSet`; there is no kubelet that runs it.
fn create_pod(admin: &Kubectl, name: &str) {
    let spec = json!({ "serviceAccountName": "controller", "nodeName": NODE, "containers": [{ "name": "a", "image": "perouter" }] });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec });
    admin.apply(&pod.to_string()).unwrap();
}

fn token(admin: &Kubectl, kind: &str, name: &str) -> String {
    let words =
        ["-n", NAMESPACE, "create", "token", "controller", "--bound-object-kind", kind, "--bound-object-name", name];
    admin.check(&words).unwrap().trim().to_owned()
}

#[test]
fn the_objects_of_a_cluster_join_those_of_the_host() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: FRR in namespaces needs root");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test as root");
        return;
    }
    let Some(plane) = control_plane(Options::on_machine()) else { return };
    let admin = plane.kubectl();
    admin.check(&["apply", "--server-side", "-k", "deploy/overlays/host"]).unwrap();
    admin.check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE, "labels": { LABEL: "7" } } });
    admin.apply(&node.to_string()).unwrap();
    admin.apply(&l3vni("cluster", 200, &json!({}))).unwrap();

    let mut host = Host::new();
    fs::write(host.path("config/host.json"), l3vni("host", 100, &json!({}))).unwrap();
    host.run();
    until(Duration::from_secs(20), "files without credentials", || host.objects() == ["host"]);
    assert_eq!(host.index(), Some(7));

    create_pod(&admin, "first");
    host.project("ca.crt", &fs::read_to_string(plane.folder().join("ca.crt")).unwrap());
    let first = token(&admin, "Pod", "first");
    host.project("token", &first);
    host.start_credentials(&admin, &plane.url());
    until(Duration::from_secs(20), "the objects of the cluster join", || host.objects() == ["cluster", "host"]);
    files_are_private(&host);
    let claims = admin.check(&["get", "nodeindexes", "-o", "jsonpath={.items[*].metadata.name}"]).unwrap();
    assert_eq!(claims, "7", "the index of the host is claimed");
    until(Duration::from_secs(20), "the status at the API server", || {
        admin.run(&["get", "routernodestatus", NODE]).is_ok_and(|found| found.success())
    });

    a_rotated_token_is_used(&host, &plane, &first);
    a_token_can_be_bound_to_the_node(&plane, &admin);
}

fn files_are_private(host: &Host) {
    use std::os::unix::fs::PermissionsExt;
    for name in ["kubeconfig", "token", "ca.crt"] {
        let mode = fs::metadata(host.path("credentials").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let mut left: Vec<_> =
        fs::read_dir(host.path("credentials")).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["ca.crt", "kubeconfig", "token"], "temporary files");
}

/// The arguments by which kubectl uses a token.
fn with_token(plane: &ControlPlane, name: &str, token: &str) -> [String; 2] {
    let admin = plane.kubectl();
    let file = plane.folder().join(format!("{name}.token"));
    fs::copy(admin.kubeconfig(), &file).unwrap();
    let words = ["--kubeconfig".to_owned(), file.to_str().unwrap().to_owned()];
    let config = |more: &[&str]| {
        admin.check(&[&["config", &words[0], &words[1]], more].concat()).unwrap();
    };
    config(&["set-credentials", "bound", "--token", token]);
    config(&["set-context", "--current", "--user=bound"]);
    words
}

/// The token of a Pod ends with it.
fn a_rotated_token_is_used(host: &Host, plane: &ControlPlane, first: &str) {
    let admin = &plane.kubectl();
    create_pod(admin, "second");
    admin.check(&["-n", NAMESPACE, "delete", "pod", "first", "--force", "--grace-period=0"]).unwrap();
    host.project("token", &token(admin, "Pod", "second"));
    let is_rotated =
        || fs::read(host.path("credentials/token")).unwrap() == fs::read(host.path("projected/token")).unwrap();
    until(Duration::from_secs(10), "the new token is on the host", is_rotated);
    let [option, file] = with_token(plane, "first", first);
    until(Duration::from_secs(60), "the old token is rejected", || {
        let output = admin.run(&[&option, &file, "auth", "whoami"]).unwrap();
        output.stderr.contains("Unauthorized") || output.stderr.contains("must be logged in")
    });
    // A new watch, of a Secret that no object has named so far.
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "passwords", "namespace": NAMESPACE },
        "stringData": { "red": "s3cret" } });
    admin.apply(&secret.to_string()).unwrap();
    let session = json!({ "hostasn": 64515, "localcidr": { "ipv4": "192.169.10.0/24" },
        "hostSession": { "passwordSecret": { "name": "passwords", "key": "red" } } });
    admin.apply(&l3vni("signed", 300, &session)).unwrap();
    until(ROTATION, "a Secret is read with the new token", || {
        fs::read_to_string(host.path("state/snapshot.json")).is_ok_and(|text| text.contains("s3cret"))
    });
}

/// As docs/systemd.md has it for clusters where no Pod shall run for it.
fn a_token_can_be_bound_to_the_node(plane: &ControlPlane, admin: &Kubectl) {
    let as_node = |name: &str| with_token(plane, name, &token(admin, "Node", name));
    let other = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "worker-2" } });
    admin.apply(&other.to_string()).unwrap();
    let allowed = delete_status(admin, &as_node(NODE));
    let denied = delete_status(admin, &as_node("worker-2"));
    assert!(denied.contains("may write the status of this node only"), "{denied}");
    assert!(allowed.contains("deleted"), "{allowed}");
}

/// Deletes the status of the node, without doing so.
fn delete_status(kubectl: &Kubectl, [option, file]: &[String; 2]) -> String {
    let output =
        kubectl.run(&[option, file, "delete", "routernodestatus", NODE, "--dry-run=server", "--wait=false"]).unwrap();
    output.stdout + &output.stderr
}
