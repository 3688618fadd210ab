//! `deploy/` on a real API server: applied without a warning and without dropped fields, its pods are admitted, and its service
//! accounts may do what `deploy/base/rbac.yaml` grants and nothing more. Skipped, with the reason, where the control plane is not
//! built; an error where `CI=true`.

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
    applies_without_warning(&admin, "deploy");
    for name in ["router", "controller"] {
        pod_is_admitted(&admin, name);
        is_a_node_daemon(&admin, name);
        privileged_cannot_be_dropped(&admin, name);
    }
    a_warning_would_be_detected(&admin);
    accounts_have_only_granted_rights(&plane);
    other_verbs_are_forbidden(&plane);

    admin.apply(&fs::read_to_string("tests/kubernetes/foreign-crds.yaml").unwrap()).unwrap();
    admin.check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
    for overlay in fs::read_dir("deploy/overlays").unwrap() {
        applies_without_warning(&admin, overlay.unwrap().path().to_str().unwrap());
    }
    pod_is_admitted(&admin, "credentials");
    applies_without_warning(&admin, "deploy/overlays/pod-monitor");
    metrics_listen_on_the_address_of_the_node(&admin);
}

fn get(kubectl: &Kubectl, args: &[&str]) -> Value {
    let args: Vec<&str> = ["get", "-o", "json"].iter().chain(args).copied().collect();
    serde_json::from_str(&kubectl.check(&args).unwrap()).unwrap()
}

/// Applied without a warning, and stored as applied: the API server knows every field.
fn applies_without_warning(admin: &Kubectl, folder: &str) {
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

/// By the Pod Security level of the namespace, and by the validation of the API server.
fn pod_is_admitted(admin: &Kubectl, daemon_set: &str) {
    let args = ["create", "--dry-run=server", "-f", "-"];
    let output = admin.run_with_input(&args, &pod(admin, daemon_set, NAMESPACE)).unwrap();
    assert!(output.success() && output.stderr.is_empty(), "{daemon_set}: {}", output.stderr);
}

/// The reason for `privileged` in the manifests: the API server ties the propagation of mounts to it.
fn privileged_cannot_be_dropped(admin: &Kubectl, daemon_set: &str) {
    let mut pod: Value = serde_json::from_str(&pod(admin, daemon_set, NAMESPACE)).unwrap();
    let capabilities = json!({"add": ["SYS_ADMIN", "NET_ADMIN"]});
    pod["spec"]["containers"][0]["securityContext"] = json!({ "capabilities": capabilities });
    let output = admin.run_with_input(&["create", "--dry-run=server", "-f", "-"], &pod.to_string()).unwrap();
    let reason = "Bidirectional mount propagation is available only to privileged containers";
    assert!(!output.success() && output.stderr.contains(reason), "{daemon_set}: {}", output.stderr);
}

fn a_warning_would_be_detected(admin: &Kubectl) {
    let strict = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "strict",
        "labels": { "pod-security.kubernetes.io/warn": "restricted", "pod-security.kubernetes.io/enforce": "privileged" } } });
    admin.apply(&strict.to_string()).unwrap();
    admin.check(&["-n", "strict", "create", "serviceaccount", "router"]).unwrap();
    let output =
        admin.run_with_input(&["create", "--dry-run=server", "-f", "-"], &pod(admin, "router", "strict")).unwrap();
    assert!(output.stderr.starts_with("Warning: would violate PodSecurity \"restricted"), "{}", output.stderr);
}

