//! Source, node index and status on a real etcd and kube-apiserver with `deploy/` applied: with the controller's token and the
//! rights of `deploy/base/rbac.yaml`, each of which is used. Skipped, with the reason, where the control plane is not built; an
//! error where `CI=true`. The steps share one control plane: starting one takes longer than most of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test file")]

mod kubernetes;
#[path = "kubernetes/rights.rs"]
mod rights;

mod kubernetes_source {
    pub(crate) mod admission;
    mod audit;
    pub(crate) mod environment;
    mod proxy;

    pub(crate) mod indexes;
    pub(crate) mod outage;
    pub(crate) mod page;
    pub(crate) mod snapshots;
    pub(crate) mod status;
}

use kubernetes_source::environment::{Environment, step};
use kubernetes_source::status::Publisher;
use kubernetes_source::{admission, indexes, outage, page, snapshots, status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_real_api_server() {
    let Some(mut environment) = Environment::new() else { return };
    step("admission policies", admission::a_controller_writes_the_objects_of_its_node(&environment)).await;
    step("page of all nodes", page::the_page_of_all_nodes_is_read_from_the_api_server(&environment)).await;
    step("both sources on the examples", snapshots::examples_are_the_same_from_both_sources(&environment)).await;
    step("one read", snapshots::one_read_claims_nothing(&environment)).await;
    step("200 objects in one call", snapshots::a_burst_is_one_snapshot_or_two(&environment)).await;
    step("changed Secret", snapshots::a_changed_secret_is_read(&environment)).await;

    let mut publisher = Publisher::start(&environment).await;
    step("status", status::kubectl_shows_the_router(&environment, &publisher)).await;
    step("events", status::rejection_recovery_and_session_loss_are_events(&environment, &publisher)).await;
    step("many events", status::events_are_rate_limited(&environment, &publisher)).await;
    // The steady state is that of this node only.
    tokio::join!(
        step("steady state", status::nothing_is_written_in_steady_state(&environment, &mut publisher)),
        step("node indexes", indexes::of_many_nodes(&environment)),
    );
    drop(publisher);
    environment.delete_l3vnis();

    // Not after the next steps: an API server that has just started has no roles for a moment.
    assert_eq!(environment.audit.forbidden(), Vec::<serde_json::Value>::new());

    step("API server unreachable", outage::the_server_stops_and_returns(&mut environment)).await;
    step("disk cache", outage::the_disk_cache_is_reconciled(&environment)).await;
    step("expired watch, slow list", outage::an_expired_watch_starts_over(&mut environment)).await;

    step("status of a deleted Node", status::the_status_is_deleted_with_its_node(&environment)).await;
    assert_eq!(environment.audit.used(), rights::granted(), "what the controller uses, and what its roles grant");
}
