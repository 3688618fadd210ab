//! Datagrams of rtnetlink: links, addresses, routes and rules, of one or several namespaces. What is read of them becomes a state
//! that does not differ from itself and can be compared with any other; foreign links are in no step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use netlink_packet_route::RouteNetlinkMessage;
use perouter::kernel::diff;
use perouter::kernel::model::{KernelState, Netns};
use perouter::kernel::netlink::contents::{
    NetnsContents, ObservedAddress, ObservedLink, is_local_last, unreachable_tables,
};
use perouter::kernel::netlink::saved::{Target as SavedTarget, add_addresses, add_routes};
use perouter::kernel::netlink::saved_message::SavedMessage;
use perouter::kernel::netlink::socket::{Answer, frame};
use perouter::kernel::nic_record::Record;
use perouter::kernel::observe::{NodeContents, state};
use perouter::types::Family;

use crate::Target;
use crate::mutate::Format;

pub const TARGET: Target =
    Target { name: "netlink", format: Format::Binary, max_input: 8192, run, more_seeds: super::no_more_seeds };

/// Of the first message, so that it is read.
pub(super) fn sequence_of(datagram: &[u8]) -> u32 {
    datagram.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn run(input: &[u8]) {
    let mut messages = Vec::new();
    let _rejected =
        Answer::to(sequence_of(input)).add(input, &mut |message: RouteNetlinkMessage| messages.push(message));
    let contents = contents(&messages);
    let names: BTreeSet<_> = contents.links.values().filter_map(|link| link.name.parse().ok()).collect();
    let node: NodeContents = [Netns::Host, Netns::Router].map(|netns| (netns, Arc::new(contents.clone()))).into();
    for asked in [BTreeSet::new(), names] {
        let state = state(&node, &asked, &Record::default());
        assert_eq!(diff(&state, &state), vec![]);
        for step in diff(&KernelState::default(), &state) {
            let foreign = |key: &perouter::kernel::model::LinkKey| !state.links.contains_key(key);
            assert!(!step.op.link().is_some_and(foreign), "{step}");
        }
        diff(&state, &KernelState::default());
    }
    saved(&messages);
}

fn contents(messages: &[RouteNetlinkMessage]) -> NetnsContents {
    let (mut links, mut addresses) = (BTreeMap::new(), Vec::new());
    for message in messages {
        match message {
            RouteNetlinkMessage::NewLink(link) => {
                links.insert(link.header.index, Arc::new(ObservedLink::new(link)));
            }
            RouteNetlinkMessage::NewAddress(address) => addresses.extend(ObservedAddress::of(address)),
            _ => {}
        }
    }
    let mut contents = NetnsContents::new(links, addresses);
    for family in [Family::Ipv4, Family::Ipv6] {
        contents.unreachable.extend(unreachable_tables(family, messages));
        if is_local_last(messages) {
            contents.local_last.insert(family);
        }
    }
    contents
}

/// What a NIC had is saved, and becomes requests again.
fn saved(messages: &[RouteNetlinkMessage]) {
    let target = SavedTarget {
        old_index: 2,
        index: 7,
        in_router: messages.len().is_multiple_of(2),
        is_same_device: messages.len() < 3,
    };
    let (mut addresses, mut routes) = (Vec::new(), Vec::new());
    for message in messages {
        match message {
            RouteNetlinkMessage::NewAddress(address) => addresses.extend(SavedMessage::of_address(address)),
            RouteNetlinkMessage::NewRoute(route) => routes.push(SavedMessage::of_route(route)),
            _ => {}
        }
    }
    let requests = [add_addresses(&addresses, target), add_routes(&routes, target)];
    for request in requests.into_iter().flatten().flatten() {
        frame(request.message, request.flags, 1);
    }
}
