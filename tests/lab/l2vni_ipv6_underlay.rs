//! Segments over an underlay without IPv4, which need FRR 10.6 or later on routers and leaves.

use perouter_lab::node::Node;

use super::fabric::ping;
use super::fixture::{Fixture, NODES, SETTLE, until, until_true};
use super::ipv6_vtep::{VTEPS, ipv6_only, start};
use super::l2vni::{l2vni, node_nic_mtu, pod, routed, with_l2vni};
use super::pod::{Pod, mtu};

/// The most that a packet of a Pod has: VXLAN over IPv6 adds 70 bytes, and ICMP in IPv4 has 28 bytes besides its data.
const OVERHEAD: u64 = 70;
const ICMP: u64 = 28;

#[test]
fn pods_reach_each_other_over_an_ipv6_only_underlay() {
    let setup = with_l2vni(ipv6_only(), "layer2.yaml", l2vni("layer2", 110, &routed("red", 110)));
    let setup = with_l2vni(setup, "second.yaml", l2vni("second", 120, &routed("red", 120)));
    let setup = with_l2vni(setup, "alone.yaml", l2vni("alone", 130, ""));
    let Some(fixture) = start("l2vni-ipv6", &[0, 1], &setup) else { return };
    for router in &fixture.routers {
        router.await_ready(&[100, 110, 120, 130, 200]);
    }
    let [one, two] = NODES.map(|name| fixture.node(name));
    let (a1, a2, b2) = (pod(one, "a1", 110, 11), pod(two, "a2", 110, 12), pod(two, "b2", 120, 12));
    let alone = |node: &Node, name: &str, address: &str| Pod::attach(node, name, "br-hs-130", &[address], &[]);
    let (d1, d2) = (alone(one, "d1", "10.130.0.11/24"), alone(two, "d2", "10.130.0.12/24"));
    for (from, to) in [
        (&a1, "10.110.0.1"),
        (&a1, "2001:db8:110::1"),
        (&a1, "10.110.0.12"),
        (&a1, "2001:db8:110::12"),
        (&a2, "10.110.0.11"),
        (&a2, "2001:db8:110::11"),
        (&b2, "10.120.0.1"),
        (&a1, "10.120.0.12"),
        (&a1, "2001:db8:120::12"),
        (&b2, "10.110.0.11"),
        (&b2, "2001:db8:110::11"),
        (&d1, "10.130.0.12"),
        (&d2, "10.130.0.11"),
    ] {
        from.await_ping(to);
    }
    // The most that the NICs carry, and no byte more.
    let largest = node_nic_mtu(one) - OVERHEAD;
    assert_eq!(mtu(one, "br-hs-110"), largest);
    for (size, expected) in [(largest - ICMP, 3), (largest - ICMP + 1, 0)] {
        for to in ["10.110.0.12", "10.120.0.12"] {
            assert_eq!(a1.ping_with(&["-M", "do", "-s", &size.to_string()], to), expected, "{size} {to}");
        }
    }
    // A host behind a leaf that has the L3VNI alone.
    let host = fixture.node("hostA_red");
    for (pod, addresses) in [(&a1, ["10.110.0.11", "2001:db8:110::11"]), (&b2, ["10.120.0.12", "2001:db8:120::12"])] {
        pod.await_ping("192.168.20.2");
        pod.await_ping("2001:db8:20::2");
        for address in addresses {
            until(&format!("{address} at hostA_red"), SETTLE, || (ping(host, address) == 3).then_some(()));
        }
    }
    routes_have_the_ipv6_vtep(&fixture);
    for router in &fixture.routers {
        let (output, findings) = router.checked();
        assert_eq!(output.code, Some(0), "{findings:#?}");
        let plan = router.plan();
        assert_eq!((plan.code, plan.stdout.as_str()), (Some(0), "0 kernel operations, 0 FRR lines\n"), "{plan:?}");
    }
}

/// MAC/IP routes with the targets of both VNIs and the router MAC, and multicast routes.
fn routes_have_the_ipv6_vtep(fixture: &Fixture) {
    let leaf = fixture.node("leafA");
    let shown =
        |kind: &str| leaf.check(&["vtysh", "-c", &format!("show bgp l2vpn evpn route detail type {kind}")]).unwrap();
    let hosts = [
        ("10.110.0.11", VTEPS[0], "110/100"),
        ("2001:db8:110::11", VTEPS[0], "110/100"),
        ("10.120.0.12", VTEPS[1], "120/100"),
    ];
    for (address, vtep, vnis) in hosts {
        until_true(&format!("the MAC/IP route of {address} on leafA"), || {
            let detail = shown("macip");
            let route = detail
                .split("BGP routing table entry")
                .find(|route| route.contains(&format!("[{address}]")))
                .unwrap_or("");
            let parts = ["RT:64514:100", "Rmac:02:", vnis, vtep];
            parts.iter().all(|part| route.contains(part))
        });
    }
    until_true("multicast routes of both nodes on leafA", || {
        let detail = shown("multicast");
        VTEPS.iter().all(|vtep| detail.contains(&format!("[128]:[{vtep}]")))
    });
}
