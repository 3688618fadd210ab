//! perouter on the node. In: the testbed. Out: `perouter run` started and stopped, its passes from the log, its
//! metrics.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use nix::unistd::Pid;
use perouter_lab::node::{Background, Node};

use crate::process;
use crate::testbed::{FrrShell, Moment, Testbed, ms, wait};

/// The program: the release build if the environment names it, as the bench profile differs from it.
static PEROUTER: LazyLock<String> =
    LazyLock::new(|| std::env::var("PEROUTER_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_perouter").to_owned()));
const HTTP: &str = "127.0.0.1:9476";
/// The router's namespace in the node.
pub const ROUTER_NETNS: &str = "/run/netns/perouter";
/// The directory of the vty sockets of its FRR.
pub const SOCKETS: &str = "/run/perouter/frr";
/// Of FRR with a thousand VNIs, and of thousands of links.
const STOP_TIMEOUT: Duration = Duration::from_secs(240);

/// `perouter run`.
pub struct Perouter {
    node: Node,
    objects: PathBuf,
    process: Background,
    log: PathBuf,
    /// Size of the log before this start.
    from: u64,
}

/// A pass that changed something, from the log.
#[derive(Debug, Clone)]
pub struct Pass {
    /// When it ended.
    pub end: SystemTime,
    /// Its length in milliseconds.
    pub ms: f64,
    /// Milliseconds by phase.
    pub phases: BTreeMap<String, f64>,
}

impl Pass {
    /// Milliseconds from a point in time to its beginning.
    pub fn begin_after(&self, start: &Moment) -> f64 {
        self.end.duration_since(start.wall).map_or(0.0, ms) - self.ms
    }

    /// Milliseconds of a phase.
    pub fn phase(&self, name: &str) -> f64 {
        self.phases.get(name).copied().unwrap_or_default()
    }
}

impl Perouter {
    /// Starts `perouter run`.
    pub fn start(testbed: &mut Testbed) -> anyhow::Result<(Self, Moment)> {
        testbed.await_idle_leaf()?;
        let node = testbed.node()?.clone();
        let objects = testbed.objects().to_owned();
        let log = node.log_folder().join("perouter.log");
        let from = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
        let start = Moment::now();
        let process = spawn(&node, &objects, &log)?;
        Ok((Self { node, objects, process, log, from }, start))
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// The process id of a daemon of its FRR.
    pub fn daemon(&self, name: &str) -> anyhow::Result<Pid> {
        process::in_netns(name, &self.node.file(ROUTER_NETNS))
    }

    /// Its FRR.
    pub fn frr(&self) -> anyhow::Result<FrrShell> {
        FrrShell::of(&self.node, SOCKETS)
    }

    /// Passes that changed something and ended after a point in time.
    pub fn passes(&self, since: &Moment) -> anyhow::Result<Vec<Pass>> {
        let mut text = String::new();
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.from))?;
        file.read_to_string(&mut text)?;
        Ok(text.lines().filter_map(parse_pass).filter(|pass| pass.end >= since.wall).collect())
    }

    /// The first pass after a point in time that changed something; it may end later than its effects are visible.
    pub fn pass_after(&self, since: &Moment) -> anyhow::Result<Pass> {
        let mut found = None;
        wait("a pass in the log", || {
            found = self.passes(since).ok().and_then(|passes| passes.into_iter().next());
            found.is_some()
        })?;
        found.context("a pass")
    }

    /// The metrics by name and labels.
    pub fn metrics(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        let text = self.node.within_netns(|| scrape("/metrics"))??;
        let value = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(value).collect())
    }

    /// Sum of the metrics whose name and labels begin with this text.
    pub fn metric(&self, beginning: &str) -> anyhow::Result<f64> {
        let metrics = self.metrics()?;
        Ok(metrics
            .range(beginning.to_owned()..)
            .take_while(|(name, _)| name.starts_with(beginning))
            .map(|(_, v)| v)
            .sum())
    }

    /// Waits until it is ready.
    pub fn await_ready(&self) -> anyhow::Result<()> {
        let ready = || self.node.within_netns(|| scrape("/readyz")).is_ok_and(|answer| answer.is_ok());
        wait("perouter to be ready", ready)
    }

    /// Kills it with SIGKILL and starts it again.
    pub fn restart(&mut self) -> anyhow::Result<Moment> {
        self.process.kill()?;
        let start = Moment::now();
        self.process = spawn(&self.node, &self.objects, &self.log)?;
        Ok(start)
    }

    /// Stops it and removes the router; returns the milliseconds of `perouter cleanup`.
    pub fn remove(mut self) -> anyhow::Result<f64> {
        self.process.terminate(STOP_TIMEOUT)?;
        let start = Moment::now();
        self.node.check_for(STOP_TIMEOUT, &[&PEROUTER, "cleanup"])?;
        Ok(start.ms())
    }
}

fn spawn(node: &Node, objects: &Path, log: &Path) -> anyhow::Result<Background> {
    let objects = objects.to_string_lossy();
    let command = [
        PEROUTER.as_str(),
        "run",
        "--config-dir",
        &objects,
        "--node-name",
        "node",
        "--node-index",
        "0",
        "--http-address",
        HTTP,
    ];
    Ok(node.spawn(&command, log)?)
}

fn scrape(path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(HTTP)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => bail!("{path}: {answer}"),
    }
}

/// Reads `TIME INFO perouter::control: reconcile pass kernel_ops=16 … timing=observe=1.2ms plan=0.3ms …`.
fn parse_pass(line: &str) -> Option<Pass> {
    let (head, fields) = line.split_once(": reconcile pass ")?;
    let (_, timing) = fields.split_once("timing=")?;
    let phase = |word: &str| {
        let (name, time) = word.split_once('=')?;
        Some((name.to_owned(), time.strip_suffix("ms")?.parse().ok()?))
    };
    let time: jiff::Timestamp = head.split_whitespace().next()?.parse().ok()?;
    let phases: BTreeMap<String, f64> = timing.split_whitespace().filter_map(phase).collect();
    Some(Pass { end: time.into(), ms: phases.values().sum(), phases })
}
