//! YAML files: objects, their schema and CEL rules, and the plan of what is valid. Every mistake has a line of the file, and what
//! is planned is text of which FRR reads each line as what it is meant to be.

use perouter::frr::release::FRR_10_7;
use perouter::types::VrfMode;

use super::pass::{Wanted, facts};
use super::snapshot::{files_of_objects, of_yaml};
use crate::Target;
use crate::mutate::Format;

pub const TARGET: Target =
    Target { name: "yaml", format: Format::Text, max_input: 4096, run, more_seeds: files_of_objects };

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let snapshot = of_yaml(text, 1);
    let wanted = Wanted::of(&snapshot, &facts(&snapshot, VrfMode::Netns, FRR_10_7));
    assert!(wanted.is_ok(), "{:?}", wanted.err());
}
