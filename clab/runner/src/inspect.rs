//! The running labs, for people and programs.
//!
//! In: names of labs. Out: one [`NodeRow`] per node, and rows as a table. It must not change anything.

use serde::Serialize;
use std::fmt::Write as _;

use crate::holder;
use crate::state::{self, StateError};
use crate::topology::LabName;

/// A node of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeRow {
    /// The lab.
    pub lab: String,
    /// Short name.
    pub node: String,
    /// Name in /run/netns.
    pub namespace: String,
    /// Kind, as in the topology.
    pub kind: String,
    /// Image, as in the topology.
    pub image: Option<String>,
    /// Process 1 of the node; none if it does not run.
    pub pid: Option<i32>,
}

/// All nodes of these labs.
pub fn nodes(labs: &[LabName]) -> Result<Vec<NodeRow>, StateError> {
    let holders = holder::find();
    let mut rows = Vec::new();
    for lab in labs {
        let Some(record) = state::read(lab)? else { continue };
        rows.extend(record.nodes.into_iter().map(|node| NodeRow {
            lab: record.lab.clone(),
            pid: holders.iter().find(|holder| holder.long_name == node.long_name).map(|holder| holder.pid.as_raw()),
            node: node.name,
            namespace: node.long_name,
            kind: node.kind,
            image: node.image,
        }));
    }
    Ok(rows)
}

/// The rows as a table with a header, columns two spaces apart.
pub fn table(rows: &[NodeRow]) -> String {
    let head = ["LAB", "NODE", "NAMESPACE", "KIND", "IMAGE", "PID"].map(ToOwned::to_owned);
    let cells = rows.iter().map(|row| {
        let pid = row.pid.map_or_else(|| "not running".to_owned(), |pid| pid.to_string());
        let image = row.image.clone().unwrap_or_else(|| "-".to_owned());
        [row.lab.clone(), row.node.clone(), row.namespace.clone(), row.kind.clone(), image, pid]
    });
    align(&std::iter::once(head).chain(cells).collect::<Vec<_>>())
}

/// Lines of cells, each column as wide as its widest cell; no trailing spaces.
pub fn align<const N: usize>(lines: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(row, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}
