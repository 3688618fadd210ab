//! The example's manifests as FRR configuration, and manifests that cannot be played.

use super::*;
use std::path::Path;

fn example() -> Announcer {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/metallb/metallb.yaml");
    read_manifests(&file).unwrap()
}

#[test]
fn the_example_announces_each_pool_to_its_own_peer() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metallb-host.conf");
    let conf = frr_conf(&example(), "pe-kind-worker");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &conf).unwrap();
    }
    assert_eq!(conf, std::fs::read_to_string(&file).unwrap());
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
    // The advertisement without spec means all pools to all peers.
    let announcer = parse_manifests(text).unwrap();
    let session = &announcer.sessions[&"2001:db8:10::1".parse::<IpAddr>().unwrap()];
    assert_eq!(
        *session,
        Session {
            name: "six".into(),
            asn: 64515,
            port: Some(1179),
            timers: Some((30, 90)),
            connect_seconds: 120,
            multihop: true,
            announced: vec!["2001:db8:30::10/128".parse::<IpNet>().unwrap().into()],
            ..Session::default()
        }
    );
    assert_eq!(announcer.services.keys().collect::<Vec<_>>(), ["web"]);
    let conf = frr_conf(&announcer, "n");
    assert!(conf.contains(" address-family ipv6 unicast\n  network 2001:db8:30::10/128\n"), "{conf}");
    assert!(conf.contains("route-map six-in deny 10\n"), "{conf}");
    assert!(!conf.contains("ipv4 unicast\n  n"), "{conf}");
}

#[test]
fn what_is_not_played_is_an_error() {
    const PEER: &str = "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}";
    let object = |kind: &str, spec: &str| {
        format!("apiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n---\n")
    };
    let service = |ip: &str| {
        let metadata = format!("{{name: s, annotations: {{metallb.io/loadBalancerIPs: '{ip}'}}}}");
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {metadata}\nspec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n---\n"
        )
    };
    let table = [
        (String::new(), "no BGPPeer and no FRRConfiguration: there is no session to set up"),
        (
            object("BGPPeer", "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, connectTime: soon}"),
            "BGPPeer/x: `soon` is no duration in whole seconds like 1s, 90s or 1m30s",
        ),
        (
            object("BGPPeer", PEER) + &object("BGPAdvertisement", "{peers: [z]}"),
            "BGPAdvertisement/x: there is no BGPPeer `z`; correct the name or add it",
        ),
        (
            object("BGPPeer", PEER) + &object("IPAddressPool", "{addresses: [ten]}"),
            "IPAddressPool/x: `ten` is neither FIRST-LAST nor a prefix",
        ),
        (
            object("BGPPeer", PEER) + &service("10.1.1.1"),
            "Service/s: no IPAddressPool has 10.1.1.1; add it to one or ask for another",
        ),
        (
            object("BGPPeer", PEER)
                + &object("BGPPeer", "{myASN: 3, peerASN: 2, peerAddress: 10.0.0.2}").replace('x', "z"),
            "the nodes would be in AS 1 and AS 3; one is possible",
        ),
        (
            object("BGPPeer", "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, connectTime: 1s}")
                + &object("FRRConfiguration", "{bgp: {routers: [{asn: 1, neighbors: [{address: 10.0.0.1, asn: 2}]}]}}")
                    .replace("metallb.io/", "frrk8s.metallb.io/"),
            "FRR-K8s refuses 10.0.0.1: connectTime is 1 s in one object and 120 s in another",
        ),
        (object("BGPPeer", PEER) + &service("ten"), "Service/s: `ten` is no address"),
    ];
    for (text, error) in table {
        assert_eq!(parse_manifests(&text).unwrap_err().to_string(), error);
    }
    let error = parse_manifests(&object("BGPPeer", "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: fast}"));
    let error = std::error::Error::source(&error.unwrap_err()).unwrap().to_string();
    assert!(error.starts_with("unknown field `bfdProfile`"), "{error}");
}
