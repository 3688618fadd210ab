//! A running node, seen from the machine.
//!
//! In: commands. Out: their output and exit status, or processes in the background. It must not deploy or destroy.

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

use crate::holder::{SYSTEM_PATH, pid_of};
use crate::namespace::{NamespaceError, spawn_in, within_netns};
use crate::topology::NodeName;
use crate::wait;

/// How long a command may take unless the caller sets another limit.
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

/// Output and exit code of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    /// Exit code; none if a signal terminated it.
    pub code: Option<i32>,
    /// Standard output, with bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// Standard error, in the same way.
    pub stderr: String,
    /// Time from start to exit.
    pub took: Duration,
}

/// A command in a node failed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The node could not be entered or the program not started.
    #[error("node {node}")]
    Namespace {
        /// The node.
        node: NodeName,
        /// The cause.
        #[source]
        source: NamespaceError,
    },
    /// The output could not be read, or the child not be waited for.
    #[error("node {node}: cannot supervise `{command}`")]
    Supervise {
        /// The node.
        node: NodeName,
        /// The command line.
        command: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It did not exit in time, and was killed.
    #[error("node {node}: `{command}` did not exit within {after:?}; output: {output}")]
    TimedOut {
        /// The node.
        node: NodeName,
        /// The command line.
        command: String,
        /// The time limit.
        after: Duration,
        /// Its output so far.
        output: String,
    },
    /// Its exit code was not 0.
    #[error("node {node}: `{command}` exited with {code}: {output}")]
    Failed {
        /// The node.
        node: NodeName,
        /// The command line.
        command: String,
        /// The exit code, or that it was a signal.
        code: String,
        /// Its output.
        output: String,
    },
}

impl CommandOutput {
    /// Whether the exit code is 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// The exit code as text.
    pub(crate) fn code_text(&self) -> String {
        self.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string())
    }

    /// Both outputs as one text.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr).trim().to_owned()
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

    /// Runs a command until it exits, for at most [`COMMAND_TIMEOUT`]; an exit code other than 0 is not an error.
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<CommandOutput, NodeError> {
        self.run_for(COMMAND_TIMEOUT, words)
    }

    /// Like [`Node::run`] with another time limit, at which the process group is killed.
    ///
    /// The output goes to files: a daemon that keeps them open does not block the caller.
    pub fn run_for<S: AsRef<OsStr>>(&self, at_most: Duration, words: &[S]) -> Result<CommandOutput, NodeError> {
        let line = command_line(words);
        let failed = |source| NodeError::Supervise { node: self.name.clone(), command: line.clone(), source };
        let (mut stdout, mut stderr) = (tempfile::tempfile().map_err(failed)?, tempfile::tempfile().map_err(failed)?);
        let mut command = self.command(words);
        command.stdout(stdout.try_clone().map_err(failed)?).stderr(stderr.try_clone().map_err(failed)?);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let start = Instant::now();
        let mut child = self.spawn_command(command)?;
        let status = wait_for(&mut child, at_most).map_err(failed)?;
        let took = start.elapsed();
        let (stdout, stderr) = (read_back(&mut stdout).map_err(failed)?, read_back(&mut stderr).map_err(failed)?);
        let Some(status) = status else {
            let output = format!("{stdout}{stderr}").trim().to_owned();
            return Err(NodeError::TimedOut { node: self.name.clone(), command: line, after: at_most, output });
        };
        Ok(CommandOutput { code: status.code(), stdout, stderr, took })
    }

    /// Runs a command whose exit code has to be 0, and returns its standard output.
    pub fn check<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<String, NodeError> {
        self.check_for(COMMAND_TIMEOUT, words)
    }

    /// Like [`Node::check`] with another time limit.
    pub fn check_for<S: AsRef<OsStr>>(&self, at_most: Duration, words: &[S]) -> Result<String, NodeError> {
        let output = self.run_for(at_most, words)?;
        if output.success() {
            return Ok(output.stdout);
        }
        let (code, output) = (output.code_text(), output.text());
        Err(NodeError::Failed { node: self.name.clone(), command: command_line(words), code, output })
    }

    /// Runs a command on the caller's terminal and returns its exit status.
    pub fn attach<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<ExitStatus, NodeError> {
        let mut command = self.command(words);
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        let failed = |source| NodeError::Supervise { node: self.name.clone(), command: command_line(words), source };
        self.spawn_command(command)?.wait().map_err(failed)
    }

    /// Starts a command in its own session, with both outputs appended to a file on the machine.
    pub fn spawn<S: AsRef<OsStr>>(&self, words: &[S], log: &Path) -> Result<Background, NodeError> {
        let failed = |source| NodeError::Supervise { node: self.name.clone(), command: command_line(words), source };
        let file = File::options().create(true).append(true).open(log).map_err(failed)?;
        let mut in_session = vec![OsString::from("setsid")];
        in_session.extend(words.iter().map(|word| word.as_ref().to_owned()));
        let mut command = self.command(&in_session);
        command.stdout(file.try_clone().map_err(failed)?).stderr(file);
        Ok(Background { child: self.spawn_command(command)?, log: log.to_owned() })
    }

    /// Runs a function in the node's network namespace; sockets that it opens belong to that namespace.
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

/// A process in a node that runs in the background; dropping this does not stop it.
#[derive(Debug)]
pub struct Background {
    child: Child,
    log: PathBuf,
}

impl Background {
    /// A process outside of any node whose outputs go to that file.
    pub(crate) fn of(child: Child, log: &Path) -> Self {
        Self { child, log: log.to_owned() }
    }

    /// The process id in the machine's PID namespace.
    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// Where its outputs go.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let skipped = log.lines().count().saturating_sub(5);
        log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }

    /// Its exit status, if it has exited.
    pub fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends SIGTERM and waits, then SIGKILL if it has not exited in time; the result is then none.
    pub fn terminate(&mut self, at_most: Duration) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(status));
        }
        nix::sys::signal::kill(self.pid(), Signal::SIGTERM)?;
        wait_for(&mut self.child, at_most)
    }

    /// Sends SIGKILL and waits.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It is reaped if it has exited; else it continues and is reaped by the process that inherits it.
        let _ = self.child.try_wait();
    }
}

/// Waits until the child exits; at the time limit kills the process group and returns none.
fn wait_for(child: &mut Child, at_most: Duration) -> io::Result<Option<ExitStatus>> {
    let exit = pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty())?;
    if wait::readable(&exit, at_most)? {
        return child.wait().map(Some);
    }
    // The group is the child's own; without one only the child is killed.
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

/// The words in one line; a script of several lines is shown as `…`.
fn command_line<S: AsRef<OsStr>>(words: &[S]) -> String {
    let one_line = |word: &S| {
        let word = word.as_ref().to_string_lossy();
        if word.contains('\n') { "…".to_owned() } else { word.into_owned() }
    };
    words.iter().map(one_line).collect::<Vec<_>>().join(" ")
}
