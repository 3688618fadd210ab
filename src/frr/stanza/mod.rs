//! The typed configuration as FRR's canonical text. Each stanza has a file with its template, what the template sees, and the
//! rules of its lines; [`text`] renders them all, [`rules`] is the table of all lines. Names of policies are generated and
//! recognised in [`policy_names`]. Text only: trees and commands are in [`super::config`]. Pure.

mod bfd;
mod bgp;
mod evpn;
mod policy;
pub mod policy_names;
mod rule;
pub mod rules;
mod static_routes;
pub mod text;
mod zebra;
