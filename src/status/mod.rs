//! The status of the node's router: [`fold`] computes it (pure), `publish` and `kubernetes` write it, `http` serves health
//! and metrics. Computed only from what was planned, applied and observed.

pub(crate) mod connections;
pub mod fold;
pub mod http;
pub mod kubernetes;
pub mod metrics;
pub mod model;
pub mod publish;
pub mod readiness;
pub mod refresh;
pub mod router_state;

pub use fold::fold;
pub use model::NodeStatus;
