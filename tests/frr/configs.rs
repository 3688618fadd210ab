//! Random typed configurations, each one that `plan` could produce.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use perouter::frr::model::{
    Bfd, GracefulRestart, HostSession, IpVrf, L2VniTargets, Neighbor, Peer, PrefixListEntry, RemoteAs, RouterConfig,
    SessionSubnet, UnderlayInstance,
};
use perouter::types::{Asn, Community, Family, RouteTarget, Secret, Vni, VrfName};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;

const OWN_AS: u32 = 64514;

fn asn(raw: u32) -> Asn {
    Asn::try_from(raw).unwrap()
}

fn v4(max_len: u8) -> impl Strategy<Value = IpNet> {
    (any::<u8>(), 8..=max_len)
        .prop_map(|(x, len)| IpNet::V4(Ipv4Net::new(Ipv4Addr::new(172, 30, x, x), len).unwrap().trunc()))
}

fn v6(max_len: u8) -> impl Strategy<Value = IpNet> {
    (any::<u16>(), 16..=max_len).prop_map(|(x, len)| {
        IpNet::V6(Ipv6Net::new(Ipv6Addr::new(0x2001, 0xdb8, x, 0, 0, 0, 0, x), len).unwrap().trunc())
    })
}

fn net(family: Family, max_len: (u8, u8)) -> BoxedStrategy<IpNet> {
    match family {
        Family::Ipv4 => v4(max_len.0).boxed(),
        Family::Ipv6 => v6(max_len.1).boxed(),
    }
}

fn bfd() -> impl Strategy<Value = Bfd> {
    let interval = || of(prop_oneof![Just(300u32), 10..2000u32]);
    (interval(), interval(), of(2..10u8), any::<bool>(), of(prop_oneof![Just(254u8), 1..254u8])).prop_map(
        |(receive_interval, transmit_interval, detect_multiplier, passive, minimum_ttl)| Bfd {
            receive_interval,
            transmit_interval,
            detect_multiplier,
            passive,
            minimum_ttl,
        },
    )
}

fn neighbor(own: u32) -> BoxedStrategy<Neighbor> {
    let remote = prop_oneof![
        Just(RemoteAs::External),
        Just(RemoteAs::Internal),
        Just(RemoteAs::Asn(asn(own))),
        (1..100u32).prop_map(|n| RemoteAs::Asn(asn(65000 + n))),
    ];
    let timers = of(prop_oneof![Just((60, 180)), (1..5u16).prop_map(|n| (n, n * 3)), Just((0, 0))]);
    let words = (of("[a-zA-Z0-9]{1,20}"), of(prop_oneof![Just(1u8), 2..=255u8]), of(bfd()), any::<bool>());
    (remote, of(prop_oneof![Just(179u16), 1000..2000u16]), timers, of(1..200u16), words)
        .prop_map(move |(remote_as, port, timers, connect, (password, multihop, bfd, passive))| Neighbor {
            remote_as,
            external: match remote_as {
                RemoteAs::External => true,
                RemoteAs::Internal => false,
                RemoteAs::Asn(peer) => peer != asn(own),
            },
            port,
            timers,
            connect,
            password: password.map(Secret::new),
            multihop,
            bfd,
            passive,
            update_source: None,
        })
        .boxed()
}

fn restart() -> impl Strategy<Value = GracefulRestart> {
    (of(prop_oneof![Just(120u16), 1..300u16]), of(prop_oneof![Just(360u16), 1..300u16]))
        .prop_map(|(restart_time, stale_path_time)| GracefulRestart { restart_time, stale_path_time })
}

fn entry(family: Family) -> impl Strategy<Value = PrefixListEntry> {
    let most = if family == Family::Ipv4 { 32 } else { 128 };
    (any::<bool>(), net(family, (24, 48)), of(1..8u8), of(0..8u8)).prop_map(move |(permit, prefix, ge, le)| {
        let ge = ge.map(|more| (prefix.prefix_len() + more).min(most));
        let least = ge.unwrap_or(prefix.prefix_len());
        PrefixListEntry { permit, prefix, ge, le: le.map(|more| (least + more).min(most)) }
    })
}

/// The subnet of a host session in the VRF of a VNI: as in a plan, no two VRFs have the same.
fn session_subnet(family: Family, base: u32) -> SessionSubnet {
    let (subnet, router) = match family {
        Family::Ipv4 => (format!("192.169.{}.0/24", base / 10), format!("192.169.{}.1", base / 10)),
        Family::Ipv6 => (format!("2001:db8:{base}::/64"), format!("2001:db8:{base}::1")),
    };
    SessionSubnet { subnet: subnet.parse().unwrap(), router: router.parse().unwrap() }
}

