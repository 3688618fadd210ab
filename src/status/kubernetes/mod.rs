//! Writes the status of the node to the API: `RouterNodeStatus`, and events. In: statuses, and the UIDs of the node and its
//! objects. Out: one write per change, at most one per second, and one per minute while the status is observed. Nothing waits for it, and nothing reads what it writes to
//! configure anything.

mod events;
mod list;

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::events::{EventText, Recorder};
use super::model::NodeStatus;
use super::router_state::{EventBudget, SessionWatch, StatusEvent, object_events, router_state};
use crate::kind::node_owner::{node_owner, owned_by_node};
use crate::kind::{GROUP, RouterNodeStatus, RouterNodeStatusSpec, RouterState, VERSION};
use crate::snapshot::ApiIdentities;

pub use list::{ListError, ListFrom, list};

/// Between two writes.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between attempts that fail.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(2))
    .with_max_delay(LONGEST_BACKOFF)
    .with_factor(2.0)
    .without_max_times();
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// An object that somebody else deleted or changed is repaired after this time.
const RECHECK: Duration = Duration::from_secs(300);
/// Seconds of observation after which an unchanged status is written again: an older one is that of a controller that does not work.
const HEARTBEAT: u64 = 60;
/// The API server rejects longer notes.
const LONGEST_NOTE: usize = 1000;

