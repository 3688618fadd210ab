use proptest::prelude::*;
use rstest::rstest;

use std::sync::Arc;

use kube::core::cel::{self, compile_schema};

use super::*;
use crate::kind::{L3VNISpec, UnderlaySpec};

fn validate(kind: &str, text: &str) -> Result<Spec, Vec<String>> {
    let object = serde_saphyr::from_str::<Value>(text).unwrap();
    let lines = |violations: Vec<Violation>| violations.iter().map(|v| format!("{}: {}", v.field, v.message)).collect();
    SCHEMAS.with(|schemas| schemas.validate(Kind::named(kind).unwrap(), &object).map_err(lines))
}

/// A valid underlay with `neighbor` and further fields of the spec.
fn underlay(spec: &str, neighbor: &str) -> Result<Spec, Vec<String>> {
    validate(
        "Underlay",
        &format!(
            "{{metadata: {{name: u}}, spec: {{asn: 64514, vtepcidr: 100.65.0.0/24, nics: [eth1], neighbors: [{neighbor}] {spec}}}}}"
        ),
    )
}

fn neighbor(fields: &str) -> Result<Spec, Vec<String>> {
    underlay("", &format!("{{{fields}}}"))
}

/// A valid L3VNI with further fields of the spec.
fn l3vni(spec: &str) -> Result<Spec, Vec<String>> {
    validate(
        "L3VNI",
        &format!(
            "{{metadata: {{name: red}}, spec: {{asn: 64514, vni: 100, localcidr: {{ipv4: 192.169.10.0/24}}, {spec}}}}}"
        ),
    )
}

type Validated = Result<Spec, Vec<String>>;

fn object(kind: &str, spec: &str) -> Validated {
    validate(kind, &format!("{{metadata: {{name: red}}, spec: {{{spec}}}}}"))
}

#[rstest]
#[case::least(object("Underlay", "asn: 1, vtepcidr: 100.65.0.0/24, nics: [eth1]"))]
#[case::ipv6_vtep(object("Underlay", "asn: 1, vtepcidr: '2001:db8::/64', nics: [eth1]"))]
#[case::null_is_absent(underlay(", routeridcidr: null", ""))]
#[case::no_keepalives(neighbor("asn: 1, address: 192.0.2.1, holdTimeSeconds: 0, keepaliveTimeSeconds: 0"))]
#[case::link_local_v4(neighbor("asn: 1, address: 169.254.0.1"))]
#[case::unnumbered(neighbor("type: external, interface: eth1, port: 1179, bfd: {}"))]
#[case::multihop_of_unknown_as(neighbor(
    "type: external, address: 192.0.2.1, ebgpMultiHop: {}, bfd: {minimumTTL: 250}"
))]
#[case::loopbacks(neighbor("asn: 1, address: 192.0.2.1, ebgpMultiHop: {}, updateSource: VTEP"))]
#[case::from_the_nic(neighbor("asn: 1, address: '2001:db8::1', ebgpMultiHop: {}, updateSource: NIC"))]
#[case::other_family(neighbor("asn: 1, address: '2001:db8::1', ebgpMultiHop: {}"))]
#[case::reflector(neighbor("type: internal, address: 192.0.2.1, updateSource: VTEP"))]
#[case::unnumbered_source(neighbor("type: external, interface: eth1, updateSource: NIC"))]
#[case::loopbacks_of_both(underlay(
    ", vtepcidr6: '2001:db8:65::/64'",
    "{asn: 1, address: '2001:db8::1', updateSource: VTEP}, {asn: 1, address: 192.0.2.1, updateSource: VTEP}"
))]
#[case::ttl_of_ibgp(neighbor("asn: 64514, address: 192.0.2.1, bfd: {minimumTTL: 250}"))]
#[case::ttl_of_internal(neighbor("type: internal, address: 192.0.2.1, bfd: {minimumTTL: 250}"))]
#[case::largest(object("L3VNI", "asn: 4294967295, vni: 16777215, vxlanport: 65535"))]
#[case::long_name(validate("L3VNI", "{metadata: {name: a-name-of-seventeen.x}, spec: {asn: 1, vni: 1, vrf: red_1}}"))]
#[case::host_multihop(l3vni("hostasn: 1, hostSession: {multihop: {ttl: 2}, bfd: {minimumTTL: 254}}"))]
#[case::nothing_allowed(l3vni("fromHost: {allowedPrefixes: []}, toHost: {allowedPrefixes: []}"))]
#[case::lengths(l3vni(
    "toHost: {allowedPrefixes: [{prefix: 10.0.0.0/8, ge: 8, le: 32}, {prefix: 'fd00::/8', le: 128}]}"
))]
#[case::communities(l3vni("toFabric: {communities: ['0:65535', local-AS, blackhole]}"))]
#[case::route_targets(l3vni("routeTargets: {import: ['1:4294967295', '4294967295:1', '10.0.0.1:65535'], export: []}"))]
fn accepted(#[case] validated: Validated) {
    assert_eq!(validated.err(), None);
}

