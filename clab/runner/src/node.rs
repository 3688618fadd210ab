//! A running node, seen from the machine.
//!
//! In: commands. Out: what they said and how they ended, or processes in the background. It must not deploy or destroy.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::holder::SYSTEM_PATH;
use crate::namespace::{NamespaceError, spawn_in, within_netns};
use crate::topology::NodeName;
use crate::wait;

/// How long a command may take unless the caller says otherwise.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// A running node.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) name: NodeName,
    pub(crate) long_name: String,
    pub(crate) holder: Pid,
    pub(crate) folder: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
}

/// What a command said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, with bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

/// A command in a node that did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The node cannot be entered or the program not started.
    #[error("node {node}")]
    Namespace {
        /// The node.
        node: NodeName,
        /// Why.
        #[source]
        source: NamespaceError,
    },
    /// A file for the output cannot be made or read, or the child not be waited for.
    #[error("node {node}: cannot follow `{command}`")]
    Follow {
        /// The node.
        node: NodeName,
        /// The command line.
        command: String,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// It did not end in time; it has been killed.
    #[error("node {node}: `{command}` did not end within {after:?}; it said: {said}")]
    TimedOut {
        /// The node.
        node: NodeName,
        /// The command line.
        command: String,
        /// The time it was given.
        after: Duration,
        /// Its output so far.
        said: String,
    },
    /// It ended with an error.
    #[error("node {node}: `{command}` ended with {code}: {said}")]
    Failed {
        /// The node.
        node: NodeName,
        /// The command line.
        command: String,
        /// Exit code, or the signal.
        code: String,
        /// Its output.
        said: String,
    },
}

impl Output {
    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl Node {
    /// Its short name.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The name of its network namespace in /run/netns.
    pub fn long_name(&self) -> &str {
        &self.long_name
    }

    /// The process that holds its namespaces, process 1 in the node.
    pub fn pid(&self) -> Pid {
        self.holder
    }

    /// Its network namespace as a file.
    pub fn netns(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.long_name)
    }

