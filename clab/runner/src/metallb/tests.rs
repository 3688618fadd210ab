//! The example's manifests as FRR configuration, and manifests that are rejected.

use super::*;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

fn example(name: &str) -> Announcer {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name).join("metallb.yaml");
    read_manifests(&file).unwrap()
}

fn assert_golden(name: &str, conf: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("PEROUTER_UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&file, conf).unwrap();
    }
    assert_eq!(conf, std::fs::read_to_string(&file).unwrap());
}

fn zone(name: &str) -> Labels {
    Labels::from([("topology.kubernetes.io/zone".to_owned(), name.to_owned())])
}

#[test]
fn the_example_announces_each_pool_to_its_own_peer() {
    assert_golden("metallb-host.conf", &frr_conf(&example("metallb"), "pe-kind-worker"));
}

#[test]
fn aggregates_preferences_and_communities_are_announced_as_requested() {
    let announcer = example("metallb-advanced").on("pe-kind-control-plane", &zone("rack-1"));
    assert_golden("metallb-advanced-host.conf", &frr_conf(&announcer, "pe-kind-control-plane"));
}

#[test]
fn the_example_with_a_vrf_of_the_host_has_an_instance_in_it() {
    let announcer = example("host-vrf");
    assert_eq!(announcer.vrfs(), BTreeSet::from([None, Some("hostvrf")]));
    let prefixes =
        |vrf| announcer.prefixes_of("red", vrf).into_iter().map(|prefix| prefix.to_string()).collect::<Vec<_>>();
    assert_eq!((prefixes(None), prefixes(Some("hostvrf"))), (vec![], vec!["172.30.0.10/32".to_owned()]));
}

#[test]
fn a_node_has_the_sessions_and_announcements_that_select_it() {
    let all = example("metallb-advanced");
    let of = |node: &str, labels: &Labels| {
        let sessions = all.on(node, labels).sessions;
        let prefixes = |session: &PeerSession| {
            session.announced.iter().map(|announcement| announcement.prefix.to_string()).collect()
        };
        sessions
            .into_values()
            .map(|session| (session.name.clone(), prefixes(&session)))
            .collect::<BTreeMap<_, Vec<_>>>()
    };
    let (everywhere, edge) = (["172.30.1.10/32", "172.30.1.0/24", "172.30.0.10/32", "172.30.0.0/24"], "172.30.2.10/32");
    let red = |more: &[&str]| [more, &everywhere].concat().iter().map(ToString::to_string).collect::<Vec<_>>();
    let blue = vec!["172.30.3.10/32".to_owned()];
    let rack_1 = BTreeMap::from([("peerblue".to_owned(), blue), ("peerred".to_owned(), red(&[]))]);
    assert_eq!(of("a", &zone("rack-1")), rack_1);
    assert_eq!(of("b", &zone("rack-2")), BTreeMap::from([("peerred".to_owned(), red(&[edge]))]));
    assert_eq!(of("c", &Labels::new()), BTreeMap::from([("peerred".to_owned(), red(&[]))]));
}

#[test]
fn selectors_match_as_in_kubernetes() {
    let table = [
        ("[]", true),
        ("[{}]", true),
        ("[{matchLabels: {rack: a}}]", true),
        ("[{matchLabels: {rack: b}}]", false),
        ("[{matchLabels: {rack: b}}, {matchLabels: {rack: a}}]", true),
        ("[{matchLabels: {rack: a, edge: x}}]", false),
        ("[{matchExpressions: [{key: rack, operator: In, values: [b, a]}]}]", true),
        ("[{matchExpressions: [{key: rack, operator: NotIn, values: [b]}]}]", true),
        ("[{matchExpressions: [{key: edge, operator: NotIn, values: [b]}]}]", true),
        ("[{matchExpressions: [{key: edge, operator: Exists}]}]", false),
        ("[{matchExpressions: [{key: edge, operator: DoesNotExist}]}]", true),
        ("[{matchLabels: {kubernetes.io/hostname: worker}}]", true),
        ("[{matchLabels: {kubernetes.io/hostname: other}}]", false),
    ];
    let labels = Labels::from([("rack".to_owned(), "a".to_owned())]);
    for (selectors, selected) in table {
        let text = format!(
            "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: x}}\n\
             spec: {{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, nodeSelectors: {selectors}}}\n"
        );
        let announcer = parse_manifests(&text).unwrap();
        assert_eq!(announcer.on("worker", &labels).sessions.len(), usize::from(selected), "{selectors}");
    }
}

