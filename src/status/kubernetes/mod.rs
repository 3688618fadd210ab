//! Writes the status of the node to the API: `RouterNodeStatus`, and events. In: statuses, and by what the API server knows
//! the node. Out: one write for what changed, at most one in a second. Nothing waits for it, and nothing reads what it
//! writes to configure anything.

mod events;

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::events::{Recorder, Told};
use super::model::NodeStatus;
use super::router_state::{EventBudget, Happening, SessionWatch, of_objects, router_state};
use crate::kind::{GROUP, RouterNodeStatus, RouterNodeStatusSpec, RouterState, VERSION};
use crate::snapshot::ApiIdentities;

/// Between two writes.
const INTERVAL: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// An object that somebody deleted or changed is made right after so long.
const RECHECK: Duration = Duration::from_secs(300);
/// The API server refuses longer notes.
const LONGEST_NOTE: usize = 1000;

/// Why a status is not written.
#[derive(Debug, Error)]
enum PublishError {
    /// The API server refused or was not there.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The object goes with the former Node.
    #[error("the status object belongs to a former Node of this name and is not collected yet")]
    OfFormerNode,
}

/// Writes the status of `node` until `stop`.
pub async fn publish(
    client: Client,
    node: String,
    mut statuses: watch::Receiver<Option<NodeStatus>>,
    mut identities: watch::Receiver<ApiIdentities>,
    stop: CancellationToken,
) {
    let mut publisher = Publisher::new(client, node);
    let mut retry = INTERVAL;
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
        let pause = match publisher.take(&status, uid, &known).await {
            Ok(wrote) => {
                if retry > INTERVAL {
                    tracing::info!("status written again");
                }
                retry = INTERVAL;
                next = Some(Instant::now() + RECHECK);
                wrote.then_some(INTERVAL)
            }
            Err(error) => {
                if retry == INTERVAL {
                    tracing::warn!(error = &error as &dyn std::error::Error, "status not written to the API yet");
                }
                publisher.written = None;
                retry = (retry * 2).min(LAST_RETRY);
                next = Some(Instant::now() + retry);
                Some(retry)
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

    /// Writes what differs from what is there; `true` if something did.
    async fn take(&mut self, status: &NodeStatus, uid: &str, known: &ApiIdentities) -> Result<bool, PublishError> {
        let mut written = match self.written.take() {
            Some(written) if written.owner.as_deref() == Some(uid) => written,
            _ => self.find(uid).await?,
        };
        let now = Time(Timestamp::now());
        let state = router_state(status, written.state.as_ref(), &now);
        let mut happenings = of_objects(written.state.as_ref(), status);
        let differs = written.state.as_ref() != Some(&state);
        if differs {
            self.write(&state, now).await?;
            written.state = Some(state);
        }
        happenings.extend(self.sessions.look(status));
        let reference = written.reference.clone();
        self.written = Some(written);
        for happening in happenings {
            self.tell(happening, &reference, known).await;
        }
        Ok(differs)
    }

    /// The object as it is there, or a new one.
    async fn find(&self, uid: &str) -> Result<Written, PublishError> {
        let object = match self.api.get_opt(&self.node).await? {
            Some(object) => object,
            None => self.api.create(&PostParams::default(), &object(&self.node, uid)).await?,
        };
        let owner = object.owner_references().iter().find(|owner| owner.kind == "Node").map(|owner| owner.uid.clone());
        if owner.as_deref() != Some(uid) {
            return Err(PublishError::OfFormerNode);
        }
        let reference = object.object_ref(&());
        let state = object.status.map(|state| RouterState { observed_time: None, ..state });
        Ok(Written { reference, owner, state })
    }

    async fn write(&self, state: &RouterState, now: Time) -> Result<(), PublishError> {
        let body = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "RouterNodeStatus",
            "status": RouterState { observed_time: Some(now), ..state.clone() },
        });
        self.api.patch_status(&self.node, &PatchParams::apply("perouter").force(), &Patch::Apply(&body)).await?;
        Ok(())
    }

    /// Events are told once: one that is lost is lost.
    async fn tell(&mut self, happening: Happening, router: &ObjectReference, known: &ApiIdentities) {
        if !self.budget.take(self.start.elapsed().as_secs()) {
            tracing::debug!(?happening, "too many events: not sent");
            return;
        }
        let object = happening.object.as_ref().and_then(|object| Some((object, known.objects.get(object)?)));
        let reference = match object {
            Some((object, uid)) => ObjectReference {
                api_version: Some(format!("{GROUP}/{VERSION}")),
                kind: Some(format!("{:?}", object.kind)),
                namespace: Some(object.namespace.clone()),
                name: Some(object.name.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            },
            None => router.clone(),
        };
        let note = match (&happening.object, object) {
            // The event is about the router, since the object is in a directory.
            (Some(object), None) => format!("{object}: {}", happening.note),
            _ => happening.note,
        };
        let told = Told {
            warning: happening.reason.is_warning(),
            reason: format!("{:?}", happening.reason),
            note: cut(format!("node {}: {note}", self.node)),
        };
        if let Err(error) = self.recorder.send(told, &reference).await {
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
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    };
    let metadata =
        ObjectMeta { name: Some(node.to_owned()), owner_references: Some(vec![owner]), ..ObjectMeta::default() };
    RouterNodeStatus { metadata, spec: RouterNodeStatusSpec {}, status: None }
}

#[cfg(test)]
mod tests;
