//! Underlay NICs on their way into the router namespace and back. In: a name. Out: the NIC is there, with what it had. What it
//! had is on disk before anything is changed, and each step can be repeated, so that the next move or return repairs what a
//! crash interrupted. Does not choose NICs.

use std::fs;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use super::error::{KernelError, OpError};
use super::model::Netns;
use super::namespace::Namespace;
use super::namespaces::Namespaces;
use super::netlink::contents::{AddrGenMode, ObservedLink};
use super::netlink::error::NetlinkError;
use super::netlink::request::Request;
use super::netlink::saved::{self, Target};
use super::netlink::saved_link::SavedLink;
use super::netlink::saved_message::MalformedMessage;
use super::netlink::socket::{Route, Socket};
use super::netlink::{accept, request};
use super::netns;
use super::nic_record::{MovePhase, NicRecord, Record, RecordError};
use super::nic_setting::{NicSetting, NicSettings};
use super::observe;
use super::op::KernelOp;
use crate::names;
use crate::types::{Family, IfName};

/// Returns every moved NIC, for the removal of the router from this node. Goes on after an error.
pub async fn return_all(namespaces: &Namespaces) -> Vec<KernelError> {
    let record = match Record::read(&namespaces.runtime.nics()) {
        Ok(record) => record,
        Err(error) => return vec![error.into()],
    };
    let mut errors = Vec::new();
    for nic in record.nics.into_keys() {
        if let Err(source) = return_nic(namespaces, &nic).await {
            errors.push(KernelError::Op { op: Box::new(KernelOp::ReturnNic(nic)), source });
        }
    }
    errors
}

/// Moves a NIC into the router namespace.
pub async fn move_nic(namespaces: &Namespaces, nic: &IfName) -> Result<(), OpError> {
    let _alone = namespaces.nic_moves.lock().await;
    let (host, router, path) = (&namespaces.host, &namespaces.router, namespaces.runtime.nics());
    let mut record = Record::read(&path)?;
    if let Some(had) = record.nics.get(nic) {
        rename_back(router, nic, had).await?;
    }
    if router.find(nic.as_str()).await?.is_none() {
        let missing = || OpError::NoNic(nic.clone());
        host.find(nic.as_str()).await?.ok_or_else(missing)?;
        // An interrupted return, or the namespace was lost and dropped its NIC here, bare.
        if let Some(had) = record.nics.get(nic).filter(|had| had.phase != MovePhase::Taking) {
            restore(host, nic, had).await?;
        }
        let (index, link) = host.find(nic.as_str()).await?.ok_or_else(missing)?;
        record.nics.insert(nic.clone(), capture(host, nic, index, &link).await?);
        record.write(&path)?;
        if let Err(error) = send(host, router, nic, &link).await {
            record.nics.remove(nic);
            record.write(&path)?;
            return Err(error);
        }
    }
    let Some(had) = record.nics.get_mut(nic).filter(|had| had.phase != MovePhase::Taken) else {
        return Ok(());
    };
    restore(router, nic, had).await?;
    had.router_index = Some(router.index_of(nic.as_str()).await?);
    had.phase = MovePhase::Taken;
    Ok(record.write(&path)?)
}

/// Writes the record again where the file is broken: what it was, if that is known, else what the NICs in the router namespace
/// have now. Their routes are lost then: those of FRR are no routes of the host.
pub async fn recover_record(namespaces: &Namespaces, last: Option<Record>) -> Result<(), OpError> {
    let _alone = namespaces.nic_moves.lock().await;
    let (router, path) = (&namespaces.router, namespaces.runtime.nics());
    let aside = Record::set_aside(&path)?;
    let is_known = last.is_some();
    let mut record = last.unwrap_or_default();
    if !is_known {
        for (index, link) in router.links().await? {
            let is_ours = link.owned.is_some() || link.alias.as_deref().is_some_and(names::is_alias);
            if let (false, false, Ok(nic)) = (is_ours, link.name == "lo", link.name.parse::<IfName>()) {
                let found = capture(router, &nic, index, &link).await?;
                record.nics.insert(nic, NicRecord { phase: MovePhase::Taken, routes: Vec::new(), ..found });
            }
        }
    }
    let (aside, nics) = (aside.display(), record.nics.len());
    tracing::error!(%aside, nics, with_routes = is_known, "the record of moved NICs is broken: written again");
    Ok(record.write(&path)?)
}

