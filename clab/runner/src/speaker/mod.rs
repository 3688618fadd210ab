//! A BGP speaker of a cluster node beside or in place of `MetalLB`'s: BIRD, as Calico runs it, or `GoBGP`, as Cilium does.
//!
//! In: a node and the sessions of the speaker. Out: its daemon in the node's own namespace, started, stopped, killed or
//! made silent. It must not touch any process but the one that it started.
//!
//! BIRD puts what it hears into the node's kernel. `GoBGP` has no part that does: the routes back are the caller's.

mod render;
#[cfg(test)]
mod tests;

pub use render::{bird_conf, gobgp_conf};

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use nix::sys::signal::{Signal, kill};

use crate::node::{Background, Node, NodeError};
use crate::wait;

/// Which daemon speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `bird`, of the package bird2.
    Bird,
    /// `gobgpd`
    Gobgp,
}

/// What a speaker is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speech {
    /// AS number.
    pub asn: u32,
    /// Router id.
    pub router_id: Ipv4Addr,
    /// Its sessions.
    pub peerings: Vec<Peering>,
    /// What it announces on all of them.
    pub announced: BTreeSet<IpNet>,
}

/// A session of a speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peering {
    /// The neighbor.
    pub neighbor: IpAddr,
    /// Its AS number.
    pub remote_as: u32,
    /// The address that is spoken from, and listened on.
    pub local: IpAddr,
    /// TCP port of the neighbor that is dialed.
    pub port: u16,
    /// TCP port that is listened on; `None`: it only dials.
    pub listens: Option<u16>,
    /// It only listens.
    pub passive: bool,
    /// TCP MD5 password.
    pub password: Option<String>,
    /// The neighbor may be more than one hop away.
    pub multihop: bool,
    /// Graceful restart (RFC 4724).
    pub graceful_restart: bool,
    /// BFD: interval in milliseconds and multiplier. BIRD only.
    pub bfd: Option<(u32, u8)>,
    /// Hold time in seconds.
    pub hold: u16,
}

impl Peering {
    /// A session that dials port 179 and is dialed there, with nothing special.
    pub fn new(local: IpAddr, neighbor: IpAddr, remote_as: u32) -> Self {
        Self {
            neighbor,
            remote_as,
            local,
            port: 179,
            listens: Some(179),
            passive: false,
            password: None,
            multihop: false,
            graceful_restart: false,
            bfd: None,
            hold: 90,
        }
    }
}

/// A speaker could not be started or told.
#[derive(Debug, thiserror::Error)]
pub enum SpeakerError {
    /// A command in the node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A file of the node cannot be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The path on the machine.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The process could not be signalled or waited for.
    #[error("cannot signal {name}")]
    Signal {
        /// The speaker.
        name: String,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// It does not take commands; what it said.
    #[error("{name} does not answer: {said}")]
    Dumb {
        /// The speaker.
        name: String,
        /// Its log.
        said: String,
    },
}

/// How long a daemon may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A speaker of a node.
#[derive(Debug)]
pub struct Speaker {
    node: Node,
    name: String,
    program: Program,
    speech: Speech,
    process: Option<Background>,
}

impl Speaker {
    /// A speaker with a name of its own on its node; nothing happens yet.
    pub fn new(node: &Node, name: &str, program: Program, speech: Speech) -> Self {
        Self { node: node.clone(), name: name.to_owned(), program, speech, process: None }
    }

    /// What it is told.
    pub fn speech(&self) -> &Speech {
        &self.speech
    }

