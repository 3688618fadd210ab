//! Netlink requests for links, addresses and routes as data. In: ops and ifindexes. Out: messages. Sends nothing.

use std::net::IpAddr;
use std::os::fd::RawFd;

use ipnet::IpNet;
use netlink_packet_core::{DefaultNla, NLA_F_NESTED, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData,
    InfoKind, InfoPortData, InfoPortKind, InfoVeth, InfoVrf, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags,
    LinkInfo, LinkMessage, Prop,
};
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::attribute::emit_attributes;
use super::contents::AddrGenMode;
use crate::kernel::model::{
    BridgePort, IpUse, LinkKind, LinkSetting, Netns, ROUTE_EACH_PACKET, RpFilter, UNREACHABLE_METRIC,
};
use crate::kernel::op::NewLink;
use crate::names::{LINK_GROUP, OwnedName, SEGMENT_GROUP, vrf_index};
use crate::types::{Family, MacAddr, TableId};

/// Creates, and does not replace.
pub(super) const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is changed.
    pub message: RouteNetlinkMessage,
    /// `NLM_F_*` of the change.
    pub flags: u16,
}

impl Request {
    /// Creates the link with the next free index.
    #[must_use]
    pub fn without_index(mut self) -> Self {
        if let RouteNetlinkMessage::NewLink(message) = &mut self.message {
            message.header.index = 0;
        }
        self
    }

    fn set(message: LinkMessage) -> Self {
        Self { message: RouteNetlinkMessage::NewLink(message), flags: 0 }
    }
}

/// The link called `name`, to be read or changed.
fn link(name: &str, attributes: impl IntoIterator<Item = LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.extend(attributes);
    message
}

/// Creates a link, down. `netns`: the namespace, where it is not that of the socket. `peer_netns`: that of the other veth
/// end. `None` for a kind that is never created.
pub fn new_link(new: &NewLink, netns: Option<RawFd>, peer_netns: Option<RawFd>) -> Option<Request> {
    let (kind, data) = match &new.kind {
        LinkKind::Vrf { table } => (InfoKind::Vrf, InfoData::Vrf(vec![InfoVrf::TableId(table.0)])),
        LinkKind::Bridge => {
            use InfoBridge::{ForwardDelay, MulticastSnooping, StpState};
            // Without STP the delay has one effect: at its end the kernel reports the port once more (`br_make_forwarding`).
            let off = vec![ForwardDelay(0), StpState(BridgeStpState::Disabled), MulticastSnooping(false)];
            (InfoKind::Bridge, InfoData::Bridge(off))
        }
        LinkKind::Vxlan { vni, local, port } => {
            let (local, zero_checksum) = match local {
                IpAddr::V4(local) => (InfoVxlan::Local(*local), None),
                IpAddr::V6(local) => (InfoVxlan::Local6(*local), Some(InfoVxlan::UDPZeroCsumRX(true))),
            };
            let mut data = vec![
                InfoVxlan::Id(vni.get()),
                local,
                InfoVxlan::Port(*port),
                InfoVxlan::Learning(false),
                InfoVxlan::Tos(ROUTE_EACH_PACKET),
            ];
            data.extend(zero_checksum);
            (InfoKind::Vxlan, InfoData::Vxlan(data))
        }
        LinkKind::Veth { peer } => {
            // The other end must not be UP here: ENOTCONN.
            let end = link(&peer.name.to_string(), owned(new, peer_netns));
            (InfoKind::Veth, InfoData::Veth(InfoVeth::Peer(end)))
        }
        LinkKind::Other => return None,
    };
    let mut message = link(&new.key.name.to_string(), new.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    if let OwnedName::Vrf(vrf) = &new.key.name {
        message.header.index = vrf_index(vrf);
    }
    message.attributes.extend(owned(new, netns));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
    Some(Request { message: RouteNetlinkMessage::NewLink(message), flags: CREATE })
}

/// What every link of ours has from its first moment, above all the mark that it is ours.
fn owned(new: &NewLink, netns: Option<RawFd>) -> impl Iterator<Item = LinkAttribute> + use<> {
    let mtu = new.mtu.map(LinkAttribute::Mtu);
    let group = if new.segment { SEGMENT_GROUP } else { LINK_GROUP };
    [LinkAttribute::Group(group)].into_iter().chain(mtu).chain(netns.map(LinkAttribute::NetNsFd))
}

/// Completes a new link with what the kernel ignores or rejects in the creating message. One of the router forwards.
pub fn finish_link((name, netns): (&str, &Netns), alias: &str, new: &NewLink) -> Request {
    let alias = LinkAttribute::IfAlias(alias.to_owned());
    let mode = new.addrgen_none.then(|| addrgen(AddrGenMode::NONE));
    let forwards = (*netns != Netns::Host).then_some(LinkSetting::Ipv4Forwarding);
    let settings = || forwards.into_iter().chain(LinkSetting::OFF).filter_map(|it| it.devconf(it.is_needed_on()));
    let ipv4 = new.rp_filter.map(|filter| devconf([sources(filter)].into_iter().chain(settings())));
    let families: Vec<_> = mode.into_iter().chain(ipv4).collect();
    let families = (!families.is_empty()).then_some(LinkAttribute::AfSpecUnspec(families));
    Request::set(link(name, [alias].into_iter().chain(families)))
}

fn addrgen(mode: AddrGenMode) -> AfSpecUnspec {
    AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::from(mode.0))])
}

