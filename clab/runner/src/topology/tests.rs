//! Tables of topologies, valid and invalid.

use super::*;
use std::collections::BTreeMap;
use std::path::Path;

/// The message as the command line prints it: the error and its sources.
fn message(text: &str) -> String {
    match parse_topology(Path::new("lab.clab.yml"), text) {
        Ok(topology) => format!("no error: {topology:?}"),
        Err(error) => format!("{:#}", anyhow::Error::from(error)),
    }
}

fn parse(text: &str) -> Topology {
    parse_topology(Path::new("some/lab.clab.yml"), text).unwrap()
}

#[test]
fn the_lab_of_the_demo_is_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../metallb.clab.yml");
    let topology = read_topology(&file).unwrap();
    let names: Vec<_> = topology.nodes.keys().map(NodeName::as_str).collect();
    let wanted = [
        "hostA_blue",
        "hostA_red",
        "hostB_blue",
        "hostB_red",
        "leafA",
        "leafB",
        "leafkind",
        "pe-kind-control-plane",
        "pe-kind-worker",
        "spine",
    ];
    assert_eq!((topology.lab.as_str(), &names[..]), ("kind", &wanted[..]));
    assert_eq!(topology.long_name(&NodeName::new("hostA_red").unwrap()), "clab-kind-hostA_red");
    assert_eq!(topology.warnings, []);
}

#[test]
fn the_lab_with_two_leaves_is_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dualhomed.clab.yml");
    let topology = read_topology(&file).unwrap();
    assert_eq!((topology.lab.as_str(), topology.nodes.len(), topology.links.len()), ("dualhomed", 6, 6));
    assert_eq!(topology.warnings, []);
}

#[test]
fn a_node_inherits_from_its_group_its_kind_and_the_defaults() {
    let topology = parse(
        r#"
name: merge
topology:
  defaults:
    kind: linux
    env: {A: 1, B: two}
    binds: ["all:/all", "all:/shared"]
    exec: ["echo all"]
  kinds:
    linux: {image: "quay.io/frrouting/frr:9", exec: [echo linux]}
  groups:
    leaf: {binds: ["leaf:/shared:ro"], cmd: "sleep 'a b'"}
  nodes:
    a: {group: leaf, env: {B: own}, exec: ["sh -c 'echo own'"]}
    b:
    c: {kind: ext-container, group: other}
"#,
    );
    let [a, b, c] = ["a", "b", "c"].map(|name| &topology.nodes[name]);
    let words = |text: &str| text.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
    let own = ["sh", "-c", "echo own"].map(ToOwned::to_owned).to_vec();
    assert_eq!(a.exec, [words("echo all"), words("echo linux"), own]);
    assert_eq!(b.exec, [words("echo all"), words("echo linux")]);
    assert_eq!(a.cmd, Some(vec!["sleep".to_owned(), "a b".to_owned()]));
    assert_eq!(a.env, BTreeMap::from([("A".into(), "1".into()), ("B".into(), "own".into())]));
    let binds = |node: &NodeSpec| {
        let bind = |bind: &Bind| format!("{}:{}:{}", bind.source.display(), bind.target.display(), bind.read_only);
        node.binds.iter().map(bind).collect::<Vec<_>>()
    };
    assert_eq!(binds(a), ["all:/all:false", "leaf:/shared:true"]);
    assert_eq!(binds(b), ["all:/all:false", "all:/shared:false"]);
    assert_eq!(a.image.as_ref().map(|image| image.name.as_str()), Some("quay.io/frrouting/frr:9"));
    assert_eq!((c.kind, &c.image), (NodeKind::ExtContainer, &None));
    assert_eq!(topology.folder, Path::new("some"));
}

#[test]
fn the_prefix_is_part_of_the_long_name() {
    let table =
        [("", "clab-t-a"), ("prefix: lab\n", "lab-t-a"), ("prefix: ''\n", "a"), ("prefix: __lab-name\n", "t-a")];
    for (prefix, long_name) in table {
        let topology = parse(&format!("name: t\n{prefix}topology:\n  nodes:\n    a: {{kind: ext-container}}\n"));
        assert_eq!(topology.long_name(&NodeName::new("a").unwrap()), long_name);
    }
}

#[test]
fn both_forms_of_a_link_are_read() {
    let topology = parse(
        r#"
name: t
topology:
  nodes: {a: {kind: ext-container}, b: {kind: bridge}}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
    - type: veth
      mtu: 1400
      endpoints:
        - {node: a, interface: eth2, mac: "02:00:00:00:00:01"}
        - {node: b, interface: eth2}
"#,
    );
    let end = |node: &str, interface: &str, mac: Option<&str>| Endpoint {
        node: NodeName::new(node).unwrap(),
        interface: InterfaceName::new(interface).unwrap(),
        mac: mac.map(ToOwned::to_owned),
    };
    let short = VethLink { line: 6, ends: [end("a", "eth1", None), end("b", "eth1", None)], mtu: DEFAULT_LINK_MTU };
    let mac = Some("02:00:00:00:00:01");
    let long = VethLink { line: 9, ends: [end("a", "eth2", mac), end("b", "eth2", None)], mtu: 1400 };
    assert_eq!(topology.links, [short, long]);
}

