use super::*;
use crate::frr::show::json::tests::with_unknown_keys;
use rstest::rstest;

fn vrf() -> VrfName {
    "red".parse().unwrap()
}

#[rstest]
#[case(Family::Ipv4, "show bgp vrf red ipv4 unicast json", "show ip route vrf red json")]
#[case(Family::Ipv6, "show bgp vrf red ipv6 unicast json", "show ipv6 route vrf red json")]
fn commands_are_those_of_frr(#[case] family: Family, #[case] bgp: &str, #[case] zebra: &str) {
    assert_eq!((show_paths(&vrf(), family), show_rib(&vrf(), family, None)), (bgp.into(), zebra.into()));
    let address = "192.0.2.1";
    assert_eq!(show_match(&vrf(), address), "show bgp vrf red ipv4 unicast 192.0.2.1 json");
    assert_eq!(show_rib(&vrf(), Family::Ipv4, Some(address.parse().unwrap())), "show ip route vrf red 192.0.2.1 json");
}

const PATHS: &str = r#"{"vrfName":"red","routes":{
  "172.30.0.10/32":[
    {"valid":true,"bestpath":true,"pathFrom":"external","peerId":"192.169.10.3","path":"64515","nexthops":[{"ip":"192.169.10.3"}]},
    {"valid":true,"pathFrom":"external","peerId":"192.168.11.2","path":"64512 64514 64515","announceNexthopSelf":true,
     "nexthops":[{"ip":"100.65.0.1"}]}],
  "192.169.10.3/32":[{"valid":true,"bestpath":true,"peerId":"(unspec)","path":"","nexthops":[{"ip":"0.0.0.0"}]}],
  "2001:db8:20::/64":[{"valid":true,"bestpath":true,"peerId":"192.168.11.2","path":"64512","announceNexthopSelf":true,
    "nexthops":[{"ip":"::ffff:100.64.0.1"}]}]}}"#;

#[test]
fn paths_are_read_with_their_origin() {
    let found = paths(PATHS).unwrap();
    let of = |prefix: &str| &found[&prefix.parse().unwrap()];
    let service = of("172.30.0.10/32");
    assert_eq!(
        service.iter().map(|path| (path.origin, path.best)).collect::<Vec<_>>(),
        [(Origin::Host, true), (Origin::Fabric, false)]
    );
    assert_eq!((service[0].peer.as_str(), service[1].as_path.as_str()), ("192.169.10.3", "64512 64514 64515"));
    let own = &of("192.169.10.3/32")[0];
    assert_eq!((own.origin, own.peer.as_str(), own.next_hops.len()), (Origin::Router, "", 0));
    // The VTEP of an IPv6 route is an IPv4 address.
    assert_eq!(of("2001:db8:20::/64")[0].next_hops, ["100.64.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(paths("% No BGP instance").unwrap(), BTreeMap::new());
}

const MATCH: &str = r#"{"prefix":"172.30.0.10/32","advertisedTo":{"192.169.10.3":{"hostname":"h"}},"paths":[
      {"aspath":{"string":"64515"},"valid":true,"bestpath":{"overall":true},"community":{"string":"no-advertise 65000:1"},
       "nexthops":[{"ip":"192.169.10.3"}],"peer":{"peerId":"192.169.10.3"}},
      {"aspath":{"string":"Local"},"valid":true,"nexthops":[{"ip":"0.0.0.0"}],"peer":{"peerId":"0.0.0.0"}}]}"#;

#[test]
fn a_match_has_communities_and_the_sessions_it_is_advertised_to() {
    let found = matched(MATCH).unwrap().unwrap();
    assert_eq!(
        (found.prefix.to_string().as_str(), &found.advertised_to[..]),
        ("172.30.0.10/32", &["192.169.10.3".to_owned()][..])
    );
    assert_eq!(found.paths[0].communities, ["no-advertise", "65000:1"]);
    assert!(found.paths[0].best && !found.paths[1].best);
    assert_eq!((found.paths[1].origin, found.paths[1].as_path.as_str()), (Origin::Router, ""));
    assert_eq!(matched("{}").unwrap(), None);
}

const RIB: &str = r#"{"192.168.20.0/24":[
        {"installed":false,"nexthops":[{"ip":"192.0.2.9","fib":true}]},
        {"installed":true,"nexthops":[{"fib":true,"ip":"100.64.0.1","interfaceName":"br-pe-100"},{"ip":"100.64.0.2"}]}],
      "192.169.10.0/24":[{"installed":true,"nexthops":[{"fib":true,"interfaceName":"pe-100"}]}],
      "0.0.0.0/0":[]}"#;

