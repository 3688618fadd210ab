//! Ops into netlink requests. In: an op. Out: it is done, or the error. A state that the op asks for and that exists already
//! counts as done. Decides nothing: which ops, and in which order, is up to `diff`.

use std::os::fd::AsRawFd;

use ipnet::IpNet;
use nix::errno::Errno;

use super::error::OpError;
use super::foreign;
use super::model::{
    HostMaster, IpUse, LOCAL_RULE, LinkKey, LinkKind, LinkSetting, ListenPort, Netns, SourceFilter, Sysctl,
};
use super::namespaces::Namespaces;
use super::netlink::contents::{AddrGenMode, ObservedKind, ObservedLink};
use super::netlink::error::NetlinkError;
use super::netlink::request::Request;
use super::netlink::{accept, request, rule};
use super::netns::{self, NetnsError};
use super::nftables;
use super::nic;
use super::op::{AddressDevice, KernelOp, NewLink};
use super::ovs_ports;
use super::teardown;
use crate::names::{self, LINK_GROUP, OwnedName, PortTable, Role, SEGMENT_GROUP};
use crate::ovs::OvsClient;
use crate::types::{Family, MacAddr, VrfName};

/// Applies an op.
pub async fn apply(namespaces: &Namespaces, ovs: &OvsClient, op: &KernelOp) -> Result<(), OpError> {
    match op {
        KernelOp::Ovs(op) => Ok(ovs.transact(|database| ovs_ports::transaction(database, op)).await?),
        KernelOp::CreateNetns(vrf) => create_netns(namespaces, vrf).await,
        KernelOp::DeleteNetns(vrf) => delete_netns(namespaces, vrf).await,
        KernelOp::CreateLink(new) => create_link(namespaces, new).await,
        KernelOp::DeleteLink { key, .. } => delete_link(namespaces, key).await,
        KernelOp::SetMaster { key, master } => set_master(namespaces, key, master.as_ref()).await,
        KernelOp::SetHostMaster { key, master } => set_host_master(namespaces, key, master.as_ref()).await,
        KernelOp::SetIpUse { key, ip } => set_ip_use(namespaces, key, *ip).await,
        KernelOp::AttachPorts { bridge, ports } => foreign::attach(&namespaces.host, bridge, ports).await,
        KernelOp::SetLinkSetting { key, setting: setting @ LinkSetting::Ipv6Forwarding, on } => {
            let file = namespaces.get(&key.netns).await?.file();
            present(netns::write_sysctl(&file, &setting.path(&key.name.to_string()), if *on { "1" } else { "0" }))
        }
        KernelOp::SetUp(key) => set_up(namespaces, key).await,
        KernelOp::SetMac { key, mac, former } => set_bridge_mac(namespaces, key, *mac, *former).await,
        KernelOp::AddAddress { on, address } => set_address(namespaces, on, *address, true).await,
        KernelOp::DelAddress { on, address } => set_address(namespaces, on, *address, false).await,
        KernelOp::MoveNic { nic, .. } => nic::move_nic(namespaces, nic).await,
        KernelOp::RepairNic(nic) => nic::repair_nic(namespaces, nic).await,
        KernelOp::ReturnNic(nic) => nic::return_nic(namespaces, nic).await,
        KernelOp::SetSysctl { netns, sysctl, value } => set_sysctl(namespaces, netns, *sysctl, *value).await,
        KernelOp::MoveLocalRule(family) => move_local_rule(namespaces, *family).await,
        KernelOp::OpenPort(opened) => open_port(namespaces, opened).await,
        KernelOp::ClosePort(opened) => close_port(namespaces, opened).await,
        KernelOp::AddSourceFilter(filter) => add_source_filter(namespaces, filter).await,
        KernelOp::DelSourceFilter(SourceFilter { netns, table, .. }) => {
            let file = namespaces.get(netns).await?.file();
            Ok(accept(Errno::ENOENT, nftables::delete(&file, table).await)?)
        }
        KernelOp::AddUnreachable(table, family) => {
            let added = namespaces.router.change(request::add_unreachable(*table, *family)).await;
            Ok(accept(Errno::EEXIST, added)?)
        }
        KernelOp::DelUnreachable(table, family) => {
            let deleted = namespaces.router.change(request::delete_unreachable(*table, *family)).await;
            Ok(accept(Errno::ESRCH, deleted)?)
        }
        KernelOp::SetMtu { .. }
        | KernelOp::SetDown(_)
        | KernelOp::SetAddrGen { .. }
        | KernelOp::SetRpFilter { .. }
        | KernelOp::SetLinkSetting { .. }
        | KernelOp::SetPort { .. } => match attribute(op) {
            Some((key, request)) => Ok(namespaces.get(&key.netns).await?.change(request).await?),
            None => Ok(()),
        },
    }
}

