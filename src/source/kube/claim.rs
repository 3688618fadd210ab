//! The claim of the node's index. In: the node's name and UID. Out: the index, once the API server has let us create the
//! object of that name or has one of ours. Deletes nothing: claims go with their Node.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::cluster_state::News;
use super::index::{Decision, Wish, decide};
use super::watcher::jittered;
use crate::kind::{NodeIndex, NodeIndexSpec};

const RETRY: Duration = Duration::from_secs(2);
/// A claim that somebody deleted is made again after so long, before another node takes it, or shows that it is too late.
const CHECK: Duration = Duration::from_secs(300);

/// Claims an index for every UID that the Node gets, until the receiver is gone.
pub(crate) async fn keep(
    api: Api<NodeIndex>,
    node: String,
    mut wish: Wish,
    mut uids: watch::Receiver<Option<String>>,
    tell: mpsc::Sender<News>,
) {
    loop {
        let uid = uids.borrow_and_update().clone();
        if let Some(uid) = uid {
            let node = NodeIndexSpec { node_name: node.clone(), node_uid: uid };
            let claimed = tokio::select! {
                index = claim(&api, &node, wish) => index,
                changed = uids.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            if let Wish::Again(before) = wish
                && before != claimed
            {
                tracing::warn!(before, claimed, "another node has the index of this one: every address changes");
            }
            if !matches!(wish, Wish::Exactly(_)) {
                wish = Wish::Again(claimed);
            }
            if tell.send(News::Index(claimed)).await.is_err() {
                return;
            }
        }
        if let Ok(Err(_)) = timeout(CHECK, uids.changed()).await {
            return;
        }
    }
}

/// Claims an index. Ends when there is one.
pub(crate) async fn claim(api: &Api<NodeIndex>, node: &NodeIndexSpec, wish: Wish) -> u32 {
    let mut told = false;
    loop {
        match attempt(api, node, wish).await {
            Ok(Attempt::Has(index)) => return index,
            Ok(Attempt::Lost) => continue,
            Ok(Attempt::WaitFor { index, holder }) => {
                if !told {
                    tracing::warn!(index, holder, "waiting for the claim of another Node to go");
                }
            }
            Err(error) => {
                if !told {
                    tracing::warn!(%error, "no index claimed yet, will be tried again");
                }
            }
        }
        told = true;
        sleep(jittered(RETRY)).await;
    }
}

enum Attempt {
    Has(u32),
    /// Another node was faster.
    Lost,
    WaitFor {
        index: u32,
        holder: String,
    },
}

async fn attempt(api: &Api<NodeIndex>, node: &NodeIndexSpec, wish: Wish) -> Result<Attempt, kube::Error> {
    let claims = api.list(&ListParams::default()).await?;
    let claim = |object: NodeIndex| Some((object.metadata.name?.parse().ok()?, object.spec));
    let claims: BTreeMap<u32, NodeIndexSpec> = claims.items.into_iter().filter_map(claim).collect();
    match decide(&claims, node, wish) {
        Decision::Has(index) => Ok(Attempt::Has(index)),
        Decision::WaitFor { index, node } => Ok(Attempt::WaitFor { index, holder: node }),
        Decision::Create(index) => match api.create(&PostParams::default(), &object(node, index)).await {
            Ok(_) => {
                tracing::info!(index, node = node.node_name, "index claimed");
                Ok(Attempt::Has(index))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Attempt::Lost),
            Err(error) => Err(error),
        },
    }
}

fn object(node: &NodeIndexSpec, index: u32) -> NodeIndex {
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.node_name.clone(),
        uid: node.node_uid.clone(),
        ..OwnerReference::default()
    };
    let metadata =
        ObjectMeta { name: Some(index.to_string()), owner_references: Some(vec![owner]), ..ObjectMeta::default() };
    NodeIndex { metadata, spec: node.clone() }
}
