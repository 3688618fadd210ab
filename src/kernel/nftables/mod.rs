//! A second BGP port by nftables. In: a namespace, and what the port is. Out: tables made, deleted and read, over netlink:
//! no program is run and no connection is tracked. Decides nothing.
//!
//! ```text
//! table inet perouter-100-180 {
//!   chain in  { type filter hook prerouting priority raw; iifname "pe-100" tcp dport 180 meta mark set M tcp dport set 179 }
//!   chain out { type filter hook output priority raw;     meta mark M tcp sport 179 tcp sport set 180 }
//! }
//! ```
//! A connection has the mark of its first packet (`tcp_fwmark_accept`), so its answers are known. A redirect of NAT would
//! track all connections of the namespace, those that are only forwarded too.

pub(crate) mod message;

use std::collections::BTreeMap;
use std::fs::File;

use super::error::NetlinkError;
use super::netlink::netfilter::Socket;
use crate::names::PortTable;
use message::{Chain, Direction};

/// Makes a table, whole or not at all. `EEXIST` if there is one.
pub fn create(netns: &File, table: PortTable, link: &str) -> Result<(), NetlinkError> {
    let name = table.to_string();
    let mut batch = vec![message::new_table(&name)];
    for direction in Direction::BOTH {
        let chain = Chain::of(direction, table.port, link);
        batch.push(message::new_chain(&name, &chain));
        batch.push(message::new_rule(&name, &chain));
    }
    Socket::within(netns, |socket| socket.commit(&batch))
}

/// Deletes a table with all that is in it. `ENOENT` if there is none.
pub fn delete(netns: &File, table: PortTable) -> Result<(), NetlinkError> {
    Socket::within(netns, |socket| socket.commit(&[message::del_table(&table.to_string())]))
}

/// Our tables, and whether each is what [`create`] makes.
pub fn read(netns: &File) -> Result<BTreeMap<PortTable, bool>, NetlinkError> {
    let read = |socket: &Socket| {
        let tables = socket.dump(message::GET_TABLE)?;
        let ours: Vec<_> = tables.iter().filter_map(|body| PortTable::recognise(&message::table_of(body)?)).collect();
        if ours.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (chains, rules) = (socket.dump(message::GET_CHAIN)?, socket.dump(message::GET_RULE)?);
        Ok(ours.into_iter().map(|table| (table, is_whole(table, &chains, &rules))).collect())
    };
    match Socket::within(netns, read) {
        // Where there is no nftables there is no table.
        Err(NetlinkError::NoProtocol) => Ok(BTreeMap::new()),
        read => read,
    }
}

fn is_whole(table: PortTable, chains: &[Vec<u8>], rules: &[Vec<u8>]) -> bool {
    let name = table.to_string();
    let link = crate::names::OwnedName::Vni(crate::names::Role::PeVeth, table.vni).to_string();
    let of = |bodies: &[Vec<u8>]| {
        let mine = bodies.iter().filter(|body| message::table_of(body).as_deref() == Some(&name));
        mine.cloned().collect::<Vec<_>>()
    };
    let (chains, rules) = (of(chains), of(rules));
    let wanted = Direction::BOTH.map(|direction| Chain::of(direction, table.port, &link));
    let has = |bodies: &[Vec<u8>], wanted: &message::Value| bodies.iter().any(|body| wanted.is_in(body));
    chains.len() == wanted.len()
        && rules.len() == wanted.len()
        && wanted.iter().all(|chain| has(&chains, &chain.body(&name)) && has(&rules, &chain.rule(&name)))
}