/// The link and the request of an op that sets one attribute.
fn attribute(op: &KernelOp) -> Option<(&LinkKey, Request)> {
    let key = op.link()?;
    let name = key.name.to_string();
    let request = match op {
        KernelOp::SetMtu { mtu, .. } => request::set_mtu(&name, *mtu),
        KernelOp::SetDown(_) => request::set_up(&name, false),
        KernelOp::SetAddrGen { none: true, .. } => request::set_addrgen(&name, AddrGenMode::NONE),
        KernelOp::SetRpFilter { filter, .. } => request::set_rp_filter(&name, *filter),
        KernelOp::SetLinkSetting { setting, on, .. } => request::set_link_setting(&name, *setting, *on)?,
        KernelOp::SetAddrGen { none: false, .. } => request::set_addrgen(&name, AddrGenMode::EUI64),
        KernelOp::SetPort { port, .. } => request::set_port(&name, *port),
        _ => return None,
    };
    Some((key, request))
}

async fn create_netns(namespaces: &Namespaces, vrf: &VrfName) -> Result<(), OpError> {
    netns::create_vrf(&namespaces.runtime, vrf)?;
    namespaces.get(&Netns::Vrf(vrf.clone())).await?.change(request::set_up("lo", true)).await?;
    Ok(netns::expose_vrf(&namespaces.runtime, vrf)?)
}

/// The kernel cleans up a namespace in the background, for up to seconds, during which the name of a host end and the VNI of
/// a VXLAN device are still taken, and whoever changes a link on the node waits. So the links are deleted first: all at once, as each
/// deletion waits for RCU.
async fn delete_netns(namespaces: &Namespaces, vrf: &VrfName) -> Result<(), OpError> {
    if netns::is_netns(&namespaces.runtime.vrf_netns(vrf))? {
        let namespace = namespaces.get(&Netns::Vrf(vrf.clone())).await?;
        foreign::move_out(&namespace, &namespaces.host).await?;
        for group in [SEGMENT_GROUP, LINK_GROUP] {
            teardown::delete_group(&namespace, group).await?;
        }
        // FRR may keep the namespace for a while, and a VXLAN device in it keeps its VNI.
        foreign::delete_lost(&namespace, |_| true).await?;
    }
    namespaces.close(vrf).await;
    Ok(netns::remove_vrf(&namespaces.runtime, vrf)?)
}

async fn create_link(namespaces: &Namespaces, new: &NewLink) -> Result<(), OpError> {
    let namespace = namespaces.get(&new.key.netns).await?;
    let alias = names::alias(&new.key.name, None);
    // Descriptors must be open until the kernel has answered.
    let (into, peer) = match &new.kind {
        // The UDP socket of a VXLAN device is in the namespace of the netlink socket that created it, and stays there.
        LinkKind::Vxlan { .. } if new.key.netns != Netns::Router => (Some(namespace.file()), None),
        LinkKind::Veth { peer } => (None, Some(namespaces.get(&peer.netns).await?.file())),
        _ => (None, None),
    };
    let creator = if into.is_some() { &namespaces.router } else { &namespace };
    let [into_fd, peer_fd] = [&into, &peer].map(|file| file.as_ref().map(AsRawFd::as_raw_fd));
    let create = || request::new_link(new, into_fd, peer_fd).ok_or(OpError::NoKind);
    match creator.change(create()?).await {
        // Another link has the index.
        Err(error) if matches!(new.kind, LinkKind::Vrf { .. }) && error.is_taken() => {
            let created = creator.change(create()?.without_index()).await;
            created.map_err(|error| if error.already_exists() { OpError::LinkExists(error) } else { error.into() })?;
        }
        Err(error) if error.already_exists() => {
            if !delete_lost(namespaces, new).await? {
                return Err(OpError::LinkExists(error));
            }
            creator.change(create()?).await?;
        }
        created => created?,
    }
    namespace.change(request::finish_link((&new.key.name.to_string(), &new.key.netns), &alias, new)).await?;
    if let LinkKind::Veth { peer } = &new.kind {
        let finish = request::finish_link((&peer.name.to_string(), &peer.netns), &alias, new);
        namespaces.get(&peer.netns).await?.change(finish).await?;
    }
    Ok(())
}

