//! Threads inside a node's namespaces.
//!
//! In: the process that holds a node's namespaces. Out: children or results from within them. It must not create
//! namespaces or know what a node is.
//!
//! Each thread has its own namespaces, and a child starts in those of the thread that spawned it (namespaces(7)). So all
//! of this runs on short-lived threads: the caller's thread never changes its namespaces.

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::Pid;
use std::fs::File;
use std::io;
use std::process::{Child, Command};

/// A namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The holder has exited, or its namespaces are not accessible.
    #[error("cannot open the {kind} namespace of process {holder}")]
    Open {
        /// Kind of the namespace, as in /proc/PID/ns.
        kind: &'static str,
        /// The process.
        holder: Pid,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The kernel denied it, usually for lack of root.
    #[error("cannot enter the {kind} namespace of process {holder}")]
    Enter {
        /// Kind of the namespace, as in /proc/PID/ns.
        kind: &'static str,
        /// The process.
        holder: Pid,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The program could not be started.
    #[error("cannot start `{program}`")]
    Spawn {
        /// The program.
        program: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The thread could not be started, or it panicked.
    #[error("cannot run a thread inside the namespaces")]
    Thread(#[source] io::Error),
}

const EVERY_KIND: [(&str, CloneFlags); 5] = [
    ("net", CloneFlags::CLONE_NEWNET),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Starts a command in all namespaces of the holder; its working directory is the node's root.
pub fn spawn_in(holder: Pid, mut command: Command) -> Result<Child, NamespaceError> {
    on_own_thread(move || {
        enter(holder, &EVERY_KIND)?;
        let program = command.get_program().to_string_lossy().into_owned();
        command.spawn().map_err(|source| NamespaceError::Spawn { program, source })
    })
}

/// Runs a function in the holder's network namespace: sockets that it opens belong to that namespace.
pub fn within_netns<T: Send + 'static>(
    holder: Pid,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NamespaceError> {
    on_own_thread(move || {
        enter(holder, &EVERY_KIND[..1])?;
        Ok(work())
    })
}

/// Runs a function on a new thread and waits for it.
pub(crate) fn on_own_thread<T: Send + 'static, E: From<NamespaceError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let thread = std::thread::Builder::new().name("namespace".into()).spawn(work).map_err(NamespaceError::Thread)?;
    let panicked = |_| NamespaceError::Thread(io::Error::other("the thread panicked"));
    thread.join().map_err(panicked)?
}

fn enter(holder: Pid, kinds: &[(&'static str, CloneFlags)]) -> Result<(), NamespaceError> {
    let mut files = Vec::new();
    for (kind, flag) in kinds {
        let file = File::open(format!("/proc/{holder}/ns/{kind}"));
        files.push((kind, *flag, file.map_err(|source| NamespaceError::Open { kind, holder, source })?));
    }
    let denied = |kind, errno: nix::Error| NamespaceError::Enter { kind, holder, source: errno.into() };
    // A thread that shares its working directory with others cannot change its mount namespace (setns(2)).
    unshare(CloneFlags::CLONE_FS).map_err(|errno| denied("mnt", errno))?;
    for (kind, flag, file) in files {
        setns(file, flag).map_err(|errno| denied(kind, errno))?;
    }
    Ok(())
}
