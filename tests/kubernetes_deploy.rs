//! `deploy/` on a real API server: taken without a warning, nothing of it dropped, its pods admitted, and its accounts may
//! do what `deploy/base/rbac.yaml` says and nothing more. Left out, with the reason, where the programs are not built; an error
//! where `CI=true`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test file")]

mod kubernetes;
#[path = "kubernetes/rights.rs"]
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use kubernetes::control_plane;
use perouter_lab::kubernetes::{ControlPlane, Kubectl, Options};
use rights::{Right, granted, right};
use serde_json::{Value, json};

const NAMESPACE: &str = "openperouter-system";

#[test]
fn on_a_real_api_server() {
    let Some(plane) = control_plane(Options::on_machine()) else { return };
    let admin = plane.kubectl();
    is_taken(&admin, "deploy");
    for name in ["router", "controller"] {
        its_pod_is_admitted(&admin, name);
        has_what_a_node_daemon_needs(&admin, name);
    }
    a_warning_would_be_seen(&admin);
    accounts_may_do_no_more(&plane);
    refused_verbs_are_refused(&plane);

    admin.apply(&fs::read_to_string("tests/kubernetes/pod-monitor-crd.yaml").unwrap()).unwrap();
    admin.check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
    for overlay in fs::read_dir("deploy/overlays").unwrap() {
        is_taken(&admin, overlay.unwrap().path().to_str().unwrap());
    }
    metrics_are_on_the_address_of_the_node(&admin);
}

fn get(kubectl: &Kubectl, words: &[&str]) -> Value {
    let words: Vec<&str> = ["get", "-o", "json"].iter().chain(words).copied().collect();
    serde_json::from_str(&kubectl.check(&words).unwrap()).unwrap()
}

/// Applied without a warning, and what is stored is what was applied: no field is unknown to the API server.
fn is_taken(admin: &Kubectl, folder: &str) {
    let applied = admin.run(&["apply", "--server-side", "-k", folder]).unwrap();
    assert!(applied.success(), "{folder}: {}", applied.stderr);
    assert_eq!(applied.stderr, "", "{folder}");
    admin.check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
    let differs = admin.run(&["diff", "--server-side", "-k", folder]).unwrap();
    assert_eq!((differs.code, differs.stdout.as_str()), (Some(0), ""), "{folder}: {}", differs.stderr);
}

fn template(admin: &Kubectl, daemon_set: &str) -> Value {
    get(admin, &["-n", NAMESPACE, "daemonset", daemon_set])["spec"]["template"].clone()
}

fn pod(admin: &Kubectl, daemon_set: &str, namespace: &str) -> String {
    let spec = template(admin, daemon_set)["spec"].clone();
    let metadata = json!({ "name": daemon_set, "namespace": namespace });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }).to_string()
}

/// By the Pod Security level of the namespace, and by what the API server asks of a pod.
fn its_pod_is_admitted(admin: &Kubectl, daemon_set: &str) {
    let words = ["create", "--dry-run=server", "-f", "-"];
    let said = admin.run_with_input(&words, &pod(admin, daemon_set, NAMESPACE)).unwrap();
    assert!(said.success() && said.stderr.is_empty(), "{daemon_set}: {}", said.stderr);
}

fn a_warning_would_be_seen(admin: &Kubectl) {
    let strict = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "strict",
        "labels": { "pod-security.kubernetes.io/warn": "restricted", "pod-security.kubernetes.io/enforce": "privileged" } } });
    admin.apply(&strict.to_string()).unwrap();
    admin.check(&["-n", "strict", "create", "serviceaccount", "router"]).unwrap();
    let said =
        admin.run_with_input(&["create", "--dry-run=server", "-f", "-"], &pod(admin, "router", "strict")).unwrap();
    assert!(said.stderr.starts_with("Warning: would violate PodSecurity \"restricted"), "{}", said.stderr);
}

fn has_what_a_node_daemon_needs(admin: &Kubectl, daemon_set: &str) {
    let spec = &template(admin, daemon_set)["spec"];
    let of_controller = daemon_set == "controller";
    assert_eq!(spec["hostNetwork"], true);
    assert_eq!(spec["priorityClassName"], "system-node-critical");
    assert_eq!(spec["serviceAccountName"], daemon_set);
    assert_eq!(spec["automountServiceAccountToken"], of_controller, "only the controller asks the API server");
    assert_eq!(spec["tolerations"], json!([{ "operator": "Exists" }]));
    let [container] = &spec["containers"].as_array().unwrap()[..] else { panic!("{spec}") };
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    let requests = &container["resources"]["requests"];
    assert!(requests["cpu"].is_string() && requests["memory"].is_string(), "{requests}");

    // Privileged for mount propagation; setpriv leaves it these.
    let words: Vec<&str> = container["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let [setpriv, bounding, no_new, program] = words[..] else { panic!("{words:?}") };
    assert_eq!([setpriv, no_new, program], ["setpriv", "--no-new-privs", "perouter"]);
    let left: BTreeSet<&str> = bounding.strip_prefix("--bounding-set=-all,").unwrap().split(',').collect();
    let wanted: &[&str] = if of_controller {
        &["+net_admin", "+sys_admin", "+dac_override"]
    } else {
        &[
            "+net_admin",
            "+net_raw",
            "+net_bind_service",
            "+sys_admin",
            "+setuid",
            "+setgid",
            "+setpcap",
            "+chown",
            "+dac_override",
            "+fowner",
            "+kill",
            "+sys_resource",
        ]
    };
    assert_eq!(left, wanted.iter().copied().collect());

    let port = if of_controller { 9476 } else { 9477 };
    for (probe, path) in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        let http = &container[probe]["httpGet"];
        assert_eq!(http, &json!({ "host": "127.0.0.1", "path": path, "port": port, "scheme": "HTTP" }), "{probe}");
    }
}

