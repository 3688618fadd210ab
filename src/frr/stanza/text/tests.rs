use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::*;
use crate::frr::model::{
    Bfd, GracefulRestart, HostSession, IpVrf, Neighbor, Peer, PrefixListEntry, RemoteAs, SessionSubnet,
    UnderlayInstance,
};
use crate::frr::release::{FRR_8_4, FRR_10_3, FRR_10_7};
use crate::types::{Asn, Family, Secret, Vni};
use rstest::rstest;

fn neighbor(remote_as: RemoteAs, external: bool) -> Neighbor {
    Neighbor {
        remote_as,
        external,
        port: None,
        timers: None,
        connect: None,
        password: None,
        multihop: None,
        bfd: None,
        passive: false,
        update_source: None,
    }
}

fn asn(raw: u32) -> Asn {
    Asn::try_from(raw).unwrap()
}

fn entry(permit: bool, prefix: &str, le: Option<u8>) -> PrefixListEntry {
    PrefixListEntry { permit, prefix: prefix.parse().unwrap(), ge: None, le }
}

fn host(address: &str, remote: u32) -> HostSession {
    let address: IpAddr = address.parse().unwrap();
    let subnet = IpNet::new(address, if address.is_ipv4() { 24 } else { 64 }).unwrap();
    let router = subnet.hosts().next().unwrap();
    HostSession {
        as_override: false,
        address,
        subnet: SessionSubnet { subnet: subnet.trunc(), router },
        next_hops: [address].into(),
        neighbor: neighbor(RemoteAs::Asn(asn(remote)), remote != 64514),
        inbound: None,
        outbound: None,
        max_prefixes: None,
        local_pref: None,
    }
}

fn vrf(vni: u32, sessions: Vec<(Family, HostSession)>) -> IpVrf {
    IpVrf {
        routes: BTreeMap::new(),
        vni: Vni::try_from(vni).unwrap(),
        asn: asn(64514),
        router_id: "10.0.0.1".parse().unwrap(),
        import: [].into(),
        export: [].into(),
        sessions: sessions.into_iter().map(|(family, session)| (family, Arc::new(session))).collect(),
        graceful_restart: None,
        networks: [].into(),
        aggregates: [].into(),
        communities: [].into(),
    }
}

fn underlay(neighbors: Vec<(Peer, Neighbor)>, networks: &[&str]) -> UnderlayInstance {
    UnderlayInstance {
        asn: asn(64514),
        router_id: "10.0.0.1".parse().unwrap(),
        neighbors: neighbors.into_iter().collect(),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        own_prefixes: [(Family::Ipv4, vec![PrefixListEntry::within_but_hosts("192.168.11.0/24".parse().unwrap())])]
            .into(),
        protected_prefixes: ["100.65.0.0/24", "192.168.11.0/24", "fd00:96::/112"]
            .map(|net| net.parse().unwrap())
            .into(),
        l2vnis: [].into(),
        graceful_restart: None,
    }
}

fn leaf() -> (Peer, Neighbor) {
    (Peer::Address("192.168.11.2".parse().unwrap()), neighbor(RemoteAs::Asn(asn(64512)), true))
}

/// The two VRFs of the demo.
fn demo() -> RouterConfig {
    let mut red = vrf(100, vec![(Family::Ipv4, host("192.169.10.2", 64515))]);
    red.networks = ["192.169.10.2/32".parse().unwrap()].into();
    let blue = vrf(200, vec![(Family::Ipv4, host("192.169.11.2", 64514))]);
    RouterConfig {
        underlay: Some(underlay(vec![leaf()], &["100.65.0.1/32"])),
        vrfs: [("red".parse().unwrap(), red), ("blue".parse().unwrap(), blue)].into(),
    }
}

/// Every field, with values that are not FRR's defaults.
fn everything() -> RouterConfig {
    let bfd = Bfd {
        receive_interval: Some(100),
        transmit_interval: Some(200),
        detect_multiplier: Some(5),
        passive: true,
        minimum_ttl: Some(250),
    };
    let full = Neighbor {
        port: Some(1790),
        timers: Some((3, 9)),
        connect: Some(5),
        password: Some(Secret::new("hunter2".into())),
        multihop: Some(3),
        bfd: Some(bfd),
        passive: true,
        ..neighbor(RemoteAs::External, true)
    };
    let unnumbered = (Peer::Interface("eth1".parse().unwrap()), neighbor(RemoteAs::External, true));
    let v6 = (Peer::Address("2001:db8::2".parse().unwrap()), neighbor(RemoteAs::Internal, false));
    let (address, _) = leaf();
    let loopbacks = Neighbor {
        multihop: Some(4),
        timers: Some((3, 9)),
        update_source: "100.65.0.1".parse().ok(),
        ..neighbor(RemoteAs::External, true)
    };
    let spine = (Peer::Address("100.64.0.254".parse().unwrap()), loopbacks);
    let peers = vec![(address, full.clone()), unnumbered, v6, spine];
    let mut fabric = underlay(peers, &["100.65.0.1/32", "2001:db8:65::1/128"]);
    let restart = GracefulRestart { restart_time: Some(90), stale_path_time: Some(200) };
    fabric.graceful_restart = Some(restart.clone());
    let mut v4 = host("192.169.10.2", 64515);
    v4.neighbor = Neighbor { remote_as: RemoteAs::Asn(asn(64515)), ..full };
    v4.max_prefixes = Some(50);
    v4.local_pref = Some(200);
    v4.next_hops.insert("10.9.9.1".parse().unwrap());
    v4.inbound = Some(vec![entry(true, "172.30.0.0/24", Some(32))]);
    v4.outbound = Some(vec![entry(true, "10.0.0.0/8", Some(32))]);
    let mut red = vrf(100, vec![(Family::Ipv4, v4), (Family::Ipv6, host("2001:db8:10::2", 64514))]);
    red.import = ["64514:1".parse().unwrap(), "64514:100".parse().unwrap()].into();
    red.export = ["10.0.0.1:7".parse().unwrap()].into();
    red.graceful_restart = Some(restart);
    red.networks = ["192.169.10.2/32".parse().unwrap()].into();
    red.aggregates = [("172.30.0.0/24".parse().unwrap(), true), ("fd00:30::/64".parse().unwrap(), false)].into();
    red.communities = ["64514:10", "64514:9", "no-export"].map(|c| c.parse().unwrap()).into();
    RouterConfig { underlay: Some(fabric), vrfs: [("red".parse().unwrap(), red)].into() }
}

