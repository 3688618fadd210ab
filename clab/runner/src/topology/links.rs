//! The `links` section: containerlab's short form and its extended form of type veth.
//!
//! In: the tree of the section and the known nodes. Out: [`Link`]s whose ends exist and are used once. It must not care
//! what kind of node an end belongs to.

use std::collections::BTreeMap;

use super::read::{Reader, list, map, text};
use super::{DEFAULT_LINK_MTU, Endpoint, InterfaceName, Link, NodeName, NodeSpec, Problem, TopologyError};
use crate::yaml::{Tree, Value};

/// Fields of a link that only containerlab's own configuration engine and graph read.
const MEANINGLESS: [&str; 2] = ["vars", "labels"];

/// Reads all links and checks them against the nodes and each other.
pub(super) fn read_links(
    reader: &Reader,
    tree: &Tree,
    nodes: &BTreeMap<NodeName, NodeSpec>,
) -> Result<Vec<Link>, TopologyError> {
    let mut used: BTreeMap<(NodeName, InterfaceName), u64> = BTreeMap::new();
    let mut links = Vec::new();
    for item in list(reader, "topology.links", tree)? {
        let link = read_link(reader, item)?;
        for end in &link.ends {
            let endpoint = format!("{}:{}", end.node, end.interface);
            if !nodes.contains_key(&end.node) {
                let known = nodes.keys().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
                let node = end.node.to_string();
                return Err(reader.error(link.line, Problem::UnknownNode { endpoint, node, known }));
            }
            if let Some(first) = used.insert((end.node.clone(), end.interface.clone()), link.line) {
                return Err(reader.error(link.line, Problem::DuplicateInterface { endpoint, first }));
            }
        }
        links.push(link);
    }
    Ok(links)
}

fn read_link(reader: &Reader, tree: &Tree) -> Result<Link, TopologyError> {
    let (mut ends, mut line, mut mtu) = (None, tree.line, DEFAULT_LINK_MTU);
    for (key, value) in map(reader, "topology.links[]", tree)? {
        match key.name.as_str() {
            "type" => {
                let link_type = text(reader, "type", value)?;
                if link_type != "veth" {
                    return Err(reader.error(value.line, Problem::UnknownLinkType { link_type }));
                }
            }
            "endpoints" => {
                line = key.line;
                ends = Some(endpoints(reader, value)?);
            }
            "mtu" => mtu = read_mtu(reader, value)?,
            name if MEANINGLESS.contains(&name) => {}
            name => {
                let known = ["endpoints", "labels", "mtu", "type", "vars"];
                return Err(reader.unknown_field(key.line, name, "a link", &known));
            }
        }
    }
    let missing =
        || Problem::MissingField { field: "endpoints", place: "a link".into(), example: r#"["a:eth1", "b:eth1"]"# };
    Ok(Link { line, ends: ends.ok_or_else(|| reader.error(tree.line, missing()))?, mtu })
}

fn endpoints(reader: &Reader, tree: &Tree) -> Result<[Endpoint; 2], TopologyError> {
    let ends = list(reader, "endpoints", tree)?.iter().map(|item| match &item.value {
        Value::Text(short) => short_endpoint(reader, item.line, short),
        _ => long_endpoint(reader, item),
    });
    let ends = ends.collect::<Result<Vec<_>, _>>()?;
    let count = ends.len();
    ends.try_into().map_err(|_| reader.error(tree.line, Problem::EndpointCount { count }))
}

fn short_endpoint(reader: &Reader, line: u64, endpoint: &str) -> Result<Endpoint, TopologyError> {
    let bad = || reader.error(line, Problem::BadEndpoint { endpoint: endpoint.to_owned() });
    let (node, interface) = endpoint.split_once(':').ok_or_else(bad)?;
    let node = NodeName::new(node).ok_or_else(bad)?;
    Ok(Endpoint { node, interface: interface_name(reader, line, "interface", interface)?, mac: None })
}

fn long_endpoint(reader: &Reader, tree: &Tree) -> Result<Endpoint, TopologyError> {
    let (mut node, mut interface, mut mac) = (None, None, None);
    for (key, value) in map(reader, "endpoints[]", tree)? {
        match key.name.as_str() {
            "node" => node = Some(text(reader, "node", value)?),
            "interface" => interface = Some(text(reader, "interface", value)?),
            "mac" => mac = Some(text(reader, "mac", value)?),
            name => {
                return Err(reader.unknown_field(key.line, name, "an endpoint", &["interface", "mac", "node"]));
            }
        }
    }
    let missing =
        |field, example| reader.error(tree.line, Problem::MissingField { field, place: "an endpoint".into(), example });
    let node = node.ok_or_else(|| missing("node", "leafA"))?;
    let interface = interface.ok_or_else(|| missing("interface", "eth1"))?;
    Ok(Endpoint { mac, ..short_endpoint(reader, tree.line, &format!("{node}:{interface}"))? })
}

pub(super) fn interface_name(
    reader: &Reader,
    line: u64,
    what: &'static str,
    name: &str,
) -> Result<InterfaceName, TopologyError> {
    let rule = "an interface name has 1 to 15 characters and no `/`, `:` or white space";
    InterfaceName::new(name).ok_or_else(|| reader.error(line, Problem::BadName { what, name: name.to_owned(), rule }))
}

fn read_mtu(reader: &Reader, tree: &Tree) -> Result<u32, TopologyError> {
    let value = text(reader, "mtu", tree)?;
    match value.parse() {
        Ok(mtu) if (68..=65535).contains(&mtu) => Ok(mtu),
        _ => Err(reader.error(tree.line, Problem::OutOfRange { field: "mtu", value, least: 68, most: 65535 })),
    }
}
