//! The Pods of `deploy/` as containers of the image, in the cluster of the lab: real etcd and kube-apiserver, runc with the
//! securityContext, mounts, probes and resources of the manifests. In: `PEROUTER_IMAGE`, a Docker engine, runc, and what
//! `tests/kubernetes_lab.rs` needs. Skipped with the reason where one is missing; an error where `CI=true`.
//!
//! What differs from a cluster: this machine may lack a capability, which is printed; `oom_score_adj` is not lowered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test file")]

#[allow(dead_code, reason = "the rest is used in tests/lab.rs")]
#[path = "lab"]
mod lab {
    pub mod fabric;
    pub mod fixture;
    pub mod kernel_state;
    pub mod router;
    pub mod traffic;
}

#[allow(dead_code, reason = "the rest is used in tests/kubernetes_lab.rs")]
#[path = "kubernetes_lab/cluster_fixture.rs"]
mod cluster_fixture;

mod docker_kubernetes {
    pub mod losses;
    pub mod pods;
    pub mod rollout;

    mod example;
    mod router_upgrade;
    mod upgrade;
}