/// Writes the status of `node` until `stop`.
pub async fn publish(
    client: Client,
    node: String,
    mut statuses: watch::Receiver<Option<NodeStatus>>,
    mut identities: watch::Receiver<ApiIdentities>,
    stop: CancellationToken,
) {
    let mut publisher = Publisher::new(client, node);
    let (mut backoff, mut is_failing) = (BACKOFF.build(), false);
    let mut next = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = statuses.changed() => {}
            Ok(()) = identities.changed() => {}
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                publisher.written = None;
            }
            else => return,
        }
        let status = statuses.borrow_and_update().clone();
        let known = identities.borrow_and_update().clone();
        let (Some(status), Some(uid)) = (status, known.node_uid.as_deref()) else { continue };
        let pause = match publisher.write_changes(&status, uid, &known).await {
            Ok(wrote) => {
                if is_failing {
                    tracing::info!("status written to the API again");
                }
                (backoff, is_failing) = (BACKOFF.build(), false);
                next = Some(Instant::now() + RECHECK);
                wrote.then_some(INTERVAL)
            }
            Err(error) => {
                if !is_failing {
                    tracing::warn!(error = &error as &dyn std::error::Error, "status not written to the API yet");
                }
                is_failing = true;
                publisher.written = None;
                let pause = backoff.next().unwrap_or(LONGEST_BACKOFF);
                next = Some(Instant::now() + pause);
                Some(pause)
            }
        };
        if let Some(pause) = pause {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// What was written last.
struct Written {
    reference: ObjectReference,
    owner: Option<String>,
    state: Option<RouterState>,
    /// When it was observed, in seconds since the epoch.
    observed: u64,
}

struct Publisher {
    api: Api<RouterNodeStatus>,
    recorder: Recorder,
    node: String,
    written: Option<Written>,
    sessions: SessionWatch,
    budget: EventBudget,
    start: Instant,
}

impl Publisher {
    fn new(client: Client, node: String) -> Self {
        Self {
            api: Api::all(client.clone()),
            recorder: Recorder::new(client, node.clone()),
            node,
            written: None,
            sessions: SessionWatch::default(),
            budget: EventBudget::new(0),
            start: Instant::now(),
        }
    }

    /// Writes what differs from the object on the API; `true` if something did.
    async fn write_changes(
        &mut self,
        status: &NodeStatus,
        uid: &str,
        known: &ApiIdentities,
    ) -> Result<bool, kube::Error> {
        let mut written = match self.written.take() {
            Some(written) if written.owner.as_deref() == Some(uid) => written,
            _ => self.find(uid).await?,
        };
        let now = Time(Timestamp::now());
        let state = router_state(status, written.state.as_ref(), &now);
        let mut events = object_events(written.state.as_ref(), status);
        let differs = written.state.as_ref().is_none_or(|before| state.is_news(before));
        let is_due = status.observed_time >= written.observed.saturating_add(HEARTBEAT);
        if differs || is_due {
            self.write(&state, now).await?;
            (written.state, written.observed) = (Some(state), status.observed_time);
        }
        events.extend(self.sessions.events(status));
        let reference = written.reference.clone();
        self.written = Some(written);
        for event in events {
            self.send_event(event, &reference, known).await;
        }
        Ok(differs || is_due)
    }

    /// The object on the API, or a new one.
    async fn find(&self, uid: &str) -> Result<Written, kube::Error> {
        let mut found = self.api.get_opt(&self.node).await?;
        if let Some(former) = &found
            && node_owner(&former.metadata) != Some(uid)
        {
            // Of a former Node of this name: garbage collection deletes it later, or never if its owner never existed.
            let preconditions = Some(Preconditions { uid: former.uid(), resource_version: None });
            self.api.delete(&self.node, &DeleteParams { preconditions, ..DeleteParams::default() }).await?;
            found = None;
        }
        let object = match found {
            Some(object) => object,
            None => self.api.create(&PostParams::default(), &object(&self.node, uid)).await?,
        };
        let owner = node_owner(&object.metadata).map(str::to_owned);
        let reference = object.object_ref(&());
        let observed = object.status.as_ref().and_then(|state| state.observed_time.as_ref());
        let observed = observed.and_then(|time| u64::try_from(time.0.as_second()).ok()).unwrap_or_default();
        let state = object.status.map(|state| RouterState { observed_time: None, ..state });
        Ok(Written { reference, owner, state, observed })
    }

    async fn write(&self, state: &RouterState, now: Time) -> Result<(), kube::Error> {
        let body = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "RouterNodeStatus",
            "status": RouterState { observed_time: Some(now), ..state.clone() },
        });
        self.api.patch_status(&self.node, &PatchParams::apply("perouter").force(), &Patch::Apply(&body)).await?;
        Ok(())
    }

    /// Events are sent once: one that fails is not sent again.
    async fn send_event(&mut self, event: StatusEvent, router: &ObjectReference, known: &ApiIdentities) {
        if !self.budget.take(self.start.elapsed().as_secs()) {
            tracing::debug!(reason = event.reason.as_str(), note = event.note, "too many events: not sent");
            return;
        }
        let object = event.object.as_ref().and_then(|object| Some((object, known.objects.get(object)?)));
        let reference = match object {
            Some((object, uid)) => ObjectReference {
                api_version: Some(format!("{GROUP}/{VERSION}")),
                kind: Some(object.kind.as_str().to_owned()),
                namespace: Some(object.namespace.clone()),
                name: Some(object.name.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            },
            None => router.clone(),
        };
        let note = match (&event.object, object) {
            // The event is on the router, since the object is in a directory.
            (Some(object), None) => format!("{object}: {}", event.note),
            _ => event.note,
        };
        let text = EventText {
            warning: event.reason.is_warning(),
            reason: event.reason.as_str().to_owned(),
            note: cut(format!("node {}: {note}", self.node)),
        };
        if let Err(error) = self.recorder.send(text, &reference).await {
            tracing::debug!(%error, "event not sent");
        }
    }
}

fn cut(mut note: String) -> String {
    let end = (0..=LONGEST_NOTE.min(note.len())).rev().find(|at| note.is_char_boundary(*at)).unwrap_or_default();
    note.truncate(end);
    note
}

fn object(node: &str, uid: &str) -> RouterNodeStatus {
    let metadata = owned_by_node(node.to_owned(), node, uid);
    RouterNodeStatus { metadata, spec: RouterNodeStatusSpec {}, status: None }
}

#[cfg(test)]
mod tests;
