//! What FRR prints, as types. In: the text of a `show` command. Out: values, or why the text is not what was expected. Pure.

mod json;
pub mod live;
pub mod route;
pub mod running_config;
mod session;
pub mod type5;
pub mod vni;
