//! Messages of `nf_tables` as data. In: names and ports. Out: bytes, and whether bytes of the kernel mean the same. Pure.
//! Numbers are those of `linux/netfilter/nf_tables.h`; integers are big-endian there.

use netlink_packet_core::{DefaultNla, NLA_F_NESTED};

use crate::kernel::netlink::{attributes, emit_attributes};

/// Number of a message within the subsystem.
pub type MessageKind = u8;

const NEW_TABLE: MessageKind = 0;
/// `NFT_MSG_GETTABLE`
pub const GET_TABLE: MessageKind = 1;
const DEL_TABLE: MessageKind = 2;
const NEW_CHAIN: MessageKind = 3;
/// `NFT_MSG_GETCHAIN`
pub const GET_CHAIN: MessageKind = 4;
const NEW_RULE: MessageKind = 6;
/// `NFT_MSG_GETRULE`
pub const GET_RULE: MessageKind = 7;

/// The name of the table is the first attribute of tables, chains and rules.
const TABLE: u16 = 1;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Attributes.
    Nest(Vec<(u16, AttributeValue)>),
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChange {
    /// What changes.
    pub kind: MessageKind,
    /// It creates something, and replaces nothing.
    pub creates: bool,
    /// Attributes.
    pub body: Vec<u8>,
}

/// The packets that traverse a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the host.
    In,
    /// To the host.
    Out,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::In, Self::Out];
}

/// A chain with its one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    name: &'static str,
    hook: u32,
    expressions: Vec<AttributeValue>,
}

/// The port on which FRR listens.
const BGP: u16 = 179;
/// The upper half of the mark of a connection to a second port, the lower half is the port.
const MARK: u32 = 0x5045_0000;
/// Before connection tracking (`NF_IP_PRI_RAW`), where others enabled it.
const RAW: i32 = -300;
const PREROUTING: u32 = 0;
const OUTPUT: u32 = 3;
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 2;

impl Chain {
    /// The chain of one direction.
    pub fn of(direction: Direction, port: u16, link: &str) -> Self {
        let mark = (MARK | u32::from(port)).to_ne_bytes();
        let (name, hook, expressions) = match direction {
            Direction::In => {
                let arrives = [meta(IIFNAME, DREG), compare(&padded(link)), meta(L4PROTO, DREG), compare(&[TCP])];
                let to_port = [payload(DESTINATION_PORT), compare(&port.to_be_bytes())];
                let marked = [immediate(&mark), meta(MARK_KEY, META_SREG)];
                let moved = [immediate(&BGP.to_be_bytes()), rewrite(DESTINATION_PORT)];
                ("in", PREROUTING, [&arrives[..], &to_port, &marked, &moved].concat())
            }
            Direction::Out => {
                let marked = [meta(MARK_KEY, DREG), compare(&mark), meta(L4PROTO, DREG), compare(&[TCP])];
                let from_bgp = [payload(SOURCE_PORT), compare(&BGP.to_be_bytes())];
                let moved = [immediate(&port.to_be_bytes()), rewrite(SOURCE_PORT)];
                ("out", OUTPUT, [&marked[..], &from_bgp, &moved].concat())
            }
        };
        Self { name, hook, expressions }
    }

    /// The chain alone.
    pub fn body(&self, table: &str) -> AttributeValue {
        let hook =
            AttributeValue::Nest(vec![(1, number(self.hook)), (2, AttributeValue::Bytes(RAW.to_be_bytes().to_vec()))]);
        AttributeValue::Nest(vec![(TABLE, text(table)), (3, text(self.name)), (4, hook), (7, text("filter"))])
    }

    /// Its rule.
    pub fn rule(&self, table: &str) -> AttributeValue {
        let list = self.expressions.iter().map(|expression| (1, expression.clone())).collect();
        AttributeValue::Nest(vec![(TABLE, text(table)), (2, text(self.name)), (4, AttributeValue::Nest(list))])
    }
}

