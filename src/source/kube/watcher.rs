//! One watch, for ever. In: what to watch. Out: its events as [`News`]. A failure is told once, and the watch goes on where
//! it was; an expired one, or one that failed for long, begins anew with a list.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, ApiResource};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Cluster;
use super::cluster_state::{News, Topic};
use crate::kind::{GROUP, VERSION};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An API server that was away for so long may have come back with an older state: a resource version of the time before
/// would then watch nothing, without an error.
const DISTRUST: Duration = Duration::from_secs(20);
/// A failure after so long without one is another outage: a watch that goes on and has nothing to tell says nothing.
const QUIET: Duration = Duration::from_secs(60);

/// Follows a topic until the receiver is gone.
pub(crate) async fn follow(cluster: Cluster, topic: Topic, tell: mpsc::Sender<News>) {
    let (api, config) = request(&cluster, &topic);
    let mut outage = Outage::default();
    loop {
        let mut stream = pin!(watcher(api.clone(), config.clone()));
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => {
                    if !matches!(event, watcher::Event::Init) {
                        outage.over(&topic);
                    }
                    if tell.send(News::Event(topic.clone(), Box::new(event))).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let pause = outage.goes_on(&topic, &error);
                    if tell.send(News::Failed(topic.clone(), error.to_string())).await.is_err() {
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

/// The state of trouble with one watch.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
    last: Option<Instant>,
    pause: Duration,
}

impl Outage {
    fn goes_on(&mut self, topic: &Topic, error: &watcher::Error) -> Duration {
        if self.last.replace(Instant::now()).is_some_and(|last| last.elapsed() > QUIET) {
            self.since = None;
        }
        if self.since.is_none() {
            tracing::warn!(?topic, %error, "watch failed, will be tried again; what is known stays in force");
            self.since = Some(Instant::now());
            self.pause = FIRST_PAUSE;
        } else {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        jittered(self.pause)
    }

    fn over(&mut self, topic: &Topic) {
        if let Some(since) = self.since.take() {
            tracing::info!(?topic, seconds = since.elapsed().as_secs(), "watch goes on");
        }
    }

    fn is_long(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() > DISTRUST)
    }
}

/// Between three quarters and the whole: the nodes of a cluster shall not come back in one moment.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.subsec_nanos());
    pause * 3 / 4 + pause / 4 * (nanos % 64) / 64
}

/// The watch cannot go on from where it was. The crate begins anew where the stream says so, not where the request does.
fn is_expired(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 410,
        _ => false,
    }
}

fn request(cluster: &Cluster, topic: &Topic) -> (Api<DynamicObject>, watcher::Config) {
    let client = cluster.client.clone();
    let core =
        |kind: &str, plural: &str| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural);
    let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    match topic {
        Topic::Objects(kind) => {
            let gvk = GroupVersionKind::gvk(GROUP, VERSION, kind.as_str());
            let kind = ApiResource::from_gvk_with_plural(&gvk, &kind.plural());
            let api = match &cluster.namespace {
                Some(namespace) => Api::namespaced_with(client, namespace, &kind),
                None => Api::all_with(client, &kind),
            };
            (api, watcher::Config::default())
        }
        Topic::Node => (Api::all_with(client, &core("Node", "nodes")), named(&cluster.node)),
        Topic::Secret(secret) => {
            (Api::namespaced_with(client, &secret.namespace, &core("Secret", "secrets")), named(&secret.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_after_a_quiet_time_is_a_new_outage() {
        let mut outage = Outage::default();
        let mut fails = || outage.goes_on(&Topic::Node, &watcher::Error::NoResourceVersion);
        assert!(fails() <= FIRST_PAUSE);
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            fails();
        }
        assert!(fails() > FIRST_PAUSE * 10);
        assert!(outage.is_long());
        tokio::time::sleep(QUIET + Duration::from_secs(1)).await;
        assert!(outage.goes_on(&Topic::Node, &watcher::Error::NoResourceVersion) <= FIRST_PAUSE);
        assert!(!outage.is_long());
    }
}
