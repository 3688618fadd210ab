//! The contents of one network namespace as netlink reports them. In: link, address, route and rule messages. Out: links by
//! ifindex, ours and others. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, BridgeStpState, Inet6DevConf, InetDevConf, InfoBridge, InfoBridgePort,
    InfoData, InfoKind, InfoPortData, InfoVrf, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop,
};
use netlink_packet_route::route::{RouteAttribute, RouteType};
use netlink_packet_route::rule::RuleAttribute;

use super::route;
use crate::kernel::model::{
    BridgePort, IpUse, Ipv6Settings, LOCAL_RULE, LOCAL_TABLE, LinkSetting, ROUTE_EACH_PACKET, RpFilter, Sysctl,
    UNREACHABLE_METRIC,
};
use crate::names::{self, OwnedName, PortTable, SourceTable};
use crate::types::{Family, MacAddr, TableId, Vni};

/// The contents of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetnsContents {
    /// All links by ifindex. Shared: a node of a tree has room for eleven, and a namespace has four.
    pub links: BTreeMap<u32, Arc<ObservedLink>>,
    /// The settings that the kernel has. Shared with what is known of them.
    pub sysctls: Arc<BTreeMap<Sysctl, u32>>,
    /// Tables with our unreachable default route; read in the router namespace only.
    pub unreachable: BTreeSet<(TableId, Family)>,
    /// Tables that open a second BGP port, and whether the rules of each are complete.
    pub listen_ports: BTreeMap<PortTable, bool>,
    /// Tables that filter IPv6 sources, and whether the rules of each are complete.
    pub source_filters: BTreeMap<SourceTable, bool>,
    /// Families in which table `local` is not looked up first; read in the router namespace only.
    pub local_last: BTreeSet<Family>,
    /// Static routes; read in the host's namespace only.
    pub static_routes: BTreeSet<StaticRoute>,
}

/// A route that the administrator of the namespace has set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaticRoute {
    /// Its destination.
    pub prefix: IpNet,
    /// Its table.
    pub table: TableId,
    /// Ifindexes of its links; none of a route that discards packets.
    pub devices: BTreeSet<u32>,
}

/// A link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedLink {
    /// Its name.
    pub name: String,
    /// Its name, if it is ours.
    pub owned: Option<OwnedName>,
    /// Its alternative names.
    pub altnames: BTreeSet<String>,
    /// `IFLA_INFO_KIND`; empty for hardware.
    pub info_kind: String,
    /// Its link group.
    pub group: u32,
    /// Its kind.
    pub kind: ObservedKind,
    /// Its alias, if it is ours.
    pub alias: Option<String>,
    /// Ifindex of its master.
    pub master: Option<u32>,
    /// Ifindex of the other veth end or of the lower link, in the namespace of that one.
    pub lower: Option<u32>,
    /// The id of the namespace of the link behind `lower`, where that is another one.
    pub lower_netns: Option<i32>,
    /// MTU in bytes.
    pub mtu: u32,
    /// MAC address.
    pub mac: Option<MacAddr>,
    /// `IFF_UP`.
    pub up: bool,
    /// IPv6 address generation; `None` where the link has no IPv6.
    pub addrgen: Option<AddrGenMode>,
    /// Filter of IPv4 sources; `None` where the link has no IPv4.
    pub rp_filter: Option<RpFilter>,
    /// Settings that are on; none of a link without IPv4.
    pub settings: BTreeSet<LinkSetting>,
    /// Its part in IP, by the same settings and those of IPv6.
    pub ip: IpUse,
    /// `accept_untracked_na` is 0, as it is before Linux 5.18, which has no such setting.
    pub drops_untracked: bool,
    /// Settings of a bridge port.
    pub port: Option<BridgePort>,
    /// The kernel never moves it to another namespace (`NETIF_F_NETNS_LOCAL`).
    pub immovable: bool,
    /// Its addresses.
    pub addresses: BTreeSet<ObservedAddress>,
}

