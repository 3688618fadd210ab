//! Requests for the rules of policy routing. In: a family. Out: messages. Sends nothing.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::request::{CREATE, Request, address_family};
use crate::kernel::model::LOCAL_TABLE;
use crate::types::Family;

/// Adds the rule for table `local` with a preference.
pub fn add_local(family: Family, preference: u32) -> Request {
    Request { message: RouteNetlinkMessage::NewRule(local(family, preference)), flags: CREATE }
}

/// Removes the rule for table `local` with a preference.
pub fn delete_local(family: Family, preference: u32) -> Request {
    Request { message: RouteNetlinkMessage::DelRule(local(family, preference)), flags: 0 }
}

fn local(family: Family, preference: u32) -> RuleMessage {
    let mut rule = rules(family);
    rule.header.table = LOCAL_TABLE;
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![RuleAttribute::Priority(preference)];
    rule
}

/// Reads the rules of a family.
pub fn get(family: Family) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetRule(rules(family))
}

fn rules(family: Family) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = address_family(family);
    rule
}
