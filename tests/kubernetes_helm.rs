//! The Helm chart with sets of values, against the schema and the admission of a real API server; and that it installs what
//! `deploy/` does. Skipped, with the reason, where helm or the control plane is not built; an error where `CI=true`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test file")]

mod kubernetes;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kubernetes::control_plane;
use perouter_lab::kubernetes::{Assets, Kubectl, Options};
use serde_json::{Value, json};

const CHART: &str = "deploy/helm/perouter";
const NAMESPACE: &str = "openperouter-system";

/// helm with the credentials of an administrator.
struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Helm {
    fn find(kubeconfig: &Path) -> Option<Self> {
        match Assets::helm(Path::new(env!("CARGO_MANIFEST_DIR"))) {
            Ok(assets) => Some(Self { program: assets.program("helm"), kubeconfig: kubeconfig.to_owned() }),
            Err(reason) => {
                eprintln!("skipped: {reason}");
                assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
                None
            }
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(&self.program).args(words).env("KUBECONFIG", &self.kubeconfig).output().unwrap()
    }

    fn check(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "helm {words:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    fn template(&self, more: &[&str]) -> String {
        self.check(&[&["template", "perouter", CHART, "-n", NAMESPACE], more].concat())
    }
}

#[test]
fn on_a_real_api_server() {
    let Some(plane) = control_plane(Options::on_machine()) else { return };
    let admin = plane.kubectl();
    let Some(helm) = Helm::find(admin.kubeconfig()) else { return };
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE,
        "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } });
    admin.apply(&namespace.to_string()).unwrap();
    admin.apply(&fs::read_to_string("tests/kubernetes/foreign-crds.yaml").unwrap()).unwrap();
    admin.check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();

    let mut sets = vec![vec![]];
    for file in fs::read_dir("tests/helm").unwrap() {
        sets.push(vec!["--values".to_owned(), file.unwrap().path().to_str().unwrap().to_owned()]);
    }
    assert!(sets.len() > 4);
    for set in &sets {
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        helm.check(&[&["lint", "--strict", CHART], &set[..]].concat());
        is_accepted(&admin, &helm.template(&set), &set);
    }
    wrong_values_are_rejected(&helm);
    the_default_is_what_deploy_has(&admin, &helm);
    the_removal_is_what_deploy_has(&admin, &helm);
    every_value_has_an_effect(&helm);
    release_follows_the_chart(&admin, &helm);
}

/// Every object is valid, and none has a field that the API server does not know.
fn is_accepted(admin: &Kubectl, documents: &str, set: &[&str]) {
    let args = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
    let output = admin.run_with_input(&args, documents).unwrap();
    assert!(output.success() && output.stderr.is_empty(), "{set:?}: {}", output.stderr);
}

/// Values with a mistake, and the place that the message names.
const WRONG: [(&str, &str); 10] = [
    ("image.digest=1234", "image/digest"),
    ("image.pullPolicy=Sometimes", "image/pullPolicy"),
    ("vrfMode=vlan", "vrfMode"),
    ("router.port=0", "router/port"),
    ("router.logLevel=loud", "router/logLevel"),
    ("controller.nodeselector.a=b", "controller"),
    ("router.livenessProbe.httpGet=x", "router/livenessProbe"),
    ("credentials.apiServer=http://a", "credentials/apiServer"),
    ("imagePullSecrets={a}", "imagePullSecrets/0"),
    ("metrics.podMonitor.enabled=true", "metrics.enabled"),
];

fn wrong_values_are_rejected(helm: &Helm) {
    for (value, place) in WRONG {
        let output = helm.run(&["template", "perouter", CHART, "--set", value]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains(place), "{value}: {message}");
    }
}

/// The objects of documents, by kind and name; the names that the chart prefixes are those of `deploy/`.
fn objects(admin: &Kubectl, documents: &str) -> BTreeMap<(String, String), Value> {
    let list = admin.check_with_input(&["apply", "--dry-run=client", "-o", "json", "-f", "-"], documents).unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    // A single one is not in a list.
    let list = list["items"].as_array().cloned().unwrap_or_else(|| vec![list]);
    list.into_iter().map(|object| ((text(&object["kind"]), text(&object["metadata"]["name"])), object)).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn the_default_is_what_deploy_has(admin: &Kubectl, helm: &Helm) {
    let deploy = objects(admin, &admin.check(&["kustomize", "deploy"]).unwrap());
    let chart = objects(admin, &helm.template(&[]));
    for ((kind, name), of_deploy) in &deploy {
        let in_chart = match (kind.as_str(), name.as_str()) {
            ("Namespace", _) => continue,
            ("ServiceAccount" | "DaemonSet" | "Role" | "RoleBinding", "router" | "controller") => {
                format!("perouter-{name}")
            }
            _ => name.clone(),
        };
        let of_chart = chart.get(&(kind.clone(), in_chart.clone())).unwrap_or_else(|| panic!("no {kind} {in_chart}"));
        assert_eq!(normal(of_chart), normal(of_deploy), "{kind} {name}");
    }
    assert_eq!(chart.len(), deploy.len() - 1, "all but the Namespace");
}

/// In place of the `DaemonSets` of router and controller.
fn the_removal_is_what_deploy_has(admin: &Kubectl, helm: &Helm) {
    let deploy = objects(admin, &admin.check(&["kustomize", "deploy/removal"]).unwrap());
    let chart = objects(admin, &helm.template(&["--set", "cleanup.enabled=true"]));
    let daemon_sets: Vec<_> = chart.keys().filter(|(kind, _)| kind == "DaemonSet").collect();
    assert_eq!(daemon_sets, [&("DaemonSet".to_owned(), "perouter-cleanup".to_owned())]);
    let of_deploy = &deploy[&("DaemonSet".to_owned(), "cleanup".to_owned())];
    assert_eq!(normal(&chart[daemon_sets[0]]), normal(of_deploy));
    assert_eq!(deploy.len(), 1);
}

/// An object without what the chart has of its own: names, labels, image, log level.
fn normal(object: &Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove("metadata");
    let by_name = ["/roleRef/name", "/subjects/0/name", "/spec/template/spec/serviceAccountName"];
    for name in by_name {
        if let Some(name) = object.pointer_mut(name) {
            *name = text(name).trim_start_matches("perouter-").into();
        }
    }
    for path in ["/spec/selector", "/spec/template/metadata"] {
        if let Some(value) = object.pointer_mut(path) {
            *value = Value::Null;
        }
    }
    if let Some(container) = object.pointer_mut("/spec/template/spec/containers/0") {
        assert_eq!(container["image"], "perouter:dev");
        if let Some(variables) = container["env"].as_array_mut() {
            variables.retain(|variable| variable["name"] != "PEROUTER_LOG");
        }
    }
    // The chart knows the account of the controller, `deploy/` its name.
    if let Some(expression) = object.pointer_mut("/spec/matchConditions/0/expression") {
        assert!(text(expression).contains("system:serviceaccount:") && text(expression).contains("controller"));
        *expression = Value::Null;
    }
    object
}

/// Each scalar of the set `everything` that no default has is somewhere in the result.
fn every_value_has_an_effect(helm: &Helm) {
    let result = helm.template(&["--values", "tests/helm/everything.yaml"]);
    let names =
        ["registry.example.com/perouter@sha256:0123", "imagePullSecrets", "pe", "fabric-router", "team: network"];
    let settings =
        ["value: vrf", "value: text", "value: debug", "port: 19477", "port: 19476", "c: d", "e: f", "g: h", "i: j"];
    let pods =
        ["own-router", "own-controller", "OnDelete", "system-cluster-critical", "runtimeClassName: runc", "rack: a"];
    let more = [
        "key: fabric",
        "effect: NoSchedule",
        "memory: 3Gi",
        "--frr-dir=/usr/lib/frr",
        "name: ONE",
        "initialDelaySeconds: 5",
    ];
    let others = [
        "https://api.example.com:6443",
        "[\"passwords\",\"more\"]",
        "interval: 15s",
        "alert: Mine",
        "grafana_folder: network",
    ];
    let last = ["port: 443", "metadata.name: monitoring", "kind: SecurityContextConstraints", "$(NODE_IP):19476"];
    for wanted in [&names[..], &settings, &pods, &more, &others, &last].concat() {
        assert!(result.contains(wanted), "{wanted} is not in {result}");
    }
    assert!(!result.contains("PerouterRoutesFiltered") && result.contains("PerouterFabricDown"), "a disabled alert");
    assert!(!result.contains("openperouter-system:controller"), "the name of an account that the chart does not have");
    let result = helm.template(&["--values", "tests/helm/cleanup.yaml"]);
    let settings =
        ["OnDelete", "system-cluster-critical", "runtimeClassName: runc", "rack: b", "key: fabric", "memory: 40Mi"];
    for wanted in settings.iter().chain(&["a: of-cleanup", "b: of-cleanup", "c: of-cleanup", "d: of-cleanup"]) {
        assert!(result.contains(wanted), "{wanted} is not in {result}");
    }
}

/// A copy of the chart with another category of L3VNIs.
fn older_chart() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let output =
        Command::new("cp").args(["-r", &format!("{CHART}/."), copy.path().to_str().unwrap()]).output().unwrap();
    assert!(output.status.success());
    let crd = copy.path().join("templates/crd-l3vnis.yaml");
    let text = fs::read_to_string(&crd).unwrap();
    let older = text.replacen("    - openpe\n", "    - older\n", 1);
    assert_ne!(older, text);
    fs::write(&crd, older).unwrap();
    copy
}

/// Installed, upgraded with its CRDs, removed without them; the objects stay.
fn release_follows_the_chart(admin: &Kubectl, helm: &Helm) {
    let older = older_chart();
    let notes = helm.check(&["install", "perouter", older.path().to_str().unwrap(), "-n", NAMESPACE]);
    assert!(notes.contains("get routernodestatuses") && !notes.contains("label namespace"), "{notes}");
    let crd = "l3vnis.openpe.openperouter.github.io";
    let categories = || admin.check(&["get", "crd", crd, "-o", "jsonpath={.spec.names.categories}"]).unwrap();
    assert_eq!(categories(), r#"["older"]"#);
    admin.check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
    admin.check(&["apply", "-f", "examples/metallb/openpe.yaml"]).unwrap();
    let stored = || {
        let list = admin.check(&["-n", NAMESPACE, "get", "underlays,l3vnis", "-o", "json"]).unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        let identity = |object: &Value| (text(&object["metadata"]["uid"]), object["spec"].clone());
        list["items"].as_array().unwrap().iter().map(identity).collect::<Vec<_>>()
    };
    let before = stored();
    assert_eq!(before.len(), 3);
    helm.check(&["upgrade", "perouter", CHART, "-n", NAMESPACE, "--reset-then-reuse-values"]);
    assert_eq!(categories(), r#"["openpe"]"#, "an upgrade of the chart upgrades the CRDs");
    assert_eq!(stored(), before);
    helm.check(&["uninstall", "perouter", "-n", NAMESPACE]);
    let left =
        admin.check(&["-n", NAMESPACE, "get", "daemonsets,roles,validatingadmissionpolicies", "-o", "name"]).unwrap();
    assert_eq!(left, "");
    assert_eq!(stored(), before);
}