/// The chain that drops IPv6 packets from sources without a route back. Link-local and unspecified sources (neighbor discovery,
/// RFC 4861) are no question of routes. `device`: that of the `SourceTable`.
pub fn sources(device: Option<&str>) -> Chain {
    let arrives = device.map(|device| [meta(IIFNAME, DREG), compare(&padded(device))]);
    let ipv6 = [meta(NFPROTO, DREG), compare(&[NFPROTO_IPV6])];
    let link_local = [source_address(), prefix_of_10_bits(), differs(&LINK_LOCAL)];
    let unspecified = [source_address(), differs(&[0; 16])];
    let flags = if device.is_some() { FIB_SADDR | FIB_IIF } else { FIB_SADDR };
    let no_route = [fib(flags), compare(&[0; 4])];
    let drop = [expression("counter", vec![]), verdict_drop()];
    let expressions =
        [arrives.as_ref().map_or(&[][..], |a| &a[..]), &ipv6, &link_local, &unspecified, &no_route, &drop].concat();
    Chain { name: "source", hook: PREROUTING, expressions }
}

/// Creates a table.
pub fn new_table(table: &str) -> TableChange {
    create(NEW_TABLE, &AttributeValue::Nest(vec![(TABLE, text(table))]))
}

/// Creates a chain.
pub fn new_chain(table: &str, chain: &Chain) -> TableChange {
    create(NEW_CHAIN, &chain.body(table))
}

/// Creates the rule of a chain.
pub fn new_rule(table: &str, chain: &Chain) -> TableChange {
    create(NEW_RULE, &chain.rule(table))
}

/// Deletes a table.
pub fn del_table(table: &str) -> TableChange {
    TableChange { creates: false, ..create(DEL_TABLE, &AttributeValue::Nest(vec![(TABLE, text(table))])) }
}

fn create(kind: MessageKind, body: &AttributeValue) -> TableChange {
    TableChange { kind, creates: true, body: body.bytes() }
}

/// The table that a table, chain or rule of the kernel belongs to.
pub fn table_of(body: &[u8]) -> Option<String> {
    let (_, name) = attributes(body).find(|(kind, _)| *kind == TABLE)?;
    Some(String::from_utf8_lossy(name.strip_suffix(&[0])?).into_owned())
}

// Attributes and keys of expressions.
const DREG: u16 = 1;
const META_SREG: u16 = 3;
const MARK_KEY: u32 = 3;
const IIFNAME: u32 = 6;
const L4PROTO: u32 = 16;
const TCP: u8 = 6;
const NFPROTO: u32 = 15;
const NFPROTO_IPV6: u8 = 10;
const NETWORK_HEADER: u32 = 1;
const NOT_EQUAL: u32 = 1;
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const FIB_RESULT_OIF: u32 = 1;
const FIB_SADDR: u32 = 1;
const FIB_IIF: u32 = 1 << 3;
const VERDICT_REGISTER: u32 = 0;
const NF_DROP: u32 = 0;
const REGISTER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// Offset of the checksum of TCP (RFC 9293 section 3.1).
const CHECKSUM: u32 = 16;

fn expression(name: &str, data: Vec<(u16, AttributeValue)>) -> AttributeValue {
    AttributeValue::Nest(vec![(1, text(name)), (2, AttributeValue::Nest(data))])
}

fn meta(key: u32, register: u16) -> AttributeValue {
    expression("meta", vec![(2, number(key)), (register, number(REGISTER))])
}

fn compare(with: &[u8]) -> AttributeValue {
    expression("cmp", vec![(1, number(REGISTER)), (2, number(0)), (3, data(with))])
}

fn differs(from: &[u8]) -> AttributeValue {
    expression("cmp", vec![(1, number(REGISTER)), (2, number(NOT_EQUAL)), (3, data(from))])
}