/// Replaces the names of sentences in the tables below.
fn in_full(text: &str) -> String {
    [("{PEER}", PEER), ("{ZERO}", ZERO), ("{SESSION}", SESSION), ("{TARGET}", TARGET), ("{COMMUNITY}", COMMUNITY)]
        .into_iter()
        .fold(text.to_owned(), |text, (name, sentence)| text.replace(name, sentence))
}

const EITHER: &str = "spec.neighbors[0]: set exactly one of asn and type: the AS number of the peer, or `type: external` or `type: internal`";
const WHERE: &str = "spec.neighbors[0]: set exactly one of address and interface: the IP address of the peer, or the NIC of an unnumbered session";
const PEER: &str =
    "is not a valid peer address: use a unicast address; for an IPv6 link-local peer set `interface` instead";
const ZERO: &str = "is not allowed with this holdTimeSeconds: set both to 0 (no keepalives) or neither";
const SOURCE_FAMILY: &str = "spec.neighbors: `updateSource: VTEP` needs a VTEP of the address family of the neighbor: add a pool of that family, set the address of the peer in the family of vtepcidr, or set `updateSource: NIC`";
const TWICE: &str = "spec.neighbors: two neighbors have the same address or interface: remove one";

#[rstest]
#[case::neither_asn_nor_type(neighbor("address: 192.0.2.1"), &[EITHER])]
#[case::asn_and_type(neighbor("address: 192.0.2.1, asn: 1, type: internal"), &[EITHER])]
#[case::nowhere(neighbor("asn: 1"), &[WHERE])]
#[case::two_places(neighbor("asn: 1, address: 192.0.2.1, interface: eth1"), &[WHERE])]
#[case::prefix(neighbor("asn: 1, address: 192.0.2.1/24"), &["spec.neighbors[0].address: \"192.0.2.1/24\" is not an IP address: write it without a prefix length, such as 192.0.2.1 or 2001:db8::1"])]
#[case::multicast(neighbor("asn: 1, address: 224.0.0.5"), &["spec.neighbors[0].address: \"224.0.0.5\" {PEER}"])]
#[case::link_local(neighbor("asn: 1, address: 'fe80::1'"), &["spec.neighbors[0].address: \"fe80::1\" {PEER}"])]
#[case::loopback(neighbor("asn: 1, address: '::1'"), &["spec.neighbors[0].address: \"::1\" {PEER}"])]
#[case::as_zero(neighbor("asn: 0, address: 192.0.2.1"), &["spec.neighbors[0].asn: 0 is less than 1: use 1 to 4294967295"])]
#[case::as_too_large(neighbor("asn: 4294967296, address: 192.0.2.1"), &["spec.neighbors[0].asn: 4294967296 is greater than 4294967295: use 1 to 4294967295"])]
#[case::quoted_as(neighbor("asn: '64512', address: 192.0.2.1"), &["spec.neighbors[0].asn: \"64512\" is not a whole number: remove the quotes"])]
#[case::as_word(neighbor("asn: x, address: 192.0.2.1"), &["spec.neighbors[0].asn: \"x\" is not a whole number: write digits only"])]
#[case::type_case(neighbor("type: Internal, address: 192.0.2.1"), &["spec.neighbors[0].type: \"Internal\" is not allowed: did you mean internal?"])]
#[case::hold_alone(neighbor("asn: 1, address: 192.0.2.1, holdTimeSeconds: 9"), &["spec.neighbors[0]: holdTimeSeconds and keepaliveTimeSeconds depend on each other: set both or neither"])]
#[case::short_hold(neighbor("asn: 1, address: 192.0.2.1, holdTimeSeconds: 2, keepaliveTimeSeconds: 1"), &["spec.neighbors[0].holdTimeSeconds: 2 is not a hold time: use 0 (no keepalives) or 3 to 65535 seconds (RFC 4271 section 4.2)"])]
#[case::long_keepalive(neighbor("asn: 1, address: 192.0.2.1, holdTimeSeconds: 9, keepaliveTimeSeconds: 10"), &["spec.neighbors[0].keepaliveTimeSeconds: 10 is greater than holdTimeSeconds: use at most a third of it (RFC 4271 section 10)"])]
#[case::no_keepalive(neighbor("asn: 1, address: 192.0.2.1, holdTimeSeconds: 9, keepaliveTimeSeconds: 0"), &["spec.neighbors[0].keepaliveTimeSeconds: 0 {ZERO}"])]
#[case::no_hold(neighbor("asn: 1, address: 192.0.2.1, holdTimeSeconds: 0, keepaliveTimeSeconds: 3"), &["spec.neighbors[0].keepaliveTimeSeconds: 3 {ZERO}"])]
#[case::connect(neighbor("asn: 1, address: 192.0.2.1, connectTimeSeconds: 0"), &["spec.neighbors[0].connectTimeSeconds: 0 is less than 1: use 1 to 65535"])]
#[case::unnumbered_far(neighbor("asn: 1, interface: eth1, ebgpMultiHop: {}"), &[
    "spec.neighbors[0].ebgpMultiHop: is not allowed with interface: an unnumbered session has one hop; set address instead",
])]
#[case::internal_far(neighbor("type: internal, address: 192.0.2.1, ebgpMultiHop: {}"), &["spec.neighbors[0].ebgpMultiHop: is not allowed with `type: internal`: iBGP needs no multihop; remove it"])]
#[case::own_as_far(neighbor("asn: 64514, address: 192.0.2.1, ebgpMultiHop: {}"), &["spec.neighbors: ebgpMultiHop applies to eBGP only: remove it from neighbors whose asn is that of the Underlay"])]
#[case::ttl_of_one_hop(neighbor("asn: 64515, address: 192.0.2.1, bfd: {minimumTTL: 250}"), &["spec.neighbors: bfd.minimumTTL applies to multihop sessions only: set ebgpMultiHop as well or remove it"])]
#[case::source_of_no_vtep(neighbor("asn: 1, address: '2001:db8::1', updateSource: VTEP"), &[SOURCE_FAMILY])]
#[case::source_of_an_interface(neighbor("asn: 1, interface: eth1, updateSource: VTEP"), &[
    "spec.neighbors[0].updateSource: \"VTEP\" is not allowed with interface: an unnumbered session is between the link-local addresses of the link; set address, that of the peer's loopback, in place of interface, or remove this field",
])]
#[case::source_of_a_name(neighbor("asn: 1, address: 192.0.2.1, updateSource: lo"), &["spec.neighbors[0].updateSource: \"lo\" is not allowed: use \"VTEP\", \"NIC\""])]
#[case::bfd_ranges(neighbor("asn: 64515, address: 192.0.2.1, bfd: {receiveInterval: 5, transmitInterval: 60001, detectMultiplier: 1}"), &[
    "spec.neighbors[0].bfd.detectMultiplier: 1 is less than 2: use 2 to 255",
    "spec.neighbors[0].bfd.receiveInterval: 5 is less than 10: use 10 to 60000",
    "spec.neighbors[0].bfd.transmitInterval: 60001 is greater than 60000: use 10 to 60000",
])]
#[case::unknown_fields(neighbor("asn: 1, address: 192.0.2.1, pasive: true, foo: bar"), &[
    "spec.neighbors[0].foo: is not a field: remove it or use one of address, asn, bfd, connectTimeSeconds, ebgpMultiHop, holdTimeSeconds, interface, keepaliveTimeSeconds, passive, passwordSecret, port, type, updateSource",
    "spec.neighbors[0].pasive: is not a field: did you mean passive?",
])]
#[case::secret_names(neighbor("asn: 1, address: 192.0.2.1, passwordSecret: {name: A_b, key: ../x}"), &[
    "spec.neighbors[0].passwordSecret.key: the value is not a Secret key: use letters, digits, '-', '_' and '.'",
    "spec.neighbors[0].passwordSecret.name: the value is not a Secret name: use lower case letters, digits, '-' and '.', starting and ending with a letter or digit",
])]
#[case::secret_parent(neighbor("asn: 1, address: 192.0.2.1, passwordSecret: {name: a, key: ..}"), &["spec.neighbors[0].passwordSecret.key: the value is not a Secret key: use letters, digits, '-', '_' and '.'"])]
#[case::secret_key_missing(neighbor("asn: 1, address: 192.0.2.1, passwordSecret: {name: a}"), &["spec.neighbors[0].passwordSecret.key: is missing: Key of the password in the Secret"])]
#[case::same_address(underlay("", "{asn: 1, address: 192.0.2.1}, {asn: 2, address: 192.0.2.1}"), &[TWICE])]
#[case::same_address_spelt_otherwise(underlay("", "{asn: 1, address: '2001:db8::1'}, {asn: 2, address: '2001:DB8:0::1'}"), &[TWICE])]
#[case::same_interface(underlay("", "{asn: 1, interface: eth1}, {asn: 2, interface: eth1}"), &[TWICE])]
#[case::selector(underlay(", nodeSelector: {matchExpressions: [{key: a, operator: In}, {key: b, operator: Exists, values: [c]}, {key: d, operator: exists}]}", ""), &[
    "spec.nodeSelector.matchExpressions[0]: In and NotIn require values, Exists and DoesNotExist must not have any",
    "spec.nodeSelector.matchExpressions[1]: In and NotIn require values, Exists and DoesNotExist must not have any",
    "spec.nodeSelector.matchExpressions[2].operator: \"exists\" is not allowed: did you mean Exists?",
])]
#[case::router_id_v6(underlay(", routeridcidr: '2001:db8::/64'", ""), &["spec.routeridcidr: \"2001:db8::/64\" is not an IPv4 prefix: write ADDRESS/LENGTH, such as 10.0.0.0/24; router IDs have 32 bits (RFC 6286)"])]
#[case::restart_time(underlay(", gracefulRestart: {restartTimeSeconds: 0, stalePathTimeSeconds: 4096}", ""), &[
    "spec.gracefulRestart.restartTimeSeconds: 0 is less than 1: use 1 to 4095",
    "spec.gracefulRestart.stalePathTimeSeconds: 4096 is greater than 4095: use 1 to 4095",
])]
#[case::empty_spec(object("Underlay", ""), &[
    "spec.asn: is missing: AS number of the router in the fabric, 1 to 4294967295",
    "spec.nics: is missing: NICs that are connected to the fabric, 1 to 16, by their names or alternative names",
    "spec.vtepcidr: is missing: Pool of VTEP addresses, a prefix such as `100.65.0.0/24`",
])]
#[case::nics(object("Underlay", "asn: 1, vtepcidr: 100.65.0.1/24, nics: [eth1, lo, eth1, a/b, waytoolongnameofnic, '']"), &[
    "spec.nics[1]: \"lo\" is reserved for links of the kernel and of perouter (lo, sit0, vni100, pe-100 and the like): use another name",
    "spec.nics[2]: \"eth1\" is a duplicate of spec.nics[0]: remove one of the two",
    "spec.nics[3]: \"a/b\" is not an interface name: use letters, digits, '-', '_' and '.', starting with a letter or digit",
    "spec.nics[4]: \"waytoolongnameofnic\" has 19 characters: use at most 15",
    "spec.nics[5]: is empty: set a value or remove the field",
    "spec.vtepcidr: \"100.65.0.1/24\" has host bits set: write the network address, such as 192.0.2.0/24 or 2001:db8::/64",
])]
#[case::reserved_nics(object("Underlay", "asn: 1, vtepcidr: 100.65.0.0/24, nics: [sit0, host-7, host-a], nicOverrides: [All]"), &[
    "spec.nicOverrides[0]: \"All\" is not allowed: use \"DefaultRoute\", \"APIServerRoute\", \"StackedDevices\", \"Master\", \"NoAddress\"",
    "spec.nics[0]: \"sit0\" is reserved for links of the kernel and of perouter (lo, sit0, vni100, pe-100 and the like): use another name",
    "spec.nics[1]: \"host-7\" is reserved for links of the kernel and of perouter (lo, sit0, vni100, pe-100 and the like): use another name",
])]
#[case::no_nics(object("Underlay", "asn: 1, vtepcidr: 224.0.0.0/24, nics: []"), &[
    "spec.nics: has 0 items: use at least 1",
    "spec.vtepcidr: \"224.0.0.0/24\" is not a unicast subnet: do not use or cover 0.0.0.0/8, loopback, multicast, class E (240.0.0.0/4), broadcast or IPv6 link-local addresses",
])]
#[case::types(object("Underlay", "asn: 1, vtepcidr: 100.65.0.0, nics: eth1"), &[
    "spec.nics: \"eth1\" is not a list: write '- ' before each item, or put them in square brackets",
    "spec.vtepcidr: \"100.65.0.0\" is not a prefix: write ADDRESS/LENGTH, such as 100.65.0.0/24 or 2001:db8::/64",
])]
fn an_underlay_is_rejected(#[case] validated: Validated, #[case] wanted: &[&str]) {
    assert_eq!(validated.unwrap_err(), wanted.iter().map(|text| in_full(text)).collect::<Vec<_>>());
}

