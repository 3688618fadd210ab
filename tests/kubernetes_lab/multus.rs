//! Pods of the example `layer2` that Multus attaches to the segment: Multus reads Pod and `NetworkAttachmentDefinition` from the API
//! server and calls Debian's plugins. No kubelet runs, so the test calls Multus, in the place of a container runtime; the containers of
//! the Pods do not run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use perouter_lab::kubernetes::Assets;
use serde_json::{Value, json};

use super::cluster_fixture::{ClusterFixture, NAMESPACE, path, step};
use super::kubectl::nothing_is_planned;
use crate::lab::fixture::{NODES, until, until_true};
use crate::lab::sandbox::{PLUGINS, Plugin, Sandbox, has_plugins, is_advertised, ports};

/// The Pods of the example, by node.
const PODS: [&str; 2] = ["first", "second"];
const ADDRESSES: [&str; 2] = ["192.170.1.3", "192.170.1.4"];
/// Where Multus publishes what it attached.
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// Multus; `None` if it or a plugin is missing.
pub fn programs() -> Option<Assets> {
    if !has_plugins(&["bridge", "static", "ptp", "host-local"]) {
        return None;
    }
    match Assets::multus(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        Ok(assets) => Some(assets),
        Err(reason) => {
            eprintln!("left out: {reason}");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
            None
        }
    }
}

pub fn pods_are_attached(lab: &mut ClusterFixture, multus: &Assets) {
    let before = lab.established(None);
    let configs = install(lab, multus);
    let (program, search) = (multus.program("multus"), format!("{}:{PLUGINS}", multus.folder().display()));
    let plugins = configs.each_ref().map(|config| Plugin { program: &program, search: &search, config });
    let applied = lab.kubectl(&["apply", "-f", &path("examples/layer2")]);
    assert_eq!(applied.lines().filter(|line| line.ends_with(" created")).count(), 4, "{applied}");
    lab.fixture.routers.iter().for_each(|router| router.await_ready(&[100, 110, 200]));

    let arguments =
        PODS.map(|pod| format!("K8S_POD_UID={}", pod_object(lab, pod)["metadata"]["uid"].as_str().unwrap()));
    let sandbox = |pod: usize| Sandbox::new(lab.fixture.node(NODES[pod]), PODS[pod], "eth0", &arguments[pod]);
    let sandboxes = [0, 1].map(sandbox);
    step("CNI ADD", || (0..PODS.len()).for_each(|pod| add(lab, pod, &sandboxes[pod], &plugins[pod])));
    step("traffic", || everything_is_reached(lab, &sandboxes));
    nothing_is_planned(lab);
    step("CNI DEL", || del(lab, &sandboxes, &plugins));

    lab.kubectl(&["delete", "network-attachment-definition", "layer2"]);
    lab.kubectl(&["--namespace", NAMESPACE, "delete", "l2vni", "layer2"]);
    lab.fixture.routers.iter().for_each(|router| router.await_ready(&[100, 200]));
    assert_eq!(lab.established(None), before, "a segment or a Pod on it reset a session");
}

/// Applies the manifest that installs Multus. The Pods of its `DaemonSet` would put the program and its configuration on the nodes;
/// returns the latter, for each node: with a default network as kind has it, and the rights of the manifest.
fn install(lab: &mut ClusterFixture, multus: &Assets) -> [Value; 2] {
    let text = fs::read_to_string(multus.program("multus-daemonset.yml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let objects: Vec<Value> = documents.into_iter().filter(|object| object["kind"] != "DaemonSet").collect();
    assert_eq!(objects.len(), 5, "CRD, account, role, binding, ConfigMap: {objects:?}");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    lab.cluster.kubectl().apply(&list.to_string()).unwrap();
    lab.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=25s"]);
    let account = lab.cluster.control_plane().kubectl_of("kube-system", "multus").unwrap();
    [0, 1].map(|node| {
        let ipam = json!({
            "type": "host-local", "dataDir": "/run/cni-ipam-state", "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": format!("10.244.{node}.0/24")}]],
        });
        json!({
            "cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus", "kubeconfig": account.kubeconfig(),
            "cniDir": "/run/multus",
            "delegates": [{
                "cniVersion": "0.3.1", "name": "default-network", "plugins": [{"type": "ptp", "mtu": 1500, "ipam": ipam}],
            }],
        })
    })
}

fn pod_object(lab: &ClusterFixture, pod: &str) -> Value {
    serde_json::from_str(&lab.kubectl(&["get", "pod", pod, "-o", "json"])).unwrap()
}