/// IPv4 settings with their values. By hand: the packet crate sends no value of 0.
fn devconf(settings: impl IntoIterator<Item = (u16, u32)>) -> AfSpecUnspec {
    const IFLA_INET_CONF: u16 = 1;
    let value = |(setting, value): (u16, u32)| DefaultNla::new(setting, value.to_ne_bytes().to_vec());
    let values: Vec<_> = settings.into_iter().map(value).collect();
    let conf = DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, emit_attributes(&values));
    AfSpecUnspec::Inet(vec![AfSpecInet::Other(conf)])
}

fn sources(filter: RpFilter) -> (u16, u32) {
    const IPV4_DEVCONF_RP_FILTER: u16 = 8;
    (IPV4_DEVCONF_RP_FILTER, filter.value())
}

/// Sets the filter of IPv4 sources.
pub fn set_rp_filter(name: &str, filter: RpFilter) -> Request {
    Request::set(link(name, [LinkAttribute::AfSpecUnspec(vec![devconf([sources(filter)])])]))
}

/// Sets an IPv4 setting; `None` of another one.
pub fn set_link_setting(name: &str, setting: LinkSetting, on: bool) -> Option<Request> {
    let value = setting.devconf(on)?;
    Some(Request::set(link(name, [LinkAttribute::AfSpecUnspec(vec![devconf([value])])])))
}

/// Sets what a link does with ARP.
pub fn set_arp(name: &str, ip: IpUse) -> Request {
    const IPV4_DEVCONF_ARP_IGNORE: u16 = 19;
    const IPV4_DEVCONF_ARP_ACCEPT: u16 = 21;
    let [accept, ignore] = ip.arp();
    let values = [(IPV4_DEVCONF_ARP_ACCEPT, accept), (IPV4_DEVCONF_ARP_IGNORE, ignore)];
    Request::set(link(name, [LinkAttribute::AfSpecUnspec(vec![devconf(values)])]))
}

/// Sets the address generation mode.
pub fn set_addrgen(name: &str, mode: AddrGenMode) -> Request {
    Request::set(link(name, [LinkAttribute::AfSpecUnspec(vec![addrgen(mode)])]))
}

/// Sets the MTU.
pub fn set_mtu(name: &str, mtu: u32) -> Request {
    Request::set(link(name, [LinkAttribute::Mtu(mtu)]))
}

/// Sets the MTU and, where the link has IPv6, the address generation mode.
pub fn restore_link(name: &str, mtu: u32, mode: Option<AddrGenMode>) -> Request {
    let mode = mode.map(|mode| LinkAttribute::AfSpecUnspec(vec![addrgen(mode)]));
    Request::set(link(name, [LinkAttribute::Mtu(mtu)].into_iter().chain(mode)))
}

/// Sets the MAC address.
pub fn set_mac(name: &str, mac: MacAddr) -> Request {
    Request::set(link(name, [LinkAttribute::Address(mac.0.to_vec())]))
}

/// Sets the master by its ifindex; 0 for none.
pub fn set_master(name: &str, master: u32) -> Request {
    Request::set(link(name, [LinkAttribute::Controller(master)]))
}

/// The same of the link with this ifindex.
pub fn set_master_at(index: u32, master: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Controller(master));
    Request::set(message)
}

