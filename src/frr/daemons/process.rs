//! A running daemon: found by its pid file, distinguished from another process with the same pid, watched, stopped. In: paths.
//! Out: processes and their exit. Every daemon puts itself into the background, so none is a child that could be waited for,
//! unless this process is the init of a container.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use crate::runtime::{Daemon, Runtime};
use crate::untrusted_file::{self, Symlinks};

/// Bytes of a pid file, at most.
const MAX_PID_FILE: u64 = 64;

/// Why a process could not be examined.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// Its pid file or its directory in `/proc`.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `pidfd_open(2)`
    #[error("watch process {pid}")]
    Watch {
        /// The process.
        pid: u32,
        /// Why not.
        source: io::Error,
    },
    /// A signal was not permitted.
    #[error("signal process {pid}")]
    Signal {
        /// The process.
        pid: u32,
        /// Why not.
        source: io::Error,
    },
}

/// One run of a daemon: it differs after every restart, even with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation {
    /// Process id.
    pub pid: u32,
    /// Start in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activity {
    /// Its state (field 3 of `/proc/PID/stat`): `R` runs, `S` sleeps, `T` stopped by a signal, `t` by a debugger.
    pub state: char,
    /// CPU time of all its threads in clock ticks (fields 14 and 15).
    pub ticks: u64,
}

/// A running daemon of this router.
#[derive(Debug)]
pub(crate) struct Process {
    pub incarnation: Incarnation,
    /// Its command line.
    pub arguments: Vec<Vec<u8>>,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// The daemon of this router, if it runs: the program of that name, started with the pid file of this router. Where the
    /// pid file does not name it, it is searched for: a second one beside it would take its sockets away.
    pub fn find(runtime: &Runtime, daemon: Daemon) -> Result<Option<Self>, ProcessError> {
        let text = read_pid_file(&runtime.pid_file(daemon))?;
        if let Some(number) = text.and_then(|text| pid(&text))
            && let Some(process) = Self::of_pid(runtime, daemon, number)?
        {
            return Ok(Some(process));
        }
        let entries = fs::read_dir("/proc").map_err(|source| ProcessError::Read { path: "/proc".into(), source })?;
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        for number in numbers {
            // Most are of others, and may exit meanwhile.
            if fs::read_to_string(format!("/proc/{number}/comm")).is_ok_and(|comm| comm.trim_end() == daemon.name())
                && has_same_dir(runtime, number)
                && let Some(process) = Self::of_pid(runtime, daemon, number)?
            {
                return Ok(Some(process));
            }
        }
        Ok(None)
    }

