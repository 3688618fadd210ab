//! The host side of a cluster node: `MetalLB`'s BGP, and the services behind it.
//!
//! In: a node and the sessions and services of `MetalLB`. Out: a second FRR beside the router's, addresses on `lo`, and
//! announcements that can be switched. It must not touch the router: the two are connected by the veth only.
//!
//! This FRR runs in FRR's pathspace `host`: /etc/frr/host, /run/frr/host, `vtysh -N host`.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::frr::{self, Instance};
use crate::metallb::{Announcer, Labels, Service, frr_conf, host_prefix};
use crate::node::{Background, Node, NodeError};
use crate::web::{self, Page, Server, WebError};

/// The pathspace of the host side.
pub const HOST: Instance = Instance::Named("host");

const DAEMONS: &str = "zebra=yes\nbgpd=yes\nbfdd=yes\nstaticd=yes\nvtysh_enable=yes\n\
                       zebra_options=\"-A 127.0.0.1 -s 90000000\"\n\
                       bfdd_options=\"-A 127.0.0.1\"\nstaticd_options=\"-A 127.0.0.1\"\n";

/// The host side could not be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum HostSideError {
    /// A command in the node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A web server could not be started.
    #[error(transparent)]
    Web(#[from] WebError),
    /// A file of the node could not be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The path on the machine.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// There is no such service.
    #[error("there is no service `{name}`; known are {known}")]
    UnknownService {
        /// The name.
        name: String,
        /// The services of the manifests.
        known: String,
    },
}

/// The host side of one node.
#[derive(Debug, Clone)]
pub struct HostSide {
    node: Node,
    announcer: Announcer,
    listen: Option<IpAddr>,
}

impl HostSide {
    /// The host side of a node without labels except its name. It is not started yet.
    pub fn new(node: &Node, announcer: &Announcer) -> Self {
        Self::labeled(node, announcer, &Labels::new())
    }

    /// The host side of a node with these labels, which the selectors of the manifests match.
    pub fn labeled(node: &Node, announcer: &Announcer, labels: &Labels) -> Self {
        Self { node: node.clone(), announcer: announcer.on(node.name().as_str(), labels), listen: None }
    }

    /// Listens for BGP on this address only, so that other speakers can use the port on others.
    #[must_use]
    pub fn listening_on(self, address: IpAddr) -> Self {
        Self { listen: Some(address), ..self }
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Adds the services' addresses to `lo` and starts FRR; all services are announced.
    pub fn start(&self) -> Result<(), HostSideError> {
        for service in self.announcer.services.values() {
            self.add_addresses(service)?;
        }
        let folder = self.node.file("/etc/frr/host");
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let conf = frr_conf(&self.announcer, self.node.name().as_str());
        let listen = self.listen.map(|address| format!(" -l {address}")).unwrap_or_default();
        let daemons = format!("{DAEMONS}bgpd_options=\"-A 127.0.0.1{listen}\"\n");
        for (name, text) in
            [("daemons", &*daemons), ("frr.conf", &conf), ("vtysh.conf", "service integrated-vtysh-config\n")]
        {
            let path = folder.join(name);
            fs::write(&path, text).map_err(at(&path))?;
        }
        Ok(frr::start(&self.node, HOST)?)
    }

    /// Stops FRR and removes the addresses.
    pub fn stop(&self) -> Result<(), HostSideError> {
        frr::stop(&self.node, HOST)?;
        for address in self.announcer.services.values().flat_map(|service| &service.addresses) {
            self.node.check(&["ip", "address", "del", &host_prefix(*address).to_string(), "dev", "lo"])?;
        }
        Ok(())
    }

    /// Announces a service, as `MetalLB` does while this node has an endpoint of it: its addresses or their aggregates.
    pub fn announce(&self, service: &str) -> Result<(), HostSideError> {
        self.set_networks(service, "network")
    }

    /// Withdraws a service, which still answers. An aggregate that contains another service too remains.
    pub fn withdraw(&self, service: &str) -> Result<(), HostSideError> {
        self.set_networks(service, "no network")
    }

    /// Serves all services from threads of this process until the servers are dropped.
    pub fn serve(&self) -> Result<Vec<Server>, HostSideError> {
        let start = |(page, address)| Server::start(&self.node, address, page).map_err(HostSideError::from);
        self.pages().map(start).collect()
    }

    /// Serves all services from processes in the node, each running `program web …`; they stop with the node.
    pub fn serve_from(&self, program: &Path) -> Result<Vec<Background>, HostSideError> {
        let start = |(page, address): (Page, SocketAddr)| Ok(web::spawn(&self.node, program, address, &page)?);
        self.pages().map(start).collect()
    }

    /// Runs commands in the vtysh of the host side.
    pub fn vtysh(&self, commands: &[&str]) -> Result<String, HostSideError> {
        Ok(frr::vtysh(&self.node, HOST, commands)?)
    }

    /// [`sessions`] of this node.
    pub fn sessions(&self) -> Result<Vec<(String, String, String)>, HostSideError> {
        sessions(&self.node, HOST, &self.announcer)
    }

    fn pages(&self) -> impl Iterator<Item = (Page, SocketAddr)> + '_ {
        let page = |service: &String| Page { service: service.clone(), node: self.node.name().to_string() };
        self.announcer.services.iter().flat_map(move |(name, service)| {
            let addresses = service.addresses.iter();
            addresses.map(move |address| (page(name), SocketAddr::new(*address, service.port)))
        })
    }

