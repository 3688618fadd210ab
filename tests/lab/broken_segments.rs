//! Faults of an L2 segment: what `perouter check`, `trace` and the conditions show of each.

use perouter::diagnose::finding::{Finding, FindingKind};
use perouter_lab::node::Node;
use perouter_lab::workload::WorkloadSpec;

use super::fixture::{Fixture, NODES, SETTLE, Setup, until, until_true};
use super::kernel_state::in_vrf;
use super::l2vni::{l2vni, routed, with_l2vni};
use super::pod::Pod;

/// The problems of a node by kind.
fn problems(fixture: &Fixture, node: usize) -> Vec<FindingKind> {
    let (_, findings) = fixture.routers[node].checked();
    findings.iter().filter(|finding| finding.is_problem()).map(|finding| finding.kind).collect()
}

fn await_found(fixture: &Fixture, kind: FindingKind) -> Finding {
    until(&format!("the finding {kind}"), SETTLE, || {
        let (output, findings) = fixture.routers[0].checked();
        let found = findings.into_iter().find(|finding| finding.kind == kind)?;
        assert_eq!(output.code, Some(1), "{found:?}");
        Some(found)
    })
}

fn await_clean(fixture: &Fixture) {
    until_true("a clean check", || problems(fixture, 0).is_empty());
}

fn set_link(node: &Node, words: &[&str]) {
    node.check(&[&["ip", "link", "set"][..], words].concat()).unwrap();
}

#[test]
fn faults_of_a_segment_are_found_and_named() {
    let external =
        l2vni("layer2", 110, &routed("red", 110)).replace("{lifecycle: Managed}", "{lifecycle: External, name: pods}");
    let setup = with_l2vni(Setup::example(), "layer2.yaml", external);
    let Some(mut fixture) = Fixture::deploy("broken-segments", &[0, 1], &setup) else { return };
    for name in NODES {
        fixture.node(name).check(&["ip", "link", "add", "pods", "type", "bridge"]).unwrap();
        set_link(fixture.node(name), &["pods", "up"]);
    }
    for router in &mut fixture.routers {
        router.check_interval = Some(1);
        router.start();
    }
    fixture.start_hosts();
    fixture.await_services();
    for router in &fixture.routers {
        router.await_ready(&[100, 110, 200]);
    }
    let [one, two] = NODES.map(|name| fixture.node(name).clone());
    let a1 = Pod::attach(&one, "a1", "pods", &["10.110.0.11/24"], &["10.110.0.1"]);
    let a2 = Pod::attach(&two, "a2", "pods", &["10.110.0.12/24"], &["10.110.0.1"]);
    a1.await_ping("10.110.0.12");
    a2.await_ping("10.110.0.1");
    await_clean(&fixture);

    set_link(&one, &["pods", "down"]);
    let found = await_found(&fixture, FindingKind::BridgeDown);
    assert_eq!(found.what, "bridge pods of L2VNI 110 is down: its workloads reach nothing");
    assert_eq!(found.object.map(|object| object.name), Some("layer2".to_owned()));
    until_true("the condition", || fixture.has_condition(("Degraded", "CheckFailed")));
    let trace = fixture.routers[0].perouter(&["trace", "10.110.0.11", "--vrf", "red"]);
    assert!(trace.code == Some(1) && trace.stdout.contains("bridge pods of L2VNI 110 is down"), "{trace:?}");
    set_link(&one, &["pods", "up"]);
    await_clean(&fixture);
    until_true("the condition", || fixture.has_condition(("Degraded", "AsExpected")));

    set_link(&one, &["a1", "mtu", "9600"]);
    let found = await_found(&fixture, FindingKind::PortMtu);
    assert_eq!(found.evidence, "ports of pods: a1 9600");
    set_link(&one, &["a1", "mtu", "1500"]);
    await_clean(&fixture);

    // Its address was withdrawn while the bridge was down.
    a1.await_ping("10.110.0.1");
    traced(&fixture);
    traced_between(&fixture);
    without_route_of_the_host(&fixture);
    links_without_controller(&mut fixture);
    duplicate(&fixture);
}

