use super::*;
use crate::frr::show::route::FilteredRoute;
use rstest::rstest;

fn session(peer: &str, up: bool) -> TracedSession {
    TracedSession {
        peer: peer.into(),
        hostname: (peer == "192.168.11.2").then(|| "leafkind".into()),
        families: vec![Family::Ipv4],
        remote_as: Some(if peer == "192.168.11.2" { 64512 } else { 64517 }.try_into().unwrap()),
        as_override: false,
        state: if up { SessionPhase::Established } else { SessionPhase::Down("Active".into()) },
        cause: (!up).then(|| "no answer".into()),
    }
}

fn path(origin: Origin, best: bool) -> Path {
    let peer = match origin {
        Origin::Host => "192.169.10.3",
        Origin::Fabric => "192.168.11.2",
        Origin::Router => "",
    };
    let hop = if origin == Origin::Fabric { "100.64.0.1" } else { "192.169.10.3" };
    Path {
        origin,
        peer: peer.into(),
        next_hops: vec![hop.parse().unwrap()],
        as_path: "64515".into(),
        best,
        valid: true,
        communities: vec![],
    }
}

/// A service of the host that is in the fabric.
fn service() -> TraceFacts {
    let state = VniState {
        vrf: "red".into(),
        up: true,
        router_mac: "02:00:00:00:00:01".parse().ok(),
        in_bgp: true,
        ..VniState::default()
    };
    let route = Type5 {
        rd: "10.0.0.2:3".into(),
        route_targets: vec!["64514:100".into()],
        router_mac: Some("02:00:00:00:00:01".into()),
        next_hop: "100.65.0.2".parse().ok(),
        advertised_to: vec!["192.168.11.2".into()],
    };
    TraceFacts {
        vrf: "red".parse().unwrap(),
        vni: 100.try_into().unwrap(),
        state,
        matched: Some(Match {
            prefix: "172.30.0.10/32".parse().unwrap(),
            paths: vec![path(Origin::Host, true), path(Origin::Fabric, false)],
            advertised_to: vec![],
        }),
        kernel: vec!["192.169.10.3 dev pe-100".into()],
        type5: Some(route),
        hosts: vec![session("192.169.10.3", true)],
        fabric: vec![session("192.168.11.2", true)],
        filtered: vec![],
    }
}

/// A host of the fabric.
fn remote() -> TraceFacts {
    let found = Match {
        prefix: "192.168.20.0/24".parse().unwrap(),
        paths: vec![path(Origin::Fabric, true)],
        advertised_to: vec!["192.169.10.3".into()],
    };
    TraceFacts { matched: Some(found), kernel: vec!["100.64.0.1 dev br-pe-100".into()], type5: None, ..service() }
}

fn lines(facts: &TraceFacts) -> Vec<String> {
    let trace = follow("172.30.0.10".parse().unwrap(), facts);
    assert_eq!(trace.is_complete(), trace.prefix.is_some() && trace.steps.iter().all(|step| step.ok));
    // The path ends once.
    assert!(trace.steps.iter().rev().skip(1).all(|step| step.ok || step.at == TracePoint::Kernel), "{:?}", trace.steps);
    trace
        .steps
        .iter()
        .map(|step| format!("{} {}: {}", if step.ok { "ok" } else { "FAIL" }, step.at, step.text))
        .collect()
}

#[test]
fn a_service_is_followed_to_the_fabric() {
    assert_eq!(
        lines(&service()),
        [
            "ok host: 192.169.10.3 advertises 172.30.0.10/32, AS path 64515",
            "ok kernel: 172.30.0.10/32 via 192.169.10.3 dev pe-100",
            "ok Type-5: RD 10.0.0.2:3, RT 64514:100, VNI 100, router MAC 02:00:00:00:00:01, next hop 100.65.0.2",
            "ok fabric: advertised to 192.168.11.2 (leafkind)",
        ]
    );
}

#[test]
fn a_host_of_the_fabric_is_followed_to_the_host() {
    assert_eq!(
        lines(&remote()),
        [
            "ok fabric: 192.168.11.2 has 192.168.20.0/24 behind VTEP 100.64.0.1, AS path 64515",
            "ok kernel: 192.168.20.0/24 via 100.64.0.1 dev br-pe-100",
            "ok host: advertised to 192.169.10.3",
        ]
    );
}

/// A filtered route of 192.169.10.3.
fn filtered(prefix: &str, next_hop: &str) -> Filtered {
    let route = FilteredRoute { prefix: prefix.parse().unwrap(), next_hop: Some(next_hop.parse().unwrap()) };
    Filtered::new(&route, &["192.169.10.3".parse().unwrap()].into())
}

#[test]
fn a_filtered_prefix_longer_than_the_one_in_use_is_shown() {
    let closer = ("192.169.10.3".to_owned(), filtered("192.168.20.0/28", "192.169.10.3"));
    let wider = ("192.169.10.3".to_owned(), filtered("192.168.0.0/16", "192.169.10.3"));
    assert_eq!(lines(&TraceFacts { filtered: vec![wider.clone()], ..remote() }), lines(&remote()));
    let shown = lines(&TraceFacts { filtered: vec![wider, closer], ..remote() });
    let words = "ok host: 192.169.10.3 advertises 192.168.20.0/28, which spec.fromHost filters: see its allowedPrefixes, and \
                 protectedPrefixes of the Underlay";
    assert_eq!((shown.len(), shown[0].as_str()), (4, words));
}

