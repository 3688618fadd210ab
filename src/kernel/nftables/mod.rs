//! A second BGP port by nftables. In: a namespace, VNI and port. Out: tables created, deleted and read, over netlink: no
//! program is run and no connection is tracked. Decides nothing.
//!
//! ```text
//! table inet perouter-100-180 {
//!   chain in  { type filter hook prerouting priority raw; iifname "pe-100" tcp dport 180 meta mark set M tcp dport set 179 }
//!   chain out { type filter hook output priority raw;     meta mark M tcp sport 179 tcp sport set 180 }
//! }
//! ```
//! A connection has the mark of its first packet (`tcp_fwmark_accept`), by which its replies are recognised. A NAT redirect
//! would track all connections of the namespace, including those that are only forwarded.

pub mod message;

use std::collections::BTreeMap;
use std::fs::File;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;

use super::netlink::error::NetlinkError;
use super::netlink::netfilter::{NFTABLES, Netfilter, NetfilterMessage};
use super::netlink::socket::Socket;
use crate::names::PortTable;
use message::{Chain, Direction, MessageKind, TableChange};

/// Creates a table with all its rules, or nothing. `EEXIST` if there is one.
pub async fn create(netns: &File, table: PortTable, link: &str) -> Result<(), NetlinkError> {
    let name = table.to_string();
    let mut batch = vec![message::new_table(&name)];
    for direction in Direction::BOTH {
        let chain = Chain::of(direction, table.port, link);
        batch.push(message::new_chain(&name, &chain));
        batch.push(message::new_rule(&name, &chain));
    }
    commit(netns, batch).await
}

/// Deletes a table with all its rules. `ENOENT` if there is none.
pub async fn delete(netns: &File, table: PortTable) -> Result<(), NetlinkError> {
    commit(netns, vec![message::del_table(&table.to_string())]).await
}

async fn commit(netns: &File, batch: Vec<TableChange>) -> Result<(), NetlinkError> {
    let framed = batch.into_iter().map(|TableChange { kind, creates, body }| {
        let flags = if creates { NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND } else { 0 };
        (NetfilterMessage::new(NFTABLES, kind, body), flags)
    });
    Socket::<Netfilter>::open(netns)?.commit(NFTABLES, framed).await
}

/// Our tables, and whether the rules of each are those of [`create`]. Without nftables there is no table.
pub async fn read(netns: &File) -> Result<BTreeMap<PortTable, bool>, NetlinkError> {
    match read_tables(netns).await {
        Err(NetlinkError::NoProtocol | NetlinkError::Rejected { errno: Errno::EOPNOTSUPP | Errno::EINVAL, .. }) => {
            Ok(BTreeMap::new())
        }
        read => read,
    }
}

async fn read_tables(netns: &File) -> Result<BTreeMap<PortTable, bool>, NetlinkError> {
    let mut socket = Socket::<Netfilter>::open(netns)?;
    let tables = dump(&mut socket, message::GET_TABLE).await?;
    if recognise(&tables).next().is_none() {
        return Ok(BTreeMap::new());
    }
    let chains = dump(&mut socket, message::GET_CHAIN).await?;
    let rules = dump(&mut socket, message::GET_RULE).await?;
    Ok(our_tables(&tables, &chains, &rules))
}

/// Our tables among those of a namespace, and whether the rules of each are those of [`create`]. The bodies of all messages.
pub fn our_tables(tables: &[Vec<u8>], chains: &[Vec<u8>], rules: &[Vec<u8>]) -> BTreeMap<PortTable, bool> {
    recognise(tables).map(|table| (table, is_complete(table, chains, rules))).collect()
}

fn recognise(tables: &[Vec<u8>]) -> impl Iterator<Item = PortTable> {
    tables.iter().filter_map(|body| PortTable::recognise(&message::table_of(body)?))
}

/// The bodies of all tables, chains or rules.
async fn dump(socket: &mut Socket<Netfilter>, kind: MessageKind) -> Result<Vec<Vec<u8>>, NetlinkError> {
    let request = NetfilterMessage::new(NFTABLES, kind, Vec::new());
    socket.dump(request, |bodies: &mut Vec<_>, message: NetfilterMessage| bodies.push(message.body)).await
}

fn is_complete(table: PortTable, chains: &[Vec<u8>], rules: &[Vec<u8>]) -> bool {
    let name = table.to_string();
    let link = crate::names::OwnedName::Vni(crate::names::Role::PeVeth, table.vni).to_string();
    let of = |bodies: &[Vec<u8>]| {
        let mine = bodies.iter().filter(|body| message::table_of(body).as_deref() == Some(&name));
        mine.cloned().collect::<Vec<_>>()
    };
    let (chains, rules) = (of(chains), of(rules));
    let wanted = Direction::BOTH.map(|direction| Chain::of(direction, table.port, &link));
    let has = |bodies: &[Vec<u8>], wanted: &message::AttributeValue| bodies.iter().any(|body| wanted.is_in(body));
    chains.len() == wanted.len()
        && rules.len() == wanted.len()
        && wanted.iter().all(|chain| has(&chains, &chain.body(&name)) && has(&rules, &chain.rule(&name)))
}
