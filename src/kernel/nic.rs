//! Underlay NICs on their way into the router namespace and back. In: a name. Out: the NIC is there, with what it had.
//! What it had is on disk before anything is touched, and each step can be done again, so that a crash anywhere in
//! between is mended by the next move or return. Does not choose NICs.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::{fs, io};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use nix::errno::Errno;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::In6AddrGenMode;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteProtocol,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::apply::{change, find, index_of, unless};
use super::error::{KernelError, NetlinkError, OpError};
use super::live::NetlinkKernel;
use super::model::Netns;
use super::namespace::Site;
use super::netlink::dump::Reader;
use super::netlink::request;
use super::netlink::seen::{SeenLink, net_of};
use super::netns;
use super::nic_record::{NicRecord, Phase, Raw, Record};
use super::op::KernelOp;
use crate::types::{Family, IfName};

impl NetlinkKernel {
    /// Gives every moved NIC back, for the end of the router on this node. Goes on after an error.
    pub async fn restore_all(&self) -> Vec<KernelError> {
        let record = match Record::read(&self.runtime.nics()) {
            Ok(record) => record,
            Err(error) => return vec![error.into()],
        };
        let mut errors = Vec::new();
        for nic in record.nics.into_keys() {
            if let Err(source) = self.return_nic(&nic).await {
                errors.push(KernelError::Op { op: Box::new(KernelOp::ReturnNic(nic)), source });
            }
        }
        errors
    }

    pub(crate) async fn move_nic(&self, nic: &IfName) -> Result<(), OpError> {
        let _alone = self.moving.lock().await;
        let path = self.runtime.nics();
        let mut record = Record::read(&path)?;
        if find(&self.router, nic.as_str()).await?.is_none() {
            let missing = || OpError::NoNic(nic.clone());
            find(&self.host, nic.as_str()).await?.ok_or_else(missing)?;
            // A return that was cut short, or a namespace that was lost and dropped its NIC here, bare.
            if let Some(had) = record.nics.get(nic).filter(|had| had.phase != Phase::Taking) {
                restore(&self.host, &Netns::Host, nic, had).await?;
            }
            let (index, link) = find(&self.host, nic.as_str()).await?.ok_or_else(missing)?;
            let had = capture(&self.host, index, &link).await?;
            record.nics.insert(nic.clone(), had);
            record.write(&path)?;
            if let Err(error) = send(&self.host, &self.router, nic, &link).await {
                record.nics.remove(nic);
                record.write(&path)?;
                return Err(error);
            }
        }
        let Some(had) = record.nics.get_mut(nic).filter(|had| had.phase != Phase::Taken) else {
            return Ok(());
        };
        restore(&self.router, &Netns::Router, nic, had).await?;
        had.phase = Phase::Taken;
        Ok(record.write(&path)?)
    }

    pub(crate) async fn return_nic(&self, nic: &IfName) -> Result<(), OpError> {
        let _alone = self.moving.lock().await;
        let path = self.runtime.nics();
        let mut record = Record::read(&path)?;
        let Some(had) = record.nics.get_mut(nic) else {
            return Err(OpError::NicNotOurs(nic.clone()));
        };
        if let Some((_, link)) = find(&self.router, nic.as_str()).await? {
            had.phase = Phase::Returning;
            record.write(&path)?;
            send(&self.router, &self.host, nic, &link).await?;
        }
        // One that was never taken has what it had. One that is nowhere was pulled: there is nothing to give back.
        if let Some(had) = record.nics.get(nic)
            && had.phase != Phase::Taking
            && find(&self.host, nic.as_str()).await?.is_some()
        {
            restore(&self.host, &Netns::Host, nic, had).await?;
        }
        record.nics.remove(nic);
        Ok(record.write(&path)?)
    }
}

/// Moves a NIC to another namespace; the kernel drops its addresses and routes on the way.
async fn send(from: &Site, to: &Site, nic: &IfName, link: &SeenLink) -> Result<(), OpError> {
    if link.immovable {
        return Err(OpError::NicBound(nic.clone()));
    }
    let netns = to.file()?;
    match change(from, request::link(nic.as_str()).setns_by_fd(netns.as_raw_fd()).build()).await {
        // Kernels before 6.12 do not show the property.
        Err(NetlinkError::Refused { errno: Errno::EINVAL, .. }) => Err(OpError::NicBound(nic.clone())),
        other => Ok(other?),
    }
}

