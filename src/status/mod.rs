//! The status of the node's router: [`fold`] makes it (pure), `publish` writes it, `http` serves its metrics. Computed only from what was planned,
//! done and observed.

pub mod fold;
pub mod http;
pub mod metrics;
pub mod model;
pub mod publish;

pub use fold::fold;
pub use model::NodeStatus;
