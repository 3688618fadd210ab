//! Netlink requests for links, addresses and routes as data. In: ops and ifindexes. Out: messages. Sends nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind,
    InfoPortData, InfoPortKind, InfoVeth, InfoVrf, InfoVxlan, LinkAttribute, LinkExtentMask, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteMessage, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use crate::kernel::model::{BridgePort, LinkKind};
use crate::kernel::op::{NewLink, ROUTE_EACH_PACKET, UNREACHABLE_METRIC};
use crate::names::LINK_GROUP;
use crate::types::{Family, TableId};

type Builder = LinkMessageBuilder<LinkUnspec>;

/// The link called `name`, to be read or changed.
pub fn link(name: &str) -> Builder {
    LinkUnspec::new_with_name(name)
}

/// Makes a link. `into`: the namespace, where it is not that of the socket. `peer`: that of the other veth end.
/// `None` for a kind that is not made.
pub fn new_link(new: &NewLink, into: Option<RawFd>, peer_netns: Option<RawFd>) -> Option<LinkMessage> {
    let (kind, data) = match &new.kind {
        LinkKind::Vrf { table } => (InfoKind::Vrf, InfoData::Vrf(vec![InfoVrf::TableId(table.0)])),
        LinkKind::Bridge => {
            let off = vec![InfoBridge::StpState(BridgeStpState::Disabled), InfoBridge::MulticastSnooping(false)];
            (InfoKind::Bridge, InfoData::Bridge(off))
        }
        LinkKind::Vxlan { vni, local, port } => {
            let local = match local {
                IpAddr::V4(local) => InfoVxlan::Local(*local),
                IpAddr::V6(local) => InfoVxlan::Local6(*local),
            };
            let data = vec![
                InfoVxlan::Id(vni.get()),
                local,
                InfoVxlan::Port(*port),
                InfoVxlan::Learning(false),
                InfoVxlan::Tos(ROUTE_EACH_PACKET),
            ];
            (InfoKind::Vxlan, InfoData::Vxlan(data))
        }
        LinkKind::Veth { peer } => {
            // The other end must not be UP here: ENOTCONN.
            let end = born(link(&peer.name.to_string()), new.mtu, peer_netns).build();
            (InfoKind::Veth, InfoData::Veth(InfoVeth::Peer(end)))
        }
        LinkKind::Other => return None,
    };
    let mut builder = Builder::new_with_info_kind(kind).set_info_data(data).name(new.key.name.to_string());
    if let Some(mac) = new.mac {
        builder = builder.address(mac.0.to_vec());
    }
    Some(born(builder, new.mtu, into).build())
}

/// What every link of ours has from its first moment: the mark that it is ours.
fn born(mut builder: Builder, mtu: Option<u32>, into: Option<RawFd>) -> Builder {
    builder = builder.link_group(LINK_GROUP);
    if let Some(mtu) = mtu {
        builder = builder.mtu(mtu);
    }
    match into {
        Some(netns) => builder.setns_by_fd(netns),
        None => builder,
    }
}

/// The change that gives a link that was just made what the kernel ignores or refuses in the making message.
pub fn finish_link(name: &str, alias: &str, addrgen_none: bool) -> LinkMessage {
    let builder = link(name).alias(alias);
    if addrgen_none { addrgen(builder, In6AddrGenMode::None).build() } else { builder.build() }
}

/// Sets the address generation mode.
pub fn addrgen(builder: Builder, mode: In6AddrGenMode) -> Builder {
    let inet6 = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode)]);
    builder.append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![inet6]))
}

/// Sets bridge port settings.
pub fn port(name: &str, port: BridgePort) -> LinkMessage {
    let data = vec![InfoBridgePort::NeighSupress(port.neigh_suppress), InfoBridgePort::Learning(port.learning)];
    link(name).set_port_kind(InfoPortKind::Bridge).set_port_data(InfoPortData::BridgePort(data)).build()
}

/// All links with our mark.
pub fn our_group() -> LinkMessage {
    Builder::new().link_group(LINK_GROUP).build()
}

/// Reads one link.
pub fn get_link(name: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(link(name).append_extra_attribute(skip_stats()).build())
}

/// Reads all links.
pub fn get_links() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(Builder::new().append_extra_attribute(skip_stats()).build())
}

fn skip_stats() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// Reads all addresses.
pub fn get_addresses() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetAddress(AddressMessage::default())
}

