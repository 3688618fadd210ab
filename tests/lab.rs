//! The router end to end: a fabric from clab/*.clab.yml with real FRR, VXLAN and traffic. Needs root and FRR; without
//! them the tests are left out, which is an error with `CI=true`.
//!
//! Each test deploys its own lab. Mostly a lab waits for timers of FRR, so as many run at the same time as there are threads.
//! `PEROUTER_VRF_MODE` and `PEROUTER_FRR_DIR` are passed on to the routers. `PEROUTER_LAB_SLOWNESS` is the factor by which
//! this machine is slower than a normal one; time limits are multiplied by it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test file")]

mod lab {
    mod alerts;
    mod capture;
    mod crafted;
    mod fabric;
    mod fixture;
    mod kernel_state;
    mod packet;
    mod pod;
    mod router;
    mod sandbox;
    mod traffic;

    mod aggregates;
    mod broken_fabrics;
    mod broken_fabrics_duplicates;
    mod broken_fabrics_faults;
    mod broken_fabrics_host_faults;
    mod broken_fabrics_route_faults;
    mod broken_segments;
    mod cleanup;
    mod cni;
    mod daemon_crash;
    mod documentation;
    mod duplicate_node_index;
    mod ebgp_ibgp;
    mod fabric_sessions;
    mod failover;
    mod faults;
    mod filters;
    mod from_host;
    mod graceful_restart;
    mod host_vrf;
    mod idempotence;
    mod injection;
    mod ipv6_vtep;
    mod isolation;
    mod l2vni;
    mod l2vni_changes;
    mod l2vni_ipv6_underlay;
    mod l2vni_neighbors;
    mod l2vni_ports;
    mod l2vni_route_reflector;
    mod l3vni_add_delete;
    mod l3vni_edits;
    mod leaks;
    mod metallb_advanced;
    mod monitoring;
    mod open_vswitch;
    mod password_rotation;
    mod read_only_commands;
    mod rejection;
    mod restart;
    mod route_targets;
    mod router_upgrade;
    mod service;
    mod session_options;
    mod speakers;
    mod stale_vrf_ids;
    mod two_leaves;
    mod two_processes;
    mod underlay_nic;
}
