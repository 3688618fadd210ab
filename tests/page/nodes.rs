//! All nodes of a cluster for the page: the statuses of `nodes.yaml`. In: whether a node recovers. Out: the address of the page. The first
//! read fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use perouter::diagnose::cluster_checks::NodeReport;
use perouter::kind::node_status::RouterState;
use perouter::ui::cluster::cluster_page;
use perouter::ui::{self, PageSource, Reading};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::facts::NOW;

const NODES: &str = include_str!("nodes.yaml");

#[derive(Deserialize)]
struct TestReport {
    node: String,
    age: u64,
    status: RouterState,
}

fn reports() -> Vec<NodeReport> {
    let reports: Vec<TestReport> = serde_saphyr::from_str(NODES).unwrap();
    let report = |TestReport { node, age, status }: TestReport| {
        let observed = Timestamp::from_second(i64::try_from(NOW - age).unwrap()).unwrap();
        NodeReport { node, state: Some(RouterState { observed_time: Some(Time(observed)), ..status }) }
    };
    reports.into_iter().map(report).collect()
}

fn reading(number: u64, recovers: bool) -> Result<Reading, String> {
    if number == 0 {
        return Err(
            "a right is missing: bind a ClusterRole that may `list` `routernodestatuses` to the user".to_owned()
        );
    }
    let mut reports = reports();
    if recovers && number > 1 {
        let well = reports[0].state.clone().unwrap();
        reports[2].state = Some(RouterState { index: 2, vtep: Some("100.65.0.3".into()), router_id: None, ..well });
    }
    let (report, states) = cluster_page(&reports, NOW, &[]).unwrap();
    Ok(Reading { report, states, time: NOW + 10 * number })
}

/// Serves all nodes; worker-3 recovers from one read to the next.
pub async fn serve_nodes(recovers: bool, stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reads = AtomicU64::new(0);
    let source = PageSource {
        report: Arc::new(move || {
            let number = reads.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { reading(number, recovers) })
        }),
        pause: Duration::from_secs(2),
        routes: Arc::new(|_| Box::pin(async { Err("on a node".to_owned()) })),
        trace: Arc::new(|_| Box::pin(async { Err("on a node".to_owned()) })),
    };
    tokio::spawn(ui::serve(listener, source, stop.clone()));
    address
}