/// What a NIC has.
async fn capture(site: &Site, index: u32, link: &SeenLink) -> Result<NicRecord, OpError> {
    let file = site.file()?;
    let mut reader = Reader::open(&file)?;
    let address = |addresses: &mut Vec<Raw>, message| {
        if let RouteNetlinkMessage::NewAddress(message) = message
            && message.header.index == index
            && let Some(net) = net_of(&message)
        {
            addresses.push(Raw::address(net.to_string(), &message));
        }
    };
    let addresses = reader.dump(request::get_addresses(), address).await?;
    let mut routes = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let route = |routes: &mut Vec<Raw>, message| {
            if let RouteNetlinkMessage::NewRoute(route) = message
                && is_set_by_somebody(&route)
                && devices(&route).contains(&index)
            {
                routes.push(Raw::route(describe(&route), &route));
            }
        };
        routes.extend(reader.dump(request::get_routes(family, None), route).await?);
    }
    let addrgen = link.addrgen.as_ref().map(u8::from);
    let settings = netns::in_netns(&file, || read_settings(&link.name))??;
    Ok(NicRecord { phase: Phase::Taking, index, mtu: link.mtu, up: link.up, addrgen, addresses, routes, settings })
}

/// Gives a NIC what it had, where it lacks it.
async fn restore(site: &Site, netns: &Netns, nic: &IfName, had: &NicRecord) -> Result<(), OpError> {
    let index = index_of(site, netns, nic.as_str()).await?;
    let mut link = request::link(nic.as_str()).mtu(had.mtu);
    if let Some(mode) = had.addrgen {
        link = request::addrgen(link, In6AddrGenMode::from(mode));
    }
    change(site, link.build()).await?;
    let in_router = *netns == Netns::Router;
    let socket = site.socket().await?;
    // Before it is up: the kernel then finds its link-local address there. The newest IPv6 address is reported first.
    let addresses = had.addresses.iter().map(|raw| raw.decode(nic)).collect::<Result<Vec<AddressMessage>, _>>()?;
    let (ipv4, ipv6): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.header.family == AddressFamily::Inet);
    for address in ipv4.into_iter().chain(ipv6.into_iter().rev()) {
        let address = RouteNetlinkMessage::NewAddress(readdress(address, index, in_router));
        unless(Errno::EEXIST, socket.change(address, NLM_F_CREATE | NLM_F_EXCL).await)?;
    }
    if !in_router {
        let file = site.file()?;
        netns::in_netns(&file, || write_settings(&had.settings))??;
    }
    // The router needs it up, whatever it was.
    if had.up || in_router {
        change(site, request::link(nic.as_str()).up().build()).await?;
    }
    let mut routes = had.routes.iter().map(|raw| raw.decode(nic)).collect::<Result<Vec<RouteMessage>, _>>()?;
    // A gateway must be reachable by a route that is there before.
    routes.sort_by_key(has_gateway);
    for route in routes {
        // The other paths are by NICs that are not there; back at home, the kernel kept those and dropped ours.
        let shared = devices(&route).len() > 1;
        if shared && in_router {
            continue;
        }
        let flags = if shared { NLM_F_REPLACE } else { NLM_F_EXCL };
        let message = RouteNetlinkMessage::NewRoute(reroute(route, had.index, index));
        unless(Errno::EEXIST, socket.change(message, NLM_F_CREATE | flags).await)?;
    }
    Ok(())
}

/// The settings that the kernel keeps for each link, and makes anew with their defaults where the link moves to.
const SETTINGS: [&str; 4] = ["ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"];

fn read_settings(name: &str) -> Result<BTreeMap<PathBuf, String>, OpError> {
    let mut settings = BTreeMap::new();
    for kind in SETTINGS {
        let dir = Path::new("/proc/sys/net").join(kind).join(name);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(OpError::Settings { path: dir, source }),
        };
        for entry in entries {
            let path = entry.map_err(|source| OpError::Settings { path: dir.clone(), source })?.path();
            // Some can only be written, or have no value yet (`stable_secret`): there is nothing to keep.
            if let Ok(value) = fs::read_to_string(&path) {
                settings.insert(path, value.trim().to_owned());
            }
        }
    }
    Ok(settings)
}

