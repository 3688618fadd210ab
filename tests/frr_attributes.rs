//! What a host can do to the fabric by the path attributes of its routes: a speaker of its own as the host and as a leaf, real
//! FRR between them with the configuration that a plan has. `docs/advertisements.md` has the table.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy's exception for tests covers `#[test]` functions alone

#[path = "frr/apply.rs"]
mod apply;
#[allow(dead_code)]
#[path = "frr/provider_edge.rs"]
mod provider_edge;
#[allow(dead_code)]
#[path = "frr/router.rs"]
mod router;
#[path = "frr/speaker.rs"]
mod speaker;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use perouter::frr::release::FRR_10_7;
use provider_edge::{HOST, HOST_V6, LEAF_AS, LIMIT, NODE_AS, ip, start};
use speaker::{
    AS_PATH, Attribute, IPV4_UNICAST, IPV6_UNICAST, L2VPN_EVPN, LOCAL_PREF, NEXT_HOP, OPTIONAL, ORIGIN, RawSpeaker,
    TRANSITIVE, WELL_KNOWN, mp_reach,
};

/// What becomes of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It is in the Type-5 route as the host has set it, but for the bit of RFC 4271 section 4.3 for attributes that a router
    /// does not know.
    Passed,
    /// The Type-5 route does not have it.
    Removed,
    /// There is another value.
    Changed(Vec<u8>),
    /// There is no Type-5 route.
    Filtered,
}

/// An attribute of a host, and what becomes of it with each release.
struct Case {
    name: &'static str,
    attribute: Attribute,
    before_10: Fate,
    since_10: Fate,
    since_10_7: Option<Fate>,
}

fn case(name: &'static str, flags: u8, type_: u8, value: impl Into<Vec<u8>>, fate: Fate) -> Case {
    Case {
        name,
        attribute: Attribute::new(flags, type_, value),
        before_10: fate.clone(),
        since_10: fate,
        since_10_7: None,
    }
}

impl Case {
    /// FRR 8.4 has no way to remove it.
    fn before_10(self, before_10: Fate) -> Self {
        Self { before_10, ..self }
    }

    /// FRR 10.7 treats it otherwise.
    fn since_10_7(self, fate: Fate) -> Self {
        Self { since_10_7: Some(fate), ..self }
    }
}

fn extended(name: &'static str, value: [u8; 8]) -> Case {
    case(name, TRANSITIVE, 16, value, Fate::Removed)
}

fn community(name: &'static str, value: u32, fate: Fate) -> Case {
    case(name, TRANSITIVE, 8, value.to_be_bytes(), fate)
}

