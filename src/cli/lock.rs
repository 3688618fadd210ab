//! One router and one controller per run directory. In: the directory. Out: locks, which the kernel releases with the process.
//! They are taken before anything is started or changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::runtime::Runtime;

/// What a process is in its run directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockRole {
    /// It supervises FRR.
    Router,
    /// It reconciles.
    Controller,
}

impl LockRole {
    /// Both, as `perouter run` and `perouter cleanup` are.
    pub const BOTH: [Self; 2] = [Self::Router, Self::Controller];

    fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Controller => "controller",
        }
    }

    fn file(self, runtime: &Runtime) -> PathBuf {
        match self {
            Self::Router => runtime.router_lock(),
            Self::Controller => runtime.controller_lock(),
        }
    }
}

/// Longer than [`has_controller`] has a lock.
const LOOK: Duration = Duration::from_millis(20);

/// Locks, held until they are dropped.
#[derive(Debug)]
pub struct Locks(#[expect(dead_code, reason = "held, not read")] Vec<Flock<File>>);

/// Takes the locks of `roles`, or none of them. The error names the process that has one.
pub fn take(runtime: &Runtime, roles: &[LockRole]) -> anyhow::Result<Locks> {
    fs::create_dir_all(runtime.dir()).with_context(|| format!("create {}", runtime.dir().display()))?;
    Ok(Locks(roles.iter().map(|role| take_one(runtime, *role)).collect::<anyhow::Result<_>>()?))
}

fn take_one(runtime: &Runtime, role: LockRole) -> anyhow::Result<Flock<File>> {
    let path = role.file(runtime);
    let mut attempts = 3;
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // Removed by a `perouter cleanup` that had the lock until now: the next one locks another file.
            Ok(lock) if !is_at(&lock, &path)? => {}
            Ok(mut lock) => {
                lock.set_len(0)?;
                write!(lock, "{}", std::process::id())?;
                return Ok(lock);
            }
            // Another one looks whether there is a process.
            Err((_, Errno::EWOULDBLOCK)) if attempts > 1 => {
                attempts -= 1;
                std::thread::sleep(LOOK);
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid)?;
                let (role, dir) = (role.name(), runtime.dir().display());
                anyhow::bail!("process {pid} is the {role} in {dir}: stop it first")
            }
            Err((_, errno)) => return Err(errno).with_context(|| format!("lock {}", path.display())),
        }
    }
}

/// Whether a controller runs in a run directory.
pub fn has_controller(runtime: &Runtime) -> anyhow::Result<bool> {
    let path = runtime.controller_lock();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
    };
    // Held for this moment only, and beside other readers.
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(false),
        Err((_, Errno::EWOULDBLOCK)) => Ok(true),
        Err((_, errno)) => Err(errno).with_context(|| format!("lock {}", path.display())),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match fs::metadata(path) {
        Ok(found) => Ok(inode(found) == inode(file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_is_taken_once_and_all_are_taken_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path().join("run"), dir.path().join("netns"));
        let controller = take(&runtime, &[LockRole::Controller]).unwrap();
        let error = take(&runtime, &LockRole::BOTH).unwrap_err().to_string();
        let (pid, path) = (std::process::id(), runtime.dir().display());
        assert_eq!(error, format!("process {pid} is the controller in {path}: stop it first"));
        let router = take(&runtime, &[LockRole::Router]).unwrap();
        assert!(take(&runtime, &[LockRole::Router]).unwrap_err().to_string().contains("is the router in"));
        assert!(has_controller(&runtime).unwrap());
        drop((router, controller));
        assert!(!has_controller(&runtime).unwrap());
        take(&runtime, &LockRole::BOTH).unwrap();
    }

    #[test]
    fn a_lock_on_a_removed_file_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path().join("run"), dir.path().join("netns"));
        let before = take(&runtime, &[LockRole::Router]).unwrap();
        fs::remove_file(runtime.router_lock()).unwrap();
        let _after = take(&runtime, &[LockRole::Router]).unwrap();
        drop(before);
        assert!(take(&runtime, &[LockRole::Router]).is_err());
    }
}
