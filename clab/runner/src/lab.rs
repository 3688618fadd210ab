//! A lab: deploying, opening and destroying it.
//!
//! In: a topology or a lab's name. Out: a [`Lab`] of running nodes. It must not know any particular topology.

use nix::errno::Errno;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::unistd::geteuid;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cgroups;
use crate::frr;
use crate::holder::{self, HolderError, NodeHolder};
use crate::image::{FrrRelease, NodeProgram, RootFs};
use crate::node::{Node, NodeError};
use crate::rootfs::NodeRoot;
use crate::state::{self, LabRecord, StateError};
use crate::topology::{Bind, LabName, NodeName, NodeSpec, Topology};
use crate::wiring::{self, WiringError};

/// A running lab. Dropping it leaves it running; see [`Lab::destroy`] and [`Lab::destroyed_on_drop`].
#[derive(Debug, Clone)]
pub struct Lab {
    name: LabName,
    nodes: Vec<Node>,
}

/// A lab that is destroyed when this is dropped.
#[derive(Debug)]
pub struct ScopedLab(Lab);

/// A lab could not be deployed, opened or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces and mounts need root.
    #[error("a lab needs root; run it with sudo")]
    NotRoot,
    /// The addresses of a node could not be read.
    #[error("cannot read the addresses of {0}")]
    Addresses(NodeName, #[source] Errno),
    /// A lab with that name runs.
    #[error("lab `{0}` exists already; destroy it first, or name this one differently with --name")]
    Exists(LabName),
    /// No lab with that name runs.
    #[error("lab `{0}` is not deployed")]
    Unknown(LabName),
    /// The lab has no such node.
    #[error("lab `{lab}` has no node `{node}`; it has {known}")]
    UnknownNode {
        /// The lab.
        lab: LabName,
        /// The node.
        node: String,
        /// Its nodes.
        known: String,
    },
    /// A bind's source does not exist.
    #[error("{}:{line}: bind source {} does not exist; create it or correct the path", file.display(), path.display())]
    NoBindSource {
        /// The topology file.
        file: PathBuf,
        /// Line of the bind.
        line: u64,
        /// The source.
        path: PathBuf,
    },
    /// The FRR release for all nodes is not supported.
    #[error("PEROUTER_LAB_FRR={0} is not supported; use 8.4, 10.3 or 10.7")]
    Release(String),
    /// The root file system of an image is missing.
    #[error(
        "node `{node}` runs FRR {release}, which is not in {}; create it with `hack/frr.sh {release}`",
        root.display(), release = release.number()
    )]
    NoFrrRoot {
        /// The node.
        node: NodeName,
        /// The release.
        release: FrrRelease,
        /// Where it should be.
        root: PathBuf,
    },
    /// FRR is not installed.
    #[error("node `{0}` runs FRR, which is not installed; run `apt-get install frr`")]
    NoFrr(NodeName),
    /// A node could not be stopped.
    #[error("cannot destroy lab `{lab}`")]
    Destroy {
        /// The lab.
        lab: LabName,
        /// The cause.
        #[source]
        source: HolderError,
    },
    /// A node could not be started.
    #[error("cannot start node `{node}`")]
    Start {
        /// Its long name.
        node: String,
        /// The cause.
        #[source]
        source: HolderError,
    },
    /// A command of the topology failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A link could not be created.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The lab's folder could not be accessed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What [`destroy`] removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destroyed {
    /// Nodes whose processes were killed.
    pub nodes: usize,
    /// Names removed from /run/netns.
    pub namespaces: usize,
}

impl Lab {
    /// Deploys a topology: namespaces, links, FRR, `exec`. If any of it fails, the lab is destroyed again.
    pub fn deploy(topology: &Topology) -> Result<Self, LabError> {
        let everywhere = frr::everywhere().map_err(LabError::Release)?;
        preflight(topology, everywhere)?;
        let running = holder::find().iter().any(|holder| holder.lab == topology.lab.as_str());
        if running || !state::claim(&topology.lab, &LabRecord::of(topology))? {
            return Err(LabError::Exists(topology.lab.clone()));
        }
        let deployed = bring_up(topology, everywhere);
        if deployed.is_err() {
            destroy(&topology.lab)?;
        }
        deployed
    }

    /// Opens a running lab.
    pub fn open(name: &LabName) -> Result<Self, LabError> {
        let record = state::read(name)?.ok_or_else(|| LabError::Unknown(name.clone()))?;
        let holders = holder::find();
        let node = |entry: &state::NodeRecord| {
            let holder =
                holders.iter().find(|holder| holder.lab == record.lab && holder.long_name == entry.long_name)?;
            Some(Node {
                name: NodeName::new(&entry.name)?,
                long_name: entry.long_name.clone(),
                holder: holder.pid,
                folder: state::node_folder(name, &entry.name),
                env: entry.env.clone(),
            })
        };
        let nodes: Vec<_> = record.nodes.iter().filter_map(node).collect();
        Ok(Self { name: name.clone(), nodes })
    }

