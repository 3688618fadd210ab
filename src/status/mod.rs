//! The status of the node's router: [`fold`] makes it (pure), `publish` and `kubernetes` write it. Computed only from what
//! was planned, done and observed.

pub mod fold;
pub mod kubernetes;
pub mod model;
pub mod publish;
pub mod router_state;

pub use fold::fold;
pub use model::NodeStatus;