fn write_settings(settings: &BTreeMap<PathBuf, String>) -> Result<(), OpError> {
    for (path, value) in settings {
        let now = fs::read_to_string(path).map_err(|source| OpError::Settings { path: path.clone(), source })?;
        if now.trim() != value {
            fs::write(path, value).map_err(|source| OpError::Settings { path: path.clone(), source })?;
        }
    }
    Ok(())
}

fn readdress(mut message: AddressMessage, index: u32, in_router: bool) -> AddressMessage {
    let passing = AddressFlags::Secondary
        | AddressFlags::Tentative
        | AddressFlags::Dadfailed
        | AddressFlags::Optimistic
        | AddressFlags::Permanent
        | AddressFlags::Deprecated;
    message.header.index = index;
    let low = AddressHeaderFlags::from_bits_retain(u8::try_from(passing.bits() & 0xff).unwrap_or_default());
    message.header.flags.remove(low);
    // In the router nobody renews a lease: without a lifetime the address stays.
    message.attributes.retain(|attribute| !in_router || !matches!(attribute, AddressAttribute::CacheInfo(_)));
    for attribute in &mut message.attributes {
        if let AddressAttribute::Flags(flags) = attribute {
            flags.remove(passing);
            if in_router && matches!(message.header.family, AddressFamily::Inet6) {
                flags.insert(AddressFlags::Nodad);
            }
        }
    }
    message
}

fn reroute(mut route: RouteMessage, old: u32, new: u32) -> RouteMessage {
    // What the kernel reports of a route but does not take: its state, its age, its next hop object.
    route.header.flags &= RouteFlags::Onlink;
    route.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::CacheInfo(_) | RouteAttribute::NhId(_)));
    for attribute in &mut route.attributes {
        match attribute {
            RouteAttribute::Oif(index) if *index == old => *index = new,
            RouteAttribute::MultiPath(hops) => {
                for hop in hops {
                    hop.flags &= RouteNextHopFlags::Onlink;
                    if hop.interface_index == old {
                        hop.interface_index = new;
                    }
                }
            }
            _ => {}
        }
    }
    route
}

/// Connected routes come by themselves with the addresses, and those from router advertisements with the next one.
fn is_set_by_somebody(route: &RouteMessage) -> bool {
    !matches!(route.header.protocol, RouteProtocol::Kernel | RouteProtocol::Ra | RouteProtocol::IcmpRedirect)
        && !route.header.flags.contains(RouteFlags::Cloned)
        && u32::from(route.header.table) != u32::from(nix::libc::RT_TABLE_LOCAL)
}

fn devices(route: &RouteMessage) -> BTreeSet<u32> {
    let mut devices = BTreeSet::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => {
                devices.insert(*index);
            }
            RouteAttribute::MultiPath(hops) => devices.extend(hops.iter().map(|hop| hop.interface_index)),
            _ => {}
        }
    }
    devices
}

fn has_gateway(route: &RouteMessage) -> bool {
    let gateway = |attribute: &RouteAttribute| matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_));
    route.attributes.iter().any(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.iter().any(|hop| hop.attributes.iter().any(gateway)),
        other => gateway(other),
    })
}

/// For people who read the record.
fn describe(route: &RouteMessage) -> String {
    let words = route.attributes.iter().filter_map(|attribute| match attribute {
        RouteAttribute::Gateway(gateway) => Some(format!("via {}", address_text(gateway))),
        RouteAttribute::Table(table) => Some(format!("table {table}")),
        RouteAttribute::Priority(metric) => Some(format!("metric {metric}")),
        _ => None,
    });
    let destination = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(net) => {
            Some(format!("{}/{}", address_text(net), route.header.destination_prefix_length))
        }
        _ => None,
    });
    let destination = destination.unwrap_or_else(|| "default".to_owned());
    std::iter::once(destination).chain(words).collect::<Vec<_>>().join(" ")
}

fn address_text(address: &RouteAddress) -> String {
    match address {
        RouteAddress::Inet(address) => address.to_string(),
        RouteAddress::Inet6(address) => address.to_string(),
        other => format!("{other:?}"),
    }
}