/// The host has no route to the workloads of its node: it rejects the subnet, or toHost filters it.
fn without_route_of_the_host(fixture: &Fixture) {
    let traced = |words: &str| {
        until(words, SETTLE, || {
            let trace = fixture.routers[0].perouter(&["trace", "10.110.0.11", "--vrf", "red"]);
            (trace.code == Some(0) && trace.stdout.contains(words)).then_some(())
        });
    };
    traced("the node sends packets to 10.110.0.11 over host-100");
    let host = |lines: &[&str]| drop(fixture.hosts[0].vtysh(&[&["configure terminal"], lines].concat()).unwrap());
    host(&[
        "ip prefix-list segment permit 10.110.0.0/24",
        "route-map peerred-in deny 5",
        "match ip address prefix-list segment",
    ]);
    let found = await_found(fixture, FindingKind::NoReturnRoute);
    assert!(found.what.starts_with("replies of the node to 10.110.0.0/24 do not enter VRF red"), "{found:?}");
    traced("WARN  host    the node has no route to 10.110.0.11");
    host(&["no route-map peerred-in deny 5", "no ip prefix-list segment"]);
    await_clean(fixture);

    let filter = "\n  toHost: {allowedPrefixes: [{prefix: 192.168.0.0/16, le: 32}]}";
    fixture.edit("red.yaml", "  hostasn: 64515", &format!("  hostasn: 64515{filter}"));
    traced("WARN  host    the host of this node has no route to 10.110.0.0/24: spec.toHost filters it");
    let found = until("the note", SETTLE, || {
        let (_, findings) = fixture.routers[0].checked();
        findings.into_iter().find(|finding| finding.kind == FindingKind::ObjectLosesRoutes)
    });
    assert!(found.what.starts_with("leaves out 10.110.0.0/24") && !found.is_problem(), "{found:?}");
    fixture.edit("red.yaml", filter, "");
    traced("the node sends packets to 10.110.0.11 over host-100");
    await_clean(fixture);
}

