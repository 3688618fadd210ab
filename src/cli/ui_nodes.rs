//! `perouter ui --source kubernetes`: what the API server has of all nodes. In: a kubeconfig, or the account of the Pod. Out: the source of
//! the page, which reads every `RouterNodeStatus` and writes nothing. A problem is an error on standard error too, once.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use kube::Client;

use super::check_nodes::NO_NODE;
use super::options::ApiOptions;
use super::output;
use crate::status::kubernetes::{self, ListFrom};
use crate::ui::cluster::cluster_page;
use crate::ui::{CLUSTER_PAUSE, PageSource, Reading};

struct NodesReader {
    client: Client,
    /// Those of `kubectl perouter` for this cluster.
    options: Vec<String>,
    problem: Mutex<Option<String>>,
}

/// The source of the page.
///
/// # Errors
/// Where there is no API server to connect to. One that does not answer yet is a problem that the page shows.
pub async fn source(kubeconfig: Option<PathBuf>) -> anyhow::Result<PageSource> {
    let file = kubeconfig.as_ref().map(|file| file.display().to_string());
    let options = file.map(|file| vec!["--kubeconfig".to_owned(), file]).unwrap_or_default();
    let client = ApiOptions::of_cluster(kubeconfig).client().await?;
    let reader = Arc::new(NodesReader { client, options, problem: Mutex::default() });
    // A problem shows in the terminal before anybody opens the page, whose address does not wait for the API server.
    let first = Arc::clone(&reader);
    tokio::spawn(async move { first.read().await });
    Ok(PageSource {
        report: Arc::new(move || {
            let reader = Arc::clone(&reader);
            Box::pin(async move { reader.read().await })
        }),
        pause: CLUSTER_PAUSE,
        routes: Arc::new(|vrf| Box::pin(async move { Err(on_a_node(&format!("routes {vrf}"))) })),
        trace: Arc::new(|query| Box::pin(async move { Err(on_a_node(&format!("trace {}", query.to))) })),
    })
}

/// What `RouterNodeStatus` does not have.
fn on_a_node(words: &str) -> String {
    format!("only the router of a node knows: kubectl perouter {words} --node NODE")
}

impl NodesReader {
    async fn read(&self) -> Result<Reading, String> {
        let read = self.reading().await.map_err(|error| format!("{error:#}"));
        let problem = read.as_ref().err().cloned();
        let mut last = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = news(last.as_deref(), problem.as_deref()) {
            output::error_line(&line);
        }
        *last = problem;
        read
    }

    async fn reading(&self) -> anyhow::Result<Reading> {
        let reports = kubernetes::list(self.client.clone(), ListFrom::Cache).await?;
        anyhow::ensure!(!reports.is_empty(), NO_NODE);
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (report, states) = cluster_page(&reports, time, &self.options)?;
        Ok(Reading { report, states, time })
    }
}

/// What is written of a read, after the problem of the one before.
fn news(before: Option<&str>, problem: Option<&str>) -> Option<String> {
    match (before, problem) {
        (before, Some(problem)) if before != Some(problem) => Some(format!("error: {problem}")),
        (Some(_), None) => Some("the nodes are read again".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn the_page_does_not_wait_for_the_api_server() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let kubeconfig = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}], \
            contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}]}}"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubeconfig");
        std::fs::write(&file, kubeconfig).unwrap();
        let opened = tokio::time::timeout(Duration::from_secs(10), source(Some(file))).await;
        assert!(opened.expect("it does not wait").is_ok());
        // It is read all the same.
        tokio::time::timeout(Duration::from_secs(10), silent.accept()).await.unwrap().unwrap();
    }

    #[test]
    fn a_problem_is_written_once() {
        assert_eq!(news(None, None), None);
        assert_eq!(news(None, Some("x")).as_deref(), Some("error: x"));
        assert_eq!(news(Some("x"), Some("x")), None);
        assert_eq!(news(Some("x"), Some("y")).as_deref(), Some("error: y"));
        assert_eq!(news(Some("y"), None).as_deref(), Some("the nodes are read again"));
    }
}
