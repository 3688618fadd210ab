//! Where the state of one node's router is. In: the run directory and the path of the router namespace. Out: paths. Pure:
//! creates, reads and checks nothing.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::types::VrfName;

/// The run directory of a node.
pub const DEFAULT_DIR: &str = "/run/perouter";
/// The directory of what survives a reboot of the node.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/perouter";
/// In the state directory: the last snapshot of an API server, for a start without it.
pub const SNAPSHOT: &str = "snapshot.json";
/// The router namespace of a node, where `ip netns` finds it.
pub const DEFAULT_ROUTER_NETNS: &str = "/run/netns/perouter";
/// The socket of the database of Open vSwitch, as its packages have it.
pub const DEFAULT_OVS_SOCKET: &str = "/run/openvswitch/db.sock";

/// A daemon that we run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Daemon {
    /// Management daemon of FRR 10: must run before zebra, else zebra drops the L3VNI of a VRF.
    Mgmtd,
    /// RIB and EVPN's kernel side.
    Zebra,
    /// BGP.
    Bgpd,
    /// BFD.
    Bfdd,
    /// Static routes.
    Staticd,
}

impl Daemon {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 5] = [Self::Mgmtd, Self::Zebra, Self::Bgpd, Self::Bfdd, Self::Staticd];

    /// The name of the program and of its vty socket.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mgmtd => "mgmtd",
            Self::Zebra => "zebra",
            Self::Bgpd => "bgpd",
            Self::Bfdd => "bfdd",
            Self::Staticd => "staticd",
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The paths of one router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    dir: PathBuf,
    router_netns: PathBuf,
    ovs_socket: PathBuf,
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new(DEFAULT_DIR, DEFAULT_ROUTER_NETNS)
    }
}

impl Runtime {
    /// The paths below a run directory, and that of a router namespace. Both are absolute: FRR's daemons have another working
    /// directory.
    pub fn new(dir: impl Into<PathBuf>, router_netns: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), router_netns: router_netns.into(), ovs_socket: DEFAULT_OVS_SOCKET.into() }
    }

    /// The same with another socket of the database of Open vSwitch.
    #[must_use]
    pub fn with_ovs_socket(self, ovs_socket: impl Into<PathBuf>) -> Self {
        Self { ovs_socket: ovs_socket.into(), ..self }
    }

    /// The socket of the database of Open vSwitch on the host.
    pub fn ovs_socket(&self) -> &Path {
        &self.ovs_socket
    }

    /// The run directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that the router namespace is bound to.
    pub fn router_netns(&self) -> &Path {
        &self.router_netns
    }

    /// The name of the router namespace for `ip netns`.
    pub fn router_netns_name(&self) -> &OsStr {
        self.router_netns.file_name().unwrap_or_default()
    }

    /// The directory of the IP-VRF namespaces: a mount of its own with shared propagation.
    pub fn vrf_netns_dir(&self) -> PathBuf {
        self.dir.join("ns")
    }

    /// The file that the namespace of an IP-VRF is bound to.
    pub fn vrf_netns(&self, vrf: &VrfName) -> PathBuf {
        self.vrf_netns_dir().join(vrf.as_str())
    }

    /// The directory that zebra watches for namespaces. It contains symlinks, so that a name appears there only when its
    /// namespace is complete.
    pub fn zebra_netns_dir(&self) -> PathBuf {
        self.dir.join("zebra-netns")
    }

    /// The name by which zebra finds the namespace of an IP-VRF.
    pub fn zebra_netns(&self, vrf: &VrfName) -> PathBuf {
        self.zebra_netns_dir().join(vrf.as_str())
    }

    /// The directory of FRR's sockets and pid files. It belongs to FRR's user.
    pub fn frr_dir(&self) -> PathBuf {
        self.dir.join("frr")
    }

    /// The vty socket of a daemon: FRR names it after the daemon.
    pub fn vty_socket(&self, daemon: Daemon) -> PathBuf {
        self.frr_dir().join(format!("{daemon}.vty"))
    }

    /// The socket by which daemons connect to zebra.
    pub fn zserv_socket(&self) -> PathBuf {
        self.frr_dir().join("zserv.api")
    }

    /// Where bgpd connects to zebra: a link, not in FRR's directory.
    pub fn bgpd_zserv(&self) -> PathBuf {
        self.dir.join("bgpd-zserv.api")
    }

    /// The socket of the label manager for bgpd.
    pub fn label_manager(&self) -> PathBuf {
        self.dir.join("label-manager.api")
    }

    /// The files of the first client of a new zebra.
    #[must_use]
    pub fn first_client(&self) -> Self {
        Self::new(self.dir.join("first-client"), &self.router_netns)
    }

    /// Exists while graceful restart is configured on the fabric sessions.
    pub fn graceful_restart(&self) -> PathBuf {
        self.dir.join("graceful-restart")
    }

    /// The pid file of a daemon.
    pub fn pid_file(&self, daemon: Daemon) -> PathBuf {
        self.frr_dir().join(format!("{daemon}.pid"))
    }

    /// The directory of FRR's logs. It belongs to root: FRR's daemons open their logs as root.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The log file of a daemon.
    pub fn log_file(&self, daemon: Daemon) -> PathBuf {
        self.log_dir().join(format!("{daemon}.log"))
    }

    /// The record of what moved NICs had in the host namespace.
    pub fn nics(&self) -> PathBuf {
        self.dir.join("nics.json")
    }

    /// The last accepted versions of objects.
    pub fn accepted(&self) -> PathBuf {
        self.dir.join("accepted.json")
    }

    /// While this file exists, namespaces may have nftables tables of ours. It is created before the first of them.
    pub fn port_tables(&self) -> PathBuf {
        self.dir.join("port-tables")
    }

    /// The file that a router locks.
    pub fn router_lock(&self) -> PathBuf {
        self.dir.join("router.lock")
    }

    /// The file that a controller locks.
    pub fn controller_lock(&self) -> PathBuf {
        self.dir.join("controller.lock")
    }

    /// The index of the node, by which the router that runs was configured.
    pub fn node_index(&self) -> PathBuf {
        self.dir.join("node-index")
    }

    /// The status after the last reconcile pass.
    pub fn status(&self) -> PathBuf {
        self.dir.join("status.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_node() {
        let runtime = Runtime::default();
        let red: VrfName = "red".parse().unwrap();
        assert_eq!(runtime.router_netns_name(), "perouter");
        assert_eq!(runtime.vrf_netns(&red), Path::new("/run/perouter/ns/red"));
        assert_eq!(runtime.zebra_netns(&red), Path::new("/run/perouter/zebra-netns/red"));
        assert_eq!(runtime.vty_socket(Daemon::Bgpd), Path::new("/run/perouter/frr/bgpd.vty"));
        assert_eq!(runtime.log_file(Daemon::Bgpd), Path::new("/run/perouter/log/bgpd.log"));
        assert_eq!(runtime.pid_file(Daemon::Zebra), Path::new("/run/perouter/frr/zebra.pid"));
    }
}
