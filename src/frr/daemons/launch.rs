//! Starts one daemon. In: the router's paths, the VRF mode, FRR's programs and release. Out: a daemon in the background, in the
//! router namespace and in a mount namespace in which FRR's compiled-in directories are those of the router. Must not change
//! a namespace of the calling thread.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Group, User};
use thiserror::Error;

use super::process::{Process, ProcessError};
use crate::frr::release::Release;
use crate::kernel::file_limit::{self, FILES};
use crate::kernel::netns::{self, NetnsError};
use crate::runtime::{Daemon, Runtime};
use crate::types::VrfMode;

/// Seconds for which a new zebra leaves the routes of the old one in the kernel, so that bgpd can send them again.
const ADOPT_ROUTES: &str = "60";
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
    pub mode: VrfMode,
    pub frr_dir: PathBuf,
    /// The installed release.
    pub release: Release,
}

impl Launch {
    /// Creates the router namespace and the directories that the daemons use. What exists is left as it is.
    pub fn prepare(&self) -> Result<(), LaunchError> {
        self.keep_router_netns()?;
        netns::create(self.runtime.router_netns())?;
        make_dir(self.runtime.dir(), 0o755)?;
        if self.mode == VrfMode::Netns {
            netns::share(&self.runtime.vrf_netns_dir())?;
            make_dir(&self.runtime.zebra_netns_dir(), 0o755)?;
        }
        let user = User::from_name("frr").map_err(LaunchError::User)?.ok_or(LaunchError::NoUser("frr"))?;
        let vty_group = Group::from_name("frrvty").map_err(LaunchError::User)?.map_or(user.gid, |group| group.gid);
        let dir = self.runtime.frr_dir();
        // Not for others: bfdd's control socket accepts commands from everyone who can reach it.
        for path in [dir.clone(), dir.join("tmp"), dir.join("etc")] {
            make_dir(&path, 0o750)?;
            chown(&path, Some(user.uid.as_raw()), Some(vty_group.as_raw())).map_err(file_error("chown", &path))?;
        }
        Ok(())
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
        self.remove_crash_dirs(daemon);
        file_limit::raise();
        let stderr_path = self.runtime.frr_dir().join(format!("{daemon}.err"));
        let stderr = File::create(&stderr_path).map_err(file_error("create", &stderr_path))?;
        let router = netns::open(self.runtime.router_netns())?;
        netns::on_thread(|| {
            self.enter(&router)?;
            let program = self.frr_dir.join(daemon.name());
            let child = Command::new(&program)
                .args(self.arguments(daemon))
                .current_dir("/")
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(stderr)
                .spawn()
                .map_err(|source| LaunchError::Execute { program, source })?;
            wait_ready(daemon, child, &stderr_path)
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
        for (source, target) in self.covers() {
            make_dir(target, 0o755)?;
            mount(Some(&source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(failed("bind onto", target))?;
        }
        setns(router, CloneFlags::CLONE_NEWNET).map_err(NetnsError::Enter)?;
        Ok(())
    }

    /// What is mounted over FRR's compiled-in directories.
    fn covers(&self) -> Vec<(PathBuf, &'static Path)> {
        let dir = self.runtime.frr_dir();
        let mut covers = vec![
            // Files of a crash, by pid.
            (dir.join("tmp"), Path::new("/var/tmp")),
            // mgmtd reads the files of other daemons there.
            (dir.join("etc"), Path::new("/etc/frr")),
            // mgmtd's sockets, which have no option.
            (dir.clone(), Path::new("/run/frr")),
        ];
        covers.extend(self.release.state_dir.map(|state| (dir.join("etc"), Path::new(state))));
        if self.mode == VrfMode::Netns {
            // zebra takes every namespace that it finds here for a VRF.
            covers.push((self.runtime.zebra_netns_dir(), Path::new("/run/netns")));
        }
        covers
    }

    fn arguments(&self, daemon: Daemon) -> Vec<OsString> {
        let log = self.runtime.log_file(daemon);
        let mut log_target = OsString::from("file:");
        log_target.push(&log);
        // No configuration file, and no vty over TCP.
        let mut arguments: Vec<OsString> = vec!["-d".into()];
        if !self.release.without_config_file.contains(&daemon) {
            arguments.extend(["-f", "/dev/null"].map(Into::into));
        }
        arguments.extend(["-P", "0", "-i"].map(Into::into));
        arguments.push(self.runtime.pid_file(daemon).into());
        arguments.extend(["--vty_socket".into(), self.runtime.frr_dir().into(), "--log".into(), log_target]);
        arguments.extend(["--log-level".into(), "informational".into()]);
        // FRR allocates tables for as many as it may open, and a container may have no limit.
        arguments.extend(["--limit-fds".into(), FILES.to_string().into()]);
        if daemon != Daemon::Mgmtd {
            arguments.extend(["-z".into(), self.runtime.zserv_socket().into()]);
        }
        match daemon {
            Daemon::Zebra => {
                // Without -r zebra removes its routes when it exits, without -K when it starts.
                arguments.extend(["-r", "-K", ADOPT_ROUTES].map(Into::into));
            }
            Daemon::Bgpd => arguments.extend(["-p", "179"].map(Into::into)),
            Daemon::Mgmtd | Daemon::Bfdd | Daemon::Staticd => {}
        }
        arguments.extend(self.release.vrf_mode_argument(daemon, self.mode).map(Into::into));
        arguments
    }

    /// FRR creates a directory for each pid and removes it only on a clean exit.
    fn remove_crash_dirs(&self, daemon: Daemon) {
        let Ok(entries) = fs::read_dir(self.runtime.frr_dir().join("tmp/frr")) else { return };
        let prefix = format!("{daemon}.");
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                // A directory that cannot be removed is no reason not to start.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// The VRF mode of a zebra, by its command line.
pub(crate) fn mode_of(arguments: &[Vec<u8>]) -> VrfMode {
    if arguments.iter().any(|a| a == b"-n" || a == b"-w") { VrfMode::Netns } else { VrfMode::Vrf }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), LaunchError> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(file_error("create", path))
}

/// Waits until the started process exits, which it does when the daemon in the background is ready.
fn wait_ready(daemon: Daemon, mut child: Child, stderr: &Path) -> Result<(), LaunchError> {
    let wait_error = |source| LaunchError::Execute { program: daemon.name().into(), source };
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match child.try_wait().map_err(wait_error)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                let output = fs::read(stderr).unwrap_or_default();
                let output = String::from_utf8_lossy(&output[output.len().saturating_sub(400)..]).trim().to_owned();
                return Err(LaunchError::Exited { daemon, status, output });
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
        let launch = Launch { runtime: Runtime::default(), mode, frr_dir: "/usr/lib/frr".into(), release };
        let arguments = launch.arguments(Daemon::Zebra);
        let words: Vec<_> = arguments.iter().map(|a| a.to_str().unwrap()).collect();
        let dir = "/run/perouter/frr";
        let expected = format!(
            "-d -f /dev/null -P 0 -i {dir}/zebra.pid --vty_socket {dir} --log file:{dir}/zebra.log --log-level \
             informational --limit-fds 65536 -z {dir}/zserv.api {end}"
        );
        assert_eq!(words.join(" "), expected);
        let bytes: Vec<_> = words.iter().map(|w| w.as_bytes().to_vec()).collect();
        assert_eq!(mode_of(&bytes), mode);
    }
}