#[test]
fn a_field_without_effect_is_a_warning_with_its_line() {
    let topology = parse(
        "name: t\nmgmt: {network: x}\ntopology:\n  nodes:\n    a:\n      kind: ext-container\n      ports: ['80:80']\n      labels: {x: y}\n",
    );
    let warnings: Vec<_> = topology.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["some/lab.clab.yml:7: `topology.nodes.a.ports` has no effect in this runner"]);
}

const NODES: &str = "name: t
topology:
  nodes:
    a: {kind: ext-container}
    b: {kind: ext-container}
  links:
";

#[test]
fn an_error_in_a_file_has_line_and_remedy() {
    let table = [
        ("topology: {nodes: {}}\n", "lab.clab.yml:1: the file has no `name`; add `name: mylab`"),
        ("name: t\n", "lab.clab.yml:1: the file has no `topology`; add `topology: {nodes: {…}}`"),
        (
            "name: a/b\ntopology: {nodes: {}}\n",
            "lab.clab.yml:1: lab `a/b` cannot be used; use letters, digits, `-`, `_` and `.`, a letter or digit first, \
             at most 63 characters",
        ),
        (
            "name: t\ntopologie: {}\n",
            "lab.clab.yml:2: unknown field `topologie` in the file; known are mgmt, name, prefix, settings, topology",
        ),
        ("name: t\ntopology:\n- x\n", "lab.clab.yml:3: `topology` must be a mapping, but it is a list"),
        (
            "name: t\ntopology:\n  nodes:\n    a:\n      image: x\n",
            "lab.clab.yml:4: node `a` has no `kind`; add `kind: linux`",
        ),
        (
            "name: t\ntopology:\n  nodes:\n    a:\n      kind: linux\n",
            "lab.clab.yml:4: node `a` has no `image`; add `image: quay.io/frrouting/frr:9.1.0`",
        ),
        (
            "name: t\ntopology:\n  nodes:\n    a:\n      kind: srl\n",
            "lab.clab.yml:5: node `a`: kind `srl` cannot run as namespaces; use linux, ext-container or bridge",
        ),
        (
            "name: t\ntopology:\n  nodes:\n    a:\n      kind: linux\n      image: ceos:1\n",
            "lab.clab.yml:6: node `a`: image `ceos:1` is not supported; use one of quay.io/frrouting/frr, \
             docker.io/frrouting/frr, frrouting/frr, ghcr.io/srl-labs/network-multitool, wbitt/network-multitool, \
             praqma/network-multitool, nicolaka/netshoot, ghcr.io/nicolaka/netshoot",
        ),
        (
            "name: t\ntopology:\n  nodes:\n    'a b': {kind: bridge}\n",
            "lab.clab.yml:4: node `a b` cannot be used; use letters, digits, `-`, `_` and `.`, a letter or digit first, \
             at most 63 characters",
        ),
    ];
    for (text, wanted) in table {
        assert_eq!(message(text), wanted, "{text}");
    }
}

#[test]
fn an_error_in_a_node_has_line_and_remedy() {
    let table = [
        (
            "name: t\ntopology:\n  nodes:\n    a-very-long-bridge: {kind: bridge}\n",
            "lab.clab.yml:4: bridge `a-very-long-bridge` cannot be used; an interface name has 1 to 15 characters and \
             no `/`, `:` or white space",
        ),
        (
            "name: t\ntopology:\n  nodes:\n    a:\n      kind: ext-container\n      binds:\n      - x:y\n",
            "lab.clab.yml:7: bind `x:y` is not SOURCE:TARGET[:ro]; the target is an absolute path in the node",
        ),
        (
            "name: t\ntopology:\n  nodes:\n    a:\n      kind: ext-container\n      exec: [\"sh -c 'x\"]\n",
            "lab.clab.yml:6: unclosed quote in `sh -c 'x`; close it",
        ),
        (
            "name: t\ntopology:\n  nodes:\n    a:\n      kind: ext-container\n      exec: []\n",
            "lab.clab.yml:6: `topology.nodes.a.exec` must be a list with at least one entry, but it is nothing",
        ),
        (
            "name: t\ntopology:\n  nodes:\n    a:\n      kind: ext-container\n      env: {X: true}\n",
            "lab.clab.yml:6: `topology.nodes.a.env.X` must be a string or a number, but it is a boolean",
        ),
    ];
    for (text, wanted) in table {
        assert_eq!(message(text), wanted, "{text}");
    }
}