/// `IFLA_INET6_ADDR_GEN_MODE`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddrGenMode(pub u8);

impl AddrGenMode {
    /// `IN6_ADDR_GEN_MODE_EUI64`
    pub const EUI64: Self = Self(0);
    /// `IN6_ADDR_GEN_MODE_NONE`: no link-local address.
    pub const NONE: Self = Self(1);
}

/// An address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObservedAddress {
    /// Address with prefix length.
    pub net: IpNet,
    /// Without a lifetime: configured, not learned from a router.
    pub permanent: bool,
}

impl ObservedAddress {
    /// Whether it is configured, and not known.
    pub fn is_missing_in(&self, known: &BTreeSet<IpAddr>) -> bool {
        self.permanent && !is_link_local(&self.net) && !known.contains(&self.net.addr())
    }

    /// Of one message, with the ifindex of its link.
    pub fn of(message: &AddressMessage) -> Option<(u32, Self)> {
        let permanent = message.header.flags.contains(AddressHeaderFlags::Permanent);
        net_of(message).map(|net| (message.header.index, Self { net, permanent }))
    }
}

/// Kind of a link, as far as it can be ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ObservedKind {
    /// A VRF device.
    Vrf(TableId),
    /// A bridge without STP and multicast snooping.
    Bridge,
    /// A VXLAN device that does not learn, looks up the route of each packet, and over IPv6 accepts a UDP checksum of zero.
    Vxlan(Vni, IpAddr, u16),
    /// A veth end.
    Veth,
    /// Anything else.
    #[default]
    Other,
}

impl NetnsContents {
    /// Of links, and of addresses with the ifindexes of their links.
    pub fn new(links: BTreeMap<u32, Arc<ObservedLink>>, addresses: Vec<(u32, ObservedAddress)>) -> Self {
        let mut contents = Self { links, ..Self::default() };
        for (index, address) in addresses {
            if let Some(link) = contents.links.get_mut(&index) {
                Arc::make_mut(link).addresses.insert(address);
            }
        }
        contents
    }

    /// The link with this name, with its ifindex.
    pub fn by_name(&self, name: &str) -> Option<(u32, &ObservedLink)> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, link)| (*index, &**link))
    }

    /// The link with this primary or alternative name, with its ifindex. The kernel has each name once.
    pub fn by_any_name(&self, name: &str) -> Option<(u32, &ObservedLink)> {
        self.links.iter().find(|(_, link)| link.has_name(name)).map(|(index, link)| (*index, &**link))
    }
}

/// Tables among `routes` that have our unreachable default route.
pub fn unreachable_tables(family: Family, routes: &[RouteNetlinkMessage]) -> BTreeSet<(TableId, Family)> {
    let table_of = |message: &RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewRoute(message) = message else { return None };
        let ours = message.header.kind == RouteType::Unreachable
            && message.header.destination_prefix_length == 0
            && message.attributes.contains(&RouteAttribute::Priority(UNREACHABLE_METRIC));
        let table = route::table(message);
        (ours && table.vni().is_some()).then_some((table, family))
    };
    routes.iter().filter_map(table_of).collect()
}

/// Whether the rule for table `local` is not the first of `rules`.
pub fn is_local_last(rules: &[RouteNetlinkMessage]) -> bool {
    let preference = |message: &RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewRule(rule) = message else { return None };
        // A preference of 0 is not in the message.
        let preference = rule.attributes.iter().find_map(|attribute| match attribute {
            RuleAttribute::Priority(preference) => Some(*preference),
            _ => None,
        });
        (rule.header.table == LOCAL_TABLE).then_some(preference.unwrap_or(0))
    };
    rules.iter().filter_map(preference).min() == Some(LOCAL_RULE)
}

