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
use super::netlink::saved::{self, MalformedMessage, Target};
use super::netlink::socket::{Route, Socket};
use super::netlink::{accept, request};
use super::netns;
use super::nic_record::{MovePhase, NicRecord, Record, RecordError};
use super::nic_setting::{NicSetting, NicSettings};
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

/// Moves a NIC back to the host.
pub async fn return_nic(namespaces: &Namespaces, nic: &IfName) -> Result<(), OpError> {
    let _alone = namespaces.nic_moves.lock().await;
    let (host, router, path) = (&namespaces.host, &namespaces.router, namespaces.runtime.nics());
    let mut record = Record::read(&path)?;
    let Some(had) = record.nics.get_mut(nic) else {
        return Err(OpError::NicNotOurs(nic.clone()));
    };
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
    let (mtu, up, addrgen) = (link.mtu, link.up, link.addrgen.map(|mode| mode.0));
    Ok(NicRecord { phase: MovePhase::Taking, index, mtu, up, addrgen, addresses, routes, settings })
}

/// Sets on a NIC what it had and lacks.
async fn restore(namespace: &Namespace, nic: &IfName, had: &NicRecord) -> Result<(), OpError> {
    let index = namespace.index_of(nic.as_str()).await?;
    let in_router = *namespace.netns() == Netns::Router;
    let target = Target { old_index: had.index, index, in_router };
    let malformed = |source: MalformedMessage| RecordError::Message { nic: nic.clone(), source };
    namespace.change(request::restore_link(nic.as_str(), had.mtu, had.addrgen.map(AddrGenMode))).await?;
    // Before it is up: the kernel then finds its link-local address there.
    for address in saved::add_addresses(&had.addresses, target).map_err(malformed)? {
        accept(Errno::EEXIST, namespace.change(address).await)?;
    }
    if !in_router {
        netns::in_netns(&namespace.file(), || write_settings(nic, &had.settings))??;
    }
    // The router needs it up in any case.
    if had.up || in_router {
        namespace.change(request::set_up(nic.as_str(), true)).await?;
    }
    for route in saved::add_routes(&had.routes, target).map_err(malformed)? {
        accept(Errno::EEXIST, namespace.change(route).await)?;
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
