//! What FRR prints, as types. In: the text of a `show` command. Out: values, or why the text is not what was expected.
//! Unknown keys are ignored. Pure.

mod json;
pub mod live;
pub mod neighbor;
pub mod route;
pub mod running_config;
pub mod session;
pub mod type5;
pub mod vni;
pub mod vrf;

pub use json::ShowError;
