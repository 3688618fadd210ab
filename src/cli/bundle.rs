//! `perouter bundle`: one archive for support. In: FRR, the kernel, the files of the router. Out: a tar archive, compressed with gzip,
//! without a password. What cannot be read is in it as an error.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use clap::Args;

use super::archive;
use super::exit_status::ExitStatus;
use super::facts;
use super::frr_client::FrrQueries;
use super::iproute;
use super::options::{ApiOptions, ModeChoice, RuntimeOptions, SourceOptions};
use super::output;
use super::plan;
use super::redaction::Redaction;
use crate::diagnose::check::findings;
use crate::diagnose::finding::rfc3339;
use crate::kernel::model::KernelState;
use crate::kernel::{self, Kernel, NetlinkKernel, netns};
use crate::runtime::{Daemon, Runtime};
use crate::untrusted_file::{self, Symlinks};

/// Bytes of a log file that are in the archive, at most: its end.
const MAX_LOG: usize = 4 << 20;
/// Bytes of a file that are read, at most.
const MAX_FILE: u64 = 64 << 20;

/// Arguments of `perouter bundle`.
#[derive(Debug, Args)]
#[command(
    after_help = "Has the status, findings, sessions, routes, the running configuration of each daemon of FRR, what perouter observes of\n\
    the kernel, what ip and bridge show in each namespace, logs of FRR, and the plan. Passwords are masked. The log of perouter itself is\n\
    where its service manager or kubelet has it.\n\n\
    Exit status: 0 written, 2 it cannot be written.\n\nExamples:\n  \
    perouter bundle\n  perouter bundle /tmp/node.tar.gz\n  \
    kubectl exec ds/controller -- perouter bundle - > node.tar.gz"
)]
pub struct BundleArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    source: SourceOptions,
    /// The archive; `-`: standard output [default: perouter-bundle-NODE-TIME.tar.gz]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// A file of the archive: its name, and its content or why it cannot be read.
type Part = (String, anyhow::Result<String>);

/// Writes the archive.
pub async fn execute(args: &BundleArgs) -> anyhow::Result<ExitCode> {
    let runtime = args.runtime.paths();
    let mut parts = of_files(&runtime);
    let mut frr = FrrQueries::of(&runtime);
    parts.extend(of_frr(&mut frr).await);
    parts.push(("check.json".to_owned(), checked(&runtime).await));
    parts.push(("kernel.txt".to_owned(), kernel(&runtime).await));
    parts.extend(iproute::shown(&runtime).await);
    let plan = plan::text_of((args.api.clone(), args.source.clone()), args.runtime.clone(), ModeChoice::Auto).await;
    parts.push(("plan.txt".to_owned(), plan));
    let mut redaction = Redaction::default();
    for text in parts.iter().filter_map(|(_, text)| text.as_ref().ok()) {
        redaction.learn(text);
    }
    let shown = parts.into_iter().map(|(name, text)| match text {
        Ok(text) => (name, redaction.applied_to(&text)),
        Err(error) => (format!("{name}.error"), redaction.applied_to(&format!("{error:#}\n"))),
    });
    let shown: Vec<(String, String)> = shown.collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let time = rfc3339(now).replace(':', "");
    let folder = format!("perouter-bundle-{}-{time}", node_name(&runtime));
    let bytes = archive::tar_gz(&folder, &shown, now);
    match args.file.as_deref() {
        Some(path) if path == Path::new("-") => std::io::stdout().write_all(&bytes).context("write standard output")?,
        path => {
            let path = path.map_or_else(|| PathBuf::from(format!("{folder}.tar.gz")), Path::to_owned);
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            anyhow::ensure!(parent.is_none_or(Path::is_dir), "there is no directory for {}", path.display());
            crate::atomic_file::replace(&path, 0o600, &bytes).with_context(|| format!("write {}", path.display()))?;
            output::out(&format!("{}: {} files, {} bytes\n", path.display(), shown.len(), bytes.len()))?;
        }
    }
    Ok(ExitStatus::Ok.into())
}

fn node_name(runtime: &Runtime) -> String {
    let status = crate::status::publish::read(&runtime.status()).ok().flatten();
    let name = status.map_or_else(|| "node".to_owned(), |status| status.node);
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).collect()
}

