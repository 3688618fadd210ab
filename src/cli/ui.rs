//! `perouter ui`: a page with the state of this node, or of all nodes of a cluster, and what is wrong. In: an address. Out: the page over
//! HTTP, until a signal. It changes nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use tokio::net::TcpListener;

use super::options::RuntimeOptions;
use super::output;
use super::stop_signal::stop_signal;
use super::{facts, routes, trace_reader, ui_nodes};
use crate::diagnose::check::findings;
use crate::diagnose::finding::with_times;
use crate::diagnose::listed_route::ListedRoute;
use crate::diagnose::trace::TraceQuery;
use crate::frr::show::route::Origin;
use crate::runtime::{self, Runtime};
use crate::types::{VrfMode, VrfName};
use crate::ui::report::{CommandTarget, ListDocument, RouterReport};
use crate::ui::states::States;
use crate::ui::{self, PageSource, ROUTER_PAUSE, Reading};

/// Routes of a VRF that a page shows, at most.
const MOST_ROUTES: usize = 1000;

/// It may be set for other commands, and is then of no effect on the page of a router.
const KUBECONFIG: &str = "PEROUTER_KUBECONFIG";

/// Arguments of `perouter ui`.
#[derive(Debug, Args)]
#[command(
    after_help = "Anybody who can open the address can read the state of the router: it is loopback unless another one is\n\
    given. From elsewhere: ssh -L 9478:127.0.0.1:9478 NODE\n\n\
    Examples:\n  perouter ui\n  perouter ui --address '[::1]:8080'\n  perouter ui --source kubernetes"
)]
pub struct UiArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// What is shown
    #[arg(long, value_name = "SOURCE", value_enum, default_value = "router")]
    source: UiSource,
    /// Kubeconfig file of the API server, for --source kubernetes [default: $KUBECONFIG, ~/.kube/config, or the service account of
    /// the pod]
    #[arg(long, env = KUBECONFIG, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Address on which the page is served
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9478")]
    address: SocketAddr,
}

/// What the page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UiSource {
    /// The router of this node
    Router,
    /// All nodes, by what their controllers write to the API server: from anywhere, with a kubeconfig whose user may list
    /// `RouterNodeStatus`
    Kubernetes,
}

/// Serves the page.
pub async fn execute(args: &UiArgs) -> anyhow::Result<ExitCode> {
    let in_environment = std::env::var_os(KUBECONFIG);
    let named = args.kubeconfig.as_ref().filter(|file| in_environment.as_deref() != Some(file.as_os_str()));
    anyhow::ensure!(
        args.source == UiSource::Kubernetes || named.is_none(),
        "--kubeconfig is for --source kubernetes: the router of this node is read without an API server"
    );
    let listener = TcpListener::bind(args.address).await.with_context(|| format!("listen on {}", args.address))?;
    let source = match args.source {
        UiSource::Router => router_source(&args.runtime),
        UiSource::Kubernetes => ui_nodes::source(args.kubeconfig.clone()).await?,
    };
    let stop = stop_signal(|| {})?;
    let address = listener.local_addr()?;
    if let Some(warning) = exposure(address) {
        output::error_line(&format!("warning: {warning}"));
    }
    output::out(&format!("http://{address}/\n"))?;
    ui::serve(listener, source, stop).await;
    Ok(ExitCode::SUCCESS)
}

/// Who can read the page, if it is not this machine alone.
fn exposure(address: SocketAddr) -> Option<String> {
    let who = format!(
        "everybody who can reach {address} can read the page, without a password: use an address of loopback and \
         `ssh -L`, or a firewall"
    );
    (!address.ip().to_canonical().is_loopback()).then_some(who)
}