const NAME: &str = "spec.vrf: is missing, and the name of the object is not a valid VRF name: set 1 to 15 letters, digits, '-' or '_', starting with a letter, and no name of the kernel or of perouter (default, lo, sit0, pe-100)";
const SESSION: &str = "requires localcidr, without which there is no host session: set localcidr or remove this field";
const TARGET: &str = "is not a route target: write ASN:NUMBER or IPV4:NUMBER, such as 64514:100; NUMBER is at most 65535 after an address or an AS number above 65535";
const COMMUNITY: &str = "is not a community: write ASN:NUMBER with at most 65535 each, or no-export, no-advertise, local-AS, blackhole, graceful-shutdown";

#[rstest]
#[case::long_name(validate("L3VNI", "{metadata: {name: a-name-of-sixteen}, spec: {asn: 1, vni: 1}}"), &[NAME])]
#[case::reserved_name(validate("L3VNI", "{metadata: {name: default}, spec: {asn: 1, vni: 1}}"), &[NAME])]
#[case::name_of_a_link(validate("L3VNI", "{metadata: {name: pe-100}, spec: {asn: 1, vni: 1}}"), &[NAME])]
#[case::vrf_of_a_link(object("L3VNI", "asn: 1, vni: 1, vrf: vni200"), &["spec.vrf: \"vni200\" is reserved for links of the kernel and of perouter (lo, sit0, vni100, pe-100 and the like): use another name"])]
#[case::dotted_name(validate("L3VNI", "{metadata: {name: a.b}, spec: {asn: 1, vni: 1}}"), &[NAME])]
#[case::vrf(object("L3VNI", "asn: 1, vni: 1, vrf: 1a"), &["spec.vrf: \"1a\" is not a VRF name: use letters, digits, '-' and '_', starting with a letter"])]
#[case::vrf_length(object("L3VNI", "asn: 1, vni: 1, vrf: sixteen-letters-"), &["spec.vrf: \"sixteen-letters-\" has 16 characters: use at most 15"])]
#[case::numbers(object("L3VNI", "asn: 1, vni: 16777216, vrf: lo, vxlanport: 0, hostasn: 0"), &[
    "spec.hostasn: 0 is less than 1: use 1 to 4294967295",
    "spec.vni: 16777216 is greater than 16777215: use 1 to 16777215",
    "spec.vrf: \"lo\" is reserved for links of the kernel and of perouter (lo, sit0, vni100, pe-100 and the like): use another name",
    "spec.vxlanport: 0 is less than 1: use 1 to 65535",
])]
#[case::no_session(object("L3VNI", "asn: 1, vni: 1, hostSession: {}, toHost: {}, fromHost: {}"), &[
    "spec.fromHost: {SESSION}", "spec.hostSession: {SESSION}", "spec.toHost: {SESSION}",
])]
#[case::ibgp_multihop(l3vni("hostSession: {multihop: {ttl: 0}}"), &[
    "spec.hostSession.multihop: applies to eBGP only: set hostasn to an AS number other than asn, or remove this field",
    "spec.hostSession.multihop.ttl: 0 is less than 1: use 1 to 255",
])]
#[case::same_as_multihop(l3vni("hostasn: 64514, hostSession: {multihop: {}}"), &["spec.hostSession.multihop: applies to eBGP only: set hostasn to an AS number other than asn, or remove this field"])]
#[case::port_with_password(l3vni("hostSession: {listenPort: 180, passwordSecret: {name: a, key: b}}"), &["spec.hostSession.listenPort: 180 is not allowed with passwordSecret, since TCP MD5 authenticates the destination port: let the host connect to port 179 and remove this field, or remove the password"])]
#[case::ttl_of_one_hop(l3vni("hostSession: {bfd: {minimumTTL: 3}}"), &["spec.hostSession.bfd.minimumTTL: applies to multihop sessions only: set multihop as well or remove this field"])]
#[case::host_vrf(l3vni("hostSession: {vrf: -a}"), &["spec.hostSession.vrf: \"-a\" is not a VRF device name: use letters, digits, '-', '_' and '.', starting with a letter or digit"])]
#[case::no_host_vrf(l3vni("hostSession: {vrf: lo}"), &["spec.hostSession.vrf: \"lo\" is not a VRF device: remove the field to leave the host end of the veth pair where it is"])]
#[case::host_timers(l3vni("hostSession: {keepaliveTimeSeconds: 3}"), &["spec.hostSession: holdTimeSeconds and keepaliveTimeSeconds depend on each other: set both or neither"])]
#[case::prefixes(l3vni("fromHost: {allowedPrefixes: [{prefix: 10.0.0.0/8, ge: 7}, {prefix: 10.0.0.0/8, le: 7}, {prefix: 10.0.0.0/8, ge: 24, le: 16}, {prefix: 10.0.0.0/8, le: 33}, {prefix: 10.0.0.1/8}, {prefix: 10.0.0.0}, {ge: 129}], maxPrefixes: 0, localPref: -1}"), &[
    "spec.fromHost.allowedPrefixes[0].ge: 7 is less than the length of `prefix`: use at least that length",
    "spec.fromHost.allowedPrefixes[1].le: 7 is less than the length of `prefix`: use at least that length",
    "spec.fromHost.allowedPrefixes[2].le: 16 is less than `ge`: swap them or remove one",
    "spec.fromHost.allowedPrefixes[3]: `ge` and `le` of an IPv4 prefix are at most 32",
    "spec.fromHost.allowedPrefixes[4].prefix: \"10.0.0.1/8\" has host bits set: write the network address, such as 192.0.2.0/24 or 2001:db8::/64",
    "spec.fromHost.allowedPrefixes[5].prefix: \"10.0.0.0\" is not a prefix: write ADDRESS/LENGTH, such as 192.0.2.0/24 or 2001:db8::/64",
    "spec.fromHost.allowedPrefixes[6].ge: 129 is greater than 128: use 0 to 128",
    "spec.fromHost.allowedPrefixes[6].prefix: is missing: IPv4 or IPv6 prefix, such as `192.0.2.0/24`",
    "spec.fromHost.localPref: -1 is less than 0: use 0 to 4294967295",
    "spec.fromHost.maxPrefixes: 0 is less than 1: use 1 to 4294967295",
])]
#[case::to_fabric(l3vni("toFabric: {aggregates: [{prefix: 10.0.0.0/8}, {prefix: 10.0.0.0/8}], communities: ['1:2', '1:2', '65536:1', no_export, '01:1']}"), &[
    "spec.toFabric.aggregates[1]: \"10.0.0.0/8\" is a duplicate of spec.toFabric.aggregates[0]: remove one of the two",
    "spec.toFabric.communities[1]: \"1:2\" is a duplicate of spec.toFabric.communities[0]: remove one of the two",
    "spec.toFabric.communities[2]: \"65536:1\" {COMMUNITY}",
    "spec.toFabric.communities[3]: \"no_export\" {COMMUNITY}",
    "spec.toFabric.communities[4]: \"01:1\" {COMMUNITY}",
])]
#[case::route_targets(l3vni("routeTargets: {import: ['70000:70000', '10.0.0.1:70000', '1.2.3.400:1', '4294967296:1', 'a:b', 100]}"), &[
    "spec.routeTargets.import[0]: \"70000:70000\" {TARGET}",
    "spec.routeTargets.import[1]: \"10.0.0.1:70000\" {TARGET}",
    "spec.routeTargets.import[2]: \"1.2.3.400:1\" {TARGET}",
    "spec.routeTargets.import[3]: \"4294967296:1\" {TARGET}",
    "spec.routeTargets.import[4]: \"a:b\" {TARGET}",
    "spec.routeTargets.import[5]: 100 is not a string: put it in quotes",
])]
#[case::no_family(object("L3VNI", "asn: 1, vni: 1, localcidr: {}"), &["spec.localcidr: is empty: set ipv4, ipv6 or both"])]
#[case::other_family(object("L3VNI", "asn: 1, vni: 1, localcidr: {ipv4: 'fd00::/64', ipv6: 10.0.0.0/8}"), &[
    "spec.localcidr.ipv4: \"fd00::/64\" is not an IPv4 prefix: write ADDRESS/LENGTH, such as 192.169.10.0/24",
    "spec.localcidr.ipv6: \"10.0.0.0/8\" is not an IPv6 prefix: write ADDRESS/LENGTH, such as 2001:db8:10::/64",
])]
#[case::small_subnets(object("L3VNI", "asn: 1, vni: 1, localcidr: {ipv4: 10.0.0.0/31, ipv6: 'fd00::/127'}"), &[
    "spec.localcidr.ipv4: \"10.0.0.0/31\" is too small for the router and one host: use a prefix length of at most 30, with room for the host of every node",
    "spec.localcidr.ipv6: \"fd00::/127\" is too small for the router and one host: use a prefix length of at most 126, with room for the host of every node",
])]
#[case::types(validate("L3VNI", "{metadata: {name: red}, spec: {asn: 1, vni: 1.5, localcidr: 10.0.0.0/24}, status: {}}"), &[
    "spec.localcidr: \"10.0.0.0/24\" is not a mapping: write its fields below it, one `name: value` on each line",
    "spec.vni: 1.5 is not a whole number: write digits only",
    "status: is not a field: remove it or use one of apiVersion, kind, metadata, spec",
])]
fn an_l3vni_is_rejected(#[case] validated: Validated, #[case] wanted: &[&str]) {
    assert_eq!(validated.unwrap_err(), wanted.iter().map(|text| in_full(text)).collect::<Vec<_>>());
}

