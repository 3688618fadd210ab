//! Outputs of `show running-config`. In: the text of one daemon, or of two, one after the other. A configuration does not differ
//! from itself, the reader finds the same from what it remembers as from nothing, and it can be compared, edited and
//! removed whatever is in it.

use std::collections::BTreeMap;

use perouter::frr::config::diff::{diff, policies_of_new};
use perouter::frr::config::removal::removal;
use perouter::frr::config::tree::{Config, Tree};
use perouter::frr::show::running_config::{DaemonOutput, RunningConfigReader};
use perouter::runtime::Daemon;

use crate::Target;
use crate::mutate::Format;

pub const TARGET: Target = Target { name: "running_config", format: Format::Text, max_input: 8192, run, more_seeds };

/// What was read before the input.
const BEFORE: &str = "vrf red\n vni 100\nexit-vrf\nrouter bgp 64514\n bgp router-id 10.0.0.1\nexit\nrouter bgp 64514 vrf red\n \
                      address-family ipv4 unicast\n  network 192.169.10.0/24\n exit-address-family\nexit\nbfd\n profile \
                      pe-vrf-red-bfd-v4\n exit\nexit\n";

fn more_seeds() -> Vec<Vec<u8>> {
    ["defaults", "demo", "everything"]
        .iter()
        .filter_map(|name| std::fs::read(crate::crate_dir().join(format!("../tests/golden-frr/{name}.conf"))).ok())
        .chain(crate::files_named("tests/golden", "frr.conf"))
        .collect()
}

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let outputs = |text: &str| {
        [Daemon::Bgpd, Daemon::Zebra].map(|daemon| DaemonOutput { daemon, owner: daemon, text: text.to_owned() })
    };
    let read = RunningConfigReader::default().read(&outputs(&text));
    let mut reader = RunningConfigReader::default();
    let before = reader.read(&outputs(BEFORE));
    let again = reader.read(&outputs(&text));

    let mut whole = Config::default();
    let mut foreign = BTreeMap::new();
    for DaemonOutput { daemon, text, .. } in outputs(&text) {
        foreign.insert(daemon, whole.absorb(daemon, Tree::parse(&text)));
    }
    foreign.retain(|_, tree| !tree.is_empty());
    if is_canonical(&text) {
        assert_eq!((&read.config, &read.foreign), (&whole, &foreign), "stanza by stanza, and as a whole");
        assert_eq!(again, read, "with what was read before");
        assert_eq!(reader.read(&outputs(BEFORE)), before, "back again");
    }
    let itself = diff(&whole, &whole);
    assert!(itself.is_empty() && itself.unknown.is_empty());
    for (observed, wanted) in [(&whole, &before.config), (&before.config, &whole)] {
        let change = diff(observed, wanted);
        let wanted = wanted.scopes();
        assert!(change.scopes.keys().all(|scope| wanted.contains(scope)), "a scope that is not wanted is left alone");
        for scope in observed.scopes() {
            policies_of_new(observed, scope);
        }
    }
    for scope in whole.scopes() {
        let removal = removal(&whole, scope);
        let commands = removal.before.iter().chain(&removal.after).flat_map(|batch| &batch.commands);
        commands.for_each(|command| assert_eq!(&command.scope, scope));
    }
}

/// Whether FRR can have printed it: nothing but blanks and line ends is white, words are one blank apart, and nothing is indented
/// below a line that opens nothing.
fn is_canonical(text: &str) -> bool {
    let opens_nothing = |line: &str| {
        let first = line.split(' ').next().unwrap_or_default();
        line.starts_with(['!', '#'])
            || first.is_empty()
            || first.starts_with("exit")
            || ["frr", "hostname", "log", "end", "Building", "Current", "netns", "service"].contains(&first)
    };
    let mut may_be_below = false;
    text.chars().all(|letter| matches!(letter, ' ' | '\n') || !letter.is_whitespace())
        && text.lines().all(|line| {
            let words = line.trim_start_matches(' ');
            let fits = (words.len() == line.len() || may_be_below) && !words.contains("  ") && !words.ends_with(' ');
            may_be_below = line.starts_with(' ') || !opens_nothing(line);
            fits
        })
}