fn router_source(given: &RuntimeOptions) -> PageSource {
    let runtime = Arc::new(given.paths());
    PageSource {
        report: {
            let (runtime, options) = (Arc::clone(&runtime), Arc::new(options(given)));
            Arc::new(move || {
                let (runtime, options) = (Arc::clone(&runtime), Arc::clone(&options));
                Box::pin(async move { report(&runtime, &options).await.map_err(in_words) })
            })
        },
        pause: ROUTER_PAUSE,
        routes: {
            let runtime = Arc::clone(&runtime);
            Arc::new(move |vrf| {
                let runtime = Arc::clone(&runtime);
                Box::pin(async move { route_list(&runtime, &vrf).await.map_err(in_words) })
            })
        },
        trace: Arc::new(move |query| {
            let runtime = Arc::clone(&runtime);
            Box::pin(async move { trace_list(&runtime, &query).await.map_err(in_words) })
        }),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn in_words(error: anyhow::Error) -> String {
    format!("{error:#}")
}

async fn report(runtime: &Runtime, options: &[String]) -> anyhow::Result<Reading> {
    let read = facts::read(runtime).await?;
    read.warn();
    anyhow::ensure!(
        read.has_router,
        "there is no router in {}: is `perouter run` running on this node?",
        runtime.dir().display()
    );
    let mut found = findings(&read.facts);
    with_times(&mut found, &read.before, read.facts.now);
    let is_netns = read.vrf_mode == Some(VrfMode::Netns);
    let target = CommandTarget {
        options: options.to_vec(),
        netns: runtime.router_netns_name().to_string_lossy().into_owned(),
        vty_dir: runtime.frr_dir().display().to_string(),
        vrf_netns_dir: is_netns.then(|| runtime.vrf_netns_dir().display().to_string()),
    };
    let report = serde_json::to_string(&RouterReport::new(read.node.as_deref(), &read.facts, &found, &target))?;
    Ok(Reading { report, states: States::new(&read.facts, &found), time: read.facts.now })
}

/// The options of `perouter` that name this router; none where they are the defaults.
fn options(given: &RuntimeOptions) -> Vec<String> {
    let paths =
        [("--run-dir", &given.run_dir, runtime::DEFAULT_DIR), ("--netns", &given.netns, runtime::DEFAULT_ROUTER_NETNS)];
    let others = paths.into_iter().filter(|(_, path, default)| path.as_os_str() != *default);
    others.flat_map(|(name, path, _)| [name.to_owned(), path.display().to_string()]).collect()
}

async fn route_list(runtime: &Runtime, vrf: &VrfName) -> anyhow::Result<String> {
    let mut found = routes::read(runtime, vrf).await?;
    found.sort_by_key(rank);
    Ok(serde_json::to_string(&ListDocument::new("RouteList", found, MOST_ROUTES))?)
}

/// The order of routes of which only the first are shown: those that are not forwarded, then those of hosts, as the routes of the fabric
/// may be many.
fn rank(route: &ListedRoute) -> (bool, bool, IpNet) {
    // A MAC/IP route needs neither a path nor an entry of the kernel.
    let is_used = route.origin().is_some() && (!route.kernel.is_empty() || route.type2.is_some());
    (is_used, route.origin() == Some(Origin::Fabric), route.prefix)
}

async fn trace_list(runtime: &Runtime, query: &TraceQuery) -> anyhow::Result<String> {
    let found = trace_reader::read(runtime, query).await?;
    Ok(serde_json::to_string(&ListDocument::new("TraceList", found.into_iter().flatten().collect(), usize::MAX))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::route::Path;

    #[test]
    fn a_page_that_others_can_read_is_warned_of() {
        let is_exposed = |address: &str| exposure(address.parse().unwrap()).is_some();
        assert!(["0.0.0.0:9499", "[::]:1", "192.0.2.1:1"].into_iter().all(is_exposed));
        assert!(!["127.0.0.1:9478", "[::1]:1", "127.3.2.1:1", "[::ffff:127.0.0.1]:1"].into_iter().any(is_exposed));
    }

    #[test]
    fn routes_that_are_not_forwarded_are_the_first() {
        let route = |prefix: &str, origin, best, kernel: &[&str]| ListedRoute {
            prefix: prefix.parse().unwrap(),
            paths: vec![Path {
                origin,
                peer: String::new(),
                next_hops: vec![],
                as_path: String::new(),
                best,
                valid: best,
                communities: vec![],
            }],
            kernel: kernel.iter().map(ToString::to_string).collect(),
            ..ListedRoute::default()
        };
        let mut routes = [
            route("10.0.0.0/24", Origin::Fabric, true, &["100.64.0.1"]),
            route("10.0.1.0/24", Origin::Host, true, &["192.169.10.2"]),
            route("10.0.2.0/24", Origin::Fabric, true, &[]),
            route("10.0.3.0/24", Origin::Fabric, false, &[]),
            route("10.0.4.0/24", Origin::Host, false, &[]),
        ];
        routes.sort_by_key(rank);
        let order: Vec<_> = routes.iter().map(|route| route.prefix.to_string()).collect();
        assert_eq!(order, ["10.0.3.0/24", "10.0.4.0/24", "10.0.2.0/24", "10.0.1.0/24", "10.0.0.0/24"]);
    }
}