const GATEWAY_FORM: &str =
    "is not an address with a prefix length: write ADDRESS/LENGTH, such as 192.0.2.1/24 or 2001:db8::1/64";

#[rstest]
#[case::misspelt_type(object("L2VNI", "vni: 1, hostMaster: {type: Linuxbridge, linuxBridge: {lifecycle: Managed}}"), &[
    "spec.hostMaster.type: \"Linuxbridge\" is not allowed: did you mean LinuxBridge?",
])]
#[case::misspelt_lifecycle(object("L2VNI", "vni: 1, hostMaster: {type: LinuxBridge, linuxBridge: {lifecycle: external}}"), &[
    "spec.hostMaster.linuxBridge.lifecycle: \"external\" is not allowed: did you mean External?",
])]
#[case::type_that_is_near_none(object("L2VNI", "vni: 1, hostMaster: {type: Bridge, linuxBridge: {lifecycle: Managed}}"), &[
    "spec.hostMaster.type: \"Bridge\" is not allowed: use \"LinuxBridge\", \"OVSBridge\"",
])]
#[case::family_between_two(object("L2VNI", "vni: 1, underlayAddressFamily: IPv5"), &[
    "spec.underlayAddressFamily: \"IPv5\" is not allowed: use \"IPv4\", \"IPv6\"",
])]
#[case::missing_bridge(object("L2VNI", "vni: 1, hostMaster: {type: OVSBridge, linuxBridge: {lifecycle: Managed}}"), &[
    "spec.hostMaster.linuxBridge: is not allowed with type OVSBridge: remove it, or set type to LinuxBridge",
    "spec.hostMaster.ovsBridge: is missing: set ovsBridge.lifecycle to Managed, or to External with the name of a bridge of Open vSwitch",
])]
#[case::three_gateways(object("L2VNI", "vni: 0, gatewayIPs: [10.0.0.1/24, 10.0.1.1, 10.0.2.1/24], mtu: 1"), &[
    "spec.gatewayIPs: requires routingDomain, the IP-VRF of the gateways: set routingDomain or remove this field",
    &format!("spec.gatewayIPs[1]: \"10.0.1.1\" {GATEWAY_FORM}"),
    "spec.gatewayIPs[2]: the list has 3 items: use at most 2",
    "spec.mtu: 1 is less than 1280: use 1280 to 65485",
    "spec.vni: 0 is less than 1: use 1 to 16777215",
])]
fn an_l2vni_is_rejected(#[case] validated: Validated, #[case] wanted: &[&str]) {
    assert_eq!(validated.unwrap_err(), wanted);
}

