//! Files and directories at paths that another user, or a mistake, may have put something else at. In: paths. Out: open regular
//! files, their first bytes, and directories that belong to whom they must. Nothing here follows a symlink that such a user
//! can make, waits for the writer of a FIFO, or reads more than it is allowed to. Knows nothing of contents.
//!
//! Only the last component of a path is guarded: the directories above it must belong to root, which [`create_dir`] ensures.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;

/// User and group of a directory or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

/// Whether a symlink at the end of a path leads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symlinks {
    /// Where root or the administrator may have made it, such as the files of a mounted `ConfigMap`.
    Follow,
    /// Where another user may have made it.
    Reject,
}

/// Opens a regular file for reading. Returns at once, whatever is there.
///
/// # Errors
/// Those of `open(2)`, and `InvalidInput` for a FIFO, a device, a directory or, if rejected, a symlink.
pub fn open(path: &Path, symlinks: Symlinks) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path, symlinks)
}

/// Opens a regular file for reading and writing, where a symlink is rejected.
///
/// # Errors
/// As for [`open`].
pub fn open_to_write(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true).write(true), path, Symlinks::Reject)
}

/// Creates a file that a daemon of another user appends to, if there is none, and gives it to this user.
///
/// # Errors
/// As for [`open`], and those of `fchown(2)`.
pub fn create_for(path: &Path, mode: u32, owner: Owner) -> io::Result<()> {
    let file = open_with(OpenOptions::new().append(true).create(true).mode(mode), path, Symlinks::Reject)?;
    fchown(&file, Some(owner.user), Some(owner.group))
}

/// The content of a file of at most `limit` bytes.
///
/// # Errors
/// Those of [`open`] and `read(2)`; `FileTooLarge` for a file with more.
pub fn read(path: &Path, symlinks: Symlinks, limit: u64) -> io::Result<Vec<u8>> {
    read_open(&open(path, symlinks)?, limit)
}

/// The same of an open file, from its position.
///
/// # Errors
/// Those of `read(2)`; `FileTooLarge` for a file with more.
pub fn read_open(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len().min(limit);
    // One more, so that the read which finds the end needs no more space.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("it has more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// A unix socket that was found at a path, whatever is there later.
#[derive(Debug)]
pub struct FoundSocket(File);

impl FoundSocket {
    /// Finds the socket at `path`, where a symlink is rejected: it could lead to the socket of another service, to which a
    /// client with the rights of root would then send commands.
    ///
    /// # Errors
    /// Those of `open(2)`, and `InvalidInput` for anything else than a socket.
    pub fn find(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
        if file.metadata()?.file_type().is_socket() {
            Ok(Self(file))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a socket"))
        }
    }

    /// The path to connect to.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

fn open_with(options: &mut OpenOptions, path: &Path, symlinks: Symlinks) -> io::Result<File> {
    let mut flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    flags.set(OFlag::O_NOFOLLOW, symlinks == Symlinks::Reject);
    let file = options.custom_flags(flags.bits()).open(path).map_err(|error| {
        match error.raw_os_error().map(Errno::from_raw) {
            // A symlink; a FIFO without a reader, a socket, a device without a driver; a directory.
            Some(Errno::ELOOP) if symlinks == Symlinks::Reject => not_regular(),
            Some(Errno::ENXIO | Errno::EISDIR) => not_regular(),
            _ => error,
        }
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

/// Creates a directory, and those above it with mode 0755, and gives it to `owner` with this mode. One that exists is
/// accepted if it belongs to this process or to `owner`: anyone else could replace what is opened in it.
///
/// # Errors
/// Those of the system calls; `PermissionDenied` for a directory of another user, or of this process where others may write.
pub fn create_dir(path: &Path, mode: u32, owner: Option<Owner>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let dir = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let (metadata, own) = (dir.metadata()?, geteuid().as_raw());
    let user = metadata.uid();
    let writable = user == own && owner.is_none() && metadata.mode() & 0o022 != 0;
    if user != own && Some(user) != owner.map(|owner| owner.user) || writable {
        let problem =
            if writable { "it is writable for other users".to_owned() } else { format!("user {user} owns it") };
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{problem}, who could replace files in it: remove it, or chown it to root and chmod go-w"),
        ));
    }
    if let Some(owner) = owner {
        fchown(&dir, Some(owner.user), Some(owner.group))?;
        dir.set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