/// Gives a NIC in the router namespace back what it was taken with: its name, its addresses and routes, and sets it up.
pub async fn repair_nic(namespaces: &Namespaces, nic: &IfName) -> Result<(), OpError> {
    let _alone = namespaces.nic_moves.lock().await;
    let record = Record::read(&namespaces.runtime.nics())?;
    let had = record.nics.get(nic).ok_or_else(|| OpError::NicNotOurs(nic.clone()))?;
    rename_back(&namespaces.router, nic, had).await?;
    restore(&namespaces.router, nic, had).await
}

/// Gives a NIC that somebody renamed in the router namespace its name back.
async fn rename_back(router: &Namespace, nic: &IfName, had: &NicRecord) -> Result<(), OpError> {
    let Some(index) = had.router_index else { return Ok(()) };
    let Some(link) = router.find_at(index).await?.filter(|link| observe::is_moved_nic(link, had)) else {
        return Ok(());
    };
    if link.name == nic.as_str() {
        return Ok(());
    }
    // Kernels before 6.2 rename only links that are down.
    router.change(request::set_up(&link.name, false)).await?;
    router.change(request::rename(index, nic.as_str())).await?;
    Ok(router.change(request::set_up(nic.as_str(), true)).await?)
}

/// Moves a NIC back to the host.
pub async fn return_nic(namespaces: &Namespaces, nic: &IfName) -> Result<(), OpError> {
    let _alone = namespaces.nic_moves.lock().await;
    let (host, router, path) = (&namespaces.host, &namespaces.router, namespaces.runtime.nics());
    let mut record = Record::read(&path)?;
    let Some(had) = record.nics.get_mut(nic) else {
        return Err(OpError::NicNotOurs(nic.clone()));
    };
    rename_back(router, nic, had).await?;
    if let Some((_, link)) = router.find(nic.as_str()).await? {
        had.phase = MovePhase::Returning;
        record.write(&path)?;
        send(router, host, nic, &link).await?;
    }
    // A NIC that was never moved still has everything. One that exists nowhere was unplugged: there is nothing to restore.
    if let Some(had) = record.nics.get(nic)
        && had.phase != MovePhase::Taking
        && host.find(nic.as_str()).await?.is_some()
    {
        restore(host, nic, had).await?;
    }
    record.nics.remove(nic);
    Ok(record.write(&path)?)
}

/// Moves a NIC to another namespace; the kernel drops its addresses and routes on the way.
async fn send(from: &Namespace, to: &Namespace, nic: &IfName, link: &ObservedLink) -> Result<(), OpError> {
    if link.immovable {
        return Err(OpError::NicBound(nic.clone()));
    }
    let netns = to.file();
    match from.change(request::move_link(nic.as_str(), netns.as_raw_fd())).await {
        // Kernels before 6.12 do not report the property.
        Err(NetlinkError::Rejected { errno: Errno::EINVAL, .. }) => Err(OpError::NicBound(nic.clone())),
        other => Ok(other?),
    }
}

/// What a NIC has.
async fn capture(namespace: &Namespace, nic: &IfName, index: u32, link: &ObservedLink) -> Result<NicRecord, OpError> {
    let file = namespace.file();
    let mut socket = Socket::<Route>::open(&file)?;
    let addresses = socket.save_addresses(index).await?;
    let mut routes = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        routes.extend(socket.save_routes(family, index).await?);
    }
    let settings = netns::in_netns(&file, || read_settings(nic))?;
    let stacked = socket.save_stacked(index).await?;
    let master = match link.master {
        Some(master) => namespace.find_at(master).await?.map(|master| master.name),
        None => None,
    };
    let (mtu, up, addrgen, mac) = (link.mtu, link.up, link.addrgen.map(|mode| mode.0), link.mac);
    let altnames = link.altnames.clone();
    let (phase, router_index) = (MovePhase::Taking, None);
    Ok(NicRecord {
        phase,
        index,
        mtu,
        up,
        addrgen,
        mac,
        router_index,
        master,
        altnames,
        stacked,
        addresses,
        routes,
        settings,
    })
}

