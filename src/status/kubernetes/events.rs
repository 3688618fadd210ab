//! Events on the API. In: a text, and the object that it is about. Out: an event; one that repeats word by word is counted
//! in a series. The recorder of the kube crate counts by reason alone: the second text would be shown as the first.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::Instant;

const CONTROLLER: &str = "perouter";
/// A repetition later than this is a new event: the API server deletes events after a while.
const SERIES: Duration = Duration::from_secs(360);

/// The content of an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventText {
    pub(crate) warning: bool,
    pub(crate) reason: String,
    pub(crate) note: String,
}

/// An event on an object, by its UID.
type Key = (Option<String>, EventText);

struct Sent {
    name: String,
    count: i32,
    last: Instant,
}

/// Sends the events of one node.
pub(crate) struct Recorder {
    client: Client,
    node: String,
    sent: BTreeMap<Key, Sent>,
}

impl Recorder {
    pub(crate) fn new(client: Client, node: String) -> Self {
        Self { client, node, sent: BTreeMap::new() }
    }

    /// Sends an event on `object`, in its namespace; on an object without one in `default`.
    pub(crate) async fn send(&mut self, text: EventText, object: &ObjectReference) -> Result<(), kube::Error> {
        self.sent.retain(|_, sent| sent.last.elapsed() < SERIES);
        let namespace = object.namespace.as_deref().unwrap_or("default");
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let key = (object.uid.clone(), text);
        if let Some(sent) = self.sent.get_mut(&key) {
            let series = EventSeries { count: sent.count + 1, last_observed_time: MicroTime(Timestamp::now()) };
            let patch = Patch::Merge(json!({ "series": series }));
            match events.patch(&sent.name, &PatchParams::default(), &patch).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                done => {
                    done?;
                    sent.count += 1;
                    sent.last = Instant::now();
                    return Ok(());
                }
            }
        }
        let event = events.create(&PostParams::default(), &self.event(&key.1, object, namespace)).await?;
        let name = event.metadata.name.unwrap_or_default();
        self.sent.insert(key, Sent { name, count: 1, last: Instant::now() });
        Ok(())
    }

    fn event(&self, text: &EventText, object: &ObjectReference, namespace: &str) -> Event {
        let now = Timestamp::now();
        let name = format!("{}.{:x}", object.name.as_deref().unwrap_or(CONTROLLER), now.as_nanosecond());
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() },
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(text.note.clone()),
            reason: Some(text.reason.clone()),
            regarding: Some(object.clone()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.node.clone()),
            type_: Some(if text.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        }
    }
}