    /// Its mount namespace as a file.
    pub fn mount_ns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/mnt", self.holder))
    }

    /// A file of the node as the machine sees it.
    pub fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        PathBuf::from(format!("/proc/{}/root", self.holder)).join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The node's logs on the machine; /var/log/frr in the node.
    pub fn log_folder(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Runs a command to its end, at most [`COMMAND_TIMEOUT`]; an exit code other than 0 is no error.
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Output, NodeError> {
        self.run_for(COMMAND_TIMEOUT, words)
    }

    /// Runs a command to its end, at most so long; then its process group is killed.
    ///
    /// The output goes through files: a daemon that keeps them open does not keep the caller waiting.
    pub fn run_for<S: AsRef<OsStr>>(&self, at_most: Duration, words: &[S]) -> Result<Output, NodeError> {
        let line = command_line(words);
        let follow = |source| NodeError::Follow { node: self.name.clone(), command: line.clone(), source };
        let (mut stdout, mut stderr) = (tempfile::tempfile().map_err(follow)?, tempfile::tempfile().map_err(follow)?);
        let mut command = self.command(words);
        command.stdout(stdout.try_clone().map_err(follow)?).stderr(stderr.try_clone().map_err(follow)?);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let start = Instant::now();
        let mut child = self.spawn_command(command)?;
        let status = wait_for(&mut child, at_most).map_err(follow)?;
        let took = start.elapsed();
        let (stdout, stderr) = (read_back(&mut stdout).map_err(follow)?, read_back(&mut stderr).map_err(follow)?);
        let Some(status) = status else {
            let said = format!("{stdout}{stderr}").trim().to_owned();
            return Err(NodeError::TimedOut { node: self.name.clone(), command: line, after: at_most, said });
        };
        Ok(Output { code: status.code(), stdout, stderr, took })
    }

    /// Runs a command that has to end with 0 and gives its standard output.
    pub fn check<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<String, NodeError> {
        self.check_for(COMMAND_TIMEOUT, words)
    }

    /// Like [`Node::check`], with a time of its own.
    pub fn check_for<S: AsRef<OsStr>>(&self, at_most: Duration, words: &[S]) -> Result<String, NodeError> {
        let output = self.run_for(at_most, words)?;
        if output.success() {
            return Ok(output.stdout);
        }
        let code = output.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        let said = format!("{}{}", output.stdout, output.stderr).trim().to_owned();
        Err(NodeError::Failed { node: self.name.clone(), command: command_line(words), code, said })
    }

    /// Runs a command with the caller's own terminal and gives its exit status.
    pub fn attach<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<ExitStatus, NodeError> {
        let mut command = self.command(words);
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        let follow = |source| NodeError::Follow { node: self.name.clone(), command: command_line(words), source };
        self.spawn_command(command)?.wait().map_err(follow)
    }

    /// Starts a command in a session of its own with both outputs added to a file of the machine.
    pub fn spawn<S: AsRef<OsStr>>(&self, words: &[S], log: &Path) -> Result<Background, NodeError> {
        let follow = |source| NodeError::Follow { node: self.name.clone(), command: command_line(words), source };
        let file = File::options().create(true).append(true).open(log).map_err(follow)?;
        let mut in_session = vec![OsString::from("setsid")];
        in_session.extend(words.iter().map(|word| word.as_ref().to_owned()));
        let mut command = self.command(&in_session);
        command.stdout(file.try_clone().map_err(follow)?).stderr(file);
        Ok(Background { child: self.spawn_command(command)?, log: log.to_owned() })
    }

    /// Runs a function in the node's network namespace; sockets that it opens stay in it.
    pub fn within_netns<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NodeError> {
        within_netns(self.holder, work).map_err(|source| NodeError::Namespace { node: self.name.clone(), source })
    }

    fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut words = words.iter().map(AsRef::as_ref);
        let mut command = Command::new(words.next().unwrap_or(OsStr::new("true")));
        command.args(words).envs(&self.env).env("PATH", SYSTEM_PATH).env("HOSTNAME", self.name.as_str());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn spawn_command(&self, command: Command) -> Result<Child, NodeError> {
        spawn_in(self.holder, command).map_err(|source| NodeError::Namespace { node: self.name.clone(), source })
    }
}

/// A process in a node that goes on by itself; dropping this does not end it.
#[derive(Debug)]
pub struct Background {
    child: Child,
    log: PathBuf,
}

impl Background {
    /// A process of the machine itself whose outputs go to that file.
    pub(crate) fn of(child: Child, log: &Path) -> Self {
        Self { child, log: log.to_owned() }
    }

    /// The process as the machine numbers it.
    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// Where its outputs go.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends SIGTERM and waits; SIGKILL if it is still there after that time. None means that it took SIGKILL.
    pub fn terminate(&mut self, at_most: Duration) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(status));
        }
        nix::sys::signal::kill(self.pid(), Signal::SIGTERM)?;
        wait_for(&mut self.child, at_most)
    }

    /// Kills it without a warning and waits.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // One that has ended is reaped; one that runs goes on and is reaped by whoever inherits it.
        let _ = self.child.try_wait();
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// Waits for the end; when the time is up kills the process group and gives none.
fn wait_for(child: &mut Child, at_most: Duration) -> io::Result<Option<ExitStatus>> {
    let end = pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty())?;
    if wait::readable(&end, at_most)? {
        return child.wait().map(Some);
    }
    // The group is the child's own; if it has none, the child alone is killed.
    let _ = killpg(pid_of(child), Signal::SIGKILL);
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn read_back(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The words in one line; a script is told by its dots.
fn command_line<S: AsRef<OsStr>>(words: &[S]) -> String {
    let shown = |word: &S| {
        let word = word.as_ref().to_string_lossy();
        if word.contains('\n') { "…".to_owned() } else { word.into_owned() }
    };
    words.iter().map(shown).collect::<Vec<_>>().join(" ")
}
