//! One watch, restarted forever. In: what to watch. Out: its events as [`ClusterEvent`]s. After a failure it resumes from the
//! last resource version; after an expired one, or a long outage, it starts over with a list. An outage is logged once. It
//! must not interpret objects, nor end while its receiver exists.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::StreamExt;
use kube::api::{Api, ApiResource};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Cluster;
use super::cluster_state::{ClusterEvent, WatchTarget};
use crate::kind::{GROUP, VERSION};

const LONGEST_PAUSE: Duration = Duration::from_millis(2500);
/// Pauses between attempts. Jitter adds up to the pause itself, so that the nodes of a cluster do not reconnect at the same
/// moment.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(LONGEST_PAUSE)
    .without_max_times()
    .with_jitter();
/// An API server that was unreachable for longer than this may have returned with an older state: a watch from a resource
/// version of before would then deliver nothing, without an error.
const MAX_RESUME: Duration = Duration::from_secs(20);
/// A failure after this long without one is a new outage: a watch that has resumed and has no events is silent.
const QUIET: Duration = Duration::from_secs(60);

/// Watches a target until the receiver is dropped.
pub(crate) async fn follow(cluster: Cluster, target: WatchTarget, events: mpsc::Sender<ClusterEvent>) {
    let (api, config) = request(&cluster, &target);
    let mut outage = Outage::default();
    let (health, part) = (Arc::clone(&cluster.health), format!("{target:?}"));
    loop {
        let mut stream = pin!(watcher(api.clone(), config.clone()));
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => {
                    if !matches!(event, watcher::Event::Init) {
                        outage.end(&target);
                        health.delivered(&part);
                    }
                    if events.send(ClusterEvent::Watch(target.clone(), Box::new(event))).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    health.failed(&part);
                    let pause = outage.record_failure(&target, &error);
                    if events.send(ClusterEvent::WatchFailed(target.clone(), error.to_string())).await.is_err() {
                        return;
                    }
                    sleep(pause).await;
                    if is_expired(&error) || outage.is_long() {
                        break;
                    }
                }
            }
        }
    }
}

/// The failures of one watch.
#[derive(Debug, Default)]
struct Outage {
    /// Start of the current outage and its further pauses.
    current: Option<(Instant, ExponentialBackoff)>,
    last_failure: Option<Instant>,
}

impl Outage {
    /// Returns the pause before the next attempt.
    fn record_failure(&mut self, target: &WatchTarget, error: &watcher::Error) -> Duration {
        if self.last_failure.replace(Instant::now()).is_some_and(|last| last.elapsed() > QUIET) {
            self.current = None;
        }
        let (_, pauses) = self.current.get_or_insert_with(|| {
            tracing::warn!(?target, %error, "watch failed: retrying with the last known objects in force");
            (Instant::now(), PAUSES.build())
        });
        pauses.next().unwrap_or(LONGEST_PAUSE)
    }

    fn end(&mut self, target: &WatchTarget) {
        if let Some((since, _)) = self.current.take() {
            tracing::info!(?target, seconds = since.elapsed().as_secs(), "watch resumed");
        }
    }

    fn is_long(&self) -> bool {
        self.current.as_ref().is_some_and(|(since, _)| since.elapsed() > MAX_RESUME)
    }
}

/// Whether the watch cannot resume. The kube crate starts over by itself where an event of the stream says so, not where the
/// response to the request does.
fn is_expired(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 410,
        _ => false,
    }
}

/// How a target is listed and watched.
pub(crate) fn request(cluster: &Cluster, target: &WatchTarget) -> (Api<DynamicObject>, watcher::Config) {
    let client = cluster.client.clone();
    let core =
        |kind: &str, plural: &str| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural);
    let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    match target {
        WatchTarget::Objects(kind) => {
            let gvk = GroupVersionKind::gvk(GROUP, VERSION, kind.as_str());
            let kind = ApiResource::from_gvk_with_plural(&gvk, &kind.plural());
            let api = match &cluster.namespace {
                Some(namespace) => Api::namespaced_with(client, namespace, &kind),
                None => Api::all_with(client, &kind),
            };
            (api, watcher::Config::default())
        }
        WatchTarget::Node => (Api::all_with(client, &core("Node", "nodes")), named(&cluster.node)),
        WatchTarget::Secret(secret) => {
            (Api::namespaced_with(client, &secret.namespace, &core("Secret", "secrets")), named(&secret.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_PAUSE: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn a_failure_after_a_quiet_time_starts_a_new_outage() {
        let mut outage = Outage::default();
        let mut fails = || outage.record_failure(&WatchTarget::Node, &watcher::Error::NoResourceVersion);
        assert!(fails() <= FIRST_PAUSE);
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            fails();
        }
        assert!(fails() > FIRST_PAUSE * 10);
        assert!(outage.is_long());
        tokio::time::sleep(QUIET + Duration::from_secs(1)).await;
        assert!(outage.record_failure(&WatchTarget::Node, &watcher::Error::NoResourceVersion) <= FIRST_PAUSE);
        assert!(!outage.is_long());
    }
}
