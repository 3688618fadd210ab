//! Starts one daemon. In: the router's paths, the VRF mode, FRR's programs and release. Out: a daemon in the background, in the
//! router namespace and in a mount namespace in which FRR's compiled-in directories are those of the router. Must not change
//! a namespace of the calling thread.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Group, User};
use thiserror::Error;

use super::graceful;
use super::label_manager::LabelManager;
use super::process::{Process, ProcessError};
use crate::frr::release::Release;
use crate::kernel::file_limit::{self, FILES};
use crate::kernel::netns::{self, NetnsError};
use crate::printable::{masked, printable};
use crate::runtime::{Daemon, Runtime};
use crate::types::VrfMode;
use crate::untrusted_file::{self, Owner};

/// Seconds for which a new zebra leaves the routes of the old one in the kernel, so that bgpd can send them again.
const ADOPT_ROUTES: &str = "60";
/// Bytes of the end of what a daemon wrote to stderr that an error quotes.
const QUOTED: usize = 400;
/// FRR's compiled-in directory of configuration files.
const CONFIG_DIR: &str = "/etc/frr";
/// What mgmtd reads at its start, from that directory: it warns of a file that is missing. A daemon's configuration
/// comes from the controller.
const READ_BY_MGMTD: [&str; 5] = ["zebra.conf", "ripd.conf", "ripngd.conf", "staticd.conf", "mgmtd.conf"];
/// A daemon goes into the background when it is ready. One that has not done so by then hangs.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a daemon did not start.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// FRR's packages create this user; without it the daemons exit at once.
    #[error("user {0} is missing: install FRR from its package")]
    NoUser(&'static str),
    /// The user database.
    #[error("look up FRR's user")]
    User(#[source] Errno),
    /// A file or directory.
    #[error("{action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file that gets what a daemon writes to stderr.
    #[error("create a file in memory")]
    Stderr(#[source] Errno),
    /// The router namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The processes of this router.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The mount namespace.
    #[error("{action} {path}")]
    Mount {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: Errno,
    },
    /// `execve(2)`
    #[error("execute {program}")]
    Execute {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It exited instead of going into the background.
    #[error("{daemon} exited with {status}: {output}")]
    Exited {
        /// Which.
        daemon: Daemon,
        /// Its exit status.
        status: ExitStatus,
        /// The end of what it wrote to stderr.
        output: String,
    },
    /// It neither exited nor went into the background.
    #[error("{daemon} was not ready after {} s", START_TIMEOUT.as_secs())]
    Hangs {
        /// Which.
        daemon: Daemon,
    },
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LaunchError {
    move |source| LaunchError::File { action, path: path.to_owned(), source }
}

/// How the daemons of one router are started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub runtime: Runtime,
    /// Where pid file, vty socket and log are, if not there: of a daemon that others must not find.
    pub apart: Option<Runtime>,
    pub mode: VrfMode,
    pub frr_dir: PathBuf,
    /// The installed release.
    pub release: Release,
}

impl Launch {
    /// Creates the router namespace and the directories that the daemons use. What exists is left as it is.
    pub fn prepare(&self) -> Result<(), LaunchError> {
        create_dir(self.runtime.dir(), 0o755, None)?;
        self.keep_router_netns()?;
        netns::create(self.runtime.router_netns())?;
        if self.mode == VrfMode::Netns {
            netns::share(&self.runtime.vrf_netns_dir())?;
            create_dir(&self.runtime.zebra_netns_dir(), 0o755, None)?;
        }
        create_dir(self.files().dir(), 0o755, None)?;
        let owner = frr_owner()?;
        // Not for others: bfdd's control socket accepts commands from everyone who can reach it.
        create_dir(&self.files().frr_dir(), 0o750, Some(owner))?;
        // FRR's daemons open their logs as root: in a directory of their user a symlink would have them write anywhere.
        create_dir(&self.files().log_dir(), 0o755, None)
    }

    fn files(&self) -> &Runtime {
        self.apart.as_ref().unwrap_or(&self.runtime)
    }

    /// Starts the label manager for bgpd, where it is needed.
    pub fn start_label_manager(&self) -> Result<Option<LabelManager>, LaunchError> {
        if !self.release.restarts_gracefully() {
            return Ok(None);
        }
        let path = self.runtime.label_manager();
        LabelManager::start(&path, Some(frr_owner()?)).map(Some).map_err(file_error("listen at", &path))
    }

    /// Leads the next connection of bgpd nowhere: it tries again every second.
    pub fn hold_bgpd(&self) {
        if self.release.restarts_gracefully()
            && let Err(error) = graceful::lead_nowhere(&self.runtime)
        {
            tracing::error!(%error, "bgpd connects to a zebra without L3VNIs: packets may be lost");
        }
    }

    /// Leads the next connection of bgpd to zebra.
    pub fn connect_bgpd(&self) {
        if self.release.restarts_gracefully()
            && let Err(error) = graceful::lead_to_zebra(&self.runtime)
        {
            tracing::error!(%error, "bgpd cannot connect to zebra");
        }
    }

    /// Leads the next connection of bgpd to the label manager once it is connected to zebra.
    pub async fn bgpd_is_connected(&self) {
        if self.release.restarts_gracefully()
            && let Err(error) = graceful::lead_to_label_manager(&self.runtime).await
        {
            tracing::warn!(%error, "bgpd uses the label manager of zebra: if it crashes, packets are lost");
        }
    }

    /// Binds the router namespace to its path again if others have unbound it (`ip netns del`): the daemons keep it alive.
    pub fn keep_router_netns(&self) -> Result<(), LaunchError> {
        let path = self.runtime.router_netns();
        if netns::is_netns(path)? {
            return Ok(());
        }
        for daemon in self.release.daemons {
            if let Some(process) = Process::find(&self.runtime, *daemon)? {
                netns::restore(&process.netns_path(), path)?;
                tracing::warn!(path = %path.display(), %daemon, "the router namespace was unbound, and is bound again");
                return Ok(());
            }
        }
        Ok(())
    }

    /// Starts a daemon and returns once it is ready. Blocks.
    pub fn start(&self, daemon: Daemon) -> Result<(), LaunchError> {
        self.prepare()?;
        let log = self.files().log_file(daemon);
        untrusted_file::create_for(&log, 0o640, frr_owner()?).map_err(file_error("create", &log))?;
        remove_planted(&self.files().pid_file(daemon))?;
        if daemon == Daemon::Bgpd && self.apart.is_none() {
            self.connect_bgpd();
        }
        file_limit::raise();
        let stderr: File = memfd_create("stderr", MFdFlags::MFD_CLOEXEC).map_err(LaunchError::Stderr)?.into();
        let stderr_of_child = stderr.try_clone().map_err(file_error("duplicate", Path::new("stderr")))?;
        let router = netns::open(self.runtime.router_netns())?;
        netns::on_thread(|| {
            self.enter(&router)?;
            let program = self.frr_dir.join(daemon.name());
            let child = Command::new(&program)
                .args(self.arguments(daemon))
                // They are ready when they answer, and not what a service manager waits for.
                .env_remove("NOTIFY_SOCKET")
                .env_remove("WATCHDOG_USEC")
                .current_dir("/")
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(stderr_of_child)
                .spawn()
                .map_err(|source| LaunchError::Execute { program, source })?;
            wait_ready(daemon, child, &stderr)
        })?
    }

    /// Moves this thread into the router namespace and into a mount namespace of its own, which its child inherits. Namespaces
    /// of IP-VRFs that are bound later propagate there, through the shared mount in which they are bound.
    fn enter(&self, router: &File) -> Result<(), LaunchError> {
        let root = Path::new("/");
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| LaunchError::Mount { action, path, source }
        };
        // A thread shares its root and working directory with its siblings, and CLONE_NEWNS requires that it does not.
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)
            .map_err(failed("leave the mount namespace of", root))?;
        mount(None::<&str>, root, None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
            .map_err(failed("stop propagation from", root))?;
        let owner = frr_owner()?;
        for (target, cover) in self.covers() {
            DirBuilder::new().recursive(true).mode(0o755).create(target).map_err(file_error("create", target))?;
            let mounted = match cover {
                Cover::Bind(source) => mount(Some(&source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>),
                Cover::Empty => {
                    let options = format!("mode=0750,uid={},gid={},size=16m", owner.user, owner.group);
                    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options.as_str()))
                }
            };
            mounted.map_err(failed("mount over", target))?;
        }
        for name in READ_BY_MGMTD {
            let path = Path::new(CONFIG_DIR).join(name);
            File::create(&path).map_err(file_error("create", &path))?;
        }
        setns(router, CloneFlags::CLONE_NEWNET).map_err(NetnsError::Enter)?;
        Ok(())
    }

    /// What is mounted over FRR's compiled-in directories.
    fn covers(&self) -> Vec<(&'static Path, Cover)> {
        let mut covers = vec![
            // Files of a crash, which are lost with the daemon.
            (Path::new("/var/tmp"), Cover::Empty),
            (Path::new(CONFIG_DIR), Cover::Empty),
            // mgmtd's sockets, which have no option.
            (Path::new("/run/frr"), Cover::Bind(self.runtime.frr_dir())),
        ];
        covers.extend(self.release.state_dir.map(|state| (Path::new(state), Cover::Empty)));
        if self.mode == VrfMode::Netns {
            // zebra takes every namespace that it finds here for a VRF.
            covers.push((Path::new("/run/netns"), Cover::Bind(self.runtime.zebra_netns_dir())));
        }
        covers
    }

    fn arguments(&self, daemon: Daemon) -> Vec<OsString> {
        let files = self.files();
        let log = files.log_file(daemon);
        let mut log_target = OsString::from("file:");
        log_target.push(&log);
        // No configuration file, and no vty over TCP.
        let mut arguments: Vec<OsString> = vec!["-d".into()];
        if !self.release.without_config_file.contains(&daemon) {
            arguments.extend(["-f", "/dev/null"].map(Into::into));
        }
        arguments.extend(["-P", "0", "-i"].map(Into::into));
        arguments.push(files.pid_file(daemon).into());
        arguments.extend(["--vty_socket".into(), files.frr_dir().into(), "--log".into(), log_target]);
        arguments.extend(["--log-level".into(), "informational".into()]);
        // FRR allocates tables for as many as it may open, and a container may have no limit.
        arguments.extend(["--limit-fds".into(), FILES.to_string().into()]);
        match daemon {
            Daemon::Mgmtd => {}
            Daemon::Bgpd if self.release.restarts_gracefully() && self.apart.is_none() => {
                arguments.extend(["-z".into(), self.runtime.bgpd_zserv().into()]);
            }
            _ => arguments.extend(["-z".into(), self.runtime.zserv_socket().into()]),
        }
        match daemon {
            Daemon::Zebra => {
                // Without -r zebra removes its routes when it exits, without -K when it starts.
                arguments.extend(["-r", "-K", ADOPT_ROUTES].map(Into::into));
            }
            Daemon::Bgpd => {
                // One that is apart listens for nobody.
                arguments.extend(["-p", if self.apart.is_none() { "179" } else { "0" }].map(Into::into));
                if graceful::is_wanted(&self.runtime, self.release) {
                    arguments.push(graceful::ARGUMENT.into());
                }
            }
            Daemon::Mgmtd | Daemon::Bfdd | Daemon::Staticd => {}
        }
        arguments.extend(self.release.vrf_mode_argument(daemon, self.mode).map(Into::into));
        arguments
    }
}

/// What a directory of the node becomes for one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cover {
    /// Another directory.
    Bind(PathBuf),
    /// An empty file system of its own, for FRR's user.
    Empty,
}

