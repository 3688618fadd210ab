//! Devices on top of a NIC, saved so that they can be created again: the kernel deletes a VXLAN device with the device that it
//! sends through, others lose their routes. In: a socket, or what was saved. Out: saved devices, and requests that create
//! them. Does not decide when.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage};
use serde::{Deserialize, Serialize};

use super::contents::ObservedLink;
use super::error::NetlinkError;
use super::request::{self, Request};
use super::saved_message::{MalformedMessage, SavedMessage};
use super::socket::{Route, Socket};
use crate::types::Family;

/// What a device on top of a NIC was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLink {
    /// Its name.
    pub name: String,
    /// Its ifindex, to which its routes refer.
    pub index: u32,
    /// Whether it was up.
    pub up: bool,
    /// The name of its master.
    pub master: Option<String>,
    /// Its addresses.
    pub addresses: Vec<SavedMessage>,
    /// The routes that named it, except for those that the kernel adds itself.
    pub routes: Vec<SavedMessage>,
    /// Kind, settings, MTU and MAC address.
    message: SavedMessage,
}

impl Socket<Route> {
    /// The devices on top of the link with this ifindex.
    pub async fn save_stacked(&mut self, index: u32) -> Result<Vec<SavedLink>, NetlinkError> {
        let take = |links: &mut Vec<(LinkMessage, ObservedLink)>, message| {
            if let RouteNetlinkMessage::NewLink(message) = message {
                let observed = ObservedLink::new(&message);
                links.push((message, observed));
            }
        };
        let links: Vec<(LinkMessage, ObservedLink)> = self.dump(request::get_links(), take).await?;
        let name_of = |master: u32| {
            links.iter().find(|(message, _)| message.header.index == master).map(|(_, link)| link.name.clone())
        };
        let mut saved = Vec::new();
        for (message, link) in links.iter().filter(|(_, link)| link.is_stacked_on(index)) {
            let own = message.header.index;
            let mut routes = Vec::new();
            for family in [Family::Ipv4, Family::Ipv6] {
                routes.extend(self.save_routes(family, own).await?);
            }
            saved.push(SavedLink {
                name: link.name.clone(),
                index: own,
                up: link.up,
                master: link.master.and_then(name_of),
                addresses: self.save_addresses(own).await?,
                routes,
                message: SavedMessage::new(format!("{} {}", link.info_kind, link.name), &creation(message)),
            });
        }
        Ok(saved)
    }
}

impl SavedLink {
    /// The request that creates it on top of the link with this ifindex.
    pub fn create(&self, lower: u32) -> Result<Request, MalformedMessage> {
        let mut message: LinkMessage = self.message.decode()?;
        for attribute in &mut message.attributes {
            match attribute {
                LinkAttribute::Link(index) => *index = lower,
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Data(InfoData::Vxlan(data)) = info {
                            for setting in data {
                                if let InfoVxlan::Link(index) = setting {
                                    *index = lower;
                                }
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Request { message: RouteNetlinkMessage::NewLink(message), flags: NLM_F_CREATE | NLM_F_EXCL })
    }
}

/// Of what the kernel reports of a link, what creates it.
fn creation(message: &LinkMessage) -> LinkMessage {
    let mut created = LinkMessage::default();
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(_)
            | LinkAttribute::Mtu(_)
            | LinkAttribute::Address(_)
            | LinkAttribute::Group(_)
            | LinkAttribute::TxQueueLen(_)
            | LinkAttribute::Link(_) => created.attributes.push(attribute.clone()),
            LinkAttribute::LinkInfo(infos) => {
                created.attributes.push(LinkAttribute::LinkInfo(infos.iter().filter_map(info_of).collect()));
            }
            _ => {}
        }
    }
    created
}

fn info_of(info: &LinkInfo) -> Option<LinkInfo> {
    match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => {
            // The kernel derives the reserved bits from the other settings, and netlink-packet-route has them in another byte
            // order. The TTL is reported as a number, and accepted as a flag without a value only.
            let accepted = |setting: &InfoVxlan| match setting {
                InfoVxlan::ReservedBits(_) | InfoVxlan::TtlInherit(0) => None,
                InfoVxlan::TtlInherit(_) => Some(InfoVxlan::TtlInheritFlag),
                other => Some(other.clone()),
            };
            Some(LinkInfo::Data(InfoData::Vxlan(data.iter().filter_map(accepted).collect())))
        }
        LinkInfo::Kind(_) | LinkInfo::Data(_) => Some(info.clone()),
        _ => None,
    }
}
