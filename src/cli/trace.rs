//! `perouter trace`: the path of an address through the router, in both directions. In: the arguments. Out: the steps as a table or a
//! document, and where the path is incomplete.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;

use super::completions;
use super::exit_status::ExitStatus;
use super::options::RuntimeOptions;
use super::show::{Items, ShowOptions, Shown, WatchOptions};
use super::trace_reader::read;
use super::trace_text::{isolated, texts};
use crate::diagnose::trace::{DirectedTrace, TraceQuery};
use crate::types::VrfName;

/// Arguments of `perouter trace`.
#[derive(Debug, Args)]
#[command(
    after_help = "The other direction is that to --from; without it, an address that the other side advertises serves as an example,\n\
    which does not count for the exit status. `-o wide` has for each step the command that shows it.\n\n\
    Exit status: 0 the path is complete in at least one VRF, 1 it is not, 2 there is no such VRF, or FRR does not answer.\n\n\
    Examples:\n  \
    perouter trace 172.30.0.10\n  perouter trace 172.30.0.10 --from 192.168.20.2 --vrf red\n  \
    perouter trace 172.30.0.10 --vrf red -o json"
)]
pub struct TraceArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Address of a service of this cluster, or of a host in the fabric
    #[arg(value_name = "ADDRESS")]
    address: IpAddr,
    /// Address of the other end: the path of the replies to it is traced too
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Trace in this VRF only
    #[arg(long, value_name = "VRF", add = completions::vrfs())]
    vrf: Option<VrfName>,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Prints the path.
pub async fn execute(args: &TraceArgs) -> anyhow::Result<ExitCode> {
    args.show.watch(&args.watch, async || shown(args).await).await
}

async fn shown(args: &TraceArgs) -> anyhow::Result<Shown> {
    let query = TraceQuery { to: args.address, from: args.from, vrf: args.vrf.clone() };
    let traces = read(&args.runtime.paths(), &query).await?;
    let is_complete = |of_vrf: &Vec<DirectedTrace>| of_vrf.iter().all(|path| path.complete || path.example);
    let status = ExitStatus::of_problem(!traces.iter().any(is_complete));
    let all = |look| texts(&traces, look) + &isolated(&traces, args.address, args.from);
    let list = || Items { items: traces.iter().flatten().collect::<Vec<_>>() };
    let text = args.show.render("TraceList", &list(), all)?;
    Ok(Shown { text, status })
}
