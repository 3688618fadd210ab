//! The `links` section: containerlab's short form and its extended form of type veth.
//!
//! In: the YAML of the section and the known nodes. Out: [`VethLink`]s whose ends exist and are used once. It must not
//! depend on the kind of the node at an end.

use std::collections::BTreeMap;

use perouter::source::yaml::YamlNode;

use super::error::{Problem, TopologyError};
use super::model::{DEFAULT_LINK_MTU, Endpoint, InterfaceName, NodeName, NodeSpec, VethLink};
use super::reader::TopologyReader;

/// Fields of a link that only containerlab's own configuration engine and graph read.
const MEANINGLESS: [&str; 2] = ["vars", "labels"];

/// Reads all links and checks them against the nodes and each other.
pub(super) fn read_links(
    reader: &TopologyReader,
    node: &YamlNode,
    nodes: &BTreeMap<NodeName, NodeSpec>,
) -> Result<Vec<VethLink>, TopologyError> {
    let mut used: BTreeMap<(NodeName, InterfaceName), u64> = BTreeMap::new();
    let mut links = Vec::new();
    for item in reader.list("topology.links", node)? {
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

fn read_link(reader: &TopologyReader, node: &YamlNode) -> Result<VethLink, TopologyError> {
    let (mut ends, mut line, mut mtu) = (None, node.line, DEFAULT_LINK_MTU);
    for field in reader.mapping("topology.links[]", node)? {
        match field.key.as_str() {
            "type" => {
                let link_type = reader.text("type", &field.value)?;
                if link_type != "veth" {
                    return Err(reader.error(field.value.line, Problem::UnknownLinkType { link_type }));
                }
            }
            "endpoints" => {
                line = field.line;
                ends = Some(endpoints(reader, &field.value)?);
            }
            "mtu" => mtu = read_mtu(reader, &field.value)?,
            name if MEANINGLESS.contains(&name) => {}
            name => {
                let known = ["endpoints", "labels", "mtu", "type", "vars"];
                return Err(reader.unknown_field(field.line, name, "a link", &known));
            }
        }
    }
    let missing =
        || Problem::MissingField { field: "endpoints", place: "a link".into(), example: r#"["a:eth1", "b:eth1"]"# };
    Ok(VethLink { line, ends: ends.ok_or_else(|| reader.error(node.line, missing()))?, mtu })
}

fn endpoints(reader: &TopologyReader, node: &YamlNode) -> Result<[Endpoint; 2], TopologyError> {
    let ends = reader.list("endpoints", node)?.iter().map(|item| match item.text() {
        Some(short) => short_endpoint(reader, item.line, short),
        None => long_endpoint(reader, item),
    });
    let ends = ends.collect::<Result<Vec<_>, _>>()?;
    let count = ends.len();
    ends.try_into().map_err(|_| reader.error(node.line, Problem::EndpointCount { count }))
}

fn short_endpoint(reader: &TopologyReader, line: u64, endpoint: &str) -> Result<Endpoint, TopologyError> {
    let bad = || reader.error(line, Problem::BadEndpoint { endpoint: endpoint.to_owned() });
    let (node, interface) = endpoint.split_once(':').ok_or_else(bad)?;
    let node = NodeName::new(node).ok_or_else(bad)?;
    Ok(Endpoint { node, interface: reader.interface_name(line, "interface", interface)?, mac: None })
}

fn long_endpoint(reader: &TopologyReader, node: &YamlNode) -> Result<Endpoint, TopologyError> {
    let (mut name, mut interface, mut mac) = (None, None, None);
    for field in reader.mapping("endpoints[]", node)? {
        match field.key.as_str() {
            "node" => name = Some(reader.text("node", &field.value)?),
            "interface" => interface = Some(reader.text("interface", &field.value)?),
            "mac" => mac = Some(reader.text("mac", &field.value)?),
            name => {
                return Err(reader.unknown_field(field.line, name, "an endpoint", &["interface", "mac", "node"]));
            }
        }
    }
    let missing =
        |field, example| reader.error(node.line, Problem::MissingField { field, place: "an endpoint".into(), example });
    let name = name.ok_or_else(|| missing("node", "leafA"))?;
    let interface = interface.ok_or_else(|| missing("interface", "eth1"))?;
    Ok(Endpoint { mac, ..short_endpoint(reader, node.line, &format!("{name}:{interface}"))? })
}

fn read_mtu(reader: &TopologyReader, node: &YamlNode) -> Result<u32, TopologyError> {
    let value = reader.text("mtu", node)?;
    match value.parse() {
        Ok(mtu) if (68..=65535).contains(&mtu) => Ok(mtu),
        _ => Err(reader.error(node.line, Problem::OutOfRange { field: "mtu", value, least: 68, most: 65535 })),
    }
}
