//! A test double of an API server: lists, watches with history, creates, server-side apply of a status. In: requests of a
//! client. Out: responses, and the failures that a test asks for. It has only what its callers use, and must not be taken as
//! proof of how a real API server behaves: `tests/kubernetes*` are.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

type ApiReply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The server; clones share its state.
#[derive(Clone)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<ApiState>>,
    /// Lists wait while this is `false`.
    gate: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
struct ApiState {
    version: u64,
    /// Watches from an older version are expired.
    floor: u64,
    objects: BTreeMap<ObjectId, Value>,
    history: Vec<(u64, ObjectId, Value)>,
    watches: Vec<(RequestTarget, mpsc::UnboundedSender<Bytes>)>,
    down: bool,
    /// Answer the request of an expired watch with status 410 instead of an event.
    gone_as_status: bool,
    forbidden: BTreeSet<String>,
    /// `VERB plural`.
    requests: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ObjectId {
    plural: String,
    namespace: String,
    name: String,
}

/// What a request is about.
#[derive(Debug, Clone)]
struct RequestTarget {
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
    status: bool,
}

impl RequestTarget {
    fn of(path: &str, query: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let rest = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let selected = query.split('&').find_map(|pair| {
            let value = pair.strip_prefix("fieldSelector=")?.replace("%3D", "=");
            Some(value.trim_start_matches("metadata.name=").to_owned())
        });
        let name = rest.get(1).map(|name| (*name).to_owned()).or(selected);
        Self { plural: rest[0].to_owned(), namespace, name, status: rest.get(2) == Some(&"status") }
    }

    fn selects(&self, id: &ObjectId) -> bool {
        self.plural == id.plural
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == id.namespace)
            && self.name.as_ref().is_none_or(|name| *name == id.name)
    }

    fn id(&self, name: &str) -> ObjectId {
        ObjectId {
            plural: self.plural.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
        }
    }
}

impl FakeApi {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), gate: Arc::new(watch::channel(true).0) }
    }

    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { api.answer(request).await }
        });
        Client::new(service, "default")
    }

    fn state(&self) -> MutexGuard<'_, ApiState> {
        self.state.lock().unwrap()
    }

    /// Creates or changes an object as kubectl would.
    pub(crate) fn apply(&self, plural: &str, namespace: &str, name: &str, body: Value) {
        self.state().put(ObjectId { plural: plural.into(), namespace: namespace.into(), name: name.into() }, body);
    }

    pub(crate) fn delete(&self, plural: &str, namespace: &str, name: &str) {
        self.state().remove(&ObjectId { plural: plural.into(), namespace: namespace.into(), name: name.into() });
    }

    pub(crate) fn names(&self, plural: &str) -> Vec<String> {
        self.state().objects.keys().filter(|id| id.plural == plural).map(|id| id.name.clone()).collect()
    }

    pub(crate) fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let id = ObjectId { plural: plural.into(), namespace: namespace.into(), name: name.into() };
        self.state().objects.get(&id).cloned()
    }

    pub(crate) fn objects(&self, plural: &str) -> Vec<Value> {
        self.state().objects.iter().filter(|(id, _)| id.plural == plural).map(|(_, value)| value.clone()).collect()
    }

    /// Number of requests such as `LIST l3vnis`.
    pub(crate) fn count(&self, request: &str) -> usize {
        self.state().requests.iter().filter(|made| *made == request).count()
    }

    /// Ends every watch, as a server does from time to time.
    pub(crate) fn cut_watches(&self) {
        self.state().watches.clear();
    }

    /// Ends every watch and drops its history.
    pub(crate) fn compact(&self, gone_as_status: bool) {
        let mut state = self.state();
        state.watches.clear();
        state.version += 1;
        state.floor = state.version;
        state.gone_as_status = gone_as_status;
    }

    /// Makes the server unreachable or reachable.
    pub(crate) fn set_down(&self, down: bool) {
        let mut state = self.state();
        state.down = down;
        if down {
            state.watches.clear();
        }
    }

    /// Lists wait while the gate is closed.
    pub(crate) fn set_gate(&self, open: bool) {
        self.gate.send_replace(open);
    }

    pub(crate) fn forbid(&self, plural: &str) {
        self.state().forbidden.insert(plural.to_owned());
    }

    pub(crate) fn permit(&self, plural: &str) {
        self.state().forbidden.remove(plural);
    }

    async fn answer(&self, request: Request<Body>) -> Result<ApiReply, std::io::Error> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let target = RequestTarget::of(parts.uri.path(), &query);
        let watching = query.contains("watch=true");
        let listing = parts.method == Method::GET && !watching && parts.uri.path().ends_with(&target.plural);
        self.state().record(&parts.method, &target, watching, listing);
        if self.state().down {
            return Err(std::io::Error::other("connection refused"));
        }
        if listing {
            let mut gate = self.gate.subscribe();
            gate.wait_for(|open| *open).await.map_err(std::io::Error::other)?;
        }
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let mut state = self.state();
        if state.forbidden.contains(&target.plural) {
            return Ok(failure(StatusCode::FORBIDDEN, "Forbidden", "forbidden: no permission"));
        }
        Ok(match parts.method {
            Method::GET if watching => state.watch(target, &query),
            Method::GET if listing => state.list(&target),
            Method::GET => state.read(&target),
            Method::POST => state.create(&target, &body),
            Method::PATCH => state.patch(&target, &body),
            Method::DELETE => state.delete(&target, &body),
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "verb not supported"),
        })
    }
}