    /// The lab's name.
    pub fn name(&self) -> &LabName {
        &self.name
    }

    /// The lab's folder on the machine; the nodes' logs are below it.
    pub fn folder(&self) -> PathBuf {
        state::folder(&self.name)
    }

    /// All running nodes, by name.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by its short name.
    pub fn node(&self, name: &str) -> Result<&Node, LabError> {
        self.nodes.iter().find(|node| node.name().as_str() == name).ok_or_else(|| LabError::UnknownNode {
            lab: self.name.clone(),
            node: name.to_owned(),
            known: self.nodes.iter().map(|node| node.name().as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Destroys the lab.
    pub fn destroy(self) -> Result<Destroyed, LabError> {
        destroy(&self.name)
    }

    /// Ties the lab to a value: it is destroyed when that is dropped, also if a test panics.
    pub fn destroyed_on_drop(self) -> ScopedLab {
        ScopedLab(self)
    }
}

impl std::ops::Deref for ScopedLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl Drop for ScopedLab {
    fn drop(&mut self) {
        if let Err(error) = destroy(&self.0.name) {
            eprintln!("lab {}: {error}", self.0.name);
        }
    }
}

/// Destroys a lab, also one that is incomplete or broken: its processes, its names in /run/netns, its folder.
/// It is not an error if there is no such lab.
pub fn destroy(name: &LabName) -> Result<Destroyed, LabError> {
    let holders: Vec<NodeHolder> = holder::find().into_iter().filter(|holder| holder.lab == name.as_str()).collect();
    let mut names: Vec<String> = holders.iter().map(|holder| holder.long_name.clone()).collect();
    // An unreadable record must not prevent the rest from being destroyed.
    if let Ok(Some(record)) = state::read(name) {
        names.extend(record.nodes.into_iter().map(|node| node.long_name));
    }
    names.sort();
    names.dedup();
    holder::kill_all(&holders).map_err(|source| LabError::Destroy { lab: name.clone(), source })?;
    cgroups::remove(&names);
    let namespaces = wiring::detach(&names)?;
    state::remove(name)?;
    Ok(Destroyed { nodes: holders.len(), namespaces })
}

fn preflight(topology: &Topology, everywhere: Option<RootFs>) -> Result<(), LabError> {
    if !geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    for (name, spec) in &topology.nodes {
        for bind in &spec.binds {
            let path = bind_source(topology, bind);
            if !path.exists() {
                return Err(LabError::NoBindSource { file: topology.file.clone(), line: bind.line, path });
            }
        }
        let rootfs = rootfs(spec, everywhere);
        let (node, root) = (name.clone(), folder_of(rootfs));
        match rootfs {
            RootFs::Frr(release) if !frr::installed(&root) => {
                return Err(LabError::NoFrrRoot { node, release, root });
            }
            RootFs::Host if program(spec) == NodeProgram::Frr && !frr::installed(&root) => {
                return Err(LabError::NoFrr(node));
            }
            RootFs::Host | RootFs::Frr(_) => {}
        }
    }
    Ok(())
}

/// The root file system of a node. A cluster node has no image; it gets the release for all nodes, as FRR nodes do.
fn rootfs(spec: &NodeSpec, everywhere: Option<RootFs>) -> RootFs {
    match &spec.image {
        Some(image) if image.program == NodeProgram::Idle => image.rootfs,
        image => everywhere.or(image.as_ref().map(|image| image.rootfs)).unwrap_or(RootFs::Host),
    }
}

fn folder_of(rootfs: RootFs) -> PathBuf {
    match rootfs {
        RootFs::Host => "/".into(),
        RootFs::Frr(release) => frr::root_of(release),
    }
}

fn bring_up(topology: &Topology, everywhere: Option<RootFs>) -> Result<Lab, LabError> {
    let mut nodes = Vec::new();
    let mut holders = Vec::new();
    for (name, spec) in &topology.nodes {
        let long_name = topology.long_name(name);
        let folder = state::node_folder(&topology.lab, name.as_str());
        let root = node_root(topology, name, spec, &folder, rootfs(spec, everywhere))?;
        let holder = holder::start(topology.lab.as_str(), &long_name, root)
            .map_err(|source| LabError::Start { node: long_name.clone(), source })?;
        nodes.push(Node { name: name.clone(), long_name, holder: holder.pid, folder, env: spec.env.clone() });
        holders.push(holder);
    }
    wiring::attach(&holders)?;
    wiring::connect(topology)?;
    let lab = Lab { name: topology.lab.clone(), nodes };
    lab.on_every_node(|node| start_program(topology, node))?;
    lab.on_every_node(|node| run_exec(topology, node))?;
    lab.write_hosts()?;
    Ok(lab)
}

fn node_root(
    topology: &Topology,
    name: &NodeName,
    spec: &NodeSpec,
    folder: &Path,
    rootfs: RootFs,
) -> Result<NodeRoot, LabError> {
    let root = NodeRoot {
        system: (rootfs != RootFs::Host).then(|| folder_of(rootfs)),
        mount_point: folder.join("root"),
        log_folder: folder.join("log"),
        hosts: folder.join("hosts"),
        host_name: name.to_string(),
        binds: spec.binds.iter().map(|b| (bind_source(topology, b), b.target.clone(), b.read_only)).collect(),
    };
    for path in [&root.mount_point, &root.log_folder] {
        fs::create_dir_all(path).map_err(state::at(path))?;
    }
    fs::write(&root.hosts, LOCALHOST).map_err(state::at(&root.hosts))?;
    Ok(root)
}

const LOCALHOST: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";

fn bind_source(topology: &Topology, bind: &Bind) -> PathBuf {
    let path = topology.folder.join(&bind.source);
    fs::canonicalize(&path).unwrap_or(path)
}

fn program(spec: &NodeSpec) -> NodeProgram {
    spec.image.as_ref().map_or(NodeProgram::Idle, |image| image.program)
}

fn start_program(topology: &Topology, node: &Node) -> Result<(), NodeError> {
    let Some(spec) = topology.nodes.get(node.name()) else { return Ok(()) };
    match (&spec.cmd, program(spec)) {
        (Some(command), _) => node.spawn(command, &node.log_folder().join("cmd.log")).map(drop),
        (None, NodeProgram::Frr) => frr::start(node, frr::Instance::Main),
        (None, NodeProgram::Idle) => Ok(()),
    }
}

/// A command of a topology may create many devices, and an emulated machine is slow.
const EXEC_TIMEOUT: Duration = Duration::from_secs(180);

fn run_exec(topology: &Topology, node: &Node) -> Result<(), NodeError> {
    let commands = topology.nodes.get(node.name()).map_or(&[][..], |spec| &spec.exec);
    commands.iter().try_for_each(|command| node.check_for(EXEC_TIMEOUT, command).map(drop))
}

impl Lab {
    fn on_every_node(&self, work: impl Fn(&Node) -> Result<(), NodeError> + Sync) -> Result<(), LabError> {
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> = self.nodes.iter().map(|node| scope.spawn(move || work(node))).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            let results: Vec<Result<(), NodeError>> = threads.into_iter().map(join).collect();
            results.into_iter().collect::<Result<(), _>>().map_err(LabError::from)
        })
    }

    /// Writes every node's /etc/hosts: each node's name with its first addresses, those of a loopback before others.
    fn write_hosts(&self) -> Result<(), LabError> {
        let mut text = LOCALHOST.to_owned();
        for node in &self.nodes {
            let addresses =
                node.within_netns(addresses)?.map_err(|errno| LabError::Addresses(node.name().clone(), errno))?;
            for address in first_addresses(&addresses) {
                let _ = writeln!(text, "{address} {}", node.name());
            }
        }
        for node in &self.nodes {
            // In place: the node has this file mounted.
            let path = state::node_folder(&self.name, node.name().as_str()).join("hosts");
            fs::write(&path, &text).map_err(state::at(&path))?;
        }
        Ok(())
    }
}

/// The addresses of the calling thread's network namespace, link by link.
fn addresses() -> nix::Result<Vec<IpAddr>> {
    let address = |found: InterfaceAddress| {
        let address = found.address?;
        let ipv6 = || address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip())).or_else(ipv6)
    };
    Ok(getifaddrs()?.filter_map(address).collect())
}

/// The first address of each family with a scope beyond its link.
fn first_addresses(all: &[IpAddr]) -> Vec<IpAddr> {
    let is_global = |address: &&IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    };
    let first = |is_ipv4| all.iter().filter(is_global).find(|address| address.is_ipv4() == is_ipv4).copied();
    [true, false].into_iter().filter_map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_first_global_address_of_each_family() {
        let all = ["127.0.0.1", "100.64.0.1", "192.168.1.1", "::1", "fe80::1", "2001:db8::1", "2001:db8::2"];
        let all = all.map(|address| address.parse().unwrap());
        assert_eq!(
            first_addresses(&all).iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["100.64.0.1", "2001:db8::1"]
        );
        assert_eq!(first_addresses(&all[3..5]), [] as [IpAddr; 0]);
    }
}