/// The files of the run directory that have no password, and the logs.
fn of_files(runtime: &Runtime) -> Vec<Part> {
    let read = |path: &Path| -> anyhow::Result<String> {
        let bytes = untrusted_file::read(path, Symlinks::Reject, MAX_FILE)?;
        let begin = bytes.len().saturating_sub(MAX_LOG);
        let text = String::from_utf8_lossy(bytes.get(begin..).unwrap_or_default()).into_owned();
        // Of half a line it is not known what is a password.
        Ok(if begin == 0 { text } else { text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default() })
    };
    let mut parts =
        vec![("status.json".to_owned(), read(&runtime.status())), ("nics.json".to_owned(), read(&runtime.nics()))];
    for daemon in Daemon::ALL {
        parts.push((format!("log/{daemon}.log"), read(&runtime.log_file(daemon))));
    }
    // What is not there is no error.
    let exists = |path: &Path| path.exists();
    parts.retain(|(name, text)| text.is_ok() || name == "status.json" && exists(&runtime.status()));
    parts.push(("version.txt".to_owned(), Ok(format!("perouter {}\n", env!("CARGO_PKG_VERSION")))));
    parts
}

/// What each daemon shows.
const SHOWN: [(Daemon, &str, &str); 13] = [
    (Daemon::Bgpd, "sessions.json", "show bgp vrf all summary json"),
    (Daemon::Bgpd, "neighbors.json", "show bgp vrf all neighbors json"),
    (Daemon::Bgpd, "routes-ipv4.json", "show bgp vrf all ipv4 unicast json"),
    (Daemon::Bgpd, "routes-ipv6.json", "show bgp vrf all ipv6 unicast json"),
    (Daemon::Bgpd, "evpn.json", "show bgp l2vpn evpn route json"),
    (Daemon::Bgpd, "bgp-vni.txt", "show bgp l2vpn evpn vni"),
    (Daemon::Zebra, "links.txt", "show interface vrf all"),
    (Daemon::Zebra, "kernel-routes-ipv4.txt", "show ip route vrf all"),
    (Daemon::Zebra, "kernel-routes-ipv6.txt", "show ipv6 route vrf all"),
    (Daemon::Zebra, "vni.txt", "show evpn vni detail"),
    (Daemon::Zebra, "router-macs.txt", "show evpn rmac vni all"),
    (Daemon::Zebra, "next-hops.txt", "show evpn next-hops vni all"),
    (Daemon::Bfdd, "bfd.json", "show bfd peers json"),
];

async fn of_frr(frr: &mut FrrQueries) -> Vec<Part> {
    let silent = frr.silent().await;
    let mut parts = Vec::new();
    for daemon in Daemon::ALL.into_iter().filter(|daemon| !silent.contains_key(daemon.name())) {
        if let Ok(text) = frr.text(daemon, "show running-config").await {
            parts.push((format!("frr/{daemon}.conf"), Ok(text)));
        }
    }
    for (daemon, error) in &silent {
        parts.push((format!("frr/{daemon}"), Err(anyhow::anyhow!("{error}"))));
    }
    for (daemon, name, command) in SHOWN.into_iter().filter(|(daemon, ..)| !silent.contains_key(daemon.name())) {
        parts.push((format!("frr/{name}"), frr.text(daemon, command).await));
    }
    parts
}

async fn checked(runtime: &Runtime) -> anyhow::Result<String> {
    let read = facts::read(runtime).await?;
    read.warn();
    Ok(serde_json::to_string_pretty(&findings(&read.facts))? + "\n")
}

/// What perouter itself has made in the kernel, as the steps that make it. Routes, neighbors and bridge tables, and what others have
/// made, are in the texts of [`iproute`].
async fn kernel(runtime: &Runtime) -> anyhow::Result<String> {
    let router = NetlinkKernel::open(runtime.clone(), netns::open_host()?).await?;
    let observed = router.observe(&std::collections::BTreeSet::new()).await?;
    let mut text = String::new();
    text.extend(kernel::diff(&observed, &KernelState::default()).iter().map(|step| format!("{step}\n")));
    Ok(text)
}
