//! Ops into netlink requests. In: an op. Out: it is done, or why not. What the op asks for and is so already counts as
//! done. Decides nothing: which ops, and in which order, is `diff`'s.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{In6AddrGenMode, LinkMessage};

use super::error::{NetlinkError, OpError};
use super::live::NetlinkKernel;
use super::model::{LinkKey, LinkKind, ListenPort, Netns, Sysctl};
use super::namespace::Site;
use super::netlink::request;
use super::netlink::seen::{SeenLink, Shape};
use super::netns::{self, NetnsError};
use super::nftables;
use super::op::{Holder, KernelOp, LOCAL_RULE, NewLink};
use crate::names::{self, OwnedName, PortTable, Role};
use crate::types::{IfName, VrfName};

/// Makes, and does not replace.
const MAKE: u16 = NLM_F_CREATE | NLM_F_EXCL;

impl NetlinkKernel {
    pub(crate) async fn perform(&self, op: &KernelOp) -> Result<(), OpError> {
        match op {
            KernelOp::CreateNetns(vrf) => self.create_netns(vrf).await,
            KernelOp::DeleteNetns(vrf) => self.delete_netns(vrf).await,
            KernelOp::CreateLink(new) => self.create_link(new).await,
            KernelOp::DeleteLink { key, .. } => self.delete_link(key).await,
            KernelOp::SetMaster { key, master } => self.set_master(key, master.as_ref()).await,
            KernelOp::SetHostVrf { key, vrf } => self.set_host_vrf(key, vrf.as_ref()).await,
            KernelOp::SetMtu { key, mtu } => self.set(key, link(key).mtu(*mtu).build()).await,
            KernelOp::SetMac { key, mac } => self.set(key, link(key).address(mac.0.to_vec()).build()).await,
            KernelOp::SetUp(key) => self.set_up(key).await,
            KernelOp::SetDown(key) => self.set(key, link(key).down().build()).await,
            KernelOp::SetAddrGen { key, none } => {
                let mode = if *none { In6AddrGenMode::None } else { In6AddrGenMode::Eui64 };
                self.set(key, request::addrgen(link(key), mode).build()).await
            }
            KernelOp::SetPort { key, port } => self.set(key, request::port(&key.name.to_string(), *port)).await,
            KernelOp::AddAddress { on, address } => self.address(on, *address, true).await,
            KernelOp::DelAddress { on, address } => self.address(on, *address, false).await,
            KernelOp::MoveNic(nic) => self.move_nic(nic).await,
            KernelOp::ReturnNic(nic) => self.return_nic(nic).await,
            KernelOp::SetSysctl { netns, sysctl, value } => self.set_sysctl(netns, *sysctl, *value).await,
            KernelOp::MoveLocalRule(family) => {
                let socket = self.router.socket().await?;
                // The other way round there is a moment in which the router takes no packet for its own.
                let last = RouteNetlinkMessage::NewRule(request::local_rule(*family, LOCAL_RULE));
                unless(Errno::EEXIST, socket.change(last, MAKE).await)?;
                let first = RouteNetlinkMessage::DelRule(request::local_rule(*family, 0));
                Ok(unless(Errno::ENOENT, socket.change(first, 0).await)?)
            }
            KernelOp::OpenPort(opened) => self.open_port(opened).await,
            KernelOp::ClosePort(opened) => {
                let table = port_table(opened)?;
                let file = self.site(&opened.on.netns).await?.file()?;
                Ok(unless(Errno::ENOENT, nftables::delete(&file, table))?)
            }
            KernelOp::AddUnreachable(table, family) => {
                let route = RouteNetlinkMessage::NewRoute(request::unreachable(*table, *family));
                Ok(unless(Errno::EEXIST, self.router.socket().await?.change(route, MAKE).await)?)
            }
            KernelOp::DelUnreachable(table, family) => {
                let route = RouteNetlinkMessage::DelRoute(request::unreachable(*table, *family));
                Ok(unless(Errno::ESRCH, self.router.socket().await?.change(route, 0).await)?)
            }
        }
    }

    /// Marks what was read of all namespaces that the op may have changed as old: its own messages come later.
    pub(crate) async fn mark_changed(&self, op: &KernelOp) {
        self.host.mark();
        self.router.mark();
        if let Some(vrf) = op.vrf()
            && !matches!(op, KernelOp::DeleteNetns(_))
            && let Ok(site) = self.site(&Netns::Vrf(vrf.clone())).await
        {
            site.mark();
        }
    }