    fn add_addresses(&self, service: &Service) -> Result<(), HostSideError> {
        for address in &service.addresses {
            let prefix = host_prefix(*address).to_string();
            let nodad = if address.is_ipv4() { &[][..] } else { &["nodad"] };
            let words = ["ip", "address", "replace", &prefix, "dev", "lo"];
            self.node.check(&[&words, nodad].concat())?;
        }
        Ok(())
    }

    fn set_networks(&self, name: &str, verb: &str) -> Result<(), HostSideError> {
        let services = &self.announcer.services;
        if !services.contains_key(name) {
            let known = services.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(HostSideError::UnknownService { name: name.to_owned(), known });
        }
        let mut lines = vec!["configure terminal".to_owned()];
        for vrf in self.announcer.vrfs() {
            let in_vrf = vrf.map(|vrf| format!(" vrf {vrf}")).unwrap_or_default();
            lines.push(format!("router bgp {}{in_vrf}", self.announcer.asn));
            for prefix in self.announcer.prefixes_of(name, vrf) {
                let family = if prefix.addr().is_ipv4() { "ipv4" } else { "ipv6" };
                lines.push(format!("address-family {family} unicast"));
                lines.push(format!("{verb} {prefix}"));
                lines.push("exit-address-family".to_owned());
            }
            lines.push("exit".to_owned());
        }
        self.vtysh(&lines.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
    }
}

/// The sessions of a node's FRR as in `show bgp summary json`: address of the neighbor, name of the peer, state.
pub fn sessions(
    node: &Node,
    instance: Instance,
    announcer: &Announcer,
) -> Result<Vec<(String, String, String)>, HostSideError> {
    let mut rows = Vec::new();
    for vrf in announcer.vrfs() {
        let in_vrf = vrf.map(|vrf| format!("vrf {vrf} ")).unwrap_or_default();
        let summary = frr::show(node, instance, &format!("show bgp {in_vrf}summary json"))?.unwrap_or_default();
        let state = |address: &str| {
            let mut families = ["ipv4Unicast", "ipv6Unicast"].iter();
            let found = families.find_map(|family| summary[family]["peers"][address]["state"].as_str());
            found.unwrap_or("Idle").to_owned()
        };
        let mine = announcer.sessions.iter().filter(|(_, session)| session.vrf.as_deref() == vrf);
        let named = mine.map(|(address, session)| (address.to_string(), session.name.clone()));
        rows.extend(named.map(|(address, name)| (address.clone(), name, state(&address))));
    }
    Ok(rows)
}

fn at(path: &Path) -> impl Fn(io::Error) -> HostSideError {
    move |source| HostSideError::File { path: path.to_owned(), source }
}