#[test]
fn an_aggregate_is_withdrawn_with_its_last_service() {
    let mut announcer = example("metallb-advanced");
    let withdrawn =
        |announcer: &Announcer| announcer.prefixes_of("web", None).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(withdrawn(&announcer), ["172.30.0.0/24", "172.30.0.10/32"]);
    let other = Service { addresses: vec!["172.30.0.11".parse().unwrap()], port: 80 };
    announcer.services.insert("other".into(), other);
    assert_eq!(withdrawn(&announcer), ["172.30.0.10/32"]);
}

#[test]
fn a_peer_in_a_vrf_of_the_host_has_an_instance_of_its_own() {
    let text = "
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: inner}
spec: {myASN: 64515, peerASN: 64514, peerAddress: 192.169.10.1, sourceAddress: 192.169.10.2, vrf: hostvrf, keepaliveTime: 1s}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: outer}
spec: {myASN: 64515, peerASN: 64514, peerAddress: 192.169.11.1}
";
    let conf = frr_conf(&parse_manifests(text).unwrap(), "n");
    let (outer, inner) = conf.split_once("router bgp 64515 vrf hostvrf\n").unwrap();
    assert!(outer.contains("router bgp 64515\n") && outer.contains("192.169.11.1") && !outer.contains("192.169.10.1"));
    assert!(inner.contains(" neighbor 192.169.10.1 update-source 192.169.10.2\n") && !inner.contains("192.169.11.1"));
    assert!(inner.contains(" neighbor 192.169.10.1 timers 1 3\n"), "{inner}");
}

#[test]
fn an_ipv6_peer_gets_the_ipv6_family_and_addresses() {
    let text = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: dual}
spec: {addresses: [172.30.0.0/28, '2001:db8:30::10-2001:db8:30::20']}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: six}
spec: {myASN: 64515, peerASN: 64515, peerAddress: '2001:db8:10::1', holdTime: 1m30s, ebgpMultiHop: true, peerPort: 1179}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all}
---
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {metallb.universe.tf/loadBalancerIPs: '172.30.0.1, 2001:db8:30::10'}}
spec: {type: LoadBalancer, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: inner}
spec: {ports: [{port: 1}]}
";
    // An advertisement without spec applies to all pools and all peers.
    let announcer = parse_manifests(text).unwrap();
    let session = &announcer.sessions[&"2001:db8:10::1".parse::<IpAddr>().unwrap()];
    assert_eq!(
        *session,
        PeerSession {
            name: "six".into(),
            asn: 64515,
            port: Some(1179),
            timers: Some((30, 90)),
            connect_seconds: 120,
            multihop: true,
            announced: vec!["2001:db8:30::10/128".parse::<IpNet>().unwrap().into()],
            ..PeerSession::default()
        }
    );
    assert_eq!(announcer.services.keys().collect::<Vec<_>>(), ["web"]);
    let conf = frr_conf(&announcer, "n");
    assert!(conf.contains(" address-family ipv6 unicast\n  network 2001:db8:30::10/128\n"), "{conf}");
    assert!(conf.contains("route-map six-in deny 10\n"), "{conf}");
    assert!(!conf.contains("ipv4 unicast\n  n"), "{conf}");
}

const PEER: &str = "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}";

fn object(kind: &str, spec: &str) -> String {
    format!("apiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n---\n")
}

fn service(ip: &str) -> String {
    let metadata = format!("{{name: s, annotations: {{metallb.io/loadBalancerIPs: '{ip}'}}}}");
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {metadata}\nspec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n---\n"
    )
}

fn assert_errors(table: &[(String, &str)]) {
    for (text, error) in table {
        assert_eq!(parse_manifests(text).unwrap_err().to_string(), *error);
    }
}