    fn of_pid(runtime: &Runtime, daemon: Daemon, number: u32) -> Result<Option<Self>, ProcessError> {
        let pid_file = runtime.pid_file(daemon);
        let Some(pid) = number.try_into().ok().and_then(Pid::from_raw) else { return Ok(None) };
        let watch = |source: io::Error| ProcessError::Watch { pid: number, source };
        // Opened before the checks: what they find is then true of the process that this descriptor refers to.
        let pidfd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            // Also where the pid file of an earlier container has the number of a thread: EINVAL, and ENOENT since Linux 6.15.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(watch(errno.into())),
        };
        let proc = PathBuf::from(format!("/proc/{number}"));
        let (Some(stat), Some(cmdline)) = (read(proc.join("stat"))?, read(proc.join("cmdline"))?) else {
            return Ok(None);
        };
        let arguments: Vec<_> = cmdline.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        let ours = arguments.iter().any(|argument| argument == pid_file.as_os_str().as_bytes());
        let Some(Stat { start_time, .. }) = Stat::parse(&stat, daemon).filter(|_| ours) else { return Ok(None) };
        let pidfd = register(pidfd).map_err(watch)?;
        Ok(Some(Self { incarnation: Incarnation { pid: number, start_time }, arguments, pidfd }))
    }

    /// The path of its network namespace, as long as it runs.
    pub fn netns_path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.incarnation.pid).into()
    }

    /// Inode of its network namespace; `None` once it has exited.
    ///
    /// # Errors
    /// Without `CAP_SYS_PTRACE`, where it runs as another user.
    pub fn netns(&self) -> io::Result<Option<u64>> {
        match fs::metadata(self.netns_path()) {
            Ok(found) => Ok(Some(found.ino())),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// What it does; `None` once it has exited.
    pub fn activity(&self, daemon: Daemon) -> Option<Activity> {
        let stat = read(format!("/proc/{}/stat", self.incarnation.pid).into()).ok()??;
        let stat = Stat::parse(&stat, daemon)?;
        (stat.start_time == self.incarnation.start_time).then_some(stat.activity)
    }

    /// Waits for its exit and reaps it if this process is the init of a container.
    pub async fn exited(&self) {
        // The only errors are those of a tokio runtime that shuts down, and then nothing waits any more.
        let _ = self.pidfd.readable().await;
        // ECHILD: another init reaps it.
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    /// SIGKILL, and waits for the exit. This way bgpd does not notify its peers, which a graceful restart needs.
    pub async fn kill(&self) -> Result<(), ProcessError> {
        self.signal(Signal::KILL)?;
        self.exited().await;
        Ok(())
    }

    /// SIGTERM, and SIGKILL after `grace`: zebra sometimes hangs at SIGTERM for up to a minute.
    pub async fn terminate(&self, grace: Duration) -> Result<(), ProcessError> {
        self.signal(Signal::TERM)?;
        match timeout(grace, self.exited()).await {
            Ok(()) => Ok(()),
            Err(_) => self.kill().await,
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        match pidfd_send_signal(self.pidfd.as_fd(), signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(ProcessError::Signal { pid: self.incarnation.pid, source: errno.into() }),
        }
    }
}

/// Registers a pidfd with the tokio runtime.
#[expect(
    deprecated,
    reason = "its replacement is unsafe; an OwnedFd guarantees by its type what that requires: the same open descriptor until dropped"
)]
fn register(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// A pid file is a few digits; FRR's user may have put anything else in its place, which counts as no pid file.
fn read_pid_file(path: &Path) -> Result<Option<Vec<u8>>, ProcessError> {
    match untrusted_file::read(path, Symlinks::Reject, MAX_PID_FILE) {
        Ok(content) => Ok(Some(content)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(ProcessError::Read { path: path.to_owned(), source }),
    }
}

/// The content of a file; `None` if it does not exist or its process has exited.
fn read(path: PathBuf) -> Result<Option<Vec<u8>>, ProcessError> {
    match fs::read(&path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32) => Ok(None),
        Err(source) => Err(ProcessError::Read { path, source }),
    }
}

/// Whether FRR's directory is the same for a process: containers have other directories of the same name.
fn has_same_dir(runtime: &Runtime, number: u32) -> bool {
    let dir = runtime.frr_dir();
    let inode = |path: PathBuf| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let of_process = PathBuf::from(format!("/proc/{number}/root")).join(dir.strip_prefix("/").unwrap_or(&dir));
    inode(of_process).is_some_and(|found| Some(found) == inode(dir))
}

/// The process that the content of a pid file names; `None` if it names none.
pub fn pid(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// What `/proc/PID/stat` has of a daemon.
#[derive(Debug)]
pub struct Stat {
    /// Its start in clock ticks since boot.
    pub start_time: u64,
    activity: Activity,
}

impl Stat {
    /// `None` for another program and for a zombie.
    pub fn parse(stat: &[u8], daemon: Daemon) -> Option<Self> {
        let (head, tail) = std::str::from_utf8(stat).ok()?.rsplit_once(") ")?;
        let comm = head.split_once(" (")?.1;
        // The first of these fields is field 3.
        let fields: Vec<&str> = tail.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let state = fields.first()?.chars().next()?;
        let activity = Activity { state, ticks: number(14)?.checked_add(number(15)?)? };
        let start_time = number(22)?;
        (comm == daemon.name() && !matches!(state, 'Z' | 'X')).then_some(Self { start_time, activity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn what_is_no_pid_file_names_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), "/run/netns/none");
        let path = runtime.pid_file(Daemon::Zebra);
        fs::create_dir(runtime.frr_dir()).unwrap();
        let is_none = || Process::find(&runtime, Daemon::Zebra).unwrap().is_none();
        assert!(is_none());
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(is_none());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/proc/self/stat", &path).unwrap();
        assert!(is_none());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "1".repeat(1 << 20)).unwrap();
        assert!(is_none());
    }

    /// As in a new container, where the numbers of the last one are those of other processes and threads.
    #[test]
    fn a_pid_file_with_the_number_of_a_thread_names_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), "/run/netns/none");
        fs::create_dir(runtime.frr_dir()).unwrap();
        let found = std::thread::spawn(move || {
            let thread = nix::unistd::gettid();
            assert_ne!(thread, nix::unistd::getpid());
            fs::write(runtime.pid_file(Daemon::Bgpd), thread.to_string()).unwrap();
            Process::find(&runtime, Daemon::Bgpd).map(|process| process.is_some())
        });
        assert!(!found.join().unwrap().unwrap());
    }

    const TAIL: &str = "1 5 5 0 -1 4194624 1 0 0 0 1 2 3 4 20 0 7 0 987 1 1";

    #[rstest]
    #[case("5 (zebra) S", Daemon::Zebra, Some(987))]
    #[case("5 (zebra) Z", Daemon::Zebra, None)]
    #[case("5 (bgpd) S", Daemon::Zebra, None)]
    #[case("5 (a) (bgpd) S", Daemon::Bgpd, None)]
    fn the_start_time_is_that_of_a_running_daemon(
        #[case] head: &str,
        #[case] daemon: Daemon,
        #[case] want: Option<u64>,
    ) {
        let stat = Stat::parse(format!("{head} {TAIL}").as_bytes(), daemon);
        assert_eq!(stat.as_ref().map(|stat| stat.start_time), want);
        assert!(stat.is_none_or(|stat| stat.activity == Activity { state: 'S', ticks: 1 + 2 }));
    }
}