fn host(family: Family, own: u32, base: u32) -> BoxedStrategy<HostSession> {
    let beyond: IpAddr = if family == Family::Ipv4 { "10.9.0.1" } else { "2001:db8:9::1" }.parse().unwrap();
    let address = (2..6u8).prop_map(move |n| match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(192, 169, 10, n)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 10, 0, 0, 0, 0, n.into())),
    });
    let lists = (of(vec(entry(family), 0..4)), of(vec(entry(family), 0..3)));
    (address, neighbor(own), lists, (of(1..50u32), of(1..50u32)), (any::<bool>(), any::<bool>()))
        .prop_map(
            move |(address, neighbor, (inbound, outbound), (max_prefixes, local_pref), (as_override, indirect))| {
                HostSession {
                    // FRR rejects it on iBGP peers.
                    as_override: as_override && neighbor.external,
                    address,
                    neighbor,
                    inbound,
                    subnet: session_subnet(family, base),
                    next_hops: [address].into_iter().chain(indirect.then_some(beyond)).collect(),
                    outbound,
                    max_prefixes,
                    local_pref,
                }
            },
        )
        .boxed()
}

fn target() -> impl Strategy<Value = RouteTarget> {
    prop_oneof![Just("64514:1"), Just("4200000000:7"), Just("10.0.0.1:9"), Just("1:70000")]
        .prop_map(|text| text.parse().unwrap())
}

fn community() -> impl Strategy<Value = Community> {
    prop_oneof![
        Just("no-export"),
        Just("local-AS"),
        Just("65535:666"),
        Just("64514:9"),
        Just("64514:10"),
        Just("2:1"),
        Just("0:5")
    ]
    .prop_map(|text| text.parse().unwrap())
}

fn both(len: (u8, u8)) -> impl Strategy<Value = IpNet> {
    prop_oneof![net(Family::Ipv4, len), net(Family::Ipv6, len)]
}

/// An IP-VRF; VNIs of `base` and above.
pub fn ip_vrf(base: u32) -> BoxedStrategy<IpVrf> {
    let own = prop_oneof![9 => Just(OWN_AS), 1 => Just(65100u32)];
    own.prop_flat_map(move |own| {
        let sessions = (of(host(Family::Ipv4, own, base)), of(host(Family::Ipv6, own, base)));
        let routes = (
            btree_set(both((32, 128)), 0..3),
            btree_map(both((30, 64)), any::<bool>(), 0..3),
            btree_set(community(), 0..4),
            (any::<bool>(), any::<bool>()),
        );
        let targets = (btree_set(target(), 0..3), btree_set(target(), 0..3));
        (prop_oneof![9 => Just(base), 1 => Just(base + 1)], 1..4u8, targets, sessions, of(restart()), routes).prop_map(
            move |(
                vni,
                id,
                (import, export),
                (s4, s6),
                graceful_restart,
                (networks, aggregates, communities, (r4, r6)),
            )| {
                let via =
                    |prefix: &str, host: &str| (prefix.parse::<IpNet>().unwrap(), host.parse::<IpAddr>().unwrap());
                let mut routes = BTreeMap::new();
                routes.extend(r4.then(|| via("10.9.0.1/32", "192.169.10.2")));
                routes.extend(r6.then(|| via("2001:db8:9::1/128", "2001:db8:10::2")));
                let mut sessions = BTreeMap::new();
                sessions.extend(s4.map(|session| (Family::Ipv4, Arc::new(session))));
                sessions.extend(s6.map(|session| (Family::Ipv6, Arc::new(session))));
                IpVrf {
                    vni: Vni::try_from(vni).unwrap(),
                    asn: asn(own),
                    router_id: Ipv4Addr::new(10, 0, 0, id),
                    import,
                    export,
                    sessions,
                    routes,
                    graceful_restart,
                    networks,
                    aggregates,
                    communities,
                }
            },
        )
    })
    .boxed()
}

/// A neighbor, and whether its session starts from a VTEP.
fn fabric_neighbor(own: u32) -> impl Strategy<Value = (Neighbor, bool)> {
    (neighbor(own), weighted(0.3, Just(())).prop_map(|source| source.is_some()))
}

