//! Lines of FRR's log files. A line is read in part or as it is: nothing is added.

use perouter::frr::daemons::log::parse;

use crate::Target;
use crate::mutate::Format;

pub const TARGET: Target =
    Target { name: "log", format: Format::Text, max_input: 4096, run, more_seeds: super::no_more_seeds };

fn run(input: &[u8]) {
    for line in String::from_utf8_lossy(input).lines() {
        let record = parse(line);
        assert!(line.ends_with(record.text), "{line:?}: {record:?}");
        assert!(record.id.is_none_or(|id| line.contains(id)), "{line:?}: {record:?}");
    }
}