/// A name of an interface as the kernel has it.
fn padded(interface: &str) -> Vec<u8> {
    let mut bytes = interface.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// The source address of an IPv6 header.
fn source_address() -> AttributeValue {
    expression("payload", vec![(1, number(REGISTER)), (2, number(NETWORK_HEADER)), (3, number(8)), (4, number(16))])
}

/// The first ten bits of an address.
fn prefix_of_10_bits() -> AttributeValue {
    let mask = [&[0xff, 0xc0][..], &[0; 14]].concat();
    let registers = vec![(1, number(REGISTER)), (2, number(REGISTER)), (3, number(16))];
    expression("bitwise", [registers, vec![(4, data(&mask)), (5, data(&[0; 16]))]].concat())
}

/// The ifindex of the route to an address; 0 without one.
fn fib(flags: u32) -> AttributeValue {
    expression("fib", vec![(1, number(REGISTER)), (2, number(FIB_RESULT_OIF)), (3, number(flags))])
}

fn verdict_drop() -> AttributeValue {
    let verdict = AttributeValue::Nest(vec![(1, number(NF_DROP))]);
    expression("immediate", vec![(1, number(VERDICT_REGISTER)), (2, AttributeValue::Nest(vec![(2, verdict)]))])
}

fn immediate(value: &[u8]) -> AttributeValue {
    expression("immediate", vec![(1, number(REGISTER)), (2, data(value))])
}

fn payload(offset: u32) -> AttributeValue {
    expression(
        "payload",
        vec![(1, number(REGISTER)), (2, number(TRANSPORT_HEADER)), (3, number(offset)), (4, number(2))],
    )
}

fn rewrite(offset: u32) -> AttributeValue {
    let target = vec![(2, number(TRANSPORT_HEADER)), (3, number(offset)), (4, number(2)), (5, number(REGISTER))];
    expression("payload", [target, vec![(6, number(1)), (7, number(CHECKSUM))]].concat())
}

fn data(bytes: &[u8]) -> AttributeValue {
    AttributeValue::Nest(vec![(1, AttributeValue::Bytes(bytes.to_vec()))])
}

fn number(value: u32) -> AttributeValue {
    AttributeValue::Bytes(value.to_be_bytes().to_vec())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::Bytes([value.as_bytes(), &[0]].concat())
}

impl AttributeValue {
    fn bytes(&self) -> Vec<u8> {
        let Self::Nest(entries) = self else {
            let Self::Bytes(bytes) = self else { return Vec::new() };
            return bytes.clone();
        };
        let attribute = |(kind, value): &(u16, Self)| {
            let flag = if matches!(value, Self::Nest(_)) { NLA_F_NESTED } else { 0 };
            DefaultNla::new(kind | flag, value.bytes())
        };
        emit_attributes(&entries.iter().map(attribute).collect::<Vec<_>>())
    }

    /// Whether the kernel's bytes contain all of this. The kernel may add attributes, but no elements to a list.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        let Self::Nest(entries) = self else {
            return matches!(self, Self::Bytes(own) if own == bytes);
        };
        let there: Vec<_> = attributes(bytes).collect();
        entries.iter().all(|(kind, _)| {
            let own: Vec<_> = entries.iter().filter(|(k, _)| k == kind).map(|(_, value)| value).collect();
            let theirs: Vec<_> = there.iter().filter(|(k, _)| k == kind).map(|(_, bytes)| *bytes).collect();
            own.len() == theirs.len() && own.iter().zip(theirs).all(|(own, bytes)| own.is_in(bytes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_recognised_in_its_own_bytes_only() {
        let of = |port| Chain::of(Direction::In, port, "pe-100").rule("perouter-100-180");
        assert!(of(180).is_in(&of(180).bytes()));
        assert!(!of(180).is_in(&of(181).bytes()), "another port");
        let out = Chain::of(Direction::Out, 180, "pe-100").rule("perouter-100-180");
        assert!(!out.is_in(&of(180).bytes()), "the other chain");
        assert!(!of(180).is_in(&[]), "nothing");
    }

    #[test]
    fn a_rule_with_another_expression_is_another_rule() {
        let mut chain = Chain::of(Direction::In, 180, "pe-100");
        let rule = chain.rule("t");
        chain.expressions.pop();
        assert!(!rule.is_in(&chain.rule("t").bytes()) && !chain.rule("t").is_in(&rule.bytes()));
    }

    #[test]
    fn the_table_of_a_message_is_its_first_attribute() {
        assert_eq!(table_of(&AttributeValue::Nest(vec![(1, text("a"))]).bytes()).as_deref(), Some("a"));
    }
}