impl ApiState {
    fn record(&mut self, method: &Method, target: &RequestTarget, watching: bool, listing: bool) {
        let verb = match (method, watching, listing) {
            (_, true, _) => "WATCH",
            (_, _, true) => "LIST",
            (method, ..) => method.as_str(),
        };
        let status = if target.status { "/status" } else { "" };
        self.requests.push(format!("{verb} {}{status}", target.plural));
    }

    fn put(&mut self, id: ObjectId, mut body: Value) -> Value {
        self.version += 1;
        let before = self.objects.get(&id);
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        let uid = before.map_or_else(|| json!(format!("uid-{}", self.version)), |old| old["metadata"]["uid"].clone());
        let changed = before.is_none_or(|old| old["spec"] != body["spec"]);
        let generation = before.map_or(0, |old| old["metadata"]["generation"].as_i64().unwrap()) + i64::from(changed);
        body["metadata"]["name"] = json!(id.name);
        if !id.namespace.is_empty() {
            body["metadata"]["namespace"] = json!(id.namespace);
        }
        if body["metadata"]["uid"].is_null() {
            body["metadata"]["uid"] = uid;
        }
        body["metadata"]["generation"] = json!(generation);
        body["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        body["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(id.clone(), body.clone());
        self.broadcast(id, json!({ "type": kind, "object": body }));
        body
    }

    fn remove(&mut self, id: &ObjectId) {
        if let Some(mut body) = self.objects.remove(id) {
            self.version += 1;
            body["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.broadcast(id.clone(), json!({ "type": "DELETED", "object": body }));
        }
    }

    fn broadcast(&mut self, id: ObjectId, event: Value) {
        self.watches.retain(|(target, watch)| !target.selects(&id) || watch.send(line(&event)).is_ok());
        self.history.push((self.version, id, event));
    }

    fn list(&self, target: &RequestTarget) -> ApiReply {
        let items: Vec<&Value> =
            self.objects.iter().filter(|(id, _)| target.selects(id)).map(|(_, object)| object).collect();
        let version = self.version.to_string();
        ok(&json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": version }, "items": items }))
    }

    fn watch(&mut self, target: RequestTarget, query: &str) -> ApiReply {
        let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse::<u64>().ok());
        let from = from.unwrap_or_default();
        let (send, receive) = mpsc::unbounded_channel();
        if from < self.floor {
            let gone = status(StatusCode::GONE, "Expired", "too old resource version");
            if self.gone_as_status {
                return failure(StatusCode::GONE, "Expired", "too old resource version");
            }
            let _ = send.send(line(&json!({ "type": "ERROR", "object": gone })));
        } else {
            let missed = self.history.iter().filter(|(version, id, _)| *version > from && target.selects(id));
            for (_, _, event) in missed {
                let _ = send.send(line(event));
            }
            self.watches.push((target, send));
        }
        let frames = futures::stream::unfold(receive, |mut receive| async move {
            receive.recv().await.map(|line| (Ok(http_body::Frame::data(line)), receive))
        });
        Response::new(StreamBody::new(frames.boxed()).boxed_unsync())
    }

    fn read(&self, target: &RequestTarget) -> ApiReply {
        let id = target.id(target.name.as_deref().unwrap());
        match self.objects.get(&id) {
            Some(object) => ok(object),
            None => failure(StatusCode::NOT_FOUND, "NotFound", "not found"),
        }
    }

    fn create(&mut self, target: &RequestTarget, body: &[u8]) -> ApiReply {
        let body: Value = serde_json::from_slice(body).unwrap();
        let id = target.id(body["metadata"]["name"].as_str().unwrap());
        if self.objects.contains_key(&id) {
            return failure(StatusCode::CONFLICT, "AlreadyExists", "already exists");
        }
        ok(&self.put(id, body))
    }

    /// Deletes an object if it has the UID of the preconditions.
    fn delete(&mut self, target: &RequestTarget, body: &[u8]) -> ApiReply {
        let body: Value = serde_json::from_slice(body).unwrap();
        let id = target.id(target.name.as_deref().unwrap());
        let Some(object) = self.objects.get(&id).cloned() else {
            return failure(StatusCode::NOT_FOUND, "NotFound", "not found");
        };
        let wanted = &body["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
            return failure(StatusCode::CONFLICT, "Conflict", "the UID in the precondition does not match");
        }
        self.remove(&id);
        ok(&object)
    }

    /// Server-side apply of a status, and merge patch of anything else.
    fn patch(&mut self, target: &RequestTarget, body: &[u8]) -> ApiReply {
        let body: Value = serde_json::from_slice(body).unwrap();
        let id = target.id(target.name.as_deref().unwrap());
        let Some(mut object) = self.objects.get(&id).cloned() else {
            return failure(StatusCode::NOT_FOUND, "NotFound", "not found");
        };
        if target.status {
            object["status"] = body["status"].clone();
        } else if let (Value::Object(object), Value::Object(body)) = (&mut object, body) {
            object.extend(body);
        }
        ok(&self.put(id, object))
    }
}

fn line(event: &Value) -> Bytes {
    Bytes::from(format!("{event}\n"))
}

fn ok(body: &Value) -> ApiReply {
    Response::new(Full::new(Bytes::from(body.to_string())).boxed_unsync())
}

fn status(code: StatusCode, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason,
        "message": message, "metadata": {},
    })
}

fn failure(code: StatusCode, reason: &str, message: &str) -> ApiReply {
    let mut reply = ok(&status(code, reason, message));
    *reply.status_mut() = code;
    reply
}