impl ObservedLink {
    /// Of one message.
    pub fn new(message: &LinkMessage) -> Self {
        let mut link = Self { up: message.header.flags.contains(LinkFlags::Up), ..Self::default() };
        let mut group = 0;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
                LinkAttribute::Group(id) => group = *id,
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().ok().map(MacAddr),
                LinkAttribute::Controller(index) => link.master = Some(*index),
                LinkAttribute::Link(index) => link.lower = Some(*index),
                LinkAttribute::LinkNetNsId(id) => link.lower_netns = Some(*id),
                LinkAttribute::PropList(properties) => link.altnames = altnames_of(properties),
                LinkAttribute::NetnsImmutable(immutable) => link.immovable = *immutable,
                LinkAttribute::AfSpecUnspec(families) => {
                    link.addrgen = addrgen_of(families);
                    let conf = devconf_of(families);
                    link.rp_filter = conf.map(|conf| RpFilter::of(conf.rp_filter));
                    let ipv6 = devconf6_of(families);
                    link.settings = conf.map(|conf| settings_of(conf, ipv6)).unwrap_or_default();
                    let of_ipv6 = ipv6.map(ipv6_settings_of);
                    link.ip = conf.map(|conf| IpUse::of(conf.arp_accept, conf.arp_ignore, of_ipv6)).unwrap_or_default();
                    link.drops_untracked = ipv6.is_some_and(|conf| conf.accept_untracked_na == 0);
                }
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = kind_of(infos);
                    link.info_kind = info_kind_of(infos);
                    link.port = port_of(infos);
                    // The kernel has the device of a VXLAN device among its settings only.
                    link.lower = link.lower.or_else(|| vxlan_device_of(infos));
                }
                _ => {}
            }
        }
        link.group = group;
        link.owned = OwnedName::recognise(&link.name, group, matches!(link.kind, ObservedKind::Vrf(_)));
        link.alias = link.alias.filter(|alias| link.owned.is_some() || names::is_alias(alias));
        link
    }

    /// Whether this is its primary or an alternative name.
    pub fn has_name(&self, name: &str) -> bool {
        self.name == name || self.altnames.contains(name)
    }

    /// Whether it sends through the link with this ifindex of its own namespace: a VLAN, a macvlan, a VXLAN device with `dev`.
    pub fn is_stacked_on(&self, index: u32) -> bool {
        // Of a pair it is the other end.
        let is_pair = matches!(self.info_kind.as_str(), "veth" | "netkit");
        self.lower == Some(index) && self.lower_netns.is_none() && !is_pair
    }
}

fn altnames_of(properties: &[Prop]) -> BTreeSet<String> {
    let name = |property: &Prop| if let Prop::AltIfName(name) = property { Some(name.clone()) } else { None };
    properties.iter().filter_map(name).collect()
}

/// Address and prefix length of an address message.
pub fn net_of(message: &AddressMessage) -> Option<IpNet> {
    // On a point-to-point link `Address` is the peer, and `Local` ours; without a peer IPv6 has only the former.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    IpNet::new(local.or(address)?, message.header.prefix_len).ok()
}

/// Whether it is an IPv6 link-local address, which the kernel sets.
pub fn is_link_local(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local())
}

fn addrgen_of(families: &[AfSpecUnspec]) -> Option<AddrGenMode> {
    families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(inet6) => inet6.iter().find_map(|attribute| match attribute {
            AfSpecInet6::AddrGenMode(mode) => Some(AddrGenMode(u8::from(mode))),
            _ => None,
        }),
        _ => None,
    })
}

fn devconf_of(families: &[AfSpecUnspec]) -> Option<&InetDevConf> {
    families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet(inet) => inet.iter().find_map(|attribute| match attribute {
            AfSpecInet::DevConf(conf) => Some(conf),
            _ => None,
        }),
        _ => None,
    })
}

fn devconf6_of(families: &[AfSpecUnspec]) -> Option<&Inet6DevConf> {
    families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(inet6) => inet6.iter().find_map(|attribute| match attribute {
            AfSpecInet6::DevConf(conf) => Some(conf),
            _ => None,
        }),
        _ => None,
    })
}

