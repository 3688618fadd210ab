//! The claim of the node's index. In: the node's name and UID. Out: the index, once the API server has accepted our claim
//! object or has one of ours already. It deletes only a claim that names this Node and is not of its UID, never one of another
//! Node. Garbage collection deletes a claim with its Node, but not one whose owner never existed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backon::{BackoffBuilder, ConstantBuilder};
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::cluster_state::ClusterEvent;
use super::index::{ClaimDecision, ClaimingNode, IndexPreference, decide};
use crate::kind::node_owner::owned_by_node;
use crate::kind::{NodeIndex, NodeIndexSpec};

const PAUSE: Duration = Duration::from_secs(1);
/// Pauses between attempts. Jitter adds up to the pause itself, so that the nodes of a cluster do not retry at the same moment.
const PAUSES: ConstantBuilder = ConstantBuilder::new().with_delay(PAUSE).without_max_times().with_jitter();
/// How often the claim is verified: one that was deleted is created again before another node claims the index, or another
/// index is claimed.
const VERIFY: Duration = Duration::from_secs(300);

/// Claims an index for every UID of the Node, and keeps verifying the claim, until the receiver is dropped.
pub(crate) async fn maintain(
    api: Api<NodeIndex>,
    node: String,
    mut preference: IndexPreference,
    mut nodes: watch::Receiver<Option<ClaimingNode>>,
    events: mpsc::Sender<ClusterEvent>,
) {
    loop {
        let claiming = nodes.borrow_and_update().clone();
        if let Some(ClaimingNode { uid, index }) = claiming {
            let node = NodeIndexSpec { node_name: node.clone(), node_uid: uid };
            if let Some(index) = index {
                preference = IndexPreference::Fixed(index);
            }
            let claimed = tokio::select! {
                index = claim(&api, &node, preference) => index,
                changed = nodes.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            if let IndexPreference::Previous(before) = preference
                && before != claimed
            {
                tracing::warn!(
                    before,
                    claimed,
                    "another node has claimed the index of this one: every address changes"
                );
            }
            if !matches!(preference, IndexPreference::Fixed(_)) {
                preference = IndexPreference::Previous(claimed);
            }
            if events.send(ClusterEvent::IndexClaimed(claimed)).await.is_err() {
                return;
            }
        }
        if let Ok(Err(_)) = timeout(VERIFY, nodes.changed()).await {
            return;
        }
    }
}

/// Claims an index; retries until it succeeds.
pub(crate) async fn claim(api: &Api<NodeIndex>, node: &NodeIndexSpec, mut preference: IndexPreference) -> u32 {
    let mut pauses = PAUSES.build();
    let mut logged = false;
    loop {
        match attempt(api, node, preference).await {
            Ok(ClaimAttempt::Claimed(index)) => return index,
            Ok(ClaimAttempt::Lost) => continue,
            // The index of the node stays the same.
            Ok(ClaimAttempt::Deleted(index)) => {
                preference = preference.after_stale(index);
                continue;
            }
            Ok(ClaimAttempt::WaitFor { index, holder }) => {
                if !logged {
                    tracing::warn!(index, holder, "waiting for the claim of another Node to be deleted");
                }
            }
            Err(error) => {
                if !logged {
                    tracing::warn!(%error, "cannot claim an index: retrying");
                }
            }
        }
        logged = true;
        sleep(pauses.next().unwrap_or(PAUSE)).await;
    }
}

enum ClaimAttempt {
    Claimed(u32),
    /// Another node created the claim first, or somebody else deleted it.
    Lost,
    /// The stale claim of this index.
    Deleted(u32),
    WaitFor {
        index: u32,
        holder: String,
    },
}

async fn attempt(
    api: &Api<NodeIndex>,
    node: &NodeIndexSpec,
    preference: IndexPreference,
) -> Result<ClaimAttempt, kube::Error> {
    let (specs, mut uids) = list(api).await?;
    match decide(&specs, node, preference) {
        ClaimDecision::DeleteStale(index) => delete(api, index, uids.remove(&index).flatten()).await,
        ClaimDecision::Claimed(index) => Ok(ClaimAttempt::Claimed(index)),
        ClaimDecision::WaitFor { index, node } => Ok(ClaimAttempt::WaitFor { index, holder: node }),
        ClaimDecision::Create(index) => match api.create(&PostParams::default(), &object(node, index)).await {
            Ok(_) => {
                tracing::info!(index, node = node.node_name, "index claimed");
                Ok(ClaimAttempt::Claimed(index))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(ClaimAttempt::Lost),
            Err(error) => Err(error),
        },
    }
}

/// All claims by their index, and their UIDs.
async fn list(
    api: &Api<NodeIndex>,
) -> Result<(BTreeMap<u32, NodeIndexSpec>, BTreeMap<u32, Option<String>>), kube::Error> {
    let mut uids = BTreeMap::new();
    let mut specs = BTreeMap::new();
    for object in api.list(&ListParams::default()).await?.items {
        let Some(index) = object.metadata.name.and_then(|name| name.parse::<u32>().ok()) else { continue };
        uids.insert(index, object.metadata.uid);
        specs.insert(index, object.spec);
    }
    Ok((specs, uids))
}

/// The indexes that a node has claimed.
pub(crate) async fn own(api: &Api<NodeIndex>, node: &NodeIndexSpec) -> Result<BTreeSet<u32>, kube::Error> {
    let (claims, _) = list(api).await?;
    Ok(claims.into_iter().filter(|(_, claim)| claim == node).map(|(index, _)| index).collect())
}

/// Another Node that has claimed an index.
pub(crate) struct IndexHolder {
    pub(crate) index: u32,
    pub(crate) node: String,
}

/// The index that [`claim`] would return now, or who has it. It makes no claim.
pub(crate) async fn expected(
    api: &Api<NodeIndex>,
    node: &NodeIndexSpec,
    preference: IndexPreference,
) -> Result<Result<u32, IndexHolder>, kube::Error> {
    let (mut claims, _) = list(api).await?;
    Ok(expected_of(&mut claims, node, preference))
}

fn expected_of(
    claims: &mut BTreeMap<u32, NodeIndexSpec>,
    node: &NodeIndexSpec,
    mut preference: IndexPreference,
) -> Result<u32, IndexHolder> {
    loop {
        match decide(claims, node, preference) {
            ClaimDecision::Claimed(index) | ClaimDecision::Create(index) => return Ok(index),
            ClaimDecision::WaitFor { index, node } => return Err(IndexHolder { index, node }),
            ClaimDecision::DeleteStale(index) => {
                claims.remove(&index);
                preference = preference.after_stale(index);
            }
        }
    }
}

/// Deletes the claim that was listed, not one that was created since.
async fn delete(api: &Api<NodeIndex>, index: u32, uid: Option<String>) -> Result<ClaimAttempt, kube::Error> {
    let preconditions = Some(Preconditions { uid, resource_version: None });
    match api.delete(&index.to_string(), &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => {
            tracing::info!(index, "deleted the claim of a former Node with this name");
            Ok(ClaimAttempt::Deleted(index))
        }
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(ClaimAttempt::Lost),
        Err(error) => Err(error),
    }
}

fn object(node: &NodeIndexSpec, index: u32) -> NodeIndex {
    let metadata = owned_by_node(index.to_string(), &node.node_name, &node.node_uid);
    NodeIndex { metadata, spec: node.clone() }
}