/// Sets master and alias in one message.
pub fn set_master_and_alias(name: &str, master: u32, alias: String) -> Request {
    Request::set(link(name, [LinkAttribute::IfAlias(alias), LinkAttribute::Controller(master)]))
}

/// Sets the link up or down.
pub fn set_up(name: &str, up: bool) -> Request {
    let mut message = link(name, []);
    message.header.change_mask = LinkFlags::Up;
    if up {
        message.header.flags = LinkFlags::Up;
    }
    Request::set(message)
}

/// Moves the link to the namespace behind this descriptor, which must be open until the kernel has answered.
pub fn move_link(name: &str, netns: RawFd) -> Request {
    Request::set(link(name, [LinkAttribute::NetNsFd(netns)]))
}

/// Moves the link with this ifindex to the namespace behind this descriptor under a new name.
pub fn move_link_as(index: u32, netns: RawFd, new: &str) -> Request {
    let mut message = link(new, [LinkAttribute::NetNsFd(netns)]);
    message.header.index = index;
    Request::set(message)
}

/// Renames the link with this ifindex.
pub fn rename(index: u32, name: &str) -> Request {
    let mut message = link(name, []);
    message.header.index = index;
    Request::set(message)
}

/// Adds an alternative name.
pub fn add_altname(name: &str, altname: &str) -> Request {
    let properties = LinkAttribute::PropList(vec![Prop::AltIfName(altname.to_owned())]);
    Request { message: RouteNetlinkMessage::NewLinkProp(link(name, [properties])), flags: CREATE | NLM_F_APPEND }
}

/// Sets bridge port settings.
pub fn set_port(name: &str, port: BridgePort) -> Request {
    let data = vec![InfoBridgePort::NeighSupress(port.neigh_suppress), InfoBridgePort::Learning(port.learning)];
    let infos = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(InfoPortData::BridgePort(data))];
    Request::set(link(name, [LinkAttribute::LinkInfo(infos)]))
}

/// Deletes a link.
pub fn delete_link(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    Request { message: RouteNetlinkMessage::DelLink(message), flags: 0 }
}

/// Deletes all links with this mark of ours.
pub fn delete_our_links(group: u32) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group));
    Request { message: RouteNetlinkMessage::DelLink(message), flags: 0 }
}

/// Reads one link.
pub fn get_link(name: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(link(name, [skip_stats()]))
}

/// Reads the link with this ifindex.
pub fn get_link_at(index: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(skip_stats());
    RouteNetlinkMessage::GetLink(message)
}

/// Reads all links.
pub fn get_links() -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(skip_stats());
    RouteNetlinkMessage::GetLink(message)
}

fn skip_stats() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// Reads the neighbors of a family, or for that of bridges the FDB of all links.
pub fn get_neighbors(family: AddressFamily) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    RouteNetlinkMessage::GetNeighbour(message)
}

/// Reads all addresses.
pub fn get_addresses() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetAddress(AddressMessage::default())
}

/// Adds an address to the link with this ifindex.
pub fn add_address(index: u32, net: IpNet) -> Request {
    Request { message: RouteNetlinkMessage::NewAddress(address(index, net)), flags: CREATE }
}

/// Removes an address from the link with this ifindex.
pub fn delete_address(index: u32, net: IpNet) -> Request {
    Request { message: RouteNetlinkMessage::DelAddress(address(index, net)), flags: 0 }
}

fn address(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = net.prefix_len();
    message.header.family = match net {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message.attributes = vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
    if matches!(net, IpNet::V6(_)) {
        // The addresses of a session are the same on all nodes or follow from the node index: duplicate address detection
        // would only delay the session.
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

/// Adds the unreachable default route of a VRF table.
pub fn add_unreachable(table: TableId, family: Family) -> Request {
    Request { message: RouteNetlinkMessage::NewRoute(unreachable(table, family)), flags: CREATE }
}

/// Removes the unreachable default route of a VRF table.
pub fn delete_unreachable(table: TableId, family: Family) -> Request {
    Request { message: RouteNetlinkMessage::DelRoute(unreachable(table, family)), flags: 0 }
}

fn unreachable(table: TableId, family: Family) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = address_family(family);
    route.header.table = RouteHeader::RT_TABLE_UNSPEC;
    route.header.protocol = RouteProtocol::Static;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Unreachable;
    route.attributes = vec![RouteAttribute::Table(table.0), RouteAttribute::Priority(UNREACHABLE_METRIC)];
    route
}

pub(super) fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// Reads the routes of a family, of all tables.
pub fn get_routes(family: Family) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    RouteNetlinkMessage::GetRoute(message)
}

/// Reads the routes of a family over the link with this ifindex, of all tables. Needs strict checking.
pub fn get_routes_over(family: Family, index: u32) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    message.attributes.push(RouteAttribute::Oif(index));
    RouteNetlinkMessage::GetRoute(message)
}

