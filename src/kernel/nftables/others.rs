//! Tables of others that drop packets. In: the chains and rules of a namespace as the kernel has them. Out: the tables that have a chain
//! with a hook and drop something. A verdict map is not followed, and neither are the tables of `iptables-legacy`. Pure.

use std::collections::BTreeSet;
use std::fmt;

use super::message::table_of;
use crate::kernel::netlink::attributes;
use crate::kernel::netlink::netfilter::NetfilterMessage;
use crate::names::{PortTable, SourceTable};

// Attributes of `linux/netfilter/nf_tables.h`.
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const RULE_EXPRESSIONS: u16 = 4;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const IMMEDIATE_DATA: u16 = 2;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
/// Of an expression `target`, as `iptables-nft` has its extensions.
const TARGET_NAME: u16 = 1;
/// `NF_DROP`
const DROP: [u8; 4] = [0; 4];

/// A table of nftables that is not from perouter and drops packets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DroppingTable {
    /// Its family, as `nft` has it.
    pub family: &'static str,
    /// Its name.
    pub name: String,
}

/// As in `nft list table`.
impl fmt::Display for DroppingTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// Those among all chains and rules of a namespace.
pub fn dropping(chains: &[NetfilterMessage], rules: &[NetfilterMessage]) -> BTreeSet<DroppingTable> {
    let hooked: BTreeSet<DroppingTable> =
        chains.iter().filter(|chain| attribute(&chain.body, CHAIN_HOOK).is_some()).filter_map(table).collect();
    let by_policy = chains.iter().filter(|chain| attribute(&chain.body, CHAIN_POLICY) == Some(&DROP[..]));
    let by_rule = rules.iter().filter(|rule| drops(&rule.body));
    by_policy.chain(by_rule).filter_map(table).filter(|table| hooked.contains(table)).collect()
}

/// The table of a chain or rule; `None` of ours, and of families that no packet of the router is in.
fn table(message: &NetfilterMessage) -> Option<DroppingTable> {
    let family = match message.family() {
        1 => "inet",
        2 => "ip",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => return None,
    };
    let name = table_of(&message.body)?;
    let is_ours = PortTable::recognise(&name).is_some() || SourceTable::recognise(&name).is_some();
    (!is_ours).then_some(DroppingTable { family, name })
}

fn attribute(body: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(body).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Whether a rule has an expression that drops or rejects.
fn drops(rule: &[u8]) -> bool {
    let expressions = attribute(rule, RULE_EXPRESSIONS).unwrap_or_default();
    attributes(expressions).any(|(_, expression)| is_drop(expression).unwrap_or_default())
}

fn is_drop(expression: &[u8]) -> Option<bool> {
    let (name, data) = (attribute(expression, EXPRESSION_NAME)?, attribute(expression, EXPRESSION_DATA));
    Some(match name {
        b"reject\0" => true,
        b"immediate\0" => {
            let verdict = attribute(attribute(data?, IMMEDIATE_DATA)?, DATA_VERDICT)?;
            attribute(verdict, VERDICT_CODE)? == DROP
        }
        b"target\0" => [&b"DROP\0"[..], b"REJECT\0"].contains(&attribute(data?, TARGET_NAME)?),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::netlink::netfilter::NFTABLES;
    use crate::kernel::nftables::message::{Chain, Direction, new_chain, new_rule, sources};

    /// A chain of a table, with its rule.
    fn with_rule(table: &str, chain: &Chain) -> [NetfilterMessage; 2] {
        [new_chain(table, chain), new_rule(table, chain)]
            .map(|change| NetfilterMessage::new(NFTABLES, change.kind, change.body))
    }

    #[test]
    fn a_table_of_others_with_a_hook_and_a_drop_is_found() {
        let (drops, accepts) = (sources(None), Chain::of(Direction::In, 180, "pe-100"));
        let found = |table: &str, chain: &Chain| {
            let [chain, rule] = with_rule(table, chain);
            let found = dropping(std::slice::from_ref(&chain), std::slice::from_ref(&rule));
            assert_eq!(dropping(&[], &[rule]), BTreeSet::new(), "without a hook");
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found("mine", &drops), ["inet mine"]);
        assert_eq!(found("mine", &accepts), [""; 0]);
        assert_eq!(found("perouter-100-source", &drops), [""; 0], "ours");
    }
}
