//! Tables of nftables. In: a namespace, and what a table is for. Out: tables created, deleted and read, over netlink: no
//! program is run and no connection is tracked. Decides nothing.
//!
//! A second BGP port:
//!
//! ```text
//! table inet perouter-100-180 {
//!   chain in  { type filter hook prerouting priority raw; iifname "pe-100" tcp dport 180 meta mark set M tcp dport set 179 }
//!   chain out { type filter hook output priority raw;     meta mark M tcp sport 179 tcp sport set 180 }
//! }
//! ```
//! A connection has the mark of its first packet (`tcp_fwmark_accept`), by which its replies are recognised. A NAT redirect
//! would track all connections of the namespace, including those that are only forwarded.
//!
//! A filter of IPv6 sources, in the namespace of an IP-VRF, or for one device (see [`super::model::SourceFilter`]):
//!
//! ```text
//! table inet perouter-100-source {
//!   chain source { type filter hook prerouting priority raw;
//!                  meta nfproto ipv6 ip6 saddr != fe80::/10 ip6 saddr != :: fib saddr oif 0 counter drop }
//! }
//! ```

pub mod message;
pub mod others;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;

use super::netlink::error::NetlinkError;
use super::netlink::netfilter::{NFTABLES, Netfilter, NetfilterMessage};
use super::netlink::socket::Socket;
use crate::names::{OwnedName, PortTable, Role, SourceTable};
use crate::types::IfName;
use message::{Chain, Direction, MessageKind, TableChange};
use others::DroppingTable;

/// Creates a table with all its rules, or nothing. `EEXIST` if there is one.
pub async fn create(netns: &File, table: PortTable, link: &str) -> Result<(), NetlinkError> {
    let chains = Direction::BOTH.map(|direction| Chain::of(direction, table.port, link));
    commit(netns, table_of_chains(&table.to_string(), &chains)).await
}

/// Creates a filter of IPv6 sources. `EEXIST` if there is one.
pub async fn create_source_filter(netns: &File, table: &SourceTable) -> Result<(), NetlinkError> {
    commit(netns, source_filter(table)).await
}

/// Whether the kernel can filter IPv6 sources. Changes nothing: the batch creates one table twice, which is rejected as a
/// whole, at the latest for its last message.
pub async fn has_source_filters(netns: &File) -> Result<bool, NetlinkError> {
    let name = "perouter-probe";
    let mut batch = table_of_chains(name, &[message::sources(None)]);
    batch.push(message::new_table(name));
    match commit(netns, batch).await {
        Ok(()) | Err(NetlinkError::Rejected { errno: Errno::EEXIST, .. }) => Ok(true),
        // Without nf_tables, or without `fib`.
        Err(NetlinkError::Rejected { .. } | NetlinkError::NoProtocol) => Ok(false),
        Err(error) => Err(error),
    }
}

fn source_filter(table: &SourceTable) -> Vec<TableChange> {
    let device = table.device.as_ref().map(IfName::as_str);
    table_of_chains(&table.to_string(), &[message::sources(device)])
}

fn table_of_chains(name: &str, chains: &[Chain]) -> Vec<TableChange> {
    let of_chain = |chain| [message::new_chain(name, chain), message::new_rule(name, chain)];
    std::iter::once(message::new_table(name)).chain(chains.iter().flat_map(of_chain)).collect()
}

/// Deletes a table with all its rules. `ENOENT` if there is none.
pub async fn delete(netns: &File, table: impl std::fmt::Display) -> Result<(), NetlinkError> {
    commit(netns, vec![message::del_table(&table.to_string())]).await
}

async fn commit(netns: &File, batch: Vec<TableChange>) -> Result<(), NetlinkError> {
    let framed = batch.into_iter().map(|TableChange { kind, creates, body }| {
        let flags = if creates { NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND } else { 0 };
        (NetfilterMessage::new(NFTABLES, kind, body), flags)
    });
    Socket::<Netfilter>::open(netns)?.commit(NFTABLES, framed).await
}

/// Our tables, and whether the rules of each are those that it was created with.
#[derive(Debug, Default)]
pub struct OurTables {
    /// Second BGP ports.
    pub ports: BTreeMap<PortTable, bool>,
    /// Filters of IPv6 sources.
    pub sources: BTreeMap<SourceTable, bool>,
}

/// Reads our tables. Without nftables there is none.
pub async fn read(netns: &File) -> Result<OurTables, NetlinkError> {
    or_none(read_tables(netns).await)
}