/// `auth can-i --list` as rights: everything that an account may do to resources in a namespace.
fn allowed(account: &Kubectl, namespace: &str) -> BTreeSet<Right> {
    let text = account.check(&["auth", "can-i", "--list", "--no-headers", "-n", namespace]).unwrap();
    let mut rights = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with(' ')) {
        let (resource, rest) = line.split_once(' ').unwrap();
        let verbs = rest.rsplit_once('[').unwrap().1.trim_end_matches(']');
        let (name, part) = resource.split_once('/').map_or((resource, ""), |(name, part)| (name, part));
        let (name, group) = name.split_once('.').unwrap_or((name, ""));
        let resource = if part.is_empty() { name.to_owned() } else { format!("{name}/{part}") };
        rights.extend(verbs.split(' ').map(|verb| right(verb, group, &resource, namespace)));
    }
    rights
}

/// What a role without a namespace allows, it allows in every one.
fn granted_in(namespace: &str) -> BTreeSet<Right> {
    let everywhere = |right: Right| right.replace(" in the cluster", &format!(" in {namespace}"));
    granted().into_iter().map(everywhere).filter(|right| right.ends_with(&format!(" in {namespace}"))).collect()
}

fn accounts_may_do_no_more(plane: &ControlPlane) {
    plane.kubectl().check(&["-n", "strict", "create", "serviceaccount", "nobody"]).unwrap();
    let account = |namespace: &str, name: &str| plane.kubectl_of(namespace, name).unwrap();
    let (nobody, router, controller) =
        (account("strict", "nobody"), account(NAMESPACE, "router"), account(NAMESPACE, "controller"));
    for namespace in [NAMESPACE, "default", "kube-system", "strict"] {
        let everybody = allowed(&nobody, namespace);
        assert_eq!(allowed(&router, namespace), everybody, "the router has no role");
        let more: BTreeSet<Right> = allowed(&controller, namespace).difference(&everybody).cloned().collect();
        assert_eq!(more, granted_in(namespace), "{namespace}");
    }
}

fn refused_verbs_are_refused(plane: &ControlPlane) {
    let controller = plane.kubectl_of(NAMESPACE, "controller").unwrap();
    let may = |verb: &str, resource: &str, namespace: &str| {
        let said = controller.run(&["auth", "can-i", verb, resource, "-n", namespace]).unwrap();
        said.stdout.trim() == "yes"
    };
    let refused: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("nodes", &["get", "create", "update", "patch", "delete"][..]),
        ("nodes/status", &["update", "patch"]),
        ("secrets", &["get", "create", "update", "patch", "delete"]),
        ("l3vnis.openpe.openperouter.github.io", &["get", "create", "update", "patch", "delete"]),
        ("underlays.openpe.openperouter.github.io", &["get", "create", "update", "patch", "delete"]),
        ("nodeindexes.openpe.openperouter.github.io", &["get", "watch", "update", "patch", "delete"]),
        ("routernodestatuses.openpe.openperouter.github.io", &["list", "watch", "update", "patch", "delete"]),
        ("events.events.k8s.io", &["get", "list", "watch", "update", "delete"]),
        ("pods", &["list", "create"]),
        ("serviceaccounts/token", &["create"]),
    ]);
    for (resource, verbs) in refused {
        for verb in verbs {
            assert!(!may(verb, resource, NAMESPACE), "{verb} {resource}");
        }
    }
    for namespace in ["default", "kube-system"] {
        assert!(!may("list", "secrets", namespace), "secrets of {namespace}");
        assert!(!may("watch", "l3vnis.openpe.openperouter.github.io", namespace), "l3vnis of {namespace}");
    }
    assert!(may("list", "secrets", NAMESPACE));
}

fn metrics_are_on_the_address_of_the_node(admin: &Kubectl) {
    let container = template(admin, "controller")["spec"]["containers"][0].clone();
    let env = container["env"].as_array().unwrap();
    let at = |name: &str| env.iter().position(|variable| variable["name"] == name).unwrap();
    let (address, node) = (at("PEROUTER_HTTP_ADDRESS"), at("NODE_IP"));
    assert_eq!(env[address]["value"], "$(NODE_IP):9476");
    assert!(node < address, "a variable is known to those after it: {env:?}");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let http = &container[probe]["httpGet"];
        assert!(http["host"].is_null() && http["port"] == 9476, "{probe}: {http}");
    }
    assert_eq!(container["ports"][0]["containerPort"], 9476);
    let monitor = get(admin, &["-n", NAMESPACE, "podmonitor", "perouter"]);
    let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
    assert_eq!(port, &container["ports"][0]["name"]);
    let labels = &template(admin, "controller")["metadata"]["labels"];
    for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&labels[label], value);
    }
}
