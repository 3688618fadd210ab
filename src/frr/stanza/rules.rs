//! The table of all lines that perouter renders: the rules of each stanza, and what follows from them for a line. A line
//! without a rule is not managed by perouter and never changed. Lines are text with one blank between words. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::rule::{Group, Negation, Rule};
use super::{bfd, bgp, evpn, policy, policy_names, static_routes, zebra};

/// The rules of all stanzas. Within a group, lines are sent in this order. Every form here was measured on FRR 8.4.4, set and
/// removed.
const TABLES: [&[Rule]; 6] = [zebra::RULES, policy::RULES, bfd::RULES, static_routes::RULES, bgp::RULES, evpn::RULES];

/// A rule with its place in the table and the words of its pattern.
struct RankedRule {
    rank: usize,
    rule: &'static Rule,
    pattern: Vec<&'static str>,
}

impl RankedRule {
    /// Whether a line of these words matches the pattern.
    fn matches(&self, words: &[&str]) -> bool {
        let (pattern, open) = match self.pattern.as_slice() {
            [pattern @ .., ".."] => (pattern, true),
            pattern => (pattern, false),
        };
        let length_fits = if open { words.len() >= pattern.len() } else { words.len() == pattern.len() };
        length_fits && pattern.iter().zip(words).all(|(part, word)| matches!(*part, "*" | "=") || part == word)
    }
}

/// The rules by the first word of their pattern, in the order of the table.
static ENTRIES: LazyLock<BTreeMap<&str, Vec<RankedRule>>> = LazyLock::new(|| {
    let mut entries: BTreeMap<&str, Vec<RankedRule>> = BTreeMap::new();
    for (rank, rule) in TABLES.iter().copied().flatten().enumerate() {
        let pattern: Vec<&str> = rule.pattern.split(' ').collect();
        entries.entry(pattern[0]).or_default().push(RankedRule { rank, rule, pattern });
    }
    entries
});

fn find(line: &str) -> Option<&'static RankedRule> {
    let words: Vec<&str> = line.split(' ').collect();
    ENTRIES.get(*words.first()?)?.iter().find(|entry| entry.matches(&words))
}

/// The identity of a line within its stanza: two lines with one identity replace each other. `None` without a rule.
pub fn identity(line: &str) -> Option<String> {
    find(line).map(|entry| entry.rule.identity(line).join(" "))
}

/// The prefix list with lines of each IP-VRF of which this is a line.
pub fn shared_list(line: &str) -> Option<&str> {
    let mut words = line.split(' ').skip(1);
    let list = (words.next()? == "prefix-list").then(|| words.next()).flatten()?;
    policy_names::is_shared_list(list).then_some(list)
}

/// Whether FRR opens a stanza with this line.
pub fn opens(line: &str) -> bool {
    find(line).is_some_and(|entry| entry.rule.opens)
}

/// Whether FRR opens a stanza with this line where it is in the stanza of `parent`.
pub fn opens_in(parent: Option<&str>, line: &str) -> bool {
    opens(line) || parent == Some(EVPN_FAMILY) && line.starts_with("vni ")
}

/// The stanza of L2VNIs.
const EVPN_FAMILY: &str = "address-family l2vpn evpn";

/// The line that removes a line; `None` where there is none: it disappears by itself, or has no rule.
pub fn removal(line: &str) -> Option<String> {
    let rule = find(line)?.rule;
    match rule.negation {
        Negation::No => Some(negated(line)),
        Negation::NoValue => Some(negated(&rule.identity(line).join(" "))),
        Negation::Default(default) => Some(default.to_owned()),
        Negation::Empty => None,
    }
}

/// Whether FRR resets sessions when this line, or the one that it removes, is in force: those of the neighbor that it names, or of
/// its instance.
pub fn resets_sessions(line: &str) -> bool {
    let is_instance = |line: &str| line.starts_with("no router bgp ");
    let entry = find(line).or_else(|| {
        let removed = line.strip_prefix("no ")?;
        find(removed).or_else(|| find_removed(removed))
    });
    is_instance(line) || entry.is_some_and(|entry| entry.rule.resets)
}

/// The rule of a line without its value, as it is removed.
fn find_removed(removed: &str) -> Option<&'static RankedRule> {
    let words: Vec<&str> = removed.split(' ').collect();
    ENTRIES.get(*words.first()?)?.iter().find(|entry| {
        let identity = entry.pattern.iter().filter(|part| !matches!(**part, "=" | ".."));
        entry.rule.negation == Negation::NoValue
            && identity.clone().count() == words.len()
            && identity.zip(&words).all(|(part, word)| *part == "*" || part == word)
    })
}

fn negated(text: &str) -> String {
    text.strip_prefix("no ").map_or_else(|| format!("no {text}"), str::to_owned)
}

/// Sort key of lines in one stanza: group, neighbor, place in the table. Lines without a rule are last.
pub fn rank(line: &str) -> (Group, &str, usize) {
    let Some(entry) = find(line) else { return (Group::Unknown, "", usize::MAX) };
    (entry.rule.group, neighbor(line).unwrap_or_default(), entry.rank)
}

/// The neighbor that a line configures.
pub fn neighbor(line: &str) -> Option<&str> {
    let mut words = line.split(' ').skip_while(|word| *word == "no");
    (words.next() == Some("neighbor")).then(|| words.next()).flatten()
}

/// Whether the line creates the neighbor; with its removal FRR drops all lines of the neighbor.
pub fn creates_neighbor(line: &str) -> bool {
    let words: Vec<_> = line.split(' ').collect();
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
    #[case("vni 110", "vni 110", "no vni 110")]
    #[case(
        "neighbor 10.0.0.1 update-source 100.65.0.1",
        "neighbor 10.0.0.1 update-source",
        "no neighbor 10.0.0.1 update-source"
    )]
    #[case("ip nht resolve-via-default", "ip nht resolve-via-default", "no ip nht resolve-via-default")]
    #[case("no ip nht resolve-via-default", "no ip nht resolve-via-default", "ip nht resolve-via-default")]
    #[case("neighbor a route-map m in", "neighbor a route-map in", "no neighbor a route-map m in")]
    fn a_line_has_an_identity_and_a_removal(#[case] text: &str, #[case] words: &str, #[case] negation: &str) {
        assert_eq!((identity(text).as_deref(), removal(text).as_deref()), (Some(words), Some(negation)));
    }

    #[test]
    fn a_line_that_is_not_rendered_has_no_rule() {
        let line = "neighbor 10.0.0.1 description mine";
        assert_eq!((identity(line), removal(line)), (None, None));
    }

    #[test]
    fn a_vni_opens_a_stanza_in_evpn_only() {
        assert!(opens_in(Some("address-family l2vpn evpn"), "vni 110"));
        assert!(!opens_in(Some("vrf red"), "vni 100") && !opens_in(None, "vni 100"));
        assert!(opens_in(None, "vrf red"));
        assert!(rank("advertise-all-vni") < rank("vni 110"), "FRR needs EVPN for it");
    }

    #[test]
    fn filters_come_before_activation() {
        assert!(rank("neighbor 10.0.0.1 route-map m in") < rank("neighbor 10.0.0.1 activate"));
    }
}