/// Reads the tables of others that drop packets. Without nftables there is none.
///
/// # Errors
/// Where they cannot be read.
pub async fn read_others(netns: &File) -> Result<BTreeSet<DroppingTable>, NetlinkError> {
    or_none(read_dropping(netns).await)
}

fn or_none<T: Default>(read: Result<T, NetlinkError>) -> Result<T, NetlinkError> {
    match read {
        Err(NetlinkError::NoProtocol | NetlinkError::Rejected { errno: Errno::EOPNOTSUPP | Errno::EINVAL, .. }) => {
            Ok(T::default())
        }
        read => read,
    }
}

async fn read_dropping(netns: &File) -> Result<BTreeSet<DroppingTable>, NetlinkError> {
    let mut socket = Socket::<Netfilter>::open(netns)?;
    let take = |found: &mut Vec<NetfilterMessage>, message| found.push(message);
    let tables = socket.dump(NetfilterMessage::of_all_families(NFTABLES, message::GET_TABLE), take).await?;
    if tables.is_empty() {
        return Ok(BTreeSet::new());
    }
    let chains = socket.dump(NetfilterMessage::of_all_families(NFTABLES, message::GET_CHAIN), take).await?;
    let rules = socket.dump(NetfilterMessage::of_all_families(NFTABLES, message::GET_RULE), take).await?;
    Ok(others::dropping(&tables, &chains, &rules))
}

async fn read_tables(netns: &File) -> Result<OurTables, NetlinkError> {
    let mut socket = Socket::<Netfilter>::open(netns)?;
    let tables = dump(&mut socket, message::GET_TABLE).await?;
    if !tables
        .iter()
        .filter_map(|body| message::table_of(body))
        .any(|name| PortTable::recognise(&name).is_some() || SourceTable::recognise(&name).is_some())
    {
        return Ok(OurTables::default());
    }
    let chains = dump(&mut socket, message::GET_CHAIN).await?;
    let rules = dump(&mut socket, message::GET_RULE).await?;
    Ok(our_tables(&tables, &chains, &rules))
}

/// Our tables among those of a namespace, and whether the rules of each are those that it was created with. The bodies of all
/// messages.
pub fn our_tables(tables: &[Vec<u8>], chains: &[Vec<u8>], rules: &[Vec<u8>]) -> OurTables {
    let names: Vec<String> = tables.iter().filter_map(|body| message::table_of(body)).collect();
    let is_port = |table: PortTable| {
        let link = OwnedName::Vni(Role::PeVeth, table.vni).to_string();
        let wanted = Direction::BOTH.map(|direction| Chain::of(direction, table.port, &link));
        (table, is_complete(&table.to_string(), &wanted, chains, rules))
    };
    let is_source = |table: SourceTable| {
        let wanted = [message::sources(table.device.as_ref().map(IfName::as_str))];
        let complete = is_complete(&table.to_string(), &wanted, chains, rules);
        (table, complete)
    };
    OurTables {
        ports: names.iter().filter_map(|name| PortTable::recognise(name)).map(is_port).collect(),
        sources: names.iter().filter_map(|name| SourceTable::recognise(name)).map(is_source).collect(),
    }
}

/// The bodies of all tables, chains or rules.
async fn dump(socket: &mut Socket<Netfilter>, kind: MessageKind) -> Result<Vec<Vec<u8>>, NetlinkError> {
    let request = NetfilterMessage::new(NFTABLES, kind, Vec::new());
    socket.dump(request, |bodies: &mut Vec<_>, message: NetfilterMessage| bodies.push(message.body)).await
}

fn is_complete(name: &str, wanted: &[Chain], chains: &[Vec<u8>], rules: &[Vec<u8>]) -> bool {
    let of = |bodies: &[Vec<u8>]| {
        let mine = bodies.iter().filter(|body| message::table_of(body).as_deref() == Some(name));
        mine.cloned().collect::<Vec<_>>()
    };
    let (chains, rules) = (of(chains), of(rules));
    let has = |bodies: &[Vec<u8>], wanted: &message::AttributeValue| bodies.iter().any(|body| wanted.is_in(body));
    chains.len() == wanted.len()
        && rules.len() == wanted.len()
        && wanted.iter().all(|chain| has(&chains, &chain.body(name)) && has(&rules, &chain.rule(name)))
}