/// Sets on a NIC what it had and lacks.
async fn restore(namespace: &Namespace, nic: &IfName, had: &NicRecord) -> Result<(), OpError> {
    let missing = || OpError::NoLink { name: nic.to_string(), netns: namespace.netns().clone() };
    let (index, link) = namespace.find(nic.as_str()).await?.ok_or_else(missing)?;
    let in_router = *namespace.netns() == Netns::Router;
    let is_same_device = had.mac.is_none() || had.mac == link.mac;
    let target = Target { old_index: had.index, index, in_router, is_same_device };
    let malformed = |source: MalformedMessage| RecordError::Message { nic: nic.clone(), source };
    namespace.change(request::restore_link(nic.as_str(), had.mtu, had.addrgen.map(AddrGenMode))).await?;
    if !in_router {
        for altname in had.altnames.difference(&link.altnames) {
            accept(Errno::EEXIST, namespace.change(request::add_altname(nic.as_str(), altname)).await)?;
        }
        // Before its addresses: a VRF device removes those of IPv6 from a new member.
        restore_master(namespace, nic.as_str(), had.master.as_deref()).await?;
    }
    // Before it is up: the kernel then finds its link-local address there.
    for address in saved::add_addresses(&had.addresses, target).map_err(malformed)? {
        restore_address(namespace, nic, address).await?;
    }
    if !in_router {
        netns::in_netns(&namespace.file(), || write_settings(nic, &had.settings))??;
    }
    // The router needs it up in any case.
    if had.up || in_router {
        namespace.change(request::set_up(nic.as_str(), true)).await?;
    }
    if !in_router {
        for stacked in &had.stacked {
            restore_stacked(namespace, nic, index, stacked).await?;
        }
    }
    for route in saved::add_routes(&had.routes, target).map_err(malformed)? {
        accept(Errno::EEXIST, namespace.change(route).await)?;
    }
    Ok(())
}

/// A hardened node has IPv6 disabled on every link that is new in a namespace.
async fn restore_address(namespace: &Namespace, nic: &IfName, address: Request) -> Result<(), OpError> {
    match namespace.change(address.clone()).await {
        Err(NetlinkError::Rejected { errno: Errno::EACCES, .. }) => {
            netns::write_sysctl(&namespace.file(), &format!("net/ipv6/conf/{nic}/disable_ipv6"), "0")?;
            Ok(accept(Errno::EEXIST, namespace.change(address).await)?)
        }
        result => Ok(accept(Errno::EEXIST, result)?),
    }
}

/// Sets the master that a link had. One that is gone cannot be restored.
async fn restore_master(host: &Namespace, link: &str, master: Option<&str>) -> Result<(), OpError> {
    let Some(master) = master else { return Ok(()) };
    match (host.find(master).await?, host.find(link).await?) {
        (Some((index, _)), Some((_, link_now))) if link_now.master != Some(index) => {
            Ok(host.change(request::set_master(link, index)).await?)
        }
        _ => Ok(()),
    }
}

/// Gives a device on top of a NIC what it had, and creates it where the kernel deleted it with its lower device.
async fn restore_stacked(host: &Namespace, nic: &IfName, lower: u32, had: &SavedLink) -> Result<(), OpError> {
    let malformed = |source: MalformedMessage| RecordError::Message { nic: nic.clone(), source };
    if host.find(&had.name).await?.is_none() {
        accept(Errno::EEXIST, host.change(had.create(lower).map_err(malformed)?).await)?;
    }
    let index = host.index_of(&had.name).await?;
    let target = Target { old_index: had.index, index, in_router: false, is_same_device: true };
    restore_master(host, &had.name, had.master.as_deref()).await?;
    for address in saved::add_addresses(&had.addresses, target).map_err(malformed)? {
        accept(Errno::EEXIST, host.change(address).await)?;
    }
    if had.up {
        host.change(request::set_up(&had.name, true)).await?;
    }
    for route in saved::add_routes(&had.routes, target).map_err(malformed)? {
        accept(Errno::EEXIST, host.change(route).await)?;
    }
    Ok(())
}

/// The kernel resets the settings of a link to their defaults in the namespace that the link moves to.
fn read_settings(nic: &IfName) -> NicSettings {
    // Not every kernel has each of them; some are write-only, or have no value yet (`stable_secret`): there is nothing to save.
    let read = |setting: NicSetting| Some((setting, fs::read_to_string(setting.path(nic)).ok()?.trim().to_owned()));
    NicSettings(NicSetting::all().filter_map(read).collect())
}

fn write_settings(nic: &IfName, settings: &NicSettings) -> Result<(), OpError> {
    for (setting, value) in &settings.0 {
        let path = setting.path(nic);
        let failed = |source| OpError::Settings { path: path.clone(), source };
        let now = fs::read_to_string(&path).map_err(failed)?;
        if now.trim() != value {
            fs::write(&path, value).map_err(failed)?;
        }
    }
    Ok(())
}
