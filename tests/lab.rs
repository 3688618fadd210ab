//! The router end to end: a fabric of clab/*.clab.yml with real FRR, real VXLAN and real traffic. Needs root and
//! FRR; left out otherwise, which is an error where `CI=true`.
//!
//! Each test has a lab of its own and they take turns. `PEROUTER_VRF_MODE` and `PEROUTER_FRR_DIR` choose how the routers
//! run, `PEROUTER_LAB_SLOWNESS` says how many times slower than a plain machine this one is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test file")]

mod lab {
    mod fabric;
    mod fixture;
    mod place;
    mod router;
    mod stream;

    mod addition;
    mod aggregates;
    mod cleanup;
    mod daemon_death;
    mod edits;
    mod fabric_sessions;
    mod filters;
    mod guard;
    mod host_vrf;
    mod inspection;
    mod isolation;
    mod matrix;
    mod metallb_advanced;
    mod moves;
    mod passwords;
    mod rejection;
    mod restart;
    mod route_targets;
    mod second_pass;
    mod service;
    mod session_options;
    mod speakers;
    mod two_leaves;
    mod two_processes;
}