/// The VRF mode of a zebra, by its command line.
pub(crate) fn mode_of(arguments: &[Vec<u8>]) -> VrfMode {
    if arguments.iter().any(|a| a == b"-n" || a == b"-w") { VrfMode::Netns } else { VrfMode::Vrf }
}

fn create_dir(path: &Path, mode: u32, owner: Option<Owner>) -> Result<(), LaunchError> {
    untrusted_file::create_dir(path, mode, owner).map_err(file_error("create", path))
}

/// FRR's user, and the group of those who may use its sockets.
pub(crate) fn frr_owner() -> Result<Owner, LaunchError> {
    let user = User::from_name("frr").map_err(LaunchError::User)?.ok_or(LaunchError::NoUser("frr"))?;
    let group = Group::from_name("frrvty").map_err(LaunchError::User)?.map_or(user.gid, |group| group.gid);
    Ok(Owner { user: user.uid.as_raw(), group: group.as_raw() })
}

/// Removes what FRR's user has put at `path` in the place of a regular file.
fn remove_planted(path: &Path) -> Result<(), LaunchError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Waits until the started process exits, which it does when the daemon in the background is ready.
fn wait_ready(daemon: Daemon, mut child: Child, stderr: &File) -> Result<(), LaunchError> {
    let wait_error = |source| LaunchError::Execute { program: daemon.name().into(), source };
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match child.try_wait().map_err(wait_error)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                return Err(LaunchError::Exited { daemon, status, output: end_of(stderr) });
            }
            None if Instant::now() > deadline => {
                child.kill().map_err(wait_error)?;
                child.wait().map_err(wait_error)?;
                return Err(LaunchError::Hangs { daemon });
            }
            None => sleep(Duration::from_millis(2)),
        }
    }
}