/// Deletes the links of ours that are in the way of one that is created: others have renamed them or removed their group, but
/// they have kind and alias of what is created. Returns whether there were any.
async fn delete_lost(namespaces: &Namespaces, new: &NewLink) -> Result<bool, OpError> {
    let has_kind = |link: &ObservedLink| match (&new.kind, &link.kind) {
        (LinkKind::Vxlan { vni, .. }, ObservedKind::Vxlan(other, ..)) => vni == other,
        (LinkKind::Bridge, ObservedKind::Bridge) | (LinkKind::Veth { .. }, ObservedKind::Veth) => true,
        _ => false,
    };
    let peer = if let LinkKind::Veth { peer } = &new.kind { Some(&**peer) } else { None };
    let mut found = false;
    for key in [Some(&new.key), peer].into_iter().flatten() {
        let namespace = namespaces.get(&key.netns).await?;
        let is_in_the_way = |link: &ObservedLink| {
            has_kind(link) && link.alias.as_deref().is_some_and(|alias| names::is_alias_of(alias, &key.name))
        };
        found |= foreign::delete_lost(&namespace, is_in_the_way).await?;
    }
    Ok(found)
}

/// Deletes what has the name only if it still has our mark.
async fn delete_link(namespaces: &Namespaces, key: &LinkKey) -> Result<(), OpError> {
    let namespace = namespaces.get(&key.netns).await?;
    let Some((index, link)) = namespace.find(&key.name.to_string()).await? else {
        return Ok(());
    };
    if link.owned.as_ref() != Some(&key.name) {
        return Ok(());
    }
    Ok(accept(Errno::ENODEV, namespace.change(request::delete_link(index)).await)?)
}

async fn set_master(namespaces: &Namespaces, key: &LinkKey, master: Option<&OwnedName>) -> Result<(), OpError> {
    let namespace = namespaces.get(&key.netns).await?;
    let index = match master {
        Some(name) => namespace.index_of(&name.to_string()).await?,
        None => 0,
    };
    Ok(namespace.change(request::set_master(&key.name.to_string(), index)).await?)
}

/// Sets master and alias in one message, so that at every moment the alias says whether we set the master.
async fn set_host_master(namespaces: &Namespaces, key: &LinkKey, master: Option<&HostMaster>) -> Result<(), OpError> {
    let namespace = namespaces.get(&key.netns).await?;
    if let Some(HostMaster::Bridge(name)) = master {
        // Its appearance is a reason for a pass, also while it is looked up.
        namespaces.await_on_host(name);
    }
    let found = match master {
        None => None,
        Some(master) => namespace.find(master.name().as_str()).await?,
    };
    let index = match (master, found) {
        (None, _) => 0,
        (Some(HostMaster::Vrf(_)), Some((index, ObservedLink { kind: ObservedKind::Vrf(_), .. }))) => index,
        (Some(HostMaster::Vrf(name)), Some(_)) => return Err(OpError::NotHostVrf(name.clone())),
        (Some(HostMaster::Vrf(name)), None) => return Err(OpError::NoHostVrf(name.clone())),
        (Some(HostMaster::Bridge(_)), Some((index, link))) if link.info_kind == "bridge" => index,
        (Some(HostMaster::Bridge(name)), Some(_)) => return Err(OpError::NotHostBridge(name.clone())),
        (Some(HostMaster::Bridge(name)), None) => return Err(OpError::NoHostBridge(name.clone())),
    };
    let alias = names::alias(&key.name, master.map(HostMaster::name));
    namespace.change(request::set_master_and_alias(&key.name.to_string(), index, alias)).await?;
    if let Some(HostMaster::Bridge(name)) = master {
        namespaces.found_on_host(name);
    }
    Ok(())
}

