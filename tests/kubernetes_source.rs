//! Source, node index and status on a real etcd and kube-apiserver with `deploy/` applied: with the controller's token
//! and the rights of `deploy/base/rbac.yaml`, of which each is used. Left out, with the reason, where the programs are not
//! built; an error where `CI=true`. The steps share one control plane: starting it takes longer than most of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test file")]

mod kubernetes;
#[path = "kubernetes/rights.rs"]
mod rights;

mod kubernetes_source {
    mod audit;
    pub(crate) mod place;
    mod proxy;

    pub(crate) mod indexes;
    pub(crate) mod outage;
    pub(crate) mod snapshots;
    pub(crate) mod status;
}

use kubernetes_source::place::{Place, step};
use kubernetes_source::status::Publisher;
use kubernetes_source::{indexes, outage, snapshots, status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_real_api_server() {
    let Some(mut place) = Place::new().await else { return };
    step("parity of the examples", snapshots::examples_are_the_same_from_both_sources(&place)).await;
    step("200 objects in one call", snapshots::a_burst_is_one_snapshot_or_two(&place)).await;
    step("Secret rotated", snapshots::a_rotated_secret_is_seen(&place)).await;

    let mut publisher = Publisher::start(&place).await;
    step("status", status::kubectl_shows_the_router(&place, &publisher)).await;
    step("events", status::rejection_recovery_and_session_loss_are_events(&place, &publisher)).await;
    step("many events", status::events_are_rate_limited(&place, &publisher)).await;
    // It is quiet for this node, not for others.
    tokio::join!(
        step("quiet", status::in_quiet_nothing_is_written(&place, &mut publisher)),
        step("node indexes", indexes::of_many_nodes(&place)),
    );
    drop(publisher);
    place.delete_l3vnis();

    // Afterwards too much: an API server that has just started knows no role for a moment.
    assert_eq!(place.audit.refused(), Vec::<serde_json::Value>::new());

    step("API server away", outage::the_server_goes_and_comes_back(&mut place)).await;
    step("kept and reconciled", outage::what_is_kept_is_reconciled(&place)).await;
    step("expired watch, slow list", outage::an_expired_watch_begins_anew(&mut place)).await;

    step("status collected", status::the_status_goes_with_its_node(&place)).await;
    assert_eq!(place.audit.used(), rights::granted(), "what the controller asks for, and what its roles allow");
}
