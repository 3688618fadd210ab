//! The statuses of all nodes. In: a client. Out: what each `RouterNodeStatus` says.

use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::diagnose::cluster_checks::NodeReport;
use crate::kind::RouterNodeStatus;

/// Reads them, in the order of their names.
///
/// # Errors
/// Where the API server does not answer, or rejects it.
pub async fn list(client: Client) -> Result<Vec<NodeReport>, kube::Error> {
    let api: Api<RouterNodeStatus> = Api::all(client);
    let mut found: Vec<NodeReport> = api
        .list(&ListParams::default())
        .await?
        .into_iter()
        .map(|object| NodeReport { node: object.name_any(), state: object.status })
        .collect();
    found.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(found)
}