#[test]
fn only_installed_routes_are_read() {
    let found = installed(RIB).unwrap();
    let shown = |prefix: &str| found[&prefix.parse().unwrap()].iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown("192.168.20.0/24"), ["100.64.0.1 dev br-pe-100"]);
    assert_eq!(shown("192.169.10.0/24"), ["dev pe-100"]);
    assert_eq!(found.len(), 2);
}

const TYPE5: &str = r#"{"10.0.0.2:2":{"rd":"10.0.0.2:2",
      "[5]:[0]:[32]:[172.30.0.16]":{"rd":"10.0.0.2:2","routeType":5,"ipLen":32,"ip":"172.30.0.16",
        "advertisedTo":{"192.168.11.2":{"hostname":"leafkind"}},
        "paths":[[{"extendedCommunity":{"string":"ET:8 RT:64514:200 RT:1:2 Rmac:02:c8:64:41:00:02"},"nexthops":[{"ip":"100.65.0.2"}]}]]},
      "[3]:[0]:[32]:[100.65.0.2]":{"rd":"10.0.0.2:2","routeType":3,"ip":"100.65.0.2","ipLen":32,"paths":[]}}}"#;

#[test]
fn type_5_routes_are_read_with_their_communities() {
    let expected = Type5 {
        rd: "10.0.0.2:2".into(),
        route_targets: vec!["64514:200".into(), "1:2".into()],
        router_mac: Some("02:c8:64:41:00:02".into()),
        next_hop: "100.65.0.2".parse().ok(),
        advertised_to: vec!["192.168.11.2".into()],
    };
    assert_eq!(type5(TYPE5).unwrap(), [("172.30.0.16/32".parse().unwrap(), expected)].into());
}

const FILTERED: &str = r#"{"localAS":64514,"receivedRoutes":{"0.0.0.0\/0":{"network":"0.0.0.0\/0","nextHop":"192.169.10.2","path":"64515 64516"},"2001:db8::\/32":{"nextHopGlobal":"2001:db8:10::2"},"2001:db8:1::\/48":{}},"totalPrefixCounter":2}"#;

#[test]
fn filtered_prefixes_are_listed_as_received() {
    let route = |prefix: &str, next_hop: Option<&str>| ReceivedRoute {
        prefix: prefix.parse().unwrap(),
        next_hop: next_hop.map(|address| address.parse().unwrap()),
        as_path: if prefix == "0.0.0.0/0" { "64515 64516".into() } else { String::new() },
    };
    let expected = [
        route("0.0.0.0/0", Some("192.169.10.2")),
        route("2001:db8:1::/48", None),
        route("2001:db8::/32", Some("2001:db8:10::2")),
    ];
    assert_eq!(filtered(FILTERED).unwrap(), expected);
    assert_eq!(filtered("% Inbound soft reconfiguration not enabled\n").unwrap(), vec![]);
}

#[test]
fn unknown_keys_change_nothing() {
    let more = with_unknown_keys;
    assert_eq!(paths(&more(PATHS)).unwrap(), paths(PATHS).unwrap());
    assert_eq!(matched(&more(MATCH)).unwrap(), matched(MATCH).unwrap());
    assert_eq!(installed(&more(RIB)).unwrap(), installed(RIB).unwrap());
    assert_eq!(type5(&more(TYPE5)).unwrap(), type5(TYPE5).unwrap());
    assert_eq!(filtered(&more(FILTERED)).unwrap(), filtered(FILTERED).unwrap());
}

#[test]
fn an_as_path_contains_whole_numbers() {
    let asn = 64_514.try_into().unwrap();
    assert!(["64514", "64515 64514 1", "1 {64514,2}", "(64514) 3"].iter().all(|path| has_asn(path, asn)));
    assert!(["", "164514", "64515 645141"].iter().all(|path| !has_asn(path, asn)));
    assert_eq!(as_numbers("64515 {64514,7}").map(u32::from).collect::<Vec<_>>(), [64_515, 64_514, 7]);
}

#[test]
fn a_route_that_discards_packets_has_no_address_and_no_link() {
    let rib = r#"{"172.30.0.10/32":[{"prefix":"172.30.0.10/32","installed":true,
        "nexthops":[{"flags":3,"fib":true,"unreachable":true,"blackhole":true,"active":true}]}]}"#;
    let found = installed(rib).unwrap();
    let hops = &found[&"172.30.0.10/32".parse().unwrap()];
    assert!(hops.iter().all(InstalledHop::discards) && hops.len() == 1, "{hops:?}");
    assert_eq!(hops[0].to_string(), "discarded");
}
