//! The process that holds a node's namespaces.
//!
//! In: a node's names and its root. Out: the process, or the holders that the kernel lists. It must not keep records: what
//! runs is read from /proc, so that nothing is lost after a crash.
//!
//! The holder is process 1 of the node's PID namespace: when it exits, the kernel kills all other processes in it and
//! frees the namespaces (`pid_namespaces(7)`), so one signal takes down a node completely.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, sethostname};
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::namespace::{NamespaceError, on_own_thread};
use crate::rootfs::{NodeRoot, RootError, enter_root};
use crate::wait;

/// A holder could not be started or killed.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// No new namespaces, usually for lack of root.
    #[error("cannot create namespaces")]
    Unshare(#[source] Errno),
    /// The kernel rejected the node's host name.
    #[error("cannot set the host name")]
    HostName(#[source] Errno),
    /// The root file system could not be set up.
    #[error(transparent)]
    Root(#[from] RootError),
    /// No thread in the namespaces.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The shell could not be started.
    #[error("cannot start /bin/sh in the node")]
    Start(#[source] io::Error),
    /// The shell exited before the node was ready.
    #[error("the node did not come up: {0}")]
    NotReady(String),
    /// The holder could not be signalled.
    #[error("cannot kill process {pid}")]
    Kill {
        /// The process.
        pid: Pid,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// The holder did not exit.
    #[error(transparent)]
    StillRunning(#[from] wait::TimedOut),
}

/// A holder found among the machine's processes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeHolder {
    /// The lab.
    pub lab: String,
    /// The node's long name.
    pub long_name: String,
    /// The process.
    pub pid: Pid,
}

/// Marks the command line of a holder.
const MARK: &str = "clab-node";

/// A shell reaps every child, also those that it inherits as process 1: no zombie remains.
const SCRIPT: &str = "set -e; mount -t proc proc /proc; echo ready; \
                      exec </dev/null >/dev/null 2>&1; while :; do sleep infinity; done";

/// Creates a node's namespaces and the process that holds them.
pub fn start(lab: &str, long_name: &str, root: NodeRoot) -> Result<NodeHolder, HolderError> {
    let arguments = [SCRIPT, MARK, lab, long_name].map(ToOwned::to_owned);
    let child = on_own_thread(move || hold(&root, &arguments))?;
    let pid = pid_of(&child);
    ready(child)?;
    Ok(NodeHolder { lab: lab.to_owned(), long_name: long_name.to_owned(), pid })
}

fn hold(root: &NodeRoot, arguments: &[String]) -> Result<Child, HolderError> {
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID;
    unshare(CloneFlags::CLONE_FS | namespaces).map_err(HolderError::Unshare)?;
    sethostname(&root.host_name).map_err(HolderError::HostName)?;
    enter_root(root)?;
    // In its own session: a terminal's signals must not reach it.
    let mut command = Command::new("setsid");
    command.args(["/bin/sh", "-c"]).args(arguments).env_clear().env("PATH", SYSTEM_PATH);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(HolderError::Start)
}

/// The search path of a node's programs.
pub const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn ready(mut child: Child) -> Result<(), HolderError> {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(HolderError::Start)?;
    }
    if line == "ready\n" {
        return Ok(());
    }
    let mut error = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut error).map_err(HolderError::Start)?;
    }
    child.wait().map_err(HolderError::Start)?;
    Err(HolderError::NotReady(error.trim().to_owned()))
}

/// The process id of a child.
pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// All holders on the machine.
pub fn find() -> Vec<NodeHolder> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut holders: Vec<NodeHolder> = pids.filter_map(|pid| holder_of(Pid::from_raw(pid))).collect();
    holders.sort();
    holders
}

fn holder_of(pid: Pid) -> Option<NodeHolder> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<&str> = line.split(|byte| *byte == 0).filter_map(|word| str::from_utf8(word).ok()).collect();
    let start = words.iter().position(|word| *word == SCRIPT)?;
    let [mark, lab, long_name] = words.get(start + 1..start + 4)? else { return None };
    (*mark == MARK).then(|| NodeHolder { lab: (*lab).to_owned(), long_name: (*long_name).to_owned(), pid })
}

/// Kills the processes of these nodes and returns when the kernel has freed their namespaces.
pub fn kill_all(holders: &[NodeHolder]) -> Result<(), HolderError> {
    let spaces: Vec<_> = holders.iter().map(|holder| pid_namespace(holder.pid)).collect();
    for holder in holders {
        match kill(holder.pid, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(source) => return Err(HolderError::Kill { pid: holder.pid, source }),
        }
    }
    let start = Instant::now();
    for (holder, space) in holders.iter().zip(spaces) {
        let what = format!("process {} ({}) to exit", holder.pid, holder.long_name);
        let released = || start.elapsed() > REAP_TIMEOUT && space.as_deref().is_some_and(|space| !in_use(space));
        let exited = || (has_exited(holder.pid) || released()).then_some(());
        wait::until(&what, Duration::from_secs(10), Duration::from_millis(5), exited)?;
        reap_later(holder.pid);
    }
    Ok(())
}

/// Process 1 disappears when the last zombie of its namespace is reaped; if it is our child, only we can reap it.
fn reap_later(pid: Pid) {
    if waitpid(pid, Some(WaitPidFlag::WNOHANG)) != Err(Errno::ECHILD) {
        std::thread::spawn(move || waitpid(pid, None).ok());
    }
}

/// How long zombies may wait for their parents to reap them.
const REAP_TIMEOUT: Duration = Duration::from_millis(300);

/// Process 1 of a PID namespace becomes a zombie only after all others in it have been reaped.
fn has_exited(pid: Pid) -> bool {
    // Only our own child can be reaped here; any other result leaves it to its parent.
    let reaped = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    if matches!(reaped, Ok(status) if status.pid().is_some()) {
        return true;
    }
    // The name in parentheses may contain anything: the state comes after the last parenthesis (proc(5)).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

/// Whether a process of this PID namespace still uses its other namespaces. A zombie whose parent is outside keeps
/// process 1 waiting, but it has released them: its links are gone.
fn in_use(space: &Path) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return true };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw);
    let mut members = pids.filter(|pid| pid_namespace(*pid).as_deref() == Some(space));
    members.any(|pid| fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok())
}

fn pid_namespace(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}
