//! Whether mounts came or went since the last look: network namespaces are bound to files, so without that there are the
//! same ones. In: our mount namespace. Out: yes or no, by one system call. Knows no paths.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Watches the mounts of our mount namespace, those that others propagate into it too.
#[derive(Debug)]
pub struct Mounts {
    /// Ready with `POLLPRI` once after each change (`proc_pid_mountinfo(5)`).
    table: Option<File>,
    marked: AtomicBool,
}

impl Mounts {
    /// Begins to watch; what was seen before counts as old. Without `/proc` every look finds a change.
    pub fn watch() -> Self {
        Self { table: File::open("/proc/self/mountinfo").ok(), marked: AtomicBool::new(true) }
    }

    /// Has the next look find a change.
    pub fn mark(&self) {
        self.marked.store(true, Ordering::SeqCst);
    }

    /// Whether there may be a change since the last look.
    pub fn take_change(&self) -> bool {
        let changed = self.table.as_ref().is_none_or(|table| {
            let mut polled = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
            poll(&mut polled, PollTimeout::ZERO) != Ok(0)
        });
        self.marked.swap(false, Ordering::SeqCst) || changed
    }
}