/// Attaches a Pod, which has the addresses of both networks and says so.
fn add(lab: &ClusterFixture, pod: usize, sandbox: &Sandbox<'_>, plugin: &Plugin<'_>) {
    let result = sandbox.call(plugin, "ADD");
    // Kubernetes gets the address of the default network alone.
    let cluster_address = format!("10.244.{pod}.2");
    assert_eq!(result["ips"][0]["address"], format!("{cluster_address}/24"), "{result}");
    let object = pod_object(lab, PODS[pod]);
    assert_eq!(object["spec"]["nodeName"], sandbox.node.name().as_str());
    let status: Vec<Value> = serde_json::from_str(object["metadata"]["annotations"][STATUS].as_str().unwrap()).unwrap();
    let shown = |name: &str, interface: &str, address: &str, more: Value| {
        let link = sandbox.link(interface);
        assert_eq!(link["addr_info"][0]["local"], address, "{link}");
        let mut entry =
            json!({"name": name, "interface": interface, "ips": [address], "mac": link["address"], "dns": {}});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (entry, link["mtu"].clone())
    };
    let (default, _) = shown("default-network", "eth0", &cluster_address, json!({"default": true}));
    let (segment, mtu) = shown("default/layer2", "net1", ADDRESSES[pod], json!({}));
    assert_eq!(mtu, 1450);
    assert_eq!(ports(sandbox.node), 2);
    eprintln!("{}: {STATUS}: {}", PODS[pod], json!(status));
    for wanted in [default, segment] {
        let found = status.iter().find(|entry| entry["name"] == wanted["name"]);
        let found = found.unwrap_or_else(|| panic!("{wanted} not in {status:?}"));
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&found[key], value, "{key} of {found}");
        }
    }
}

/// The Pods reach their gateway, each other and a host behind a leaf; the leaf and the other router have their MAC/IP routes.
fn everything_is_reached(lab: &ClusterFixture, sandboxes: &[Sandbox<'_>; 2]) {
    for (sandbox, other) in sandboxes.iter().zip([ADDRESSES[1], ADDRESSES[0]]) {
        for address in ["192.170.1.1", other, "192.168.20.2"] {
            sandbox.await_ping(address);
        }
    }
    let leaf = lab.fixture.node("leafA");
    for (address, sandbox) in ADDRESSES.into_iter().zip(sandboxes) {
        until_true("the MAC/IP route of the Pod on leafA", || is_advertised(leaf, address));
        let link = sandbox.link("net1");
        let mac = link["address"].as_str().unwrap();
        for router in &lab.fixture.routers {
            let origin = if router.node.name() == sandbox.node.name() { "local" } else { "remote" };
            until_true(&format!("{mac} with {address}, {origin}, in perouter macs"), || {
                let macs = router.perouter(&["macs", "110"]).stdout;
                macs.lines().any(|line| [mac, address, origin].iter().all(|part| line.contains(part)))
            });
        }
    }
}

/// Detaches the Pods, the first as a kubelet does, the second after its object is gone.
fn del(lab: &ClusterFixture, sandboxes: &[Sandbox<'_>; 2], plugins: &[Plugin<'_>; 2]) {
    let leaf = lab.fixture.node("leafA");
    let force = |pod: &str| lab.kubectl(&["delete", "pod", pod, "--force", "--grace-period=0"]);
    let detach = |pod: usize| {
        sandboxes[pod].call(&plugins[pod], "DEL");
        assert_eq!(ports(sandboxes[pod].node), 1);
        let links: Vec<Value> = serde_json::from_str(&sandboxes[pod].check(&["ip", "-j", "link"])).unwrap();
        assert_eq!(links.iter().map(|link| &link["ifname"]).collect::<Vec<_>>(), ["lo"]);
    };
    lab.kubectl(&["delete", "pod", PODS[0], "--wait=false"]);
    detach(0);
    let start = Instant::now();
    force(PODS[0]);
    assert!(is_advertised(leaf, ADDRESSES[1]), "the other Pod is not affected");
    sandboxes[1].await_ping("192.170.1.1");
    force(PODS[1]);
    detach(1);
    // The documented limit, and the time between the two.
    until("the withdrawal of both MAC/IP routes on leafA", Duration::from_secs(70), || {
        ADDRESSES.into_iter().all(|address| !is_advertised(leaf, address)).then_some(())
    });
    eprintln!("the routes of both are withdrawn after {:?}", start.elapsed());
}
