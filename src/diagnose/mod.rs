//! From facts to findings: what is wrong, why a session is down, where the path of an address is incomplete. In: what FRR and the
//! kernel report. Out: findings and sentences with the remedy. Pure: reads nothing by itself and knows nothing of the status.

pub mod cause;
pub mod check;
pub mod cluster_checks;
mod established_checks;
mod evpn_checks;
pub mod fabric_route_checks;
pub mod facts;
pub mod filtered;
pub mod finding;
mod host_checks;
mod link_checks;
pub mod listed_route;
pub mod listed_session;
mod next_hops;
mod node_checks;
mod packet_filter_checks;
mod segment_checks;
pub mod session_checks;
pub mod tcp_diagnosis;
pub mod trace;
pub mod type5_use;
mod vtep_checks;

pub use cause::SessionCause;
pub use finding::Finding;