/// Whether a rule is broken as well by a value that is wrong in itself.
#[rstest]
#[case::compared(neighbor("asn: 64514, type: Internal, address: 192.0.2.1"), &[EITHER, "spec.neighbors[0].type: \"Internal\" is not allowed: did you mean internal?"])]
#[case::below_the_rule(underlay("", "{asn: 64514, address: 192.0.2.1, updateSource: VTep}, {asn: 1, address: '2001:db8::1', updateSource: VTEP}"), &[
    "spec.neighbors[0].updateSource: \"VTep\" is not allowed: did you mean VTEP?",
])]
#[case::beside_the_rule(underlay("", "{asn: 0, address: 192.0.2.1}, {asn: 2, address: 192.0.2.1}"), &[
    TWICE, "spec.neighbors[0].asn: 0 is less than 1: use 1 to 4294967295",
])]
fn a_rule_that_compares_a_wrong_value_adds_nothing(#[case] validated: Validated, #[case] wanted: &[&str]) {
    assert_eq!(validated.unwrap_err(), wanted);
}

#[test]
fn a_mapping_that_is_too_large_hides_nothing_else() {
    let labels: Vec<String> = (0..65).map(|n| format!("l{n}: x")).collect();
    let labels = labels.join(", ");
    let found = underlay(&format!(", nodeSelector: {{matchLabels: {{{labels}}}}}, routeridcidr: x"), "").unwrap_err();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "spec.nodeSelector.matchLabels: has 65 entries: use at most 64");
    assert!(found[1].starts_with("spec.routeridcidr: \"x\" is not an IPv4 prefix"), "{found:?}");
}

