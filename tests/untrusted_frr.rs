//! What FRR's user may put into its own directory, which root then uses, with real FRR. Needs root and FRR.

#![allow(clippy::unwrap_used, reason = "a test file")]

#[path = "frr/scratch.rs"]
mod scratch;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::{User, mkfifo};
use perouter::frr::daemons::{Daemons, FRR_DIR, ready};
use perouter::runtime::{Daemon, Runtime};
use perouter::types::VrfMode;
use tokio::time::timeout;

use scratch::is_root;

/// A directory and a file of root, to which FRR's user has planted links.
struct Victims {
    dir: PathBuf,
    file: PathBuf,
}

impl Victims {
    fn assert_untouched(&self) {
        let dir = fs::metadata(&self.dir).unwrap();
        assert_eq!((dir.uid(), dir.mode() & 0o777), (0, 0o700), "the directory of root");
        let kept: Vec<_> = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(kept, ["frr"]);
        assert!(self.dir.join("frr/zebra.1").is_dir(), "a directory that is named like one of a crash");
        assert_eq!(fs::read_to_string(&self.file).unwrap(), "of root");
        assert_eq!(fs::metadata(&self.file).unwrap().uid(), 0);
    }
}

/// Plants links and FIFOs under every name that root has used, in the directory of FRR's user.
fn plant(runtime: &Runtime, victims: &Victims) {
    let user = User::from_name("frr").unwrap().unwrap();
    let dir = runtime.frr_dir();
    fs::create_dir_all(&dir).unwrap();
    for name in ["tmp", "etc", "log"] {
        symlink(&victims.dir, dir.join(name)).unwrap();
    }
    for daemon in Daemon::ALL {
        for extension in ["err", "log", "vty"] {
            symlink(&victims.file, dir.join(format!("{daemon}.{extension}"))).unwrap();
        }
    }
    mkfifo(&runtime.pid_file(Daemon::Zebra), Mode::S_IRWXU).unwrap();
    symlink(&victims.file, runtime.pid_file(Daemon::Bgpd)).unwrap();
    fs::create_dir(runtime.pid_file(Daemon::Staticd)).unwrap();
    chown(&dir, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_follows_no_link_that_frrs_user_plants() {
    if !is_root() {
        return;
    }
    let runtime = scratch::runtime("untrusted");
    let of_root = tempfile::tempdir().unwrap();
    let victims = Victims { dir: of_root.path().join("dir"), file: of_root.path().join("file") };
    fs::create_dir_all(victims.dir.join("frr/zebra.1")).unwrap();
    fs::set_permissions(&victims.dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    fs::write(&victims.file, "of root").unwrap();
    plant(&runtime, &victims);

    let mut daemons = Daemons::new(runtime.clone(), VrfMode::Netns, FRR_DIR).await.unwrap();
    timeout(Duration::from_secs(30), daemons.ensure()).await.expect("nothing waits for a FIFO").unwrap();
    victims.assert_untouched();
    assert!(ready(&runtime, daemons.daemons()).await);
    for daemon in daemons.daemons() {
        let log = fs::symlink_metadata(runtime.log_file(*daemon)).unwrap();
        assert!(log.is_file(), "{daemon} logs");
    }

    scratch::remove(&runtime).await;
    victims.assert_untouched();
}