#[test]
fn an_error_in_a_link_has_line_and_remedy() {
    let table = [
        (
            "  - endpoints: [a:eth1, c:eth1]\n",
            "lab.clab.yml:7: endpoint `c:eth1` refers to node `c`, which is not in `topology.nodes`; known are a, b",
        ),
        (
            "  - endpoints: [a:eth1, b:eth1]\n  - endpoints: [b:eth1, a:eth2]\n",
            "lab.clab.yml:8: interface `b:eth1` is already used by the link in line 7; rename one of them",
        ),
        (
            "  - endpoints: [a:eth1, a:eth1]\n",
            "lab.clab.yml:7: interface `a:eth1` is already used by the link in line 7; rename one of them",
        ),
        (
            "  - endpoints: [a:eth1, beth1]\n",
            "lab.clab.yml:7: endpoint `beth1` is not NODE:INTERFACE; write it as \"leafA:eth1\"",
        ),
        ("  - endpoints: [a:eth1]\n", "lab.clab.yml:7: a link has two endpoints, this one has 1"),
        (
            "  - endpoints: [a:eth1, b:sixteen-letters1]\n",
            "lab.clab.yml:7: interface `sixteen-letters1` cannot be used; an interface name has 1 to 15 characters and \
             no `/`, `:` or white space",
        ),
        (
            "  - type: macvlan\n    endpoints: [a:eth1, b:eth1]\n",
            "lab.clab.yml:7: link type `macvlan` is not supported by this runner; use veth",
        ),
        ("  - mtu: 9\n    endpoints: [a:eth1, b:eth1]\n", "lab.clab.yml:7: `mtu` is 9; it must be from 68 to 65535"),
        (
            "  - endpoints: [a:eth1, b:eth1]\n    color: red\n",
            "lab.clab.yml:8: unknown field `color` in a link; known are endpoints, labels, mtu, type, vars",
        ),
        ("  - vars: {}\n", "lab.clab.yml:7: a link has no `endpoints`; add `endpoints: [\"a:eth1\", \"b:eth1\"]`"),
    ];
    for (links, wanted) in table {
        assert_eq!(message(&(NODES.to_owned() + links)), wanted, "{links}");
    }
}

#[test]
fn a_field_that_the_schema_does_not_have_is_an_error() {
    let text = "name: t\ntopology:\n  nodes:\n    a:\n      kind: linux\n      img: x\n";
    let wanted = "lab.clab.yml:6: unknown field `img` in topology.nodes.a; known are SANs, auto-remove, binds, ";
    assert!(message(text).starts_with(wanted), "{}", message(text));
}

#[test]
fn a_file_that_is_not_yaml_is_an_error_with_its_line() {
    let wanted = "lab.clab.yml:3: not valid YAML: ";
    for text in ["name: t\nx:\n  - [\n", "name: t\nprefix: x\nname: u\n"] {
        assert!(message(text).starts_with(wanted), "{}", message(text));
    }
    let missing = read_topology(Path::new("no/such.clab.yml")).unwrap_err();
    let wanted = "no/such.clab.yml: cannot read the file: No such file or directory (os error 2)";
    assert_eq!(format!("{:#}", anyhow::Error::from(missing)), wanted);
}

#[test]
fn a_file_is_one_document() {
    assert_eq!(message(""), "lab.clab.yml:1: the file has no `name`; add `name: mylab`");
    let wanted = "lab.clab.yml:4: a second YAML document; a topology is one document: move it to another file";
    assert_eq!(message("name: t\ntopology: {nodes: {}}\n---\nname: u\n"), wanted);
}

#[test]
fn quotes_group_words_and_nothing_is_expanded() {
    let table: [(&str, Option<&[&str]>); 6] = [
        ("ip  link set eth1 up", Some(&["ip", "link", "set", "eth1", "up"])),
        (r#"sh -c "echo $HOME 'x y'""#, Some(&["sh", "-c", "echo $HOME 'x y'"])),
        (r#"a\ b '' "q\"q""#, Some(&["a b", "", "q\"q"])),
        ("'it''s'", Some(&["its"])),
        ("", Some(&[])),
        ("sh -c 'x", None),
    ];
    for (command, words) in table {
        let quoted = serde_json::to_string(command).unwrap();
        let text = format!("name: t\ntopology:\n  nodes:\n    a: {{kind: ext-container, exec: [{quoted}]}}\n");
        let exec = parse_topology(Path::new("t"), &text).map(|topology| topology.nodes["a"].exec[0].clone());
        let expected = words.map(|words| words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(exec.ok(), expected, "{command}");
    }
}
