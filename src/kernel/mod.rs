//! Kernel state of the router: [`model`] (what is wanted and what is there), `diff` to operations, and the effects
//! that observe and apply them. Only this module talks netlink.

pub mod model;
pub mod netns;
pub mod vrf_device;