/// Of a host in another AS.
fn of_external_host() -> Vec<Case> {
    use Fate::{Filtered, Passed, Removed};
    // The attribute of a route that the router floods over its own tunnel; of no meaning in a Type-5 route.
    let own_tunnel = Fate::Changed(vec![0, 6, 0, 0, 200, 100, 65, 0, 1]);
    let large = [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    vec![
        case("ORIGIN incomplete", WELL_KNOWN, ORIGIN, [2], Passed),
        case("MULTI_EXIT_DISC", OPTIONAL, 4, [0, 0, 0, 7], Passed),
        case("LOCAL_PREF", WELL_KNOWN, LOCAL_PREF, [0, 0, 3, 0], Removed),
        case("ATOMIC_AGGREGATE", WELL_KNOWN, 6, [], Passed),
        case("AGGREGATOR", TRANSITIVE, 7, [0, 0, 0xfc, 3, 9, 9, 9, 9], Passed),
        community("community 65000:1", 0xfde8_0001, Passed),
        community("no-export", 0xffff_ff01, Filtered),
        community("no-advertise", 0xffff_ff02, Filtered),
        community("local-AS", 0xffff_ff03, Filtered),
        community("no-peer", 0xffff_ff04, Passed),
        community("graceful-shutdown", 0xffff_0000, Passed),
        community("accept-own", 0xffff_0001, Passed),
        // RFC 9494 section 4.6: not to a leaf that did not negotiate long-lived graceful restart.
        community("llgr-stale", 0xffff_0006, Passed).since_10_7(Filtered),
        community("no-llgr", 0xffff_0007, Passed),
        community("blackhole", 0xffff_029a, Filtered),
        case("ORIGINATOR_ID", OPTIONAL, 9, [8, 8, 8, 8], Removed),
        case("CLUSTER_LIST", OPTIONAL, 10, [8, 8, 8, 8], Removed),
        extended("route target of another VRF", [0, 2, 0xfc, 2, 0, 0, 0, 200]),
        extended("route target, 4-octet AS", [2, 2, 0, 1, 0, 0, 0, 200]),
        extended("route origin", [0, 3, 0xfc, 2, 0, 0, 0, 200]),
        extended("router MAC (RFC 9135)", [6, 3, 2, 0, 0, 0, 0, 1]),
        extended("ESI label (RFC 7432)", [6, 1, 1, 0, 0, 0, 0, 5]),
        extended("ES-Import (RFC 7432)", [6, 2, 2, 0, 0, 0, 0, 1]),
        extended("MAC mobility (RFC 7432)", [6, 0, 1, 0, 0, 0, 0, 9]),
        extended("default gateway (RFC 7432)", [3, 0x0d, 0, 0, 0, 0, 0, 0]),
        extended("encapsulation (RFC 9012)", [3, 0x0c, 0, 0, 0, 0, 0, 9]),
        extended("colour (RFC 9012)", [3, 0x0b, 0, 0, 0, 0, 0, 9]),
        extended("link bandwidth", [0x40, 4, 0xfc, 3, 0x4b, 0x18, 0x96, 0x80]),
        extended("an unknown one", [0x43, 0x77, 1, 2, 3, 4, 5, 6]),
        case("AS4_PATH", TRANSITIVE, 17, [2, 1, 0, 0, 0, 7], Removed),
        case("AS4_AGGREGATOR", TRANSITIVE, 18, [0, 0, 0, 7, 9, 9, 9, 9], Removed),
        case("PMSI tunnel (RFC 6514)", TRANSITIVE, 22, [0, 6, 0, 0, 200, 9, 9, 9, 9], Removed).before_10(own_tunnel),
        case("tunnel encapsulation (RFC 9012)", TRANSITIVE, 23, [0, 8, 0, 6, 6, 4, 9, 9, 9, 9], Removed),
        case(
            "IPv6 extended community (RFC 5701)",
            TRANSITIVE,
            25,
            [0, 2].into_iter().chain([7; 18]).collect::<Vec<_>>(),
            Removed,
        ),
        case("AIGP (RFC 7311)", OPTIONAL, 26, [1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9], Removed),
        case("BGP-LS (RFC 9552)", OPTIONAL, 29, [0, 1, 0, 0], Removed),
        case("large community", TRANSITIVE, 32, large, Passed),
        case("BGPsec path", OPTIONAL, 33, [0; 4], Removed),
        case("only to customer (RFC 9234)", TRANSITIVE, 35, [0, 0, 0, 9], Removed).before_10(Passed),
        case("prefix-SID (RFC 8669)", TRANSITIVE, 40, [1, 0, 7, 0, 0, 0, 0, 0, 0, 9], Removed),
        case("entropy label (RFC 6790)", TRANSITIVE, 28, [], Removed).before_10(Passed),
        case("unknown, transitive", TRANSITIVE, 99, [1, 2, 3], Removed).before_10(Passed),
        case("unknown, not transitive", OPTIONAL, 98, [1, 2, 3], Removed),
        case("ATTR_SET (RFC 6368)", TRANSITIVE, 128, [0, 0, 0, 9], Removed).before_10(Passed),
        case("reserved 255", TRANSITIVE, 255, [1, 2, 3], Removed).before_10(Passed),
    ]
}

/// Of a host in the AS of the router, with a leaf in it as well.
fn of_internal_host() -> Vec<Case> {
    use Fate::{Passed, Removed};
    vec![
        case("LOCAL_PREF", WELL_KNOWN, LOCAL_PREF, [0, 0, 3, 0], Passed),
        case("ORIGINATOR_ID", OPTIONAL, 9, [8, 8, 8, 8], Removed),
        case("AIGP (RFC 7311)", OPTIONAL, 26, [1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9], Removed),
        extended("route target of another VRF", [0, 2, 0xfc, 2, 0, 0, 0, 200]),
        case("unknown, transitive", TRANSITIVE, 99, [1, 2, 3], Removed).before_10(Passed),
    ]
}

fn base(host_as: u32) -> Vec<Attribute> {
    let path = if host_as == NODE_AS { vec![] } else { [2, 1].into_iter().chain(host_as.to_be_bytes()).collect() };
    let mut attributes = vec![Attribute::new(WELL_KNOWN, ORIGIN, [0]), Attribute::new(WELL_KNOWN, AS_PATH, path)];
    // RFC 4271 section 5.1.5
    attributes.extend((host_as == NODE_AS).then(|| Attribute::new(WELL_KNOWN, LOCAL_PREF, [0, 0, 0, 100])));
    attributes
}

fn next_hop(address: &str) -> Attribute {
    let IpAddr::V4(address) = ip(address) else { panic!("IPv4") };
    Attribute::new(WELL_KNOWN, NEXT_HOP, address.octets())
}

fn await_type5(leaf: &RawSpeaker, prefix: IpNet) -> Vec<Attribute> {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(attributes) = leaf.type5(prefix) {
            return attributes;
        }
        assert!(Instant::now() < end, "no Type-5 route for {prefix}; leaf: {:?}", leaf.end());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `ORIGIN`, `AS_PATH` and `LOCAL_PREF` are in every route.
fn fate(sent: &Attribute, route: Option<&Vec<Attribute>>, without: &[Attribute]) -> Fate {
    let Some(route) = route else { return Fate::Filtered };
    let of_type = |attributes: &[Attribute]| attributes.iter().find(|found| found.type_ == sent.type_).cloned();
    match (of_type(route), of_type(without)) {
        (None, _) => Fate::Removed,
        (Some(found), _) if found.value == sent.value => Fate::Passed,
        (found, without) if found == without => Fate::Removed,
        (Some(found), _) => Fate::Changed(found.value),
    }
}

async fn attributes_are_treated_as_decided(host_as: u32, leaf_as: u32, cases: Vec<Case>) {
    let (mut pe, outside) = start(host_as, leaf_as).await;
    let release = pe.release();
    let is_10 = release.since.0 >= 10;
    let leaf = outside.speaker("192.168.11.2", "192.168.11.3", leaf_as, &[IPV4_UNICAST, L2VPN_EVPN]);
    let mut host = outside.speaker(HOST, "192.169.10.1", host_as, &[IPV4_UNICAST]);
    let prefix = |n: usize| -> IpNet { format!("172.30.0.{n}/32").parse().unwrap() };
    let send = |host: &mut RawSpeaker, n: usize, attribute: Option<&Attribute>| {
        let mut attributes = base(host_as);
        attributes.retain(|other| Some(other.type_) != attribute.map(|attribute| attribute.type_));
        attributes.extend([next_hop(HOST)].into_iter().chain(attribute.cloned()));
        attributes.sort_by_key(|attribute| attribute.type_);
        host.update(&attributes, &[prefix(n)]);
    };
    send(&mut host, 200, None);
    let without = await_type5(&leaf, prefix(200));
    for (n, case) in cases.iter().enumerate() {
        send(&mut host, n, Some(&case.attribute));
    }
    // The last one: all others were processed before.
    send(&mut host, 201, None);
    await_type5(&leaf, prefix(201));
    std::thread::sleep(Duration::from_millis(500));
    let mut wrong = String::new();
    for (n, case) in cases.iter().enumerate() {
        let of_10_7 = case.since_10_7.as_ref().filter(|_| release.name == FRR_10_7.name);
        let expected = of_10_7.unwrap_or(if is_10 { &case.since_10 } else { &case.before_10 });
        let found = fate(&case.attribute, leaf.type5(prefix(n)).as_ref(), &without);
        println!("{:40} {found:?}", case.name);
        if found != *expected {
            writeln!(wrong, "{}: {found:?}, expected {expected:?}", case.name).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!((host.end(), leaf.end()), (None, None), "no session is reset");
}

#[test]
fn attributes_of_an_external_host() {
    if router::can_run() {
        block_on(attributes_are_treated_as_decided(64515, LEAF_AS, of_external_host()));
    }
}

#[test]
fn attributes_of_an_internal_host() {
    if router::can_run() {
        block_on(attributes_are_treated_as_decided(NODE_AS, NODE_AS, of_internal_host()));
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

/// Routes whose next hop is not the host's, in each form in which it can be encoded.
async fn next_hops_are_those_of_the_host() {
    let (pe, outside) = start(64515, LEAF_AS).await;
    let leaf = outside.speaker("192.168.11.2", "192.168.11.3", LEAF_AS, &[IPV4_UNICAST, L2VPN_EVPN]);
    let mut host = outside.speaker(HOST, "192.169.10.1", 64515, &[IPV4_UNICAST, IPV6_UNICAST]);
    let mut host6 = outside.speaker(HOST_V6, "2001:db8:10::1", 64515, &[IPV4_UNICAST, IPV6_UNICAST]);
    let with = |more: &[Attribute]| {
        let mut attributes = base(64515);
        attributes.extend(more.iter().cloned());
        attributes
    };
    let v4 = |n: u8| -> IpNet { format!("172.30.1.{n}/32").parse().unwrap() };
    let net6 = |n: u8| -> IpNet { format!("2001:db8:30::{n}/128").parse().unwrap() };
    let third = [192, 169, 10, 3];
    let own = [192, 169, 10, 2];
    let (own6, third6) = (v6(HOST_V6), v6("2001:db8:10::3"));
    let both = |global: [u8; 16], local: &str| [global, v6(local)].concat();
    // Filtered: another address of the subnet, of another VRF, of the router, of nobody.
    for (n, address) in ["192.169.10.3", "192.169.11.2", "192.169.10.1", "198.51.100.1"].into_iter().enumerate() {
        host.update(&with(&[next_hop(address)]), &[v4(u8::try_from(n).unwrap() + 1)]);
    }
    // In the attribute of RFC 4760: alone, and beside one that would be accepted.
    host.update(&with(&[mp_reach(IPV4_UNICAST, &third, v4(11))]), &[]);
    host.update(&with(&[next_hop(HOST), mp_reach(IPV4_UNICAST, &third, v4(12))]), &[]);
    host.update(&with(&[next_hop("192.169.10.3"), mp_reach(IPV4_UNICAST, &own, v4(13))]), &[]);
    // An IPv6 next hop of an IPv4 route (RFC 8950) without the capability.
    host.update(&with(&[mp_reach(IPV4_UNICAST, &third6, v4(14))]), &[]);
    host.update(&with(&[next_hop(HOST), mp_reach(IPV4_UNICAST, &third6, v4(15))]), &[]);
    host.update(&with(&[next_hop(HOST), mp_reach(IPV4_UNICAST, &both(third6, "fe80::3"), v4(16))]), &[]);
    host.update(&with(&[next_hop(HOST)]), &[v4(100)]);
    host6.update(&with(&[mp_reach(IPV6_UNICAST, &third6, net6(1))]), &[]);
    host6.update(&with(&[mp_reach(IPV6_UNICAST, &v6("2001:db8:11::2"), net6(2))]), &[]);
    host6.update(&with(&[mp_reach(IPV6_UNICAST, &both(third6, "fe80::2"), net6(3))]), &[]);
    host6.update(&with(&[mp_reach(IPV6_UNICAST, &v6("fe80::3"), net6(4))]), &[]);
    host6.update(&with(&[mp_reach(IPV6_UNICAST, &own6, net6(100))]), &[]);
    // The second next hop is not used.
    host6.update(&with(&[mp_reach(IPV6_UNICAST, &both(own6, "fe80::3"), net6(101))]), &[]);
    // The next hop that is used of the two is the host's.
    for there in [v4(12), v4(100), net6(100), net6(101)] {
        await_type5(&leaf, there);
    }
    std::thread::sleep(Duration::from_millis(500));
    let all = (1..=30).filter(|n| *n != 12).flat_map(|n| [v4(n), net6(n)]);
    let leaked: Vec<IpNet> = all.filter(|prefix| leaf.type5(*prefix).is_some()).collect();
    assert_eq!(leaked, Vec::<IpNet>::new());
    let mut routing = pe.routing();
    let rib =
        routing.show(perouter::runtime::Daemon::Zebra, "show ipv6 route vrf red 2001:db8:30::101 json").await.unwrap();
    assert!(rib.contains("2001:db8:10::2") && !rib.contains("fe80::3"), "{rib}");
    let rib = routing.show(perouter::runtime::Daemon::Zebra, "show ip route vrf red 172.30.1.12 json").await.unwrap();
    assert!(rib.contains("192.169.10.2") && !rib.contains("192.169.10.3"), "{rib}");
    assert_eq!((host.end(), host6.end()), (None, None));
}

#[test]
fn a_next_hop_is_an_address_of_the_host() {
    if router::can_run() {
        block_on(next_hops_are_those_of_the_host());
    }
}