#[test]
fn defaults_are_those_of_the_api_server() {
    let Ok(Spec::Underlay(spec)) = neighbor("asn: 1, address: 192.0.2.1, ebgpMultiHop: {}") else { panic!() };
    assert_eq!(spec.routeridcidr, "10.0.0.0/24");
    assert_eq!(spec.neighbors[0].ebgp_multi_hop.as_ref().map(|multihop| multihop.ttl), Some(255));
    let Ok(Spec::L3VNI(spec)) = l3vni("") else { panic!() };
    assert_eq!(spec.vxlanport, 4789);
}

/// kube-cel must compile every rule, and none may refer to an unknown variable.
#[test]
fn every_rule_compiles() {
    for kind in Kind::ALL {
        let schema = crds::schema(*kind).unwrap();
        let mut pending = vec![(&schema, String::new())];
        while let Some((node, path)) = pending.pop() {
            for rule in node.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                let text = rule["rule"].as_str().unwrap();
                let warnings = cel::analyze_rule(text, &compile_schema(node), cel::ScopeContext::CrdValidation);
                // The analysis reports the variable of a macro as a free one.
                let costly: Vec<_> = warnings.iter().filter(|w| w.kind != cel::WarningKind::WrongScope).collect();
                assert!(costly.is_empty(), "{kind} {path}: {text}: {costly:?}");
            }
            let properties = node.get("properties").and_then(Value::as_object).into_iter().flatten();
            pending.extend(properties.map(|(name, node)| (node, join_path(&path, name))));
            pending.extend(node.get("items").map(|node| (node, format!("{path}[]"))));
        }
    }
}