fn with_source((peer, (neighbor, is_from_vtep)): (Peer, (Neighbor, bool))) -> (Peer, Neighbor) {
    let update_source = match &peer {
        Peer::Address(IpAddr::V4(_)) if is_from_vtep => "100.65.0.1".parse().ok(),
        Peer::Address(IpAddr::V6(_)) if is_from_vtep => "2001:db8:65::1".parse().ok(),
        _ => None,
    };
    (peer, Neighbor { update_source, ..neighbor })
}

/// The route targets of an L2VNI: as in a plan, never the derived one alone.
fn l2vni(own: u32, vni: u32) -> impl Strategy<Value = L2VniTargets> {
    let derived: RouteTarget = RouteTarget::derived(asn(own), Vni::try_from(vni).unwrap()).parse().unwrap();
    let target = prop_oneof![1 => Just(derived.clone()), 3 => target()];
    let targets = btree_set(target, 0..3)
        .prop_map(move |set| if set.iter().all(|target| *target == derived) { BTreeSet::new() } else { set });
    (targets.clone(), targets).prop_map(|(import, export)| L2VniTargets { import, export })
}

/// L2VNIs with route targets of their own.
fn l2vnis(own: u32) -> impl Strategy<Value = BTreeMap<Vni, L2VniTargets>> {
    (l2vni(own, 110), l2vni(own, 120)).prop_map(|(first, second)| {
        let both = [(110, first), (120, second)].into_iter();
        let configured = both.filter(|(_, targets)| *targets != L2VniTargets::default());
        configured.map(|(vni, targets)| (Vni::try_from(vni).unwrap(), targets)).collect()
    })
}

fn underlay() -> BoxedStrategy<UnderlayInstance> {
    let peers = vec![
        Peer::Address("192.168.11.2".parse().unwrap()),
        Peer::Address("192.168.12.2".parse().unwrap()),
        Peer::Address("2001:db8:1::2".parse().unwrap()),
        Peer::Interface("eth0".parse().unwrap()),
    ];
    let vteps: BTreeSet<IpNet> =
        ["100.65.0.1/32", "100.65.0.2/32", "2001:db8:65::1/128"].map(|n| n.parse().unwrap()).into();
    let own = prop_oneof![9 => Just(OWN_AS), 1 => Just(64600u32)];
    own.prop_flat_map(move |own| {
        let neighbors = btree_map(prop::sample::select(peers.clone()), fabric_neighbor(own), 0..4)
            .prop_map(|found| found.into_iter().map(with_source).collect());
        let networks = btree_set(prop::sample::select(vteps.iter().copied().collect::<Vec<_>>()), 1..3);
        let protected = btree_set(both((24, 64)), 0..5);
        let own_prefixes = (any::<bool>(), any::<bool>()).prop_map(|(v4, v6)| {
            v4.then_some("192.168.11.0/24").into_iter().chain(v6.then_some("2001:db8:1::/64")).collect::<Vec<_>>()
        });
        (neighbors, networks, (protected, own_prefixes), of(restart()), (1..4u8, l2vnis(own))).prop_map(
            move |(neighbors, networks, (protected_prefixes, links), graceful_restart, (id, l2vnis))| {
                let mut own_prefixes: BTreeMap<Family, Vec<PrefixListEntry>> = BTreeMap::new();
                for link in links.into_iter().map(|link| link.parse::<IpNet>().unwrap()) {
                    own_prefixes.entry(Family::of(&link)).or_default().push(PrefixListEntry::within_but_hosts(link));
                }
                UnderlayInstance {
                    asn: asn(own),
                    router_id: Ipv4Addr::new(10, 0, 1, id),
                    neighbors,
                    networks,
                    own_prefixes,
                    protected_prefixes,
                    graceful_restart,
                    l2vnis,
                }
            },
        )
    })
    .boxed()
}

/// A whole node: an underlay, or none and then no VRF either, and up to three VRFs.
pub fn router() -> BoxedStrategy<RouterConfig> {
    let vrfs = (weighted(0.8, ip_vrf(100)), of(ip_vrf(200)), of(ip_vrf(300)));
    (weighted(0.9, underlay()), vrfs)
        .prop_map(|(underlay, (red, blue, dashed))| {
            let named = [("red", red), ("blue", blue), ("in-v4", dashed)];
            let named = named.into_iter().filter_map(|(name, vrf)| Some((name.parse::<VrfName>().unwrap(), vrf?)));
            let vrfs = if underlay.is_some() { named.collect() } else { BTreeMap::new() };
            RouterConfig { underlay, vrfs }
        })
        .boxed()
}
