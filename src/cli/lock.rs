//! One controller per run directory. In: the directory. Out: a lock, which the kernel releases with the process.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::runtime::Runtime;

/// Takes the lock. The error names the process that has it.
pub fn take(runtime: &Runtime) -> anyhow::Result<Flock<File>> {
    let path = runtime.lock();
    fs::create_dir_all(runtime.dir()).with_context(|| format!("create {}", runtime.dir().display()))?;
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)?;
            write!(lock, "{}", std::process::id())?;
            Ok(lock)
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            anyhow::bail!("perouter (process {pid}) is running in {}: stop it first", runtime.dir().display())
        }
        Err((_, errno)) => Err(errno).with_context(|| format!("lock {}", path.display())),
    }
}
