//! `perouter ui`: a page with what is wrong on this node. In: an address. Out: the page over HTTP, until a signal. It changes nothing on
//! the node.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;

use super::facts;
use super::options::RuntimeOptions;
use super::output;
use super::stop_signal::stop_signal;
use crate::diagnose::check::findings;
use crate::diagnose::finding::with_times;
use crate::runtime::Runtime;
use crate::ui::report::RouterReport;
use crate::ui::{self, ReadReport};

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
    let read: ReadReport = Arc::new(move || {
        let runtime = Arc::clone(&runtime);
        Box::pin(async move { read(&runtime).await.map_err(|error| format!("{error:#}")) })
    });
    let stop = stop_signal(|| {})?;
    output::out(&format!("http://{}/\n", listener.local_addr()?))?;
    ui::serve(listener, read, stop).await;
    Ok(ExitCode::SUCCESS)
}

async fn read(runtime: &Runtime) -> anyhow::Result<String> {
    let read = facts::read(runtime).await?;
    anyhow::ensure!(
        read.has_router,
        "there is no router in {}: is `perouter run` running on this node?",
        runtime.dir().display()
    );
    let mut found = findings(&read.facts);
    with_times(&mut found, &read.before, read.facts.now);
    Ok(serde_json::to_string(&RouterReport::new(read.node.as_deref(), &read.facts, &found))?)
}