/// A VRF that has no host session, over an underlay of plain defaults given explicitly.
fn defaults() -> RouterConfig {
    let (peer, mut leaf) = leaf();
    leaf.port = Some(179);
    leaf.multihop = Some(1);
    leaf.bfd = Some(Bfd { receive_interval: Some(300), detect_multiplier: Some(3), ..Bfd::default() });
    let mut fabric = underlay(vec![(peer, leaf)], &["100.65.0.1/32"]);
    fabric.graceful_restart = Some(GracefulRestart { restart_time: Some(120), stale_path_time: Some(360) });
    RouterConfig { underlay: Some(fabric), vrfs: [("transit".parse().unwrap(), vrf(100, vec![]))].into() }
}

/// `PEROUTER_UPDATE=1 cargo test` rewrites the files.
#[rstest]
#[case("demo", demo())]
#[case("everything", everything())]
#[case("defaults", defaults())]
#[case("nothing", RouterConfig::default())]
fn renders_as(#[case] name: &str, #[case] config: RouterConfig) {
    use std::fmt::Write;
    let mut got = String::new();
    for ((scope, daemon), text) in text(&config, &FRR_8_4).unwrap() {
        writeln!(got, "! ---- {scope}: {daemon}\n{text}").unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-frr").join(format!("{name}.conf"));
    if std::env::var_os("PEROUTER_UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &got).unwrap();
    }
    assert_eq!(got, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
}

#[test]
fn communities_are_printed_as_frr_prints_them() {
    let mut config = demo();
    let red = config.vrfs.get_mut(&"red".parse().unwrap()).unwrap();
    red.communities = ["65535:666", "10:1", "2:1", "no-export", "65535:65281"].map(|c| c.parse().unwrap()).into();
    let text = text(&config, &FRR_8_4).unwrap();
    let text = &text[&(Scope::Vrf("red".parse().unwrap()), Daemon::Bgpd)];
    assert!(text.contains(" set community 2:1 10:1 blackhole no-export additive\n"), "{text}");
}

#[test]
fn an_empty_list_is_rendered_as_one_that_denies() {
    let mut config = demo();
    let red = config.vrfs.get_mut(&"red".parse().unwrap()).unwrap();
    Arc::make_mut(red.sessions.get_mut(&Family::Ipv4).unwrap()).inbound = Some(vec![]);
    config.underlay.as_mut().unwrap().protected_prefixes.clear();
    let text = text(&config, &FRR_8_4).unwrap();
    assert!(text[&(Scope::Vrf("red".parse().unwrap()), Daemon::Bgpd)].contains(" seq 5 deny any\n"));
}

/// Where FRR must not replace the path of an aggregate, its attributes do not follow those of its parts.
#[rstest]
#[case::frr_10_3(FRR_10_3, "  aggregate-address 172.30.0.0/24 summary-only\n")]
#[case::frr_10_7(FRR_10_7, "  aggregate-address 172.30.0.0/24 summary-only origin igp\n")]
fn the_origin_of_an_aggregate_is_constant_where_it_has_to_be(#[case] release: Release, #[case] line: &str) {
    let text = text(&everything(), &release).unwrap();
    let text = &text[&(Scope::Vrf("red".parse().unwrap()), Daemon::Bgpd)];
    assert!(text.contains(line), "{text}");
}

/// A line of a list with lines of all IP-VRFs has the same number whatever other IP-VRFs there are, so that it is added and
/// removed alone.
#[test]
fn another_vrf_adds_its_lines_to_the_shared_lists_and_changes_no_other() {
    let lines = |config: &RouterConfig| -> std::collections::BTreeSet<String> {
        let text = text(config, &FRR_8_4).unwrap();
        let of_underlay = text[&(Scope::Underlay, Daemon::Bgpd)].lines().filter(|line| line.contains(" prefix-list "));
        of_underlay.map(str::to_owned).collect()
    };
    let both = demo();
    let mut red = demo();
    red.vrfs.remove(&"blue".parse::<VrfName>().unwrap());
    // Subnets side by side are one.
    let added: Vec<String> = lines(&both).difference(&lines(&red)).cloned().collect();
    assert_eq!(
        added,
        [
            "ip prefix-list pe-underlay-hosts-v4 seq 3232303874 permit 192.169.11.2/32",
            "ip prefix-list pe-underlay-subnets-v4 seq 3232303872 permit 192.169.10.0/23 le 32",
        ]
    );
    let gone: Vec<String> = lines(&red).difference(&lines(&both)).cloned().collect();
    assert_eq!(gone, ["ip prefix-list pe-underlay-subnets-v4 seq 3232303744 permit 192.169.10.0/24 le 32"]);
}
