//! What we know of each configuration line that we render: which words make its identity and which are its value, how
//! FRR takes it back, and in which order lines are sent. One table; a line that no rule knows is not ours to change.
//! Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::frr::config::line::Line;

/// How a line is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negation {
    /// `no` in front, or taken away.
    No,
    /// `no` and the identity without the value: FRR does not know the form with it, or it would tell a secret.
    NoValue,
    /// FRR has no negation; this sets the default, which it does not print.
    Default(&'static str),
    /// A stanza that is gone when it is empty.
    Empty,
}

/// A line that we render.
#[derive(Debug)]
struct Rule {
    /// Words; `*` is any word and belongs to the identity, `=` is any word and is the value, `..` any rest, also none.
    pattern: &'static str,
    removal: Negation,
    /// Lines of one group are sent together, those of one neighbor side by side.
    group: u8,
    /// Opens a level of its own.
    opens: bool,
}

const fn line(group: u8, pattern: &'static str) -> Rule {
    Rule { pattern, removal: Negation::No, group, opens: false }
}

const fn value(group: u8, pattern: &'static str) -> Rule {
    Rule { pattern, removal: Negation::NoValue, group, opens: false }
}

const fn stanza(group: u8, pattern: &'static str) -> Rule {
    Rule { pattern, removal: Negation::No, group, opens: true }
}

/// In the order in which lines are sent. Measured on FRR 8.4.4: every form here, forth and back.
const RULES: &[Rule] = &[
    line(0, "zebra work-queue *"),
    line(0, "zebra zapi-packets *"),
    line(0, "no zebra nexthop kernel enable"),
    // Policies stand before a neighbor uses them.
    value(0, "ip prefix-list * seq * .."),
    value(0, "ipv6 prefix-list * seq * .."),
    stanza(1, "route-map * permit *"),
    value(2, "match ip address prefix-list ="),
    value(2, "match ipv6 address prefix-list ="),
    line(2, "set extcommunity none"),
    value(2, "set local-preference ="),
    value(2, "set community .."),
    // Shared by all scopes, so never taken away as a whole.
    Rule { removal: Negation::Empty, ..stanza(3, "bfd") },
    stanza(3, "profile *"),
    Rule { removal: Negation::Default("detect-multiplier 3"), ..value(3, "detect-multiplier =") },
    Rule { removal: Negation::Default("transmit-interval 300"), ..value(3, "transmit-interval =") },
    Rule { removal: Negation::Default("receive-interval 300"), ..value(3, "receive-interval =") },
    line(3, "passive-mode"),
    value(3, "minimum-ttl ="),
    stanza(4, "vrf *"),
    line(4, "vni *"),
    line(4, "ip route * *"),
    line(4, "ipv6 route * *"),
    stanza(5, "router bgp *"),
    stanza(5, "router bgp * vrf *"),
    value(6, "bgp router-id ="),
    line(6, "no bgp ebgp-requires-policy"),
    line(6, "no bgp default ipv4-unicast"),
    value(6, "coalesce-time ="),
    value(6, "bgp graceful-restart stalepath-time ="),
    value(6, "bgp graceful-restart restart-time ="),
    line(6, "bgp graceful-restart"),
    line(6, "bgp graceful-restart preserve-fw-state"),
    line(6, "bgp bestpath as-path multipath-relax"),
    line(6, "no bgp network import-check"),
    Rule { removal: Negation::No, ..value(7, "neighbor * interface remote-as =") },
    Rule { removal: Negation::No, ..value(7, "neighbor * remote-as =") },
    line(7, "neighbor * bfd"),
    value(7, "neighbor * bfd profile ="),
    value(7, "neighbor * password .."),
    value(7, "neighbor * port ="),
    line(7, "neighbor * passive"),
    value(7, "neighbor * ebgp-multihop ="),
    value(7, "neighbor * timers connect ="),
    value(7, "neighbor * timers = ="),
    line(7, "neighbor * capability extended-nexthop"),
    Rule { removal: Negation::Empty, ..stanza(8, "address-family ipv4 unicast") },
    Rule { removal: Negation::Empty, ..stanza(8, "address-family ipv6 unicast") },
    Rule { removal: Negation::Empty, ..stanza(8, "address-family l2vpn evpn") },
    line(9, "network *"),
    value(9, "aggregate-address * .."),
    line(10, "neighbor * route-reflector-client"),
    line(10, "neighbor * next-hop-self force"),
    line(10, "neighbor * as-override"),
    line(10, "neighbor * soft-reconfiguration inbound"),
    line(10, "no neighbor * send-community extended"),
    value(10, "neighbor * maximum-prefix .."),
    line(10, "neighbor * allowas-in"),
    value(10, "neighbor * weight ="),
    Rule { removal: Negation::No, ..value(10, "neighbor * prefix-list = in") },
    Rule { removal: Negation::No, ..value(10, "neighbor * prefix-list = out") },
    Rule { removal: Negation::No, ..value(10, "neighbor * route-map = in") },
    Rule { removal: Negation::No, ..value(10, "neighbor * route-map = out") },
    // Last of a neighbor: its filters stand before the first route can come.
    line(11, "neighbor * activate"),
    line(12, "advertise-all-vni"),
    value(12, "advertise * unicast .."),
    line(12, "route-target import *"),
    line(12, "route-target export *"),
];