/// The IPv4 settings come last: by them it is observed.
async fn set_ip_use(namespaces: &Namespaces, key: &LinkKey, ip: IpUse) -> Result<(), OpError> {
    let namespace = namespaces.get(&key.netns).await?;
    let (name, file) = (key.name.to_string(), namespace.file());
    let write =
        |setting: &str, value: &str| netns::write_sysctl(&file, &format!("net/ipv6/conf/{name}/{setting}"), value);
    match ip {
        IpUse::Routed => {}
        IpUse::Bridged => present(write("disable_ipv6", "1"))?,
        IpUse::Gateway => {
            present(write("accept_dad", "0"))?;
            // Where the namespace detects duplicates on all its links.
            present(write("dad_transmits", "0"))?;
            // Linux 5.18 has it without 2, the addresses of the own subnets alone.
            if write("accept_untracked_na", "2").is_err() {
                present(write("accept_untracked_na", "1"))?;
            }
            present(write("disable_ipv6", "0"))?;
        }
    }
    Ok(namespace.change(request::set_arp(&name, ip)).await?)
}

/// A setting that the kernel may lack.
fn present(result: Result<(), NetnsError>) -> Result<(), OpError> {
    written_if(true, result)
}

async fn set_up(namespaces: &Namespaces, key: &LinkKey) -> Result<(), OpError> {
    let namespace = namespaces.get(&key.netns).await?;
    namespace.change(request::set_up(&key.name.to_string(), true)).await?;
    // The kernel reports that a bridge became operational up to a second late, and at once when it is read
    // (`rtnl_getlink` runs the pending link watch events). FRR waits for that report.
    if let OwnedName::Vni(Role::Bridge | Role::Vxlan, vni) = key.name {
        namespace.find(&OwnedName::Vni(Role::Bridge, vni).to_string()).await?;
    }
    Ok(())
}

/// A bridge delivers packets to its own MAC address and to those of its ports: that of the VXLAN device is the former router MAC
/// before the bridge has another one, so that at no moment packets with either are dropped. A bridge of the host has no such port.
async fn set_bridge_mac(
    namespaces: &Namespaces,
    key: &LinkKey,
    mac: MacAddr,
    former: Option<MacAddr>,
) -> Result<(), OpError> {
    let namespace = namespaces.get(&key.netns).await?;
    if let (Some(former), OwnedName::Vni(Role::Bridge, vni)) = (former, &key.name) {
        let vxlan = OwnedName::Vni(Role::Vxlan, *vni).to_string();
        accept(Errno::ENODEV, namespace.change(request::set_mac(&vxlan, former)).await)?;
    }
    Ok(namespace.change(request::set_mac(&key.name.to_string(), mac)).await?)
}

async fn set_address(namespaces: &Namespaces, on: &AddressDevice, address: IpNet, add: bool) -> Result<(), OpError> {
    let (netns, name) = match on {
        AddressDevice::Loopback => (&Netns::Router, "lo".to_owned()),
        AddressDevice::Link(key) => (&key.netns, key.name.to_string()),
    };
    let namespace = namespaces.get(netns).await?;
    let index = namespace.index_of(&name).await?;
    let (request, existing) = if add {
        (request::add_address(index, address), Errno::EEXIST)
    } else {
        (request::delete_address(index, address), Errno::EADDRNOTAVAIL)
    };
    match namespace.change(request.clone()).await {
        // A hardened node has IPv6 disabled on every new link (`net.ipv6.conf.default.disable_ipv6`).
        Err(NetlinkError::Rejected { errno: Errno::EACCES, .. }) if add && matches!(address, IpNet::V6(_)) => {
            netns::write_sysctl(&namespace.file(), &format!("net/ipv6/conf/{name}/disable_ipv6"), "0")?;
            Ok(accept(existing, namespace.change(request).await)?)
        }
        result => Ok(accept(existing, result)?),
    }
}

