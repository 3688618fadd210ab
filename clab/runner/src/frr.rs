//! FRR in a node, started as its own container image starts it.
//!
//! In: a node. Out: the daemons that /etc/frr/daemons of the node asks for, with /etc/frr/frr.conf loaded. It must not
//! decide what runs or how it is configured: these two files do.

use std::path::Path;
use std::time::Duration;

use crate::node::{Node, NodeError};

/// The shell library with which FRR's own service script and container image start the daemons.
pub const FRR_COMMON: &str = "/usr/lib/frr/frrcommon.sh";

/// `all_start` gives the status of `vtysh -b`, so that a line that FRR refuses is an error here.
const START: &str = r#"
log_success_msg() { :; }
log_warning_msg() { echo "$*"; }
log_failure_msg() { echo "$*"; failed=yes; }
mkdir -p /var/log/frr && chown frr:frr /var/log/frr
. /usr/lib/frr/frrcommon.sh
all_start >/run/frr-start.log 2>&1 </dev/null || failed=yes
[ -z "$failed" ] || { cat /run/frr-start.log; exit 1; }
"#;

/// Whether FRR is installed on the machine.
pub fn installed() -> bool {
    Path::new(FRR_COMMON).exists()
}

/// Starts the daemons; returns when all listen and have their configuration.
pub fn start(node: &Node) -> Result<(), NodeError> {
    node.check_for(Duration::from_secs(60), &["bash", "-c", START]).map(drop)
}
