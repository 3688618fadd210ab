//! The statuses of all nodes. In: a client. Out: the content of each `RouterNodeStatus`, or why they cannot be read and what to do.

use std::time::Duration;

use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use thiserror::Error;
use tokio::time::timeout;

use crate::diagnose::cluster_checks::NodeReport;
use crate::kind::RouterNodeStatus;

/// An API server that answers does so in less.
const LIMIT: Duration = Duration::from_secs(20);

/// Why the statuses cannot be read.
#[derive(Debug, Error)]
pub enum ListError {
    /// The user of the kubeconfig, or the account of the Pod, is not known.
    #[error("the API server does not accept the credentials: log in again, or choose another kubeconfig")]
    Credentials(#[source] kube::Error),
    /// It lacks the right.
    #[error("a right is missing: bind a ClusterRole that may `list` `routernodestatuses` to the user")]
    Right(#[source] kube::Error),
    /// The definitions are not installed.
    #[error("the API server does not know RouterNodeStatus: is this the cluster, and is perouter installed in it?")]
    Definition(#[source] kube::Error),
    /// Anything else, such as no connection.
    #[error("RouterNodeStatus cannot be read from the API server")]
    Other(#[source] kube::Error),
    /// It takes too long.
    #[error("the API server has not answered within {} s", LIMIT.as_secs())]
    Slow,
}

impl From<kube::Error> for ListError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 401 => Self::Credentials(error),
            kube::Error::Api(status) if status.code == 403 => Self::Right(error),
            kube::Error::Api(status) if status.code == 404 => Self::Definition(error),
            _ => Self::Other(error),
        }
    }
}

/// What a list costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFrom {
    /// The state of now.
    Store,
    /// What the API server has in memory, which may be some moments old: `resourceVersion=0`.
    Cache,
}

/// Reads them, in the order of their names.
///
/// # Errors
/// Where the API server does not answer, or rejects it.
pub async fn list(client: Client, from: ListFrom) -> Result<Vec<NodeReport>, ListError> {
    let api: Api<RouterNodeStatus> = Api::all(client);
    let params = match from {
        ListFrom::Store => ListParams::default(),
        ListFrom::Cache => ListParams::default().match_any(),
    };
    let listed = timeout(LIMIT, api.list(&params)).await.map_err(|_| ListError::Slow)??;
    let report = |object: RouterNodeStatus| NodeReport { node: object.name_any(), state: object.status };
    let mut found: Vec<NodeReport> = listed.into_iter().map(report).collect();
    found.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kube::fake::FakeApi;
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn why_it_cannot_be_read_is_said_with_a_remedy() {
        let api = FakeApi::new();
        let read = async || list(api.client(), ListFrom::Cache).await;
        for node in ["b", "a"] {
            api.apply("routernodestatuses", "", node, json!({"spec": {}, "status": {"index": 1, "vrfMode": "vrf"}}));
        }
        let names: Vec<String> = read().await.unwrap().into_iter().map(|report| report.node).collect();
        assert_eq!(names, ["a", "b"]);
        api.forbid("routernodestatuses");
        let error = read().await.unwrap_err();
        assert!(
            matches!(error, ListError::Right(_)) && error.to_string().contains("`list` `routernodestatuses`"),
            "{error}"
        );
    }

    #[rstest::rstest]
    #[case::credentials(401, "log in again")]
    #[case::right(403, "a right is missing")]
    #[case::no_definition(404, "is perouter installed")]
    #[case::other(500, "cannot be read from the API server")]
    fn each_answer_has_its_words(#[case] code: u16, #[case] words: &str) {
        let status = kube::core::Status { code, ..kube::core::Status::failure("x", "") };
        let error = ListError::from(kube::Error::Api(Box::new(status)));
        assert!(error.to_string().contains(words), "{error}");
    }
}
