//! A topology as a graph.
//!
//! In: a topology. Out: text, Mermaid or Graphviz. It must not access running labs.

use std::fmt::Write as _;

use crate::topology::{NodeName, NodeSpec, Topology};

/// Format of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// A list for the terminal
    Text,
    /// Mermaid, as in Markdown
    Mermaid,
    /// Graphviz
    Dot,
}

/// Draws the topology.
pub fn draw(topology: &Topology, style: Style) -> String {
    match style {
        Style::Text => text(topology),
        Style::Mermaid => mermaid(topology),
        Style::Dot => dot(topology),
    }
}

fn text(topology: &Topology) -> String {
    let mut drawing = format!("lab {}\n", topology.lab);
    for (name, spec) in &topology.nodes {
        let _ = writeln!(drawing, "  {name} ({})", description(spec));
        for (own, other) in ends_of(topology, name) {
            let _ = writeln!(drawing, "    {own} -- {other}");
        }
    }
    drawing
}

/// Every end of a link at the node, with the other end as `node:interface`.
fn ends_of<'t>(topology: &'t Topology, name: &'t NodeName) -> impl Iterator<Item = (String, String)> + 't {
    let both = topology.links.iter().flat_map(|link| {
        let [a, b] = &link.ends;
        [(a, b), (b, a)]
    });
    both.filter(move |(own, _)| own.node == *name)
        .map(|(own, other)| (own.interface.to_string(), format!("{}:{}", other.node, other.interface)))
}

fn description(spec: &NodeSpec) -> String {
    match &spec.image {
        Some(image) => format!("{}, {}", spec.kind, image.name),
        None => spec.kind.as_str().to_owned(),
    }
}

fn mermaid(topology: &Topology) -> String {
    let mut drawing = "graph TD\n".to_owned();
    let key = |name: &NodeName| topology.nodes.keys().position(|known| known == name).unwrap_or_default();
    for name in topology.nodes.keys() {
        let _ = writeln!(drawing, "  n{}[\"{name}\"]", key(name));
    }
    for link in &topology.links {
        let [a, b] = &link.ends;
        let (from, to) = (key(&a.node), key(&b.node));
        let _ = writeln!(drawing, "  n{from} ---|\"{} · {}\"| n{to}", a.interface, b.interface);
    }
    drawing
}

fn dot(topology: &Topology) -> String {
    let mut drawing = format!("graph \"{}\" {{\n  node [shape=box];\n", topology.lab);
    for name in topology.nodes.keys() {
        let _ = writeln!(drawing, "  \"{name}\";");
    }
    for link in &topology.links {
        let [a, b] = &link.ends;
        let labels = format!("taillabel=\"{}\", headlabel=\"{}\"", a.interface, b.interface);
        let _ = writeln!(drawing, "  \"{}\" -- \"{}\" [{labels}];", a.node, b.node);
    }
    drawing + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::parse_topology;

    #[test]
    fn each_style_has_all_nodes_and_links() {
        let text = "name: t\ntopology:\n  nodes: {a: {kind: ext-container}, b: {kind: bridge}}\n  \
                    links: [endpoints: [a:eth1, b:p1]]\n";
        let topology = parse_topology("t".as_ref(), text).unwrap();
        let table = [
            (Style::Text, "lab t\n  a (ext-container)\n    eth1 -- b:p1\n  b (bridge)\n    p1 -- a:eth1\n"),
            (Style::Mermaid, "graph TD\n  n0[\"a\"]\n  n1[\"b\"]\n  n0 ---|\"eth1 · p1\"| n1\n"),
            (
                Style::Dot,
                "graph \"t\" {\n  node [shape=box];\n  \"a\";\n  \"b\";\n  \
                 \"a\" -- \"b\" [taillabel=\"eth1\", headlabel=\"p1\"];\n}\n",
            ),
        ];
        for (style, wanted) in table {
            assert_eq!(draw(&topology, style), wanted);
        }
    }
}