    async fn create_netns(&self, vrf: &VrfName) -> Result<(), OpError> {
        netns::create_vrf(&self.runtime, vrf)?;
        let site = self.site(&Netns::Vrf(vrf.clone())).await?;
        self.lo_up(&site).await?;
        Ok(netns::show_vrf(&self.runtime, vrf)?)
    }

    /// The kernel cleans a namespace up in the background, for up to seconds, in which the name of a host end and the
    /// VNI of a VXLAN device are still taken. So the links go first: all at once, as each deletion waits for RCU.
    async fn delete_netns(&self, vrf: &VrfName) -> Result<(), OpError> {
        if netns::is_netns(&self.runtime.vrf_netns(vrf))? {
            let socket = self.site(&Netns::Vrf(vrf.clone())).await?.socket().await?;
            let deleted = socket.change(RouteNetlinkMessage::DelLink(request::our_group()), 0).await;
            unless(Errno::ENODEV, deleted)?;
        }
        self.forget(vrf).await;
        Ok(netns::remove_vrf(&self.runtime, vrf)?)
    }

    async fn create_link(&self, new: &NewLink) -> Result<(), OpError> {
        let site = self.site(&new.key.netns).await?;
        let alias = names::alias(&new.key.name, None);
        // Descriptors must be open until the kernel has answered.
        let (into, peer) = match &new.kind {
            // The UDP socket of a VXLAN device is in the namespace of the netlink socket that made it, and stays there.
            LinkKind::Vxlan { .. } if new.key.netns != Netns::Router => (Some(site.file()?), None),
            LinkKind::Veth { peer } => (None, Some(self.site(&peer.netns).await?.file()?)),
            _ => (None, None),
        };
        let maker = if into.is_some() { &self.router } else { &site };
        let fd = |file: &Arc<std::fs::File>| file.as_raw_fd();
        let message = request::new_link(new, into.as_ref().map(fd), peer.as_ref().map(fd)).ok_or(OpError::NoKind)?;
        maker.socket().await?.change(RouteNetlinkMessage::NewLink(message), MAKE).await?;
        let finish = request::finish_link(&new.key.name.to_string(), &alias, new.addrgen_none);
        change(&site, finish).await?;
        if let LinkKind::Veth { peer } = &new.kind {
            let finish = request::finish_link(&peer.name.to_string(), &alias, false);
            change(&*self.site(&peer.netns).await?, finish).await?;
        }
        Ok(())
    }

    /// Deletes what has the name only if it still has our mark.
    async fn delete_link(&self, key: &LinkKey) -> Result<(), OpError> {
        let site = self.site(&key.netns).await?;
        let Some((index, link)) = find(&site, &key.name.to_string()).await? else {
            return Ok(());
        };
        if link.owned.as_ref() != Some(&key.name) {
            return Ok(());
        }
        let mut message = LinkMessage::default();
        message.header.index = index;
        let deleted = site.socket().await?.change(RouteNetlinkMessage::DelLink(message), 0).await;
        Ok(unless(Errno::ENODEV, deleted)?)
    }

    async fn set_master(&self, key: &LinkKey, master: Option<&OwnedName>) -> Result<(), OpError> {
        let site = self.site(&key.netns).await?;
        let index = match master {
            Some(name) => index_of(&site, &key.netns, &name.to_string()).await?,
            None => 0,
        };
        Ok(change(&site, link(key).controller(index).build()).await?)
    }

    /// Master and note of it in one message, so that there is no moment in which the device holds the link and nothing says
    /// that it was us.
    async fn set_host_vrf(&self, key: &LinkKey, vrf: Option<&IfName>) -> Result<(), OpError> {
        let site = self.site(&key.netns).await?;
        let index = match vrf {
            None => 0,
            Some(name) => match find(&site, name.as_str()).await? {
                Some((index, SeenLink { shape: Shape::Vrf(_), .. })) => index,
                Some(_) => return Err(OpError::NotHostVrf(name.clone())),
                None => return Err(OpError::NoHostVrf(name.clone())),
            },
        };
        let message = link(key).alias(names::alias(&key.name, vrf)).controller(index).build();
        Ok(change(&site, message).await?)
    }

    async fn set_up(&self, key: &LinkKey) -> Result<(), OpError> {
        self.set(key, link(key).up().build()).await?;
        // The kernel reports that a bridge became operational up to a second late, and at once when it is read
        // (`rtnl_getlink` runs the pending link watch events). FRR waits for that report.
        if let OwnedName::Vni(Role::Bridge | Role::Vxlan, vni) = key.name {
            let site = self.site(&key.netns).await?;
            find(&site, &OwnedName::Vni(Role::Bridge, vni).to_string()).await?;
        }
        Ok(())
    }

