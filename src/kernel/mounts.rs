//! Whether mounts came or went since the last check: network namespaces are bound to files, so without a change there are
//! the same ones. In: our mount namespace. Out: yes or no, by one system call. Knows no paths.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Watches the mounts of our mount namespace, including those that others propagate into it.
#[derive(Debug)]
pub struct MountWatch {
    /// Ready with `POLLPRI` once after each change (`proc_pid_mountinfo(5)`).
    table: Option<File>,
    changed: AtomicBool,
}

impl MountWatch {
    /// Begins to watch; the first check finds a change. Without `/proc` every check does.
    pub fn start() -> Self {
        Self { table: File::open("/proc/self/mountinfo").ok(), changed: AtomicBool::new(true) }
    }

    /// Makes the next check find a change.
    pub fn mark_changed(&self) {
        self.changed.store(true, Ordering::SeqCst);
    }

    /// Whether there may be a change since the last check.
    pub fn take_change(&self) -> bool {
        let changed = self.table.as_ref().is_none_or(|table| {
            let mut polled = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
            poll(&mut polled, PollTimeout::ZERO) != Ok(0)
        });
        self.changed.swap(false, Ordering::SeqCst) || changed
    }
}
