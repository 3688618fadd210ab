//! The definitions on a real API server: it accepts them without a warning, rejects with their messages what their rules forbid,
//! and accepts and rejects the same objects as [`Schemas::validate`]. `tests/kubernetes/rejections.txt` has the messages of both,
//! case by case; `PEROUTER_UPDATE=1` rewrites it.

#![allow(clippy::unwrap_used, reason = "a test file")]

mod kubernetes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use kubernetes::control_plane;
use perouter::kind::Kind;
use perouter::source::Schemas;
use perouter_lab::kubernetes::{Kubectl, Options};
use serde_json::{Value, json};

type Case = (&'static str, Kind, String);

fn named(name: &'static str, kind: Kind, object: &str, spec: &str) -> Case {
    (name, kind, format!("{{metadata: {{name: {object}, namespace: default}}, spec: {{{spec}}}}}"))
}

/// An Underlay with these fields besides the required ones, or in place of them.
fn underlay(name: &'static str, spec: &str) -> Case {
    let default = |field: &str, text: &str| {
        if spec.contains(field) { String::new() } else { format!("{text}, ") }
    };
    let (vtep, nics) = (default("vtepcidr", "vtepcidr: 100.65.0.0/24"), default("nics", "nics: [eth1]"));
    named(name, Kind::Underlay, "u", &format!("asn: 64514, {vtep}{nics}{spec}"))
}

fn neighbor(name: &'static str, fields: &str) -> Case {
    underlay(name, &format!("neighbors: [{{{fields}}}]"))
}

fn l3vni(name: &'static str, spec: &str) -> Case {
    let subnet = if spec.contains("localcidr") { "" } else { "localcidr: {ipv4: 192.169.10.0/24}, " };
    named(name, Kind::L3VNI, "red", &format!("asn: 64514, vni: 100, {subnet}{spec}"))
}

/// An L3VNI without a subnet.
fn routed(name: &'static str, spec: &str) -> Case {
    named(name, Kind::L3VNI, "red", &format!("asn: 64514, vni: 100, {spec}"))
}

fn accepted() -> Vec<Case> {
    vec![
        underlay("least", ""),
        underlay("IPv6 VTEP", "vtepcidr: '2001:db8::/64'"),
        underlay("VTEPs of both families", "vtepcidr: 100.65.0.0/24, vtepcidr6: '2001:db8::/64'"),
        underlay("null is absent", "routeridcidr: null"),
        underlay(
            "protected prefixes of both families",
            "protectedPrefixes: [10.96.0.0/12, 'fd00:96::/112', 192.0.2.1/32]",
        ),
        neighbor("no keepalives", "asn: 1, address: 192.0.2.1, holdTimeSeconds: 0, keepaliveTimeSeconds: 0"),
        neighbor("IPv4 link-local peer", "asn: 1, address: 169.254.0.1"),
        neighbor("unnumbered", "type: external, interface: eth1, port: 1179, bfd: {}"),
        neighbor(
            "multihop of unknown AS",
            "type: external, address: 192.0.2.1, ebgpMultiHop: {}, bfd: {minimumTTL: 250}",
        ),
        neighbor("minimum TTL of iBGP", "type: internal, address: 192.0.2.1, bfd: {minimumTTL: 250}"),
        routed("without host session", ""),
        l3vni("both families", "localcidr: {ipv4: 10.0.0.0/30, ipv6: 'fd00::/126'}"),
        l3vni("host multihop", "hostasn: 1, hostSession: {multihop: {ttl: 2}, bfd: {minimumTTL: 254}}"),
        l3vni(
            "host with another port and address",
            "hostasn: 1, hostSession: {port: 180, sourceAddress: {ipv4: 10.9.0.7}}, toHost: {asOverride: true}",
        ),
        l3vni("over IPv6", "underlayAddressFamily: IPv6"),
        l3vni("pool of sources", "hostSession: {listenPort: 180, sourceAddress: {ipv4: 10.9.0.0/24}}"),
        l3vni("nothing allowed", "fromHost: {allowedPrefixes: []}, toHost: {allowedPrefixes: []}"),
        l3vni(
            "lengths",
            "toHost: {allowedPrefixes: [{prefix: 10.0.0.0/8, ge: 8, le: 32}, {prefix: 'fd00::/8', le: 128}]}",
        ),
        l3vni("communities", "toFabric: {communities: ['0:65535', local-AS, blackhole]}"),
        l3vni(
            "route targets",
            "routeTargets: {import: ['1:4294967295', '4294967295:1', '10.0.0.1:65535'], export: []}",
        ),
        named("a long name beside a VRF name", Kind::L3VNI, "a-name-of-seventeen.x", "asn: 1, vni: 1, vrf: red_1"),
    ]
}

fn rejected_underlays() -> Vec<Case> {
    vec![
        named("empty", Kind::Underlay, "u", ""),
        underlay("VTEP pool is no prefix", "vtepcidr: 100.65.0.0"),
        underlay("VTEP pool has host bits", "vtepcidr: 100.65.0.1/24"),
        underlay("VTEP pool is multicast", "vtepcidr: 224.0.0.0/24"),
        underlay("second VTEP pool is of IPv4", "vtepcidr: 100.65.0.0/24, vtepcidr6: 100.66.0.0/24"),
        underlay("second VTEP pool has host bits", "vtepcidr: 100.65.0.0/24, vtepcidr6: '2001:db8::1/64'"),
        underlay("second VTEP pool is multicast", "vtepcidr: 100.65.0.0/24, vtepcidr6: 'ff02::/64'"),
        underlay("two IPv6 VTEP pools", "vtepcidr: '2001:db8::/64', vtepcidr6: '2001:db8:1::/64'"),
        underlay(
            "protected prefixes",
            "protectedPrefixes: [10.96.0.0/12, 10.96.0.1/12, x, '::/0', 0.0.0.0/0, 10.96.0.0/12]",
        ),
        underlay("router ids of IPv6", "routeridcidr: '2001:db8::/64'"),
        underlay("router ids with host bits", "routeridcidr: 10.0.0.1/24"),
        underlay("no NIC", "nics: []"),
        underlay("NIC is no name", "nics: [a/b]"),
        underlay("NIC is loopback", "nics: [lo]"),
        underlay("NIC is a link of the router", "nics: [host-7]"),
        underlay("NIC twice", "nics: [eth1, eth1]"),
        underlay("NIC name too long", "nics: [waytoolongnameofnic]"),
        underlay("selector", "nodeSelector: {matchExpressions: [{key: a, operator: In}]}"),
        underlay("operator", "nodeSelector: {matchExpressions: [{key: a, operator: exists}]}"),
        underlay("restart time", "gracefulRestart: {restartTimeSeconds: 0, stalePathTimeSeconds: 4096}"),
        underlay(
            "same peer twice",
            "neighbors: [{asn: 1, address: '2001:db8::1'}, {asn: 2, address: '2001:DB8:0::1'}]",
        ),
        underlay("unknown field", "vtepcird: 10.0.0.0/8, vtepcidr: 10.0.0.0/8"),
        neighbor("neither asn nor type", "address: 192.0.2.1"),
        neighbor("nowhere", "asn: 1"),
        neighbor("AS number zero", "asn: 0, address: 192.0.2.1"),
        neighbor("AS number in quotes", "asn: '1', address: 192.0.2.1"),
        neighbor("type in another case", "type: Internal, address: 192.0.2.1"),
        neighbor("peer is a prefix", "asn: 1, address: 192.0.2.1/24"),
        neighbor("peer is multicast", "asn: 1, address: 224.0.0.5"),
        neighbor("interface is no name", "asn: 1, interface: a/b"),
        neighbor("interface is loopback", "asn: 1, interface: lo"),
        neighbor("hold time alone", "asn: 1, address: 192.0.2.1, holdTimeSeconds: 9"),
        neighbor("short hold time", "asn: 1, address: 192.0.2.1, holdTimeSeconds: 2, keepaliveTimeSeconds: 1"),
        neighbor("long keepalive", "asn: 1, address: 192.0.2.1, holdTimeSeconds: 9, keepaliveTimeSeconds: 10"),
        neighbor("no keepalive", "asn: 1, address: 192.0.2.1, holdTimeSeconds: 9, keepaliveTimeSeconds: 0"),
        neighbor("unnumbered and far", "asn: 1, interface: eth1, ebgpMultiHop: {}"),
        neighbor("internal and far", "type: internal, address: 192.0.2.1, ebgpMultiHop: {}"),
        neighbor("own AS and far", "asn: 64514, address: 192.0.2.1, ebgpMultiHop: {}"),
        neighbor("source without a VTEP", "asn: 1, address: '2001:db8::1', updateSource: VTEP"),
        neighbor("unnumbered from the VTEP", "asn: 1, interface: eth1, updateSource: VTEP"),
        neighbor("minimum TTL of one hop", "asn: 1, address: 192.0.2.1, bfd: {minimumTTL: 250}"),
        neighbor("Secret is no name", "asn: 1, address: 192.0.2.1, passwordSecret: {name: A_b, key: x}"),
        neighbor("key is no key", "asn: 1, address: 192.0.2.1, passwordSecret: {name: a, key: ../x}"),
    ]
}

fn rejected_l3vnis() -> Vec<Case> {
    let prefixes =
        |rules: &str| format!("fromHost: {{allowedPrefixes: [{rules}]}}, toHost: {{allowedPrefixes: [{rules}]}}");
    vec![
        named("name is no VRF name", Kind::L3VNI, "a-name-of-sixteen", "asn: 1, vni: 1"),
        named("reserved name", Kind::L3VNI, "default", "asn: 1, vni: 1"),
        routed("VRF is no name", "vrf: 1a"),
        routed("VRF is reserved", "vrf: lo"),
        routed("VRF is a link of the router", "vrf: pe-100"),
        routed("numbers", "hostasn: 0, vxlanport: 0"),
        routed("family in lower case", "underlayAddressFamily: ipv6"),
        routed("host session without subnet", "hostSession: {}"),
        routed("filter without subnet", "fromHost: {}"),
        routed("filter to the host without subnet", "toHost: {}"),
        routed("source filter without subnet", "hostReversePathFilter: Strict"),
        l3vni("no family", "localcidr: {}"),
        l3vni("the other family", "localcidr: {ipv4: 'fd00::/64', ipv6: 10.0.0.0/8}"),
        l3vni("subnets with host bits", "localcidr: {ipv4: 10.0.0.1/24, ipv6: 'fd00::1/64'}"),
        l3vni("class E and loopback subnets", "localcidr: {ipv4: 240.1.0.0/24, ipv6: '::/64'}"),
        l3vni("broadcast subnet", "localcidr: {ipv4: 255.255.255.0/24}"),
        l3vni("subnet around loopback", "localcidr: {ipv4: 126.0.0.0/7}"),
        l3vni("multicast subnets", "localcidr: {ipv4: 224.0.0.0/24, ipv6: 'ff02::/64'}"),
        l3vni("small subnets", "localcidr: {ipv4: 10.0.0.0/31, ipv6: 'fd00::/127'}"),
        l3vni("iBGP multihop", "hostSession: {multihop: {}}"),
        l3vni("minimum TTL of one hop", "hostSession: {bfd: {minimumTTL: 3}}"),
        l3vni("signed second port", "hostSession: {listenPort: 180, passwordSecret: {name: a, key: b}}"),
        l3vni("iBGP as-override", "toHost: {asOverride: true}"),
        l3vni("no source address", "hostSession: {sourceAddress: {}}"),
        l3vni("source of the other family", "hostSession: {sourceAddress: {ipv4: 'fd00::7', ipv6: 10.9.0.0/24}}"),
        l3vni("source with host bits", "hostSession: {sourceAddress: {ipv4: 10.9.0.1/24, ipv6: 'fd00::1/64'}}"),
        l3vni("multicast sources", "hostSession: {sourceAddress: {ipv4: 224.0.0.0/24, ipv6: 'ff02::/64'}}"),
        l3vni("multicast source", "hostSession: {sourceAddress: {ipv4: 224.0.0.5, ipv6: 'ff02::5'}}"),
        routed("source without subnet", "hostSession: {sourceAddress: {ipv4: 10.9.0.7, ipv6: 'fd00::7'}}"),
        l3vni("keepalive alone", "hostSession: {keepaliveTimeSeconds: 3}"),
        l3vni("short hold time", "hostSession: {holdTimeSeconds: 2, keepaliveTimeSeconds: 1}"),
        l3vni("long keepalive", "hostSession: {holdTimeSeconds: 9, keepaliveTimeSeconds: 10}"),
        l3vni("no keepalive", "hostSession: {holdTimeSeconds: 9, keepaliveTimeSeconds: 0}"),
        l3vni("Secret is no name", "hostSession: {passwordSecret: {name: A_b, key: x}}"),
        l3vni("key is no key", "hostSession: {passwordSecret: {name: a, key: ..}}"),
        l3vni("VRF of the host is no name", "hostSession: {vrf: -a}"),
        l3vni("VRF of the host is reserved", "hostSession: {vrf: default}"),
        l3vni("selector", "nodeSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}"),
        l3vni("allowed: short ge", &prefixes("{prefix: 10.0.0.0/8, ge: 7}")),
        l3vni("allowed: short le", &prefixes("{prefix: 10.0.0.0/8, le: 7}")),
        l3vni("allowed: ge over le", &prefixes("{prefix: 10.0.0.0/8, ge: 24, le: 16}")),
        l3vni("allowed: length of IPv6", &prefixes("{prefix: 10.0.0.0/8, le: 33}")),
        l3vni("allowed: host bits", &prefixes("{prefix: 10.0.0.1/8}")),
        l3vni("allowed: no prefix", &prefixes("{prefix: 10.0.0.0}")),
        l3vni("aggregate is no prefix", "toFabric: {aggregates: [{prefix: 10.0.0.0}]}"),
        l3vni("aggregate with host bits", "toFabric: {aggregates: [{prefix: 10.0.0.1/8}]}"),
        l3vni("aggregate twice", "toFabric: {aggregates: [{prefix: 10.0.0.0/8}, {prefix: 10.0.0.0/8}]}"),
        l3vni("no community", "toFabric: {communities: ['65536:1']}"),
        l3vni("no route targets", "routeTargets: {import: ['70000:70000'], export: [a]}"),
    ]
}

/// What kubectl prints for an object that the server validates; empty if it is accepted.
fn validated_by_server(kubectl: &Kubectl, object: &Value) -> String {
    let output = kubectl.run_with_input(&["create", "--dry-run=server", "-f", "-"], &object.to_string()).unwrap();
    assert!(!output.stderr.contains("Warning"), "{}", output.stderr);
    assert_eq!(output.success(), output.stderr.is_empty(), "{}", output.stderr);
    output.stderr
}

fn object((_, kind, text): &Case) -> Value {
    let mut object: Value = serde_saphyr::from_str(text).unwrap();
    object["apiVersion"] = json!("openpe.openperouter.github.io/v1alpha1");
    object["kind"] = json!(format!("{kind:?}"));
    object
}

/// Lines such as `* spec.vrf: Invalid value: "1a": is not a VRF name: …` as field and the rest.
fn causes(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let from = line.find("spec")?;
        let (field, rest) = line.get(from..)?.split_once(": ")?;
        Some((field.to_owned(), rest.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// The API server lists the causes of one rejection in any order.
fn in_order(output: &str) -> Vec<&str> {
    let (mut causes, mut lines): (Vec<&str>, Vec<&str>) = output.lines().partition(|line| line.starts_with("* "));
    causes.sort_unstable();
    lines.extend(causes);
    lines
}

/// Every rule of the definitions: kind, field without indices, message.
fn rules() -> BTreeSet<(String, String, String)> {
    fn walk(kind: &str, node: &Value, path: &str, found: &mut BTreeSet<(String, String, String)>) {
        for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let field = format!("{path}{}", rule["fieldPath"].as_str().unwrap_or_default());
            let message = rule["message"].as_str().unwrap().to_owned();
            found.insert((kind.to_owned(), field.trim_start_matches('.').to_owned(), message));
        }
        for (name, node) in node["properties"].as_object().into_iter().flatten() {
            walk(kind, node, &format!("{path}.{name}"), found);
        }
        if let Some(items) = node.get("items") {
            walk(kind, items, &format!("{path}[]"), found);
        }
    }
    let mut found = BTreeSet::new();
    for kind in [Kind::Underlay, Kind::L3VNI] {
        let schema = perouter::kind::crds::schema(kind).unwrap();
        walk(&format!("{kind:?}"), &schema, "", &mut found);
    }
    found
}

fn without_indices(field: &str) -> String {
    let mut text = String::new();
    for part in field.split_inclusive('[') {
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text
}

fn objects_of_examples() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for dir in fs::read_dir("examples").unwrap() {
        let file = dir.unwrap().path().join("openpe.yaml");
        let text = fs::read_to_string(&file).unwrap();
        for (index, document) in text.split("\n---\n").enumerate() {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            let ours = object["apiVersion"] == "openpe.openperouter.github.io/v1alpha1";
            if ours {
                found.insert(format!("{} {index}", file.display()), object);
            }
        }
    }
    found
}

#[test]
fn kustomization_names_every_definition() {
    let text = fs::read_to_string("crds/kustomization.yaml").unwrap();
    let kustomization: Value = serde_saphyr::from_str(&text).unwrap();
    let mut files: Vec<String> =
        fs::read_dir("crds").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    files.retain(|name| name != "kustomization.yaml");
    files.sort();
    assert_eq!(kustomization["resources"], json!(files));
}

/// One API server for all cases: starting one takes longer than they do.
#[test]
fn the_api_server_accepts_and_rejects_as_the_directory_source_does() {
    let Some(plane) = control_plane(Options::on_machine()) else { return };
    let kubectl = plane.kubectl();
    let applied = kubectl.run(&["apply", "--server-side", "-k", "crds"]).unwrap();
    assert!(applied.success(), "{}", applied.stderr);
    assert_eq!(applied.stderr, "", "the definitions are accepted without a warning");
    kubectl.check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
    kubectl.check(&["create", "namespace", "openperouter-system"]).unwrap();

    let schemas = Schemas::new().unwrap();
    for (name, object) in objects_of_examples() {
        assert_eq!(validated_by_server(&kubectl, &object), "", "{name}");
    }
    for case in accepted() {
        assert_eq!(validated_by_server(&kubectl, &object(&case)), "", "{}", case.0);
        assert_eq!(schemas.validate(case.1, &object(&case)).err(), None, "{}", case.0);
    }

    let (mut table, mut rules) = (String::new(), rules());
    for case in rejected_underlays().into_iter().chain(rejected_l3vnis()) {
        let output = validated_by_server(&kubectl, &object(&case));
        let violations = schemas.validate(case.1, &object(&case)).expect_err(case.0);
        assert_ne!(output, "", "{}: only the directory source rejects it: {violations:?}", case.0);
        writeln!(table, "{:?}: {}", case.1, case.0).unwrap();
        for line in in_order(&output) {
            writeln!(table, "  API server: {line}").unwrap();
        }
        for violation in &violations {
            writeln!(table, "  perouter:   {}: {}", violation.field, violation.message).unwrap();
        }
        for (field, text) in causes(&output) {
            let by_us = violations.iter().any(|violation| violation.field == field);
            assert!(by_us || text.starts_with("Required"), "{}: only the API server rejects {field}\n{table}", case.0);
            let kind = format!("{:?}", case.1);
            rules.retain(|(k, f, message)| {
                *k != kind || *f != without_indices(&field) || !text.ends_with(message.as_str())
            });
        }
    }
    let file = Path::new("tests/kubernetes/rejections.txt");
    if std::env::var_os("PEROUTER_UPDATE").is_some_and(|value| value == "1") {
        fs::write(file, &table).unwrap();
    }
    assert_eq!(rules, BTreeSet::new(), "rules without a case");
    let wanted = fs::read_to_string(file).unwrap();
    let differs = similar::TextDiff::from_lines(&wanted, &table).unified_diff().to_string();
    assert!(differs.is_empty(), "PEROUTER_UPDATE=1 rewrites {}\n{differs}", file.display());
}
