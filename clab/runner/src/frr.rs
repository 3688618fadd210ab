//! FRR in a node, started as its own container image starts it.
//!
//! In: a node. Out: the daemons that /etc/frr/daemons of the node asks for, with /etc/frr/frr.conf loaded. It must not
//! decide what runs or how it is configured: these two files do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::image::RootFs;
use crate::node::{Node, NodeError};

/// The shell library with which FRR's own service script and container image start the daemons.
pub const FRR_COMMON: &str = "/usr/lib/frr/frrcommon.sh";

/// Which of a node's FRRs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instance {
    /// The node's own: /etc/frr, /run/frr.
    Main,
    /// One beside it, in FRR's words a pathspace: /etc/frr/NAME, /run/frr/NAME, `vtysh -N NAME`.
    Named(&'static str),
}

/// /run/frr is made first: a pathspace would leave it to root, and then no other daemon could use it.
/// `all_start` gives the status of `vtysh -b`, so that a line that FRR refuses is an error here.
const PRELUDE: &str = r#"
log_success_msg() { :; }
log_warning_msg() { echo "$*"; }
log_failure_msg() { echo "$*"; failed=yes; }
install -d -o frr -g frr /run/frr /var/log/frr
[ ! -d /var/lib/frr ] || chown frr:frr /var/lib/frr
. /usr/lib/frr/frrcommon.sh
said=$(mktemp)
"#;
const START: &str = r#"all_start >"$said" 2>&1 </dev/null || failed=yes"#;
const STOP: &str = r#"all_stop >"$said" 2>&1 </dev/null || failed=yes"#;
const END: &str = r#"[ -z "$failed" ] || cat "$said"; rm "$said"; [ -z "$failed" ]"#;

/// The release that all FRR nodes and all cluster nodes run whatever their image says, if there is one.
pub const EVERYWHERE: &str = "PEROUTER_LAB_FRR";

/// Where `make lab-frr10` puts the root file system of Debian trixie with FRR 10.3.
pub fn trixie() -> PathBuf {
    let cache = || std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from).join(".cache");
    let made = || cache().unwrap_or_else(home).join("perouter/frr10");
    std::env::var_os("PEROUTER_FRR10_ROOT").map_or_else(made, PathBuf::from)
}

/// The root that [`EVERYWHERE`] asks for; the variable's value when there is no such root.
pub fn everywhere() -> Result<Option<RootFs>, String> {
    match std::env::var(EVERYWHERE).unwrap_or_default().as_str() {
        "" => Ok(None),
        "8.4" => Ok(Some(RootFs::Host)),
        "10.3" => Ok(Some(RootFs::Trixie)),
        other => Err(other.to_owned()),
    }
}

/// Whether FRR is installed in a root file system.
pub fn installed(root: &Path) -> bool {
    root.join(FRR_COMMON.trim_start_matches('/')).exists()
}

/// Starts the daemons; returns when all listen and have their configuration.
pub fn start(node: &Node, instance: Instance) -> Result<(), NodeError> {
    act(node, instance, START)
}

/// Ends the daemons, zebra last.
pub fn stop(node: &Node, instance: Instance) -> Result<(), NodeError> {
    act(node, instance, STOP)
}

/// Runs vtysh with these commands and gives what it printed.
pub fn vtysh(node: &Node, instance: Instance, commands: &[&str]) -> Result<String, NodeError> {
    let mut words = vec!["vtysh"];
    if let Instance::Named(name) = instance {
        words.extend(["-N", name]);
    }
    words.extend(commands.iter().flat_map(|command| ["-c", *command]));
    node.check(&words)
}

/// Runs one `show … json` command and gives what it means; nothing when FRR did not answer with JSON.
pub fn show(node: &Node, instance: Instance, command: &str) -> Result<Option<serde_json::Value>, NodeError> {
    vtysh(node, instance, &[command]).map(|text| serde_json::from_str(&text).ok())
}

fn act(node: &Node, instance: Instance, action: &str) -> Result<(), NodeError> {
    let script = [PRELUDE, action, "\n", END].concat();
    let pathspace = match instance {
        Instance::Main => "FRR_PATHSPACE=".to_owned(),
        Instance::Named(name) => format!("FRR_PATHSPACE={name}"),
    };
    node.check_for(Duration::from_secs(60), &["env", &pathspace, "bash", "-c", &script]).map(drop)
}