fn end_of(stderr: &File) -> String {
    let mut bytes = [0; QUOTED];
    let length = stderr.metadata().map_or(0, |metadata| metadata.len());
    let read = stderr.read_at(&mut bytes, length.saturating_sub(QUOTED as u64)).unwrap_or_default();
    printable(&masked(String::from_utf8_lossy(bytes.get(..read).unwrap_or_default()).trim())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::release::FrrVersion;
    use rstest::rstest;

    #[rstest]
    #[case(VrfMode::Netns, "FRRouting 8.4.4", "-r -K 60 -n")]
    #[case(VrfMode::Netns, "FRRouting 10.3", "-r -K 60 -w")]
    #[case(VrfMode::Vrf, "FRRouting 10.3", "-r -K 60")]
    fn zebra_gets_the_arguments_of_its_release(#[case] mode: VrfMode, #[case] version: &str, #[case] end: &str) {
        let release = Release::of(&FrrVersion::parse(version).unwrap()).unwrap();
        let launch = Launch { runtime: Runtime::default(), apart: None, mode, frr_dir: "/usr/lib/frr".into(), release };
        let arguments = launch.arguments(Daemon::Zebra);
        let words: Vec<_> = arguments.iter().map(|a| a.to_str().unwrap()).collect();
        let dir = "/run/perouter/frr";
        let expected = format!(
            "-d -f /dev/null -P 0 -i {dir}/zebra.pid --vty_socket {dir} --log file:/run/perouter/log/zebra.log --log-level \
             informational --limit-fds 65536 -z {dir}/zserv.api {end}"
        );
        assert_eq!(words.join(" "), expected);
        let bytes: Vec<_> = words.iter().map(|w| w.as_bytes().to_vec()).collect();
        assert_eq!(mode_of(&bytes), mode);
    }
}