fn optional<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    proptest::option::of(value).boxed()
}

fn prefix() -> impl Strategy<Value = String> {
    prop_oneof![
        (any::<u32>(), 0..=32_u8)
            .prop_map(|(bits, length)| ipnet::Ipv4Net::new(bits.into(), length).unwrap().trunc().to_string()),
        (any::<u128>(), 0..=128_u8)
            .prop_map(|(bits, length)| ipnet::Ipv6Net::new(bits.into(), length).unwrap().trunc().to_string()),
        "[0-9./:a]{1,12}",
    ]
}

prop_compose! {
    fn any_l3vni()(
        asn in any::<u32>(),
        vni in 0..=0x0100_0000_u32,
        vrf in optional("[a-z][a-z0-9_-]{0,15}"),
        subnets in optional((optional(prefix()), optional(prefix()))),
        hostasn in optional(any::<u32>()),
        vxlanport in any::<u16>(),
        targets in optional(proptest::collection::vec("[0-9]{1,6}:[0-9]{1,6}|no", 0..3)),
        allowed in optional(proptest::collection::vec((prefix(), optional(0..=128_u8), optional(0..=128_u8)), 0..3)),
        timers in (optional(0..=10_u16), optional(0..=10_u16), optional(any::<u16>()), any::<bool>()),
        (ttl, is_ipv6) in (optional(any::<u8>()), any::<bool>()),
    ) -> L3VNISpec {
        use crate::kind::vni_fields::AddressFamily;
        use crate::kind::{EbgpMultiHop, FromHost, HostSessionSpec, LocalCidr, PrefixRule, RouteTargets};
        L3VNISpec {
            asn, vni, vrf, hostasn, vxlanport,
            underlay_address_family: is_ipv6.then_some(AddressFamily::IPv6),
            localcidr: subnets.map(|(ipv4, ipv6)| LocalCidr { ipv4, ipv6 }),
            node_selector: None,
            route_targets: targets.map(|import| RouteTargets { import, export: Vec::new() }),
            host_session: Some(HostSessionSpec {
                hold_time_seconds: timers.0,
                keepalive_time_seconds: timers.1,
                connect_time_seconds: timers.2,
                passive: timers.3,
                multihop: ttl.map(|ttl| EbgpMultiHop { ttl }),
                ..HostSessionSpec::default()
            }).filter(|_| timers.3),
            from_host: allowed.map(|rules| FromHost {
                allowed_prefixes: Some(rules.into_iter().map(|(prefix, ge, le)| PrefixRule { prefix, ge, le }).collect()),
                ..FromHost::default()
            }),
            to_fabric: None,
            to_host: None,
            host_reverse_path_filter: None,
        }
    }
}