    async fn set(&self, key: &LinkKey, message: LinkMessage) -> Result<(), OpError> {
        Ok(change(&*self.site(&key.netns).await?, message).await?)
    }

    async fn address(&self, on: &Holder, address: IpNet, add: bool) -> Result<(), OpError> {
        let (netns, name) = match on {
            Holder::Loopback => (&Netns::Router, "lo".to_owned()),
            Holder::Link(key) => (&key.netns, key.name.to_string()),
        };
        let site = self.site(netns).await?;
        let message = request::address(index_of(&site, netns, &name).await?, address);
        let socket = site.socket().await?;
        if add {
            let added = socket.change(RouteNetlinkMessage::NewAddress(message), MAKE).await;
            Ok(unless(Errno::EEXIST, added)?)
        } else {
            let deleted = socket.change(RouteNetlinkMessage::DelAddress(message), 0).await;
            Ok(unless(Errno::EADDRNOTAVAIL, deleted)?)
        }
    }

    async fn open_port(&self, opened: &ListenPort) -> Result<(), OpError> {
        let table = port_table(opened)?;
        let note = self.runtime.port_tables();
        let write = || {
            note.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(&note, "")
        };
        write().map_err(|source| OpError::Note { path: note, source })?;
        let file = self.site(&opened.on.netns).await?.file()?;
        match nftables::create(&file, table, opened.on.name.if_name().as_str()) {
            // No netfilter at all, no nf_tables, or not with that family.
            Err(
                error @ (NetlinkError::Refused { errno: Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT, .. }
                | NetlinkError::NoProtocol),
            ) => Err(OpError::NoNftables(error)),
            made => Ok(made?),
        }
    }

    async fn set_sysctl(&self, netns: &Netns, sysctl: Sysctl, value: u32) -> Result<(), OpError> {
        let file = self.site(netns).await?.file()?;
        written(sysctl, netns::write_sysctl(&file, sysctl.path(), &value.to_string()))
    }
}

/// What it means for a router how the write of a setting ended.
fn written(sysctl: Sysctl, result: Result<(), NetnsError>) -> Result<(), OpError> {
    match result {
        Err(NetnsError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            if sysctl.is_optional() { Ok(()) } else { Err(OpError::NoSetting) }
        }
        other => Ok(other?),
    }
}

fn port_table(opened: &ListenPort) -> Result<PortTable, OpError> {
    let vni = opened.on.name.vni().ok_or(OpError::NoKind)?;
    Ok(PortTable { vni, port: opened.port })
}

fn link(key: &LinkKey) -> rtnetlink::LinkMessageBuilder<rtnetlink::LinkUnspec> {
    request::link(&key.name.to_string())
}

pub(crate) async fn change(site: &Site, message: LinkMessage) -> Result<(), NetlinkError> {
    site.socket().await?.change(RouteNetlinkMessage::NewLink(message), 0).await
}

/// Reads one link by its name.
pub(crate) async fn find(site: &Site, name: &str) -> Result<Option<(u32, SeenLink)>, NetlinkError> {
    let messages = match site.socket().await?.get(request::get_link(name)).await {
        Err(NetlinkError::Refused { errno: Errno::ENODEV, .. }) => return Ok(None),
        other => other?,
    };
    let link = messages.iter().find_map(|message| match message {
        RouteNetlinkMessage::NewLink(link) => Some((link.header.index, SeenLink::new(link))),
        _ => None,
    });
    link.map(Some).ok_or(NetlinkError::Incomplete("link"))
}

pub(crate) async fn index_of(site: &Site, netns: &Netns, name: &str) -> Result<u32, OpError> {
    match find(site, name).await? {
        Some((index, _)) => Ok(index),
        None => Err(OpError::NoLink { name: name.to_owned(), netns: netns.clone() }),
    }
}

/// A refusal that says that what is asked for is so already.
pub(crate) fn unless(already: Errno, result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(NetlinkError::Refused { errno, .. }) if errno == already => Ok(()),
        other => other,
    }
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
    fn a_setting_that_the_kernel_has_not_fails_only_where_it_is_needed(
        #[case] sysctl: Sysctl,
        #[case] kind: ErrorKind,
        #[case] fine: bool,
    ) {
        let path = std::path::PathBuf::from(sysctl.path());
        let refused = NetnsError::File { action: "write", path, source: Error::from(kind) };
        assert_eq!(written(sysctl, Err(refused)).is_ok(), fine);
    }
}
