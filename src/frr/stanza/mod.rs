//! The typed configuration as FRR's canonical text: templates, what they see, the names of policies, and what is known of
//! each line. Pure.

mod communities;
mod policies;
pub mod policy_names;
pub mod render;
pub mod rules;
mod view;