/// Reads the routes of a family in table `main`. Needs strict checking.
pub fn get_main_routes(family: Family) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    message.attributes.push(RouteAttribute::Table(RouteHeader::RT_TABLE_MAIN.into()));
    RouteNetlinkMessage::GetRoute(message)
}

/// Reads the routes of a family and a protocol, of all tables. Needs strict checking.
pub fn get_routes_of(family: Family, protocol: RouteProtocol) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    message.header.protocol = protocol;
    RouteNetlinkMessage::GetRoute(message)
}

/// Reads the route that the kernel selects for an address.
pub fn get_route_to(address: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    let (family, destination, length) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, RouteAddress::Inet(address), 32),
        IpAddr::V6(address) => (AddressFamily::Inet6, RouteAddress::Inet6(address), 128),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.attributes.push(RouteAttribute::Destination(destination));
    RouteNetlinkMessage::GetRoute(message)
}

/// Reads the unreachable routes of a family, of all tables. Needs strict checking.
pub fn get_unreachable_routes(family: Family) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    message.header.kind = RouteType::Unreachable;
    RouteNetlinkMessage::GetRoute(message)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;
    use crate::kernel::model::{LinkKey, Netns};
    use crate::names::Role;
    use crate::types::Vni;

    fn vni() -> Vni {
        Vni::try_from(100).unwrap()
    }

    fn new(name: OwnedName, kind: LinkKind, mtu: Option<u32>) -> NewLink {
        NewLink {
            key: LinkKey { netns: Netns::Router, name },
            kind,
            segment: false,
            mtu,
            mac: None,
            addrgen_none: false,
            rp_filter: None,
        }
    }

    fn link_of(request: Option<Request>) -> LinkMessage {
        match request.unwrap().message {
            RouteNetlinkMessage::NewLink(link) => link,
            other => panic!("{other:?}"),
        }
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
    fn a_vrf_device_is_created_with_its_table_and_our_mark() {
        let table = TableId::of(vni());
        let name = OwnedName::Vrf("red".parse().unwrap());
        let message = link_of(new_link(&new(name, LinkKind::Vrf { table }, None), None, None));
        assert_eq!(message.header.flags.bits(), 0, "created down");
        assert_eq!(message.header.index, vrf_index(&"red".parse().unwrap()), "the same after each rebuild");
        let request = bytes(&message);
        // IFLA_IFNAME 3, IFLA_GROUP 27, IFLA_LINKINFO 18 { IFLA_INFO_KIND 1, IFLA_INFO_DATA 2 { IFLA_VRF_TABLE 1 } }
        let data = attribute(1, &table.0.to_ne_bytes());
        for part in [
            attribute(3, b"red\0"),
            attribute(27, &LINK_GROUP.to_ne_bytes()),
            attribute(1, b"vrf\0"),
            attribute(2, &data),
        ] {
            assert!(request.windows(part.len()).any(|window| window == part), "{part:?} in {request:?}");
        }
    }

    #[test]
    fn both_ends_of_a_pair_are_created_with_our_mark_and_the_mtu() {
        let host = LinkKey { netns: Netns::Host, name: OwnedName::Vni(Role::HostVeth, vni()) };
        let kind = LinkKind::Veth { peer: Box::new(host) };
        let message = link_of(new_link(&new(OwnedName::Vni(Role::PeVeth, vni()), kind, Some(1450)), None, Some(7)));
        let owned = [LinkAttribute::Group(LINK_GROUP), LinkAttribute::Mtu(1450)];
        assert!(owned.iter().all(|attribute| message.attributes.contains(attribute)), "{message:?}");
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
            owned.iter().chain([&name, &LinkAttribute::NetNsFd(7)]).all(|a| peer.attributes.contains(a)),
            "{peer:?}"
        );
        assert_eq!(peer.header.flags.bits(), 0, "a peer that is up is rejected");
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