/// An address of the link with this ifindex.
pub fn address(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = net.prefix_len();
    message.header.family = match net {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message.attributes = vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
    if matches!(net, IpNet::V6(_)) {
        // The addresses of a session are the same on all nodes or follow from the node index: a search for duplicates
        // would only delay the session.
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

/// The unreachable default route of a VRF table.
pub fn unreachable(table: TableId, family: Family) -> RouteMessage {
    match family {
        Family::Ipv4 => RouteMessageBuilder::<Ipv4Addr>::new()
            .table_id(table.0)
            .kind(RouteType::Unreachable)
            .priority(UNREACHABLE_METRIC)
            .build(),
        Family::Ipv6 => RouteMessageBuilder::<Ipv6Addr>::new()
            .table_id(table.0)
            .kind(RouteType::Unreachable)
            .priority(UNREACHABLE_METRIC)
            .build(),
    }
}

/// The rule for table `local` with a preference.
pub fn local_rule(family: Family, preference: u32) -> RuleMessage {
    let mut rule = rules(family);
    rule.header.table = nix::libc::RT_TABLE_LOCAL;
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![RuleAttribute::Priority(preference)];
    rule
}

/// Reads the rules of a family.
pub fn get_rules(family: Family) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetRule(rules(family))
}

fn rules(family: Family) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = address_family(family);
    rule
}

fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// Reads the routes of a family, of all tables; with strict checking only those of `kind`.
pub fn get_routes(family: Family, kind: Option<RouteType>) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    message.header.kind = kind.unwrap_or(RouteType::Unspec);
    RouteNetlinkMessage::GetRoute(message)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use rtnetlink::packet_route::link::LinkInfo;
    use rtnetlink::packet_route::route::RouteAttribute;

    use super::*;
    use crate::kernel::model::{LinkKey, Netns};
    use crate::names::{OwnedName, Role};
    use crate::types::Vni;

    fn vni() -> Vni {
        Vni::try_from(100).unwrap()
    }

    fn new(name: OwnedName, kind: LinkKind, mtu: Option<u32>) -> NewLink {
        NewLink { key: LinkKey { netns: Netns::Router, name }, kind, mtu, mac: None, addrgen_none: false }
    }

    fn bytes(message: &impl Emitable) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    /// An attribute as `linux/rtnetlink.h` lays it out.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_vrf_device_is_asked_for_with_its_table_and_our_mark() {
        let table = TableId::of(vni());
        let name = OwnedName::Vrf("red".parse().unwrap());
        let message = new_link(&new(name, LinkKind::Vrf { table }, None), None, None).unwrap();
        assert_eq!(message.header.flags.bits(), 0, "made down");
        let asked = bytes(&message);
        // IFLA_IFNAME 3, IFLA_GROUP 27, IFLA_LINKINFO 18 { IFLA_INFO_KIND 1, IFLA_INFO_DATA 2 { IFLA_VRF_TABLE 1 } }
        let data = attribute(1, &table.0.to_ne_bytes());
        for part in [
            attribute(3, b"red\0"),
            attribute(27, &LINK_GROUP.to_ne_bytes()),
            attribute(1, b"vrf\0"),
            attribute(2, &data),
        ] {
            assert!(asked.windows(part.len()).any(|window| window == part), "{part:?} in {asked:?}");
        }
    }

    #[test]
    fn both_ends_of_a_pair_are_born_with_our_mark_and_the_mtu() {
        let host = LinkKey { netns: Netns::Host, name: OwnedName::Vni(Role::HostVeth, vni()) };
        let kind = LinkKind::Veth { peer: Box::new(host) };
        let message = new_link(&new(OwnedName::Vni(Role::PeVeth, vni()), kind, Some(1450)), None, Some(7)).unwrap();
        let born = [LinkAttribute::Group(LINK_GROUP), LinkAttribute::Mtu(1450)];
        assert!(born.iter().all(|attribute| message.attributes.contains(attribute)), "{message:?}");
        let infos = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        });
        let peer = infos.unwrap().iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))) => Some(peer),
            _ => None,
        });
        let peer = peer.unwrap();
        let name = LinkAttribute::IfName("host-100".to_owned());
        assert!(
            born.iter().chain([&name, &LinkAttribute::NetNsFd(7)]).all(|a| peer.attributes.contains(a)),
            "{peer:?}"
        );
        assert_eq!(peer.header.flags.bits(), 0, "a peer that is up is refused");
    }

    #[test]
    fn the_unreachable_route_is_the_default_of_its_table() {
        for (family, raw) in [(Family::Ipv4, AddressFamily::Inet), (Family::Ipv6, AddressFamily::Inet6)] {
            let route = unreachable(TableId::of(vni()), family);
            assert_eq!((route.header.address_family, route.header.destination_prefix_length), (raw, 0));
            assert_eq!(route.header.kind, RouteType::Unreachable);
            assert!(route.attributes.contains(&RouteAttribute::Table(16_777_316)));
            assert!(route.attributes.contains(&RouteAttribute::Priority(4_278_198_272)));
        }
    }
}