fn ipv6_settings_of(conf: &Inet6DevConf) -> Ipv6Settings {
    let detects_duplicates = conf.accept_dad != 0 || conf.dad_transmits != 0;
    Ipv6Settings { disabled: conf.disable_ipv6 != 0, detects_duplicates }
}

/// A link without IPv6 counts as one that forwards it.
fn settings_of(conf: &InetDevConf, ipv6: Option<&Inet6DevConf>) -> BTreeSet<LinkSetting> {
    let value = |setting: &LinkSetting| match setting {
        LinkSetting::Ipv4Forwarding => conf.forwarding,
        LinkSetting::Ipv6Forwarding => ipv6.map_or(1, |conf| conf.forwarding),
        LinkSetting::AcceptRedirects => conf.accept_redirects,
        LinkSetting::SendRedirects => conf.send_redirects,
        LinkSetting::RouteLocalnet => conf.route_localnet,
    };
    LinkSetting::ALL.into_iter().filter(|setting| value(setting) != 0).collect()
}

fn kind_of(infos: &[LinkInfo]) -> ObservedKind {
    let is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    match data {
        _ if is_veth => ObservedKind::Veth,
        Some(InfoData::Vrf(data)) => data
            .iter()
            .find_map(|info| match info {
                InfoVrf::TableId(table) => Some(ObservedKind::Vrf(TableId(*table))),
                InfoVrf::Other(_) | _ => None,
            })
            .unwrap_or(ObservedKind::Other),
        Some(InfoData::Bridge(data)) if is_plain_bridge(data) => ObservedKind::Bridge,
        Some(InfoData::Vxlan(data)) => vxlan_of(data).unwrap_or(ObservedKind::Other),
        _ => ObservedKind::Other,
    }
}

fn info_kind_of(infos: &[LinkInfo]) -> String {
    let kind =
        infos.iter().find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind.to_string()) } else { None });
    kind.unwrap_or_default()
}

fn vxlan_device_of(infos: &[LinkInfo]) -> Option<u32> {
    infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => data.iter().find_map(|info| match info {
            InfoVxlan::Link(index) => Some(*index).filter(|index| *index != 0),
            _ => None,
        }),
        _ => None,
    })
}

fn is_plain_bridge(data: &[InfoBridge]) -> bool {
    data.contains(&InfoBridge::StpState(BridgeStpState::Disabled))
        && !data.contains(&InfoBridge::MulticastSnooping(true))
}

fn vxlan_of(data: &[InfoVxlan]) -> Option<ObservedKind> {
    let (mut vni, mut local, mut udp, mut learning, mut tos, mut zero_checksum) = (None, None, None, true, 0, false);
    for info in data {
        match info {
            InfoVxlan::Id(id) => vni = Vni::try_from(*id).ok(),
            InfoVxlan::Local(address) => local = Some(IpAddr::V4(*address)),
            InfoVxlan::Local6(address) => local = Some(IpAddr::V6(*address)),
            InfoVxlan::Port(port) => udp = Some(*port),
            InfoVxlan::Learning(on) => learning = *on,
            InfoVxlan::Tos(value) => tos = *value,
            InfoVxlan::UDPZeroCsumRX(on) => zero_checksum = *on,
            _ => {}
        }
    }
    let is_ipv6 = local.is_some_and(|local| local.is_ipv6());
    let ours = !learning && tos == ROUTE_EACH_PACKET && zero_checksum == is_ipv6;
    if ours { Some(ObservedKind::Vxlan(vni?, local?, udp?)) } else { None }
}

fn port_of(infos: &[LinkInfo]) -> Option<BridgePort> {
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(data)) => Some(data),
        _ => None,
    })?;
    Some(BridgePort {
        neigh_suppress: data.contains(&InfoBridgePort::NeighSupress(true)),
        learning: data.contains(&InfoBridgePort::Learning(true)),
    })
}
