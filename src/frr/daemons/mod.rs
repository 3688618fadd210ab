//! FRR's daemons: started or adopted, watched, restarted. In: the paths of a router and its VRF mode. Out: running daemons,
//! and events that name the incarnation of a daemon. The daemons outlive this process: nothing here ends them but
//! [`stop_all`] and what must be consistent among them. Must not send them configuration.

mod backoff;
mod error;
mod first_client;
mod graceful;
mod installation;
mod label_manager;
mod launch;
pub mod log;
mod order;
mod other_release;
pub mod process;
mod readiness;
mod restart_end;
mod running;
mod stale_vrfs;
mod start;
mod stop;
mod supervisor;
mod watchdog;
mod zebra_reconnect;

pub use self::error::DaemonError;
pub use self::installation::{Installation, InstallationError};
pub use self::launch::LaunchError;
pub use self::process::{Incarnation, ProcessError};
pub use self::readiness::ready;
pub use self::running::DaemonEvent;
pub use self::stop::stop_all;
pub use self::supervisor::Daemons;

/// Where FRR's packages put the daemons.
pub const FRR_DIR: &str = "/usr/lib/frr";
