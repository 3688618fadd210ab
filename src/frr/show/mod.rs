//! What FRR prints, as types. In: the text of a `show` command. Out: values, or why the text is not what was expected.
//! Unknown keys are ignored. Pure.

pub mod bfd;
pub mod family;
pub mod interface;
mod json;
pub mod live;
pub mod mac;
pub mod neighbor;
pub mod restart;
pub mod route;
pub mod running_config;
pub mod session;
pub mod type2;
pub mod type5;
pub mod vni;
pub mod vrf;
pub mod vrf_binding;

pub use json::ShowError;
