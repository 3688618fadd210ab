//! The limit of open files. In: nothing. Out: a higher limit of this process, which the processes that it starts inherit. Changes
//! no limit of another process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Enough for every IP-VRF: zebra uses 6 descriptors for each in `netns` mode, this process two while it changes one. The soft
/// limit is 1024 by default.
pub const FILES: u64 = 65536;

/// Raises the limit to [`FILES`], or as far as it is permitted: without the capability for more the hard limit remains, which is
/// enough for a few IP-VRFs.
pub fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft >= FILES || setrlimit(Resource::RLIMIT_NOFILE, FILES, hard.max(FILES)).is_ok() {
        return;
    }
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::warn!(%error, hard, "limit of open files not raised");
    }
}
