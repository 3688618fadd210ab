//! How an op prints: like the `ip` command line that does the same. Pure.

use std::fmt;

use ipnet::IpNet;

use super::{AddressDevice, KernelOp, NewLink};
use crate::kernel::host_ports;
use crate::kernel::model::{
    IpUse, LOCAL_RULE, LinkKey, LinkKind, ListenPort, ROUTE_EACH_PACKET, SourceFilter, UNREACHABLE_METRIC,
};
use crate::types::{Family, TableId};

impl fmt::Display for KernelOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNetns(vrf) => write!(f, "netns add {vrf}"),
            Self::DeleteNetns(vrf) => write!(f, "netns delete {vrf}"),
            Self::CreateLink(new) => fmt::Display::fmt(new, f),
            Self::DeleteLink { key, .. } => write!(f, "{}: link delete {}", key.netns, key.name),
            Self::SetMaster { key, master: Some(master) } => set(f, key, format_args!("master {master}")),
            Self::SetMaster { key, master: None } | Self::SetHostMaster { key, master: None } => {
                set(f, key, "nomaster")
            }
            Self::SetHostMaster { key, master: Some(master) } => set(f, key, format_args!("master {}", master.name())),
            Self::AttachPorts { bridge: LinkKey { netns, name }, ports } => {
                write!(f, "{netns}: link set {} master {name}", host_ports::names(ports))
            }
            Self::SetMtu { key, mtu } => set(f, key, format_args!("mtu {mtu}")),
            Self::SetMac { key, mac, former: None } => set(f, key, format_args!("address {mac}")),
            Self::SetMac { key, mac, former: Some(former) } => {
                set(f, key, format_args!("address {mac}, that of its VXLAN device {former}"))
            }
            Self::RepairNic(nic) => write!(f, "router: link set {nic} up, with its name and addresses"),
            Self::SetUp(key) => set(f, key, "up"),
            Self::SetDown(key) => set(f, key, "down"),
            Self::SetAddrGen { key, none } => {
                set(f, key, format_args!("addrgenmode {}", if *none { "none" } else { "eui64" }))
            }
            Self::SetRpFilter { key: LinkKey { netns, name }, filter } => {
                write!(f, "{netns}: sysctl net.ipv4.conf.{name}.rp_filter={}", filter.value())
            }
            Self::SetIpUse { key, ip } => ip_use(f, key, *ip),
            Self::SetLinkSetting { key: LinkKey { netns, name }, setting, on } => {
                // As sysctl prints it: no name of ours has a dot.
                write!(f, "{netns}: sysctl {}={}", setting.path(&name.to_string()).replace('/', "."), u8::from(*on))
            }
            Self::SetPort { key, port } => set(
                f,
                key,
                format_args!(
                    "type bridge_slave neigh_suppress {} learning {}",
                    on_off(port.neigh_suppress),
                    on_off(port.learning)
                ),
            ),
            Self::AddAddress { on, address } => on.address(f, "add", address),
            Self::DelAddress { on, address } => on.address(f, "delete", address),
            Self::MoveNic { nic, named: None } => write!(f, "host: link set {nic} netns router"),
            Self::MoveNic { nic, named: Some(named) } => {
                write!(f, "host: link set {named} netns router (NIC {nic})")
            }
            Self::ReturnNic(nic) => write!(f, "router: link set {nic} netns host"),
            Self::SetSysctl { netns, sysctl, value } => write!(f, "{netns}: sysctl {sysctl}={value}"),
            Self::MoveLocalRule(family) => {
                let option = if *family == Family::Ipv4 { "-4" } else { "-6" };
                write!(f, "router: {option} rule lookup local from preference 0 to {LOCAL_RULE}")
            }
            Self::AddUnreachable(table, family) => unreachable_route(f, "add", *table, *family),
            Self::DelUnreachable(table, family) => unreachable_route(f, "delete", *table, *family),
            Self::OpenPort(opened) => opened.command(f, "add"),
            Self::ClosePort(opened) => opened.command(f, "delete"),
            Self::AddSourceFilter(filter) => filter.command(f, "add"),
            Self::DelSourceFilter(filter) => filter.command(f, "delete"),
            Self::Ovs(op) => fmt::Display::fmt(op, f),
        }
    }
}

fn ip_use(f: &mut fmt::Formatter<'_>, LinkKey { netns, name }: &LinkKey, ip: IpUse) -> fmt::Result {
    let [arp_accept, arp_ignore] = ip.arp();
    write!(f, "{netns}: sysctl net.ipv4.conf.{name}.arp_accept={arp_accept} arp_ignore={arp_ignore}")?;
    f.write_str(match ip {
        IpUse::Routed => "",
        IpUse::Gateway => " and net.ipv6 accept_untracked_na=2 dad_transmits=0",
        IpUse::Bridged => " and net.ipv6 disable_ipv6=1",
    })
}

impl fmt::Display for NewLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LinkKey { netns, name } = &self.key;
        write!(f, "{netns}: link add {name}")?;
        if let Some(mac) = self.mac {
            write!(f, " address {mac}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if self.addrgen_none {
            f.write_str(" addrgenmode none")?;
        }
        if let Some(filter) = self.rp_filter {
            write!(f, " rp_filter {}", filter.value())?;
        }
        match &self.kind {
            LinkKind::Vrf { table } => write!(f, " type vrf table {table}"),
            LinkKind::Bridge => f.write_str(" type bridge stp_state 0 mcast_snooping 0"),
            LinkKind::Vxlan { vni, local, port } => {
                let checksum = if local.is_ipv6() { " udp6zerocsumrx" } else { "" };
                write!(
                    f,
                    " type vxlan id {vni} local {local} dstport {port} nolearning tos {ROUTE_EACH_PACKET}{checksum}"
                )
            }
            LinkKind::Other => f.write_str(" type other"),
            LinkKind::Veth { peer } => write!(f, " type veth peer name {} netns {}", peer.name, peer.netns),
        }
    }
}

impl AddressDevice {
    fn address(&self, f: &mut fmt::Formatter<'_>, verb: &str, address: &IpNet) -> fmt::Result {
        match self {
            Self::Loopback => write!(f, "router: address {verb} {address} dev lo"),
            Self::Link(LinkKey { netns, name }) => write!(f, "{netns}: address {verb} {address} dev {name}"),
        }
    }
}

impl ListenPort {
    fn command(&self, f: &mut fmt::Formatter<'_>, verb: &str) -> fmt::Result {
        let Self { on: LinkKey { netns, name }, port, .. } = self;
        write!(f, "{netns}: nftables {verb} TCP port {port} as 179 on {name}")
    }
}

impl SourceFilter {
    fn command(&self, f: &mut fmt::Formatter<'_>, verb: &str) -> fmt::Result {
        write!(f, "{}: nftables {verb} table {}, which drops forged IPv6 sources", self.netns, self.table)
    }
}

fn set(f: &mut fmt::Formatter<'_>, key: &LinkKey, what: impl fmt::Display) -> fmt::Result {
    write!(f, "{}: link set {} {what}", key.netns, key.name)
}

fn unreachable_route(f: &mut fmt::Formatter<'_>, verb: &str, table: TableId, family: Family) -> fmt::Result {
    let default = match family {
        Family::Ipv4 => "0.0.0.0/0",
        Family::Ipv6 => "::/0",
    };
    write!(f, "router: route {verb} unreachable {default} table {table} metric {UNREACHABLE_METRIC}")
}

fn on_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}
