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

pub const TARGET: Target =
    Target { name: "running_config", format: Format::Text, max_input: MAX_INPUT, run, more_seeds };

/// Bytes of an input.
const MAX_INPUT: usize = 8192;
/// Whose output an input is: of both.
const DAEMONS: [Daemon; 2] = [Daemon::Bgpd, Daemon::Zebra];
/// What was read before the input.
const BEFORE: &str = "vrf red\n vni 100\nexit-vrf\nrouter bgp 64514\n bgp router-id 10.0.0.1\nexit\nrouter bgp 64514 vrf red\n \
                      address-family ipv4 unicast\n  network 192.169.10.0/24\n exit-address-family\nexit\nbfd\n profile \
                      pe-vrf-red-bfd-v4\n exit\nexit\n";

fn more_seeds() -> Vec<Vec<u8>> {
    ["defaults", "demo", "everything"]
        .iter()
        .filter_map(|name| std::fs::read(crate::crate_dir().join(format!("../tests/golden-frr/{name}.conf"))).ok())
        .chain(crate::files_named("tests/golden", "frr.conf"))
        .flat_map(|output| pieces(&output))
        .collect()
}

/// Cuts an output before stanzas, so that each piece is within the size of an input, or one stanza: the time of an input is that of
/// its lines.
fn pieces(output: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = vec![vec![]];
    let mut stanza = Vec::new();
    let mut add = |stanza: &mut Vec<u8>| match pieces.last_mut() {
        Some(last) if last.is_empty() || last.len() + stanza.len() <= MAX_INPUT => last.append(stanza),
        _ => pieces.push(std::mem::take(stanza)),
    };
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(b" ") {
            add(&mut stanza);
        }
        stanza.extend_from_slice(line);
    }
    add(&mut stanza);
    pieces
}

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let outputs = |text: &str| DAEMONS.map(|daemon| DaemonOutput { daemon, owner: daemon, text: text.to_owned() });
    let mut reader = RunningConfigReader::default();
    let before = reader.read(&outputs(BEFORE));
    let again = reader.read(&outputs(&text));

    let (mut whole, mut foreign) = (Config::default(), BTreeMap::new());
    let tree = Tree::parse(&text);
    for daemon in DAEMONS {
        foreign.insert(daemon, whole.absorb(daemon, tree.clone()));
    }
    foreign.retain(|_, tree| !tree.is_empty());
    if is_canonical(&text) {
        assert_eq!((&again.config, &again.foreign), (&whole, &foreign), "stanza by stanza, and as a whole");
        assert_eq!(RunningConfigReader::default().read(&outputs(&text)), again, "without what was read before");
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
    let opens_nothing = |words: &str| {
        let first = words.split(' ').next().unwrap_or_default();
        words.starts_with(['!', '#'])
            || first.is_empty()
            || first.starts_with("exit")
            || ["frr", "hostname", "log", "end", "Building", "Current", "netns", "service"].contains(&first)
    };
    let mut deepest = 0;
    text.chars().all(|letter| matches!(letter, ' ' | '\n') || !letter.is_whitespace())
        && text.lines().all(|line| {
            let words = line.trim_start_matches(' ');
            let indent = line.len() - words.len();
            let fits = indent <= deepest && !words.contains("  ") && !words.ends_with(' ');
            deepest = if opens_nothing(words) { indent } else { usize::MAX };
            fits
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the target compares nothing.
    #[test]
    fn the_recorded_outputs_are_canonical() {
        let recorded = crate::files(&crate::crate_dir().join("corpus/running_config")).unwrap_or_default();
        assert!(recorded.len() > 10);
        for output in recorded.into_iter().chain(more_seeds()) {
            let text = String::from_utf8_lossy(&output);
            assert!(is_canonical(&text), "{text}");
        }
    }
}
