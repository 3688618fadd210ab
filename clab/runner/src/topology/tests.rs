//! Tables of topologies, good and bad.

use super::*;
use std::path::Path;
fn parse(text: &str) -> Result<Topology, TopologyError> {
    parse_topology(Path::new("lab.clab.yml"), text)
}
#[test]
fn smoke() {
    assert!(parse("name: x").is_err());
}