impl Rule {
    /// The words of identity of a line of this rule.
    fn slot<'a>(&self, line: &'a Line) -> Vec<&'a str> {
        let parts = self.pattern.split(' ').take_while(|part| *part != "..");
        parts.zip(line.words()).filter(|(part, _)| *part != "=").map(|(_, word)| word).collect()
    }
}

/// A pattern in words, with the place of its rule in the table.
type Pattern = (usize, Vec<&'static str>);

/// The patterns by their first word, in the order of the table.
static PATTERNS: LazyLock<BTreeMap<&str, Vec<Pattern>>> = LazyLock::new(|| {
    let mut patterns: BTreeMap<&str, Vec<Pattern>> = BTreeMap::new();
    for (rank, rule) in RULES.iter().enumerate() {
        let words: Vec<&str> = rule.pattern.split(' ').collect();
        patterns.entry(words[0]).or_default().push((rank, words));
    }
    patterns
});

/// Whether a line of these words is of a pattern.
fn fits(pattern: &[&str], words: &[&str]) -> bool {
    let (pattern, open) = match pattern {
        [pattern @ .., ".."] => (pattern, true),
        _ => (pattern, false),
    };
    let length_fits = if open { words.len() >= pattern.len() } else { words.len() == pattern.len() };
    length_fits && pattern.iter().zip(words).all(|(part, word)| matches!(*part, "*" | "=") || part == word)
}

fn find(line: &Line) -> Option<(usize, &'static Rule)> {
    let words: Vec<&str> = line.words().collect();
    let (rank, _) = PATTERNS.get(words.first()?)?.iter().find(|(_, pattern)| fits(pattern, &words))?;
    RULES.get(*rank).map(|rule| (*rank, rule))
}

/// The identity of a line within its stanza: two lines with one identity replace each other. `None`: not a line of ours.
pub fn slot(line: &Line) -> Option<String> {
    find(line).map(|(_, rule)| rule.slot(line).join(" "))
}

/// Whether FRR opens a stanza with this line.
pub fn opens(line: &Line) -> bool {
    find(line).is_some_and(|(_, rule)| rule.opens)
}

/// What takes the line back; `None` if nothing does, as it goes by itself or is not ours.
pub fn removal(line: &Line) -> Option<Line> {
    let (_, rule) = find(line)?;
    match rule.removal {
        Negation::No => Some(negated(line.send())),
        Negation::NoValue => Some(negated(&rule.slot(line).join(" "))),
        Negation::Default(text) => Some(Line::new(text)),
        Negation::Empty => None,
    }
}

fn negated(text: &str) -> Line {
    text.strip_prefix("no ").map_or_else(|| Line::new(&format!("no {text}")), Line::new)
}

/// Sort key of lines in one stanza: group, neighbor, place in the table. Lines unknown to us are last.
pub fn rank(line: &Line) -> (u8, &str, usize) {
    let Some((rank, rule)) = find(line) else { return (u8::MAX, "", usize::MAX) };
    (rule.group, neighbor(line).unwrap_or_default(), rank)
}

/// The neighbor that a line is about.
pub fn neighbor(line: &Line) -> Option<&str> {
    let mut words = line.words().skip_while(|word| *word == "no");
    (words.next() == Some("neighbor")).then(|| words.next()).flatten()
}

/// Whether the line makes the neighbor; without it FRR drops all of the neighbor's lines.
pub fn makes_neighbor(line: &Line) -> bool {
    let words: Vec<_> = line.words().collect();
    matches!(words.as_slice(), ["neighbor", _, "remote-as", _] | ["neighbor", _, "interface", "remote-as", _])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("neighbor 10.0.0.1 timers 3 9", "neighbor 10.0.0.1 timers", "no neighbor 10.0.0.1 timers")]
    #[case(
        "neighbor 10.0.0.1 timers connect 5",
        "neighbor 10.0.0.1 timers connect",
        "no neighbor 10.0.0.1 timers connect"
    )]
    #[case("neighbor 10.0.0.1 password x", "neighbor 10.0.0.1 password", "no neighbor 10.0.0.1 password")]
    #[case("no bgp ebgp-requires-policy", "no bgp ebgp-requires-policy", "bgp ebgp-requires-policy")]
    #[case("advertise ipv4 unicast route-map x", "advertise ipv4 unicast", "no advertise ipv4 unicast")]
    #[case("detect-multiplier 5", "detect-multiplier", "detect-multiplier 3")]
    #[case("ip prefix-list p seq 5 permit 10.0.0.0/8 le 32", "ip prefix-list p seq 5", "no ip prefix-list p seq 5")]
    #[case("neighbor a route-map m in", "neighbor a route-map in", "no neighbor a route-map m in")]
    fn a_line_has_an_identity_and_a_removal(#[case] text: &str, #[case] identity: &str, #[case] gone: &str) {
        let line = Line::new(text);
        assert_eq!((slot(&line).as_deref(), removal(&line)), (Some(identity), Some(Line::new(gone))));
    }

    #[test]
    fn a_line_of_others_has_no_rule() {
        let line = Line::new("neighbor 10.0.0.1 description mine");
        assert_eq!((slot(&line), removal(&line)), (None, None));
    }

    #[test]
    fn filters_come_before_activation() {
        let filter = Line::new("neighbor 10.0.0.1 route-map m in");
        assert!(rank(&filter) < rank(&Line::new("neighbor 10.0.0.1 activate")));
    }
}