fn is_a_node_daemon(admin: &Kubectl, daemon_set: &str) {
    let spec = &template(admin, daemon_set)["spec"];
    let of_controller = daemon_set == "controller";
    assert_eq!(spec["hostNetwork"], true);
    assert_eq!(spec["priorityClassName"], "system-node-critical");
    assert_eq!(spec["serviceAccountName"], daemon_set);
    assert_eq!(spec["automountServiceAccountToken"], of_controller, "only the controller uses the API server");
    assert_eq!(spec["tolerations"], json!([{ "operator": "Exists" }]));
    let [container] = &spec["containers"].as_array().unwrap()[..] else { panic!("{spec}") };
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    let requests = &container["resources"]["requests"];
    assert!(requests["cpu"].is_string() && requests["memory"].is_string(), "{requests}");

    // Privileged for mount propagation; setpriv reduces it to these capabilities.
    let args: Vec<&str> = container["command"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    let [setpriv, bounding, no_new, program] = args[..] else { panic!("{args:?}") };
    assert_eq!([setpriv, no_new, program], ["setpriv", "--no-new-privs", "perouter"]);
    let remaining: BTreeSet<&str> = bounding.strip_prefix("--bounding-set=-all,").unwrap().split(',').collect();
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
    assert_eq!(remaining, wanted.iter().copied().collect());

    let port = if of_controller { 9476 } else { 9477 };
    for (probe, path) in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        let http = &container[probe]["httpGet"];
        assert_eq!(http, &json!({ "host": "127.0.0.1", "path": path, "port": port, "scheme": "HTTP" }), "{probe}");
    }
}

/// `auth can-i --list` as rights: everything that an account may do with resources in a namespace.
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

/// The granted rights in a namespace: a cluster role grants its rights in every one.
fn granted_in(namespace: &str) -> BTreeSet<Right> {
    let everywhere = |right: Right| right.replace(" in the cluster", &format!(" in {namespace}"));
    granted().into_iter().map(everywhere).filter(|right| right.ends_with(&format!(" in {namespace}"))).collect()
}

fn accounts_have_only_granted_rights(plane: &ControlPlane) {
    plane.kubectl().check(&["-n", "strict", "create", "serviceaccount", "nobody"]).unwrap();
    let account = |namespace: &str, name: &str| plane.kubectl_of(namespace, name).unwrap();
    let (nobody, router, controller) =
        (account("strict", "nobody"), account(NAMESPACE, "router"), account(NAMESPACE, "controller"));
    for namespace in [NAMESPACE, "default", "kube-system", "strict"] {
        let default = allowed(&nobody, namespace);
        assert_eq!(allowed(&router, namespace), default, "the router has no role");
        let more: BTreeSet<Right> = allowed(&controller, namespace).difference(&default).cloned().collect();
        assert_eq!(more, granted_in(namespace), "{namespace}");
    }
}

fn other_verbs_are_forbidden(plane: &ControlPlane) {
    let controller = plane.kubectl_of(NAMESPACE, "controller").unwrap();
    let may = |verb: &str, resource: &str, namespace: &str| {
        let output = controller.run(&["auth", "can-i", verb, resource, "-n", namespace]).unwrap();
        output.stdout.trim() == "yes"
    };
    let forbidden: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("nodes", &["get", "create", "update", "patch", "delete"][..]),
        ("nodes/status", &["update", "patch"]),
        ("secrets", &["get", "create", "update", "patch", "delete"]),
        ("l3vnis.openpe.openperouter.github.io", &["get", "create", "update", "patch", "delete"]),
        ("underlays.openpe.openperouter.github.io", &["get", "create", "update", "patch", "delete"]),
        ("nodeindexes.openpe.openperouter.github.io", &["get", "watch", "update", "patch"]),
        ("routernodestatuses.openpe.openperouter.github.io", &["list", "watch", "update", "patch"]),
        ("events.events.k8s.io", &["get", "list", "watch", "update", "delete"]),
        ("pods", &["list", "create"]),
        ("serviceaccounts/token", &["create"]),
    ]);
    for (resource, verbs) in forbidden {
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

fn metrics_listen_on_the_address_of_the_node(admin: &Kubectl) {
    let container = template(admin, "controller")["spec"]["containers"][0].clone();
    let env = container["env"].as_array().unwrap();
    let at = |name: &str| env.iter().position(|variable| variable["name"] == name).unwrap();
    let (address, node) = (at("PEROUTER_HTTP_ADDRESS"), at("NODE_IP"));
    assert_eq!(env[address]["value"], "$(NODE_IP):9476");
    assert!(node < address, "a variable can be used by those after it: {env:?}");
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
