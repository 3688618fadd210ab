//! Managed bridges of the host with ports of others, on the real kernel: what is observed of them, when a pass is due, and which links
//! become ports again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use perouter::kernel::model::{HostPort, HostPorts, KernelState, LinkKey, Netns};
use perouter::kernel::{Kernel, NetlinkKernel, diff};
use perouter::names::Role;

use crate::generated::{Segment, World};
use crate::node::{Node, converge, reconcile, runtime};
use crate::{link_key, three_vnis};

/// For what takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);

fn bridge() -> LinkKey {
    link_key(Netns::Host, Role::HostBridge, 150)
}

fn segment() -> KernelState {
    let segment = Segment { port: 4789, mtu: 1450, within: Some(0), gateways: true, bridge: true };
    World { segments: [(0, segment)].into(), ..three_vnis() }.state()
}

async fn ports(kernel: &NetlinkKernel) -> BTreeSet<HostPort> {
    kernel.observe(&BTreeSet::new()).await.unwrap().host_ports.of(&bridge().name).cloned().unwrap_or_default()
}

fn names(ports: &BTreeSet<HostPort>) -> Vec<&str> {
    ports.iter().map(|port| port.name.as_str()).collect()
}

/// What perouter changed itself has been noticed.
async fn quiet(kernel: &NetlinkKernel) {
    let begin = Instant::now();
    while tokio::time::timeout(Duration::from_millis(900), kernel.changed()).await.is_ok() {
        assert!(begin.elapsed() < LIMIT, "changes without an end");
    }
}

async fn signal(kernel: &NetlinkKernel, what: &str) {
    let changed = tokio::time::timeout(LIMIT, kernel.changed()).await;
    changed.unwrap_or_else(|_| panic!("no signal: {what}"));
}

/// A Pod's link, as CNI makes it.
fn attach(node: &Node, name: &str) {
    node.host(&format!("ip link add {name} type veth peer name {name}-pod; ip link set {name} master br-hs-150 up"));
}

#[test]
fn a_managed_bridge_goes_with_its_last_port_of_others() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &segment()).await;
        assert_eq!(ports(&kernel).await, BTreeSet::new(), "its own port is none of others");
        quiet(&kernel).await;
        for name in ["a1", "a2"] {
            attach(&node, name);
            signal(&kernel, name).await;
        }
        quiet(&kernel).await;
        assert_eq!(names(&ports(&kernel).await), ["a1", "a2"]);
        let without = three_vnis().state();
        reconcile(&kernel, &without).await;
        assert_eq!(reconcile(&kernel, &without).await, [], "no step is repeated");
        let shown = node.host("ip -o link show master br-hs-150");
        assert!(shown.contains("a1@") && shown.contains("a2@") && !shown.contains("host-150"), "{shown}");
        quiet(&kernel).await;
        // The segment comes back and goes.
        let bridge_before = node.host("ip -o link show br-hs-150 | cut -d: -f1");
        reconcile(&kernel, &segment()).await;
        assert_eq!(node.host("ip -o link show br-hs-150 | cut -d: -f1"), bridge_before);
        assert!(node.host("ip -o link show master br-hs-150").contains("host-150"));
        reconcile(&kernel, &without).await;
        quiet(&kernel).await;
        node.host("ip link del a1");
        signal(&kernel, "a port is deleted").await;
        assert_eq!(reconcile(&kernel, &without).await, []);
        quiet(&kernel).await;
        node.host("ip link set a2 nomaster");
        signal(&kernel, "a port leaves").await;
        let steps: Vec<String> = reconcile(&kernel, &without).await.iter().map(ToString::to_string).collect();
        assert_eq!(steps, ["host: link delete br-hs-150"]);
        converge(&kernel, &without).await;
    });
}

#[test]
fn only_the_same_link_without_a_master_becomes_a_port_again() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &segment()).await;
        node.host("ip link add others type bridge");
        for name in ["same", "gone", "elsewhere", "renamed", "replaced"] {
            attach(&node, name);
        }
        let begin = Instant::now();
        let known = loop {
            let known = ports(&kernel).await;
            if known.len() == 5 {
                break known;
            }
            assert!(begin.elapsed() < LIMIT, "{known:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        node.host("ip link del br-hs-150; ip link del gone; ip link set elsewhere master others");
        node.host("ip link set renamed name other; ip link del replaced; ip link add replaced type veth peer name new");
        let mut host_ports = HostPorts::default();
        host_ports.attach(&bridge().name, known.clone());
        let wanted = KernelState { host_ports, ..segment() };
        reconcile(&kernel, &wanted).await;
        let now = ports(&kernel).await;
        assert_eq!(names(&now), ["same"]);
        assert!(now.is_subset(&known));
        assert!(node.host("ip -o link show dev elsewhere").contains("master others"));
        let observed = Arc::unwrap_or_clone(kernel.observe(&BTreeSet::new()).await.unwrap());
        assert_eq!(diff(&wanted, &observed), [], "they are not tried again");
    });
}
