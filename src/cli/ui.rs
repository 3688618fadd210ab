//! `perouter ui`: a page with the state of this node and what is wrong on it. In: an address. Out: the page over HTTP, until a
//! signal. It changes nothing on the node.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;

use super::options::RuntimeOptions;
use super::output;
use super::stop_signal::stop_signal;
use super::{facts, routes, trace};
use crate::diagnose::check::findings;
use crate::diagnose::finding::with_times;
use crate::diagnose::trace::TraceQuery;
use crate::frr::show::route::Origin;
use crate::runtime::{self, Runtime};
use crate::types::{VrfMode, VrfName};
use crate::ui::report::{CommandTarget, ListDocument, RouterReport};
use crate::ui::states::States;
use crate::ui::{self, PageSource, Reading};

/// Routes of a VRF that a page shows, at most.
const MOST_ROUTES: usize = 1000;

/// Arguments of `perouter ui`.
#[derive(Debug, Args)]
#[command(
    after_help = "Anybody who can open the address can read the state of the router: it is loopback unless another one is\n\
    given. From elsewhere: ssh -L 9478:127.0.0.1:9478 NODE\n\n\
    Examples:\n  perouter ui\n  perouter ui --address '[::1]:8080'"
)]
pub struct UiArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Address on which the page is served
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9478")]
    address: SocketAddr,
}

/// Serves the page.
pub async fn execute(args: &UiArgs) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(args.address).await.with_context(|| format!("listen on {}", args.address))?;
    let runtime = Arc::new(args.runtime.paths());
    let source = PageSource {
        report: {
            let (runtime, options) = (Arc::clone(&runtime), Arc::new(options(&args.runtime)));
            Arc::new(move || {
                let (runtime, options) = (Arc::clone(&runtime), Arc::clone(&options));
                Box::pin(async move { report(&runtime, &options).await.map_err(in_words) })
            })
        },
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
    };
    let stop = stop_signal(|| {})?;
    output::out(&format!("http://{}/\n", listener.local_addr()?))?;
    ui::serve(listener, source, stop).await;
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn in_words(error: anyhow::Error) -> String {
    format!("{error:#}")
}

async fn report(runtime: &Runtime, options: &[String]) -> anyhow::Result<Reading> {
    let read = facts::read(runtime).await?;
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

/// Those of hosts come first, the routes of the fabric may be many.
async fn route_list(runtime: &Runtime, vrf: &VrfName) -> anyhow::Result<String> {
    let mut found = routes::read(runtime, vrf).await?;
    found.sort_by_key(|route| (route.origin() == Some(Origin::Fabric), route.prefix));
    Ok(serde_json::to_string(&ListDocument::new("RouteList", found, MOST_ROUTES))?)
}

async fn trace_list(runtime: &Runtime, query: &TraceQuery) -> anyhow::Result<String> {
    let found = trace::read(runtime, query).await?;
    Ok(serde_json::to_string(&ListDocument::new("TraceList", found.into_iter().flatten().collect(), usize::MAX))?)
}