prop_compose! {
    fn any_neighbor()(
        asn in optional(1..=3_u32),
        external in optional(any::<bool>()),
        at in prop_oneof![Just((Some("192.0.2.1".to_owned()), None)), Just((None, Some("eth1".to_owned()))), Just((None, None))],
        port in optional(any::<u16>()),
        timers in optional((0..=10_u16, 0..=10_u16)),
        ttl in optional(any::<u8>()),
        bfd in optional((optional(0..=70_000_u32), optional(any::<u8>()), optional(any::<u8>()), any::<bool>())),
        secret in optional(("[a-z.]{1,4}", "[a-zA-Z._]{1,4}")),
        source in optional(any::<bool>()),
    ) -> crate::kind::NeighborSpec {
        use crate::kind::{BfdSettings, EbgpMultiHop, NeighborSpec, NeighborType, SecretKeyRef, UpdateSource};
        NeighborSpec {
            asn,
            type_: external.map(|external| if external { NeighborType::External } else { NeighborType::Internal }),
            address: at.0,
            interface: at.1,
            port,
            hold_time_seconds: timers.map(|timers| timers.0),
            keepalive_time_seconds: timers.map(|timers| timers.1),
            connect_time_seconds: None,
            password_secret: secret.map(|(name, key)| SecretKeyRef { name, key }),
            ebgp_multi_hop: ttl.map(|ttl| EbgpMultiHop { ttl }),
            update_source: source.map(|vtep| if vtep { UpdateSource::Vtep } else { UpdateSource::Nic }),
            bfd: bfd.map(|(receive_interval, detect_multiplier, minimum_ttl, passive)| BfdSettings {
                receive_interval, transmit_interval: receive_interval, detect_multiplier, passive, minimum_ttl,
            }),
            passive: external == Some(true),
        }
    }
}

fn are_ours(violations: &[Violation]) -> Result<(), TestCaseError> {
    // No rule may fail to evaluate: every message is one of ours.
    for violation in violations {
        prop_assert!(!violation.message.contains("evaluation"), "{violation:?}");
        prop_assert!(
            violation.message.contains(": ") || violation.message.contains(" of an IPv4 prefix "),
            "{violation:?}"
        );
    }
    Ok(())
}

thread_local!(static SCHEMAS: Schemas = Schemas::new().unwrap());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What the schema accepts, the types accept, and nothing is lost in between.
    #[test]
    fn an_l3vni_that_passes_reads_back_the_same(spec in any_l3vni()) {
        let object = json!({"metadata": {"name": "red"}, "spec": serde_json::to_value(&spec).unwrap()});
        rules::tests::as_kube(Kind::L3VNI, &object)?;
        match SCHEMAS.with(|schemas| schemas.validate(Kind::L3VNI, &object)) {
            Ok(read) => prop_assert_eq!(read, Spec::L3VNI(Arc::new(spec))),
            Err(violations) => are_ours(&violations)?,
        }
    }

    #[test]
    fn an_underlay_that_passes_reads_back_the_same(
        asn in 0..=3_u32,
        vtepcidr in prefix(),
        routeridcidr in prop_oneof![Just("10.0.0.0/24".to_owned()), prefix()],
        nics in proptest::collection::vec("[a-z0-9.]{1,16}", 0..3),
        neighbors in proptest::collection::vec(any_neighbor(), 0..3),
        (vtepcidr6, protected_prefixes) in (optional(prefix()), proptest::collection::vec(prefix(), 0..3)),
    ) {
        let spec = UnderlaySpec {
            asn, vtepcidr, vtepcidr6, nics, neighbors, routeridcidr, nic_overrides: vec![], protected_prefixes, graceful_restart: None,
            node_selector: None,
        };
        let object = json!({"metadata": {"name": "underlay"}, "spec": serde_json::to_value(&spec).unwrap()});
        rules::tests::as_kube(Kind::Underlay, &object)?;
        match SCHEMAS.with(|schemas| schemas.validate(Kind::Underlay, &object)) {
            Ok(read) => prop_assert_eq!(read, Spec::Underlay(Arc::new(spec))),
            Err(violations) => are_ours(&violations)?,
        }
    }
}