/// In the other order there is a moment in which the router accepts no packet for itself.
async fn move_local_rule(namespaces: &Namespaces, family: Family) -> Result<(), OpError> {
    let router = &namespaces.router;
    accept(Errno::EEXIST, router.change(rule::add_local(family, LOCAL_RULE)).await)?;
    Ok(accept(Errno::ENOENT, router.change(rule::delete_local(family, 0)).await)?)
}

/// Notes that namespaces may have tables of ours.
fn note_tables(namespaces: &Namespaces) -> Result<(), OpError> {
    let note = namespaces.runtime.port_tables();
    let write = || {
        note.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(&note, "")
    };
    write().map_err(|source| OpError::Note { path: note, source })
}

async fn add_source_filter(namespaces: &Namespaces, filter: &SourceFilter) -> Result<(), OpError> {
    note_tables(namespaces)?;
    let file = namespaces.get(&filter.netns).await?.file();
    Ok(nftables::create_source_filter(&file, &filter.table).await?)
}

async fn open_port(namespaces: &Namespaces, opened: &ListenPort) -> Result<(), OpError> {
    let table = port_table(opened)?;
    note_tables(namespaces)?;
    let file = namespaces.get(&opened.on.netns).await?.file();
    match nftables::create(&file, table, opened.on.name.if_name().as_str()).await {
        // No netfilter at all, no nf_tables, or not with that family.
        Err(
            error @ (NetlinkError::Rejected { errno: Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT, .. }
            | NetlinkError::NoProtocol),
        ) => Err(OpError::NoNftables(error)),
        created => Ok(created?),
    }
}

async fn close_port(namespaces: &Namespaces, opened: &ListenPort) -> Result<(), OpError> {
    let table = port_table(opened)?;
    let file = namespaces.get(&opened.on.netns).await?.file();
    Ok(accept(Errno::ENOENT, nftables::delete(&file, table).await)?)
}

async fn set_sysctl(namespaces: &Namespaces, netns: &Netns, sysctl: Sysctl, value: u32) -> Result<(), OpError> {
    let file = namespaces.get(netns).await?.file();
    written(sysctl, netns::write_sysctl(&file, sysctl.path(), &value.to_string()))
}

/// What the result of writing a setting means for a router.
fn written(sysctl: Sysctl, result: Result<(), NetnsError>) -> Result<(), OpError> {
    written_if(sysctl.is_optional(), result)
}

fn written_if(is_optional: bool, result: Result<(), NetnsError>) -> Result<(), OpError> {
    match result {
        Err(NetnsError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            if is_optional {
                Ok(())
            } else {
                Err(OpError::NoSetting)
            }
        }
        other => Ok(other?),
    }
}

fn port_table(opened: &ListenPort) -> Result<PortTable, OpError> {
    let vni = opened.on.name.vni().ok_or(OpError::NoKind)?;
    Ok(PortTable { vni, port: opened.port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::io::{Error, ErrorKind};

    #[rstest]
    #[case(Sysctl::Ipv4MultipathHash, ErrorKind::NotFound, true)]
    #[case(Sysctl::Ipv6MultipathHash, ErrorKind::NotFound, true)]
    #[case(Sysctl::Ipv4MultipathHash, ErrorKind::PermissionDenied, false)]
    #[case(Sysctl::Ipv4Forwarding, ErrorKind::NotFound, false)]
    fn a_setting_that_the_kernel_lacks_fails_only_where_it_is_needed(
        #[case] sysctl: Sysctl,
        #[case] kind: ErrorKind,
        #[case] fine: bool,
    ) {
        let path = std::path::PathBuf::from(sysctl.path());
        let refused = NetnsError::File { action: "write", path, source: Error::from(kind) };
        assert_eq!(written(sysctl, Err(refused)).is_ok(), fine);
    }
}
