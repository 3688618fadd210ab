//! The daemon of a speaker: started, stopped, killed or frozen.
//!
//! In: a node and a [`SpeakerConfig`]. Out: a process in the node. It must not signal any process but the one that it
//! started.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::config::{Program, SpeakerConfig};
use super::render::{bird_conf, gobgp_conf};
use crate::node::{Background, Node, NodeError};
use crate::wait;

/// A speaker could not be started or controlled.
#[derive(Debug, thiserror::Error)]
pub enum SpeakerError {
    /// A command in the node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A file of the node could not be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The path on the machine.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The process could not be signalled or waited for.
    #[error("cannot signal {name}")]
    Signal {
        /// The speaker.
        name: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It does not answer commands.
    #[error("{name} does not answer; its log: {log}")]
    NoAnswer {
        /// The speaker.
        name: String,
        /// Its log.
        log: String,
    },
}

/// How long a daemon may take to answer, or to exit.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(20);

/// A speaker of a node.
#[derive(Debug)]
pub struct Speaker {
    node: Node,
    name: String,
    program: Program,
    config: SpeakerConfig,
    process: Option<Background>,
}

impl Speaker {
    /// A speaker with a name that is unique on its node. It is not started yet.
    pub fn new(node: &Node, name: &str, program: Program, config: SpeakerConfig) -> Self {
        Self { node: node.clone(), name: name.to_owned(), program, config, process: None }
    }

    /// Its configuration.
    pub fn config(&self) -> &SpeakerConfig {
        &self.config
    }

    /// Starts it; returns when it answers and its prefixes are configured. After [`Speaker::kill`] it starts as restarted if
    /// graceful restart is on (RFC 4724 section 4.1).
    pub fn start(&mut self) -> Result<(), SpeakerError> {
        let again = self.process.take().is_some();
        let folder = self.node.file(self.path(""));
        fs::create_dir_all(&folder).map_err(|source| SpeakerError::File { path: folder.clone(), source })?;
        self.write_conf()?;
        let (conf, socket) = (self.path("conf"), self.path("ctl"));
        let restart = again && self.config.peerings.iter().any(|peering| peering.graceful_restart);
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
            for prefix in &self.config.announced {
                self.gobgp(&["global", "rib", "add", &prefix.to_string()])?;
            }
        }
        Ok(())
    }

    /// Stops it with SIGTERM: it notifies its neighbors.
    pub fn stop(&mut self) -> Result<(), SpeakerError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let stopped = process.terminate(DAEMON_TIMEOUT).map(drop);
        self.process = None;
        stopped.map_err(|source| SpeakerError::Signal { name: self.name.clone(), source })
    }

    /// Kills it with SIGKILL: the kernel closes its connections. [`Speaker::start`] is then a restart.
    pub fn kill(&mut self) -> Result<(), SpeakerError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        process.kill().map(drop).map_err(|source| SpeakerError::Signal { name: self.name.clone(), source })
    }

    /// Stops it from running (SIGSTOP): its connections stay open and are not served.
    pub fn freeze(&self) -> Result<(), SpeakerError> {
        self.signal(Signal::SIGSTOP)
    }

    /// Continues it after [`Speaker::freeze`].
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
            Program::Bird => bird_conf(&self.config),
            Program::Gobgp => gobgp_conf(&self.config),
        };
        fs::write(&path, text).map_err(|source| SpeakerError::File { path, source })
    }

    fn await_answer(&self, log: &Path) -> Result<(), SpeakerError> {
        let answers = || match self.program {
            Program::Bird => self.birdc(&["show", "status"]).is_ok(),
            Program::Gobgp => self.gobgp(&["global"]).is_ok(),
        };
        let started = wait::until(&self.name, DAEMON_TIMEOUT, Duration::from_millis(20), || answers().then_some(()));
        started.map_err(|_| SpeakerError::NoAnswer {
            name: self.name.clone(),
            log: fs::read_to_string(log).unwrap_or_default(),
        })
    }
}

/// Where `GoBGP` takes commands; so there is one per node.
const GOBGP_API: &str = "127.0.0.1:50051";

impl Drop for Speaker {
    fn drop(&mut self) {
        // A frozen process would outlive its node.
        if let Some(process) = &mut self.process {
            let _ = process.kill();
        }
    }
}