/// Nobody repairs the links of a router without its controller: each is a finding of its own, and the reason of what depends on it.
fn links_without_controller(fixture: &mut Fixture) {
    fixture.routers[0].kill();
    until_true("a check without a controller", || problems(fixture, 0) == [FindingKind::ControllerStopped]);
    let node = fixture.routers[0].node.clone();
    let set = |link: &str, state: &str| {
        let words = ["ip", "link", "set", link, state];
        let words =
            if link.starts_with("host-") { words.map(str::to_owned).into() } else { in_vrf(&node, "red", &words) };
        node.check(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    };
    for (link, address) in [
        ("host-100", "172.30.0.10"),
        ("pe-100", "172.30.0.10"),
        ("br-pe-100", "172.30.0.10"),
        ("vni110", "10.110.0.11"),
        ("br-pe-110", "10.110.0.11"),
        ("pe-110", "10.110.0.11"),
        ("host-110", "10.110.0.11"),
    ] {
        set(link, "down");
        let what = format!("{link} is set down");
        let found = until(&format!("the finding of {link}"), SETTLE, || {
            let (_, findings) = fixture.routers[0].checked();
            let is_link = |finding: &Finding| {
                finding.kind == FindingKind::LinkDown && finding.place.link.as_deref() == Some(link)
            };
            findings.iter().any(is_link).then_some(findings)
        });
        let of_link = found.iter().find(|finding| finding.place.link.as_deref() == Some(link)).unwrap();
        assert!(of_link.what.starts_with(&what) && of_link.remedy.contains("`perouter controller`"), "{of_link:?}");
        assert!(found.iter().all(|finding| finding.kind != FindingKind::VniDown), "{found:#?}");
        until(&format!("the path over {link}"), SETTLE, || {
            let trace = fixture.routers[0].perouter(&["trace", address, "--vrf", "red", "-o", "wide"]);
            (trace.code == Some(1) && trace.stdout.contains(&what)).then_some(())
        });
        if matches!(link, "host-100" | "pe-100") {
            until("the session", SETTLE, || {
                let (_, findings) = fixture.routers[0].checked();
                let mut of_session = findings.iter().filter(|finding| finding.place.peer.is_some());
                of_session
                    .find(|finding| finding.kind == FindingKind::LinkDown && finding.what.contains(&what))
                    .map(drop)
            });
        }
        set(link, "up");
        until_true(&format!("{link} again"), || problems(fixture, 0) == [FindingKind::ControllerStopped]);
    }
    fixture.routers[0].start();
    await_clean(fixture);
}

/// Addresses of the segment that no workload has.
fn traced(fixture: &Fixture) {
    for (address, code, words) in [
        ("10.110.0.1", 0, "10.110.0.1 is the gateway of L2VNI 110"),
        ("10.110.0.99", 0, "no node knows a workload with 10.110.0.99 in L2VNI 110 (10.110.0.0/24)"),
        ("2001:db8:110::1", 0, "2001:db8:110::1 is the gateway of L2VNI 110"),
        ("10.110.0.11", 0, "10.110.0.11, behind this node in L2VNI 110"),
        ("10.110.0.12", 0, "behind VTEP 100.65.0.2"),
        ("fe80::1", 2, "fe80::1 is a link-local address"),
        ("192.169.10.1", 0, "192.169.10.1 is the router's own address on pe-100"),
        ("192.169.10.2", 0, "192.169.10.2/32 is the router's own: the host of this node in its session"),
        ("192.169.10.3", 0, "behind VTEP 100.65.0.2"),
        ("192.169.10.77", 1, "no node advertises a host with 192.169.10.77"),
        ("192.169.10.255", 1, "192.169.10.255 is the broadcast address of 192.169.10.0/24"),
        ("100.65.0.1", 1, "100.65.0.1 is the VTEP of this node"),
        ("100.64.0.1", 1, "100.64.0.1 is in 100.64.0.1/32 of the underlay"),
    ] {
        let trace = fixture.routers[0].perouter(&["trace", address, "--vrf", "red"]);
        let all = format!("{}{}", trace.stdout, trace.stderr);
        assert!(trace.code == Some(code) && all.contains(words), "{address}: {:?} {all}", trace.code);
    }
}

/// The fabric has no part in a path that stays on the node or in the segment.
fn traced_between(fixture: &Fixture) {
    for (to, from, words) in [
        ("10.110.0.11", "192.169.10.2", "to 10.110.0.11, within this node"),
        ("192.169.10.2", "10.110.0.11", "to 192.169.10.2, within this node"),
        ("172.30.0.10", "10.110.0.11", "to 172.30.0.10, within this node"),
        ("10.110.0.12", "10.110.0.11", "to 10.110.0.12, within the segment"),
        ("192.168.20.2", "10.110.0.11", "to 192.168.20.2, from a workload to the fabric"),
        ("172.30.0.10", "192.168.21.2", "172.30.0.10 is in VRF"),
    ] {
        let trace = fixture.routers[0].perouter(&["trace", to, "--from", from]);
        println!("{}", trace.stdout);
        assert!(trace.stdout.contains(words), "{to} from {from}: {trace:?}");
        let is_isolated = words.contains("is in VRF");
        let expected = Some(i32::from(is_isolated));
        assert!(trace.code == expected && trace.stdout.contains("FAIL") == is_isolated, "{to} from {from}: {trace:?}");
    }
}

/// Two Pods on different nodes have one MAC address and one IP address, and send in turn.
fn duplicate(fixture: &Fixture) {
    let [one, two] = NODES.map(|name| fixture.node(name));
    let (mac, addresses) = (Some("0a:58:00:00:00:50"), &["10.110.0.50/24"][..]);
    let spec = |name| WorkloadSpec { name, bridge: "pods", mac, addresses, ..WorkloadSpec::default() };
    let pods = [Pod::of(one, &spec("d1")), Pod::of(two, &spec("d2"))];
    let found = until("the finding duplicate-address", SETTLE, || {
        for pod in &pods {
            pod.ping_with(&["-c", "1", "-W", "1"], "10.110.0.1");
        }
        let (_, findings) = fixture.routers[0].checked();
        findings.into_iter().find(|finding| finding.kind == FindingKind::DuplicateAddress)
    });
    println!("{}: {}; {}", found.place, found.what, found.remedy);
    assert_eq!(found.what, "workloads of L2VNI 110 behind several VTEPs have the same 1 MAC address");
    assert_eq!(found.evidence, "five moves within 180 s: 0a:58:00:00:00:50");
    let [_, second] = pods;
    second.remove();
    let forget = "clear evpn dup-addr vni 110";
    fixture.routers[0].node.check(&["vtysh", "--vty_socket", "/run/perouter/frr", "-c", forget]).unwrap();
    await_clean(fixture);
}