type Change = fn(&mut TraceFacts);

#[rstest]
#[case::nobody_advertises(service(), |facts: &mut TraceFacts| facts.matched = None,
    "FAIL VRF: no route covers 172.30.0.10: neither 192.169.10.3 nor the fabric advertises it")]
#[case::filtered(service(), |facts: &mut TraceFacts| { facts.matched = None; facts.filtered = vec![("192.169.10.3".into(), filtered("172.30.0.0/16", "192.169.10.3"))]; },
    "FAIL host: 192.169.10.3 advertises 172.30.0.0/16, which spec.fromHost filters: see its allowedPrefixes, and protectedPrefixes of the Underlay")]
#[case::third_party(service(), |facts: &mut TraceFacts| { facts.matched = None; facts.filtered = vec![("192.169.10.3".into(), filtered("172.30.0.0/16", "192.169.10.2"))]; },
    "FAIL host: 192.169.10.3 advertises 172.30.0.0/16 with the next hop 192.169.10.2, which is no address of the host, so that it is filtered: set next-hop-self on the host")]
#[case::as_loop(remote(), |facts: &mut TraceFacts| facts.matched.as_mut().unwrap().paths[0].as_path = "64512 64517".into(),
    "FAIL host: advertised to 192.169.10.3, which rejects it as an AS-path loop, as AS 64517 is its own: set spec.toHost.asOverride (eBGP), or allowas-in on the host")]
#[case::as_override(remote(), |facts: &mut TraceFacts| { facts.matched.as_mut().unwrap().paths[0].as_path = "64512 64517".into(); facts.hosts[0].as_override = true; },
    "ok host: advertised to 192.169.10.3")]
#[case::vtep_of_the_other_family(remote(), |facts: &mut TraceFacts| facts.state.vtep = "2001:db8:65::1".parse().ok(),
    "FAIL fabric: VTEP 100.64.0.1 and that of this node for VNI 100, 2001:db8:65::1, have different address families, so that no packet is forwarded between them: set spec.underlayAddressFamily to the family that all VTEPs of the VNI have")]
#[case::vtep_of_our_family(remote(), |facts: &mut TraceFacts| facts.state.vtep = "100.65.0.1".parse().ok(),
    "ok host: advertised to 192.169.10.3")]
#[case::host_is_down(service(), |facts: &mut TraceFacts| { facts.matched = None; facts.hosts = vec![session("192.169.10.3", false)]; },
    "FAIL VRF: no route covers 172.30.0.10: session with 192.169.10.3 is Active: no answer")]
#[case::no_host(service(), |facts: &mut TraceFacts| { facts.matched = None; facts.hosts.clear(); },
    "FAIL VRF: no route covers 172.30.0.10: the VRF has no host session, and no Type-5 route of the fabric matches")]
#[case::unreachable(service(), |facts: &mut TraceFacts| facts.matched.as_mut().unwrap().paths = vec![path(Origin::Host, false)],
    "FAIL VRF: no path for 172.30.0.10/32 can be used: the next hop received from 192.169.10.3 is unreachable")]
#[case::vni_down(service(), |facts: &mut TraceFacts| facts.state.up = false,
    "FAIL Type-5: VNI 100 is not up in FRR: see `perouter status`")]
#[case::community(service(), |facts: &mut TraceFacts| facts.matched.as_mut().unwrap().paths[0].communities = vec!["1:2".into(), "no-export".into()],
    "FAIL Type-5: none: the host advertises 172.30.0.10/32 with the community no-export")]
#[case::kept(service(), |facts: &mut TraceFacts| facts.type5 = None,
    "FAIL Type-5: none for 172.30.0.10/32: spec.toFabric or a summary-only aggregate filters it")]
#[case::fabric_is_down(service(), |facts: &mut TraceFacts| { facts.type5.as_mut().unwrap().advertised_to.clear(); facts.fabric = vec![session("192.168.11.2", false)]; },
    "FAIL fabric: session with 192.168.11.2 is Active: no answer")]
#[case::advertised_to_nobody(service(), |facts: &mut TraceFacts| facts.type5.as_mut().unwrap().advertised_to.clear(),
    "FAIL fabric: advertised to no peer although the sessions are established: check the AS numbers of the peers (a path that contains the AS of a peer is not advertised to it)")]
#[case::not_in_the_kernel(remote(), |facts: &mut TraceFacts| { facts.kernel.clear(); facts.hosts.clear(); },
    "FAIL kernel: 192.168.20.0/24 is not in the kernel's table of VRF red")]
#[case::filtered_to_the_host(remote(), |facts: &mut TraceFacts| facts.matched.as_mut().unwrap().advertised_to.clear(),
    "FAIL host: advertised to no host session: spec.toHost filters it")]
#[case::other_family(remote(), |facts: &mut TraceFacts| { let found = facts.matched.as_mut().unwrap(); found.advertised_to.clear(); found.prefix = "2001:db8::/64".parse().unwrap(); },
    "FAIL host: no host session carries ipv6: spec.localcidr.ipv6 is not set")]
fn the_first_incomplete_step_has_the_remedy(#[case] facts: TraceFacts, #[case] change: Change, #[case] last: &str) {
    let mut facts = facts;
    change(&mut facts);
    let lines = lines(&facts);
    assert_eq!(lines.last().map(String::as_str), Some(last), "{lines:?}");
}