    /// Starts it; returns when it answers and announces. What it announced before it was killed is still valid where
    /// graceful restart is on: it says so (RFC 4724 section 4.1).
    pub fn start(&mut self) -> Result<(), SpeakerError> {
        let again = self.process.take().is_some();
        let folder = self.node.file(self.path(""));
        fs::create_dir_all(&folder).map_err(|source| SpeakerError::File { path: folder.clone(), source })?;
        self.write_conf()?;
        let (conf, socket) = (self.path("conf"), self.path("ctl"));
        let restart = again && self.speech.peerings.iter().any(|peering| peering.graceful_restart);
        let mut words = match self.program {
            Program::Bird => vec!["bird", "-f", "-c", &conf, "-s", &socket],
            Program::Gobgp => vec!["gobgpd", "-p", "-f", &conf, "--pprof-disable", "--api-hosts", GOBGP_API],
        };
        if restart {
            words.push(if self.program == Program::Bird { "-R" } else { "-r" });
        }
        let log = self.node.log_folder().join(format!("{}.log", self.name));
        self.process = Some(self.node.spawn(&words, &log)?);
        self.await_answer(&log)?;
        if self.program == Program::Gobgp {
            for prefix in &self.speech.announced {
                self.gobgp(&["global", "rib", "add", &prefix.to_string()])?;
            }
        }
        Ok(())
    }

    /// Ends it with SIGTERM: it takes leave of its neighbors.
    pub fn stop(&mut self) -> Result<(), SpeakerError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let ended = process.terminate(START).map(drop);
        self.process = None;
        ended.map_err(|source| SpeakerError::Signal { name: self.name.clone(), source })
    }

    /// Kills it without a warning: its kernel closes its connections. [`Speaker::start`] is then a restart.
    pub fn kill(&mut self) -> Result<(), SpeakerError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        process.kill().map(drop).map_err(|source| SpeakerError::Signal { name: self.name.clone(), source })
    }

    /// Makes it silent: its connections stay and nobody serves them.
    pub fn freeze(&self) -> Result<(), SpeakerError> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<(), SpeakerError> {
        self.signal(Signal::SIGCONT)
    }

    /// Runs a command of BIRD.
    pub fn birdc(&self, words: &[&str]) -> Result<String, SpeakerError> {
        let socket = self.path("ctl");
        Ok(self.node.check(&[&["birdc", "-s", &socket], words].concat())?)
    }

    /// Runs a command of `GoBGP`.
    pub fn gobgp(&self, words: &[&str]) -> Result<String, SpeakerError> {
        let (host, port) = GOBGP_API.split_once(':').unwrap_or((GOBGP_API, ""));
        Ok(self.node.check(&[&["gobgp", "-u", host, "-p", port], words].concat())?)
    }

    fn signal(&self, signal: Signal) -> Result<(), SpeakerError> {
        let Some(process) = &self.process else { return Ok(()) };
        kill(process.pid(), signal)
            .map_err(|errno| SpeakerError::Signal { name: self.name.clone(), source: errno.into() })
    }

    fn path(&self, file: &str) -> String {
        format!("/run/speaker-{}/{file}", self.name)
    }

    fn write_conf(&self) -> Result<(), SpeakerError> {
        let path = self.node.file(self.path("conf"));
        let text = match self.program {
            Program::Bird => bird_conf(&self.speech),
            Program::Gobgp => gobgp_conf(&self.speech),
        };
        fs::write(&path, text).map_err(|source| SpeakerError::File { path, source })
    }

    fn await_answer(&self, log: &std::path::Path) -> Result<(), SpeakerError> {
        let answers = || match self.program {
            Program::Bird => self.birdc(&["show", "status"]).is_ok(),
            Program::Gobgp => self.gobgp(&["global"]).is_ok(),
        };
        let started = wait::until(&self.name, START, Duration::from_millis(20), || answers().then_some(()));
        started.map_err(|_| SpeakerError::Dumb {
            name: self.name.clone(),
            said: fs::read_to_string(log).unwrap_or_default(),
        })
    }
}

/// Where a `GoBGP` takes commands: one for each node.
const GOBGP_API: &str = "127.0.0.1:50051";

impl Drop for Speaker {
    fn drop(&mut self) {
        // One that was made silent would outlive its node's end as a stopped process.
        if let Some(process) = &mut self.process {
            let _ = process.kill();
        }
    }
}
