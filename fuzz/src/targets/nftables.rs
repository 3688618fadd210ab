//! Messages of nftables. A table is ours by its name, complete only with all of its rules, and without its rules it never is.

use perouter::kernel::netlink::netfilter::NetfilterMessage;
use perouter::kernel::netlink::socket::Answer;
use perouter::kernel::nftables::message::{Chain, Direction, table_of};
use perouter::kernel::nftables::our_tables;

use super::netlink::sequence_of;
use crate::Target;
use crate::mutate::Format;

pub const TARGET: Target =
    Target { name: "nftables", format: Format::Binary, max_input: 4096, run, more_seeds: super::no_more_seeds };

fn run(input: &[u8]) {
    let mut bodies = Vec::new();
    let _rejected =
        Answer::to(sequence_of(input)).add(input, &mut |message: NetfilterMessage| bodies.push(message.body));
    let tables = our_tables(&bodies, &bodies, &bodies);
    let without_rules = our_tables(&bodies, &[], &[]);
    assert!(without_rules.ports.values().chain(without_rules.sources.values()).all(|complete| !complete));
    for body in &bodies {
        let Some(name) = table_of(body) else { continue };
        for direction in Direction::BOTH {
            let chain = Chain::of(direction, 180, "pe-100");
            assert!(!(chain.rule(&name).is_in(body) && chain.body(&name).is_in(body)), "a chain is no rule");
        }
    }
    let mut names = tables.ports.keys().map(ToString::to_string).chain(tables.sources.keys().map(ToString::to_string));
    assert!(names.all(|name| bodies.iter().any(|body| table_of(body).as_deref() == Some(&name))));
}
