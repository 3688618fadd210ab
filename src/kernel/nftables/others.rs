//! Tables of others that drop packets. In: tables, chains and rules of a namespace as the kernel has them. Out: the tables that have a
//! chain with a hook, and a policy or a rule that drops. Jumps and verdict maps are not followed, and tables of `iptables-legacy` are
//! not seen. Pure.

use std::collections::BTreeSet;
use std::fmt;

use super::message::table_of;
use crate::kernel::netlink::attributes;
use crate::kernel::netlink::netfilter::NetfilterMessage;
use crate::names::{PortTable, SourceTable};

// Attributes of `linux/netfilter/nf_tables.h`.
const TABLE_FLAGS: u16 = 2;
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
/// `NFT_TABLE_F_DORMANT`, in the last byte of the flags: its chains have no hooks.
const DORMANT: u8 = 1;

/// A table of nftables that is not from perouter and has a policy or rules that drop packets.
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

/// Those among all tables, chains and rules of a namespace.
pub fn dropping(
    tables: &[NetfilterMessage],
    chains: &[NetfilterMessage],
    rules: &[NetfilterMessage],
) -> BTreeSet<DroppingTable> {
    let is_dormant = |table: &&NetfilterMessage| {
        let flags = attribute(&table.body, TABLE_FLAGS).unwrap_or_default();
        flags.last().is_some_and(|last| last & DORMANT != 0)
    };
    let dormant: BTreeSet<DroppingTable> = tables.iter().filter(is_dormant).filter_map(table).collect();
    let with_hook = chains.iter().filter(|chain| attribute(&chain.body, CHAIN_HOOK).is_some());
    let hooked: BTreeSet<DroppingTable> =
        with_hook.filter_map(table).filter(|table| !dormant.contains(table)).collect();
    let by_policy = chains.iter().filter(|chain| attribute(&chain.body, CHAIN_POLICY) == Some(&DROP[..]));
    let by_rule = rules.iter().filter(|rule| drops(&rule.body));
    by_policy.chain(by_rule).filter_map(table).filter(|table| hooked.contains(table)).collect()
}

/// The table of a message; `None` of ours, and of families that nftables does not have.
fn table(message: &NetfilterMessage) -> Option<DroppingTable> {
    let family = match message.family() {
        1 => "inet",
        2 => "ip",
        3 => "arp",
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
        b"target\0" => attribute(data?, TARGET_NAME)? == b"REJECT\0",
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::netlink::emit_attributes;
    use crate::kernel::netlink::netfilter::NFTABLES;
    use crate::kernel::nftables::message::{Chain, Direction, GET_CHAIN, new_chain, new_rule, new_table, sources};
    use netlink_packet_core::DefaultNla;
    use rstest::rstest;

    fn nest(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let attributes: Vec<_> =
            attributes.iter().map(|(kind, value)| DefaultNla::new(*kind, value.to_vec())).collect();
        emit_attributes(&attributes)
    }

    fn message(body: Vec<u8>) -> NetfilterMessage {
        NetfilterMessage::new(NFTABLES, GET_CHAIN, body)
    }

    fn expression(name: &[u8], data: &[u8]) -> Vec<u8> {
        nest(&[(EXPRESSION_NAME, name), (EXPRESSION_DATA, data)])
    }

    /// The tables that are found of one table with these chains and one rule of this expression.
    fn found(flags: &[u8], chains: &[Vec<u8>], expression: &[u8]) -> Vec<String> {
        let table = message(nest(&[(1, b"mine\0"), (TABLE_FLAGS, flags)]));
        let chains: Vec<_> = chains.iter().cloned().map(message).collect();
        let rule = message(nest(&[(1, b"mine\0"), (RULE_EXPRESSIONS, &nest(&[(1, expression)]))]));
        dropping(&[table], &chains, &[rule]).iter().map(ToString::to_string).collect()
    }

    #[rstest]
    #[case::reject(expression(b"reject\0", &[]), true)]
    #[case::drops(expression(b"immediate\0", &nest(&[(IMMEDIATE_DATA, &nest(&[(DATA_VERDICT, &nest(&[(VERDICT_CODE, &DROP)]))]))])), true)]
    #[case::accepts(expression(b"immediate\0", &nest(&[(IMMEDIATE_DATA, &nest(&[(DATA_VERDICT, &nest(&[(VERDICT_CODE, &[0, 0, 0, 1])]))]))])), false)]
    #[case::value(expression(b"immediate\0", &nest(&[(IMMEDIATE_DATA, &nest(&[(1, &DROP)]))])), false)]
    #[case::target(expression(b"target\0", &nest(&[(TARGET_NAME, b"REJECT\0")])), true)]
    #[case::other_target(expression(b"target\0", &nest(&[(TARGET_NAME, b"LOG\0")])), false)]
    #[case::counts(expression(b"counter\0", &[]), false)]
    #[case::malformed(vec![1, 2, 3], false)]
    fn a_rule_that_drops_is_recognised(#[case] expression: Vec<u8>, #[case] expected: bool) {
        let hooked = [nest(&[(1, b"mine\0"), (CHAIN_HOOK, &[])])];
        assert_eq!(!found(&[0; 4], &hooked, &expression).is_empty(), expected);
        assert_eq!(found(&[0; 4], &[nest(&[(1, b"mine\0")])], &expression), [""; 0], "without a hook");
        assert_eq!(found(&[0, 0, 0, DORMANT], &hooked, &expression), [""; 0], "dormant");
    }

    #[test]
    fn a_policy_that_drops_is_recognised() {
        let chain = |policy: [u8; 4]| nest(&[(1, b"mine\0"), (CHAIN_HOOK, &[]), (CHAIN_POLICY, &policy)]);
        assert_eq!(found(&[0; 4], &[chain(DROP)], &[]), ["inet mine"]);
        assert_eq!(found(&[0; 4], &[chain([0, 0, 0, 1])], &[]), [""; 0]);
    }

    #[test]
    fn our_tables_are_none_of_others() {
        let found = |table: &str, chain: &Chain| {
            let [table, chain, rule] = [new_table(table), new_chain(table, chain), new_rule(table, chain)]
                .map(|change| NetfilterMessage::new(NFTABLES, change.kind, change.body));
            dropping(&[table], &[chain], &[rule]).len()
        };
        let (drops, accepts) = (sources(None), Chain::of(Direction::In, 180, "pe-100"));
        assert_eq!((found("mine", &drops), found("mine", &accepts)), (1, 0));
        assert_eq!((found("perouter-100-source", &drops), found("perouter-100-180", &drops)), (0, 0));
    }
}