#[test]
fn an_invalid_session_or_service_is_an_error() {
    assert_errors(&[
        (String::new(), "no BGPPeer and no FRRConfiguration: no session is defined"),
        (
            object("BGPPeer", "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, connectTime: soon}"),
            "BGPPeer/x: `soon` is not a duration in whole seconds such as 1s, 90s or 1m30s",
        ),
        (
            object("BGPPeer", PEER) + &service("10.1.1.1"),
            "Service/s: no IPAddressPool contains 10.1.1.1; add it to one or request another",
        ),
        (
            object("BGPPeer", PEER)
                + &object("BGPPeer", "{myASN: 3, peerASN: 2, peerAddress: 10.0.0.2}").replace('x', "z"),
            "the nodes would be in AS 1 and AS 3; only one is possible",
        ),
        (
            object("BGPPeer", "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, connectTime: 1s}")
                + &object("FRRConfiguration", "{bgp: {routers: [{asn: 1, neighbors: [{address: 10.0.0.1, asn: 2}]}]}}")
                    .replace("metallb.io/", "frrk8s.metallb.io/"),
            "FRR-K8s rejects 10.0.0.1: connectTime is 1 s in one object and 120 s in another",
        ),
        (object("BGPPeer", PEER) + &service("ten"), "Service/s: `ten` is not an address"),
        (
            object("BGPPeer", PEER) + &object("BGPPeer", PEER).replace('x', "z"),
            "BGPPeer/x and BGPPeer/z both have the address 10.0.0.1; only one session is possible",
        ),
        (
            object("BGPPeer", "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, nodeSelectors: [{matchLabels: {a: b}}]}")
                + &object("FRRConfiguration", "{bgp: {routers: [{asn: 1, neighbors: [{address: 10.0.0.1, asn: 2}]}]}}")
                    .replace("metallb.io/", "frrk8s.metallb.io/"),
            "FRRConfiguration/x selects other nodes for 10.0.0.1 than BGPPeer/x; use the nodeSelector of the peer",
        ),
    ]);
    let error = parse_manifests(&object("BGPPeer", "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: fast}"));
    let error = std::error::Error::source(&error.unwrap_err()).unwrap().to_string();
    assert!(error.starts_with("unknown field `bfdProfile`"), "{error}");
}

#[test]
fn an_invalid_advertisement_is_an_error() {
    assert_errors(&[
        (
            object("BGPPeer", PEER) + &object("BGPAdvertisement", "{peers: [z]}"),
            "BGPAdvertisement/x: there is no BGPPeer `z`; correct the name or add it",
        ),
        (
            object("BGPPeer", PEER) + &object("IPAddressPool", "{addresses: [ten]}"),
            "IPAddressPool/x: `ten` is neither FIRST-LAST nor a prefix",
        ),
        (
            object("BGPPeer", PEER) + &object("BGPAdvertisement", "{communities: [no-export]}"),
            "BGPAdvertisement/x: `no-export` is neither ASN:VALUE, large:ASN:VALUE:VALUE nor an alias of a Community \
             object; add it to one or correct it",
        ),
        (
            object("BGPPeer", PEER) + &object("Community", "{communities: [{name: a, value: '1:70000'}]}"),
            "Community/x: `1:70000` is neither ASN:VALUE, large:ASN:VALUE:VALUE nor an alias of a Community object; \
             add it to one or correct it",
        ),
        (
            object("BGPPeer", PEER)
                + &object("Community", "{communities: [{name: a, value: '1:2'}, {name: a, value: '1:3'}]}"),
            "Community/x: the alias `a` is defined twice; rename one",
        ),
        (
            object("BGPPeer", PEER) + &object("BGPAdvertisement", "{aggregationLength: 33}"),
            "BGPAdvertisement/x: aggregation length 33 is longer than an IPv4 address",
        ),
        (
            object("BGPPeer", PEER)
                + &object("IPAddressPool", "{addresses: [10.1.0.10-10.1.0.15]}")
                + &object("BGPAdvertisement", "{aggregationLength: 24}"),
            "BGPAdvertisement/x: aggregation length 24 is shorter than any prefix of 10.1.0.10-10.1.0.15 in \
             IPAddressPool/x: the aggregate would cover addresses outside the pool",
        ),
        (
            object("BGPPeer", PEER)
                + &object("IPAddressPool", "{addresses: [10.1.0.0/24]}")
                + &service("10.1.0.1")
                + &object("BGPAdvertisement", "{localPref: 5}")
                + &object("BGPAdvertisement", "{localPref: 6}").replace('x', "z"),
            "BGPAdvertisement/x sets local preference 5 for 10.1.0.1/32, BGPAdvertisement/z sets 6",
        ),
    ]);
}
