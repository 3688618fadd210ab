//! The router in a cluster, end to end: real etcd and kube-apiserver, the manifests of `deploy/` and `examples/metallb/` as
//! they stand, two nodes, real FRR and real traffic. Left out, with the reason, without root or without the programs; an
//! error where `CI=true`.
//!
//! The steps of a test share one lab: an API server and a fabric take longer than most of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test file")]

#[allow(dead_code, reason = "tests/lab.rs has the other users")]
#[path = "lab"]
mod lab {
    pub mod fabric;
    pub mod fixture;
    pub mod place;
    pub mod router;
    pub mod stream;
}

mod kubernetes_lab {
    mod place;

    mod metallb;
    mod outage;
    mod router;
}
