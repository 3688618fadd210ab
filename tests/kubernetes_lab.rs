//! The router in a cluster, end to end: real etcd and kube-apiserver, the unmodified manifests of `deploy/`,
//! `examples/metallb/` and `examples/layer2/`, two nodes, real FRR and traffic. Without root or the programs the tests are
//! left out with the reason, which is an error with `CI=true`.
//!
//! The steps of a test share one lab, as starting an API server and a fabric takes longer than most steps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test file")]

#[allow(dead_code, reason = "the rest is used in tests/lab.rs")]
#[path = "lab"]
mod lab {
    pub mod fabric;
    pub mod fixture;
    pub mod kernel_state;
    pub mod router;
    pub mod sandbox;
    pub mod traffic;
}

mod kubernetes_lab {
    mod cluster_fixture;

    mod api_server_outage;
    mod kubectl;
    mod metallb;
    mod multus;
}
