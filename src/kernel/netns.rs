//! Network namespaces: created, adopted, made visible to zebra, removed, and entered on a thread of their own. In: paths.
//! Out: mounts, and the values of closures that ran inside. Changes the namespace of no thread but those that it starts
//! itself: a worker of the runtime that once entered a namespace would run later tasks there. Sets up no links.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use thiserror::Error;

use crate::runtime::Runtime;
use crate::types::VrfName;

/// More than a file below `/proc` that is read has.
const ROOM: usize = 8192;

/// Why a namespace could not be created, entered or removed.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// A file or directory.
    #[error("{action} {path}")]
    File {
        /// The action that failed.
        action: &'static str,
        /// Its object.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
    /// A mount.
    #[error("{action} {path}")]
    Mount {
        /// The action that failed.
        action: &'static str,
        /// Its object.
        path: PathBuf,
        /// Its error.
        source: Errno,
    },
    /// `unshare(CLONE_NEWNET)`
    #[error("create a network namespace")]
    Unshare(#[source] Errno),
    /// `setns(2)`
    #[error("enter a network namespace")]
    Enter(#[source] Errno),
    /// `clone(2)` of a thread.
    #[error("start a thread for a network namespace")]
    Thread(#[source] io::Error),
    /// The closure that ran inside panicked.
    #[error("the work inside a network namespace panicked")]
    Panicked,
    /// A path that must be a namespace is something else.
    #[error("{0} is not a network namespace")]
    NotNetns(PathBuf),
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NetnsError {
    move |source| NetnsError::File { action, path: path.to_owned(), source }
}

fn mount_error(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> NetnsError {
    move |source| NetnsError::Mount { action, path: path.to_owned(), source }
}

/// What [`create`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// There was none.
    Created,
    /// It existed and is left as it is.
    Adopted,
}

/// The namespace of the calling process, which is the node's: only threads of this module leave it.
pub fn open_host() -> Result<File, NetnsError> {
    let path = Path::new("/proc/self/ns/net");
    File::open(path).map_err(file_error("open", path))
}

/// Opens the namespace bound to `path`.
pub fn open(path: &Path) -> Result<File, NetnsError> {
    let file = File::open(path).map_err(file_error("open", path))?;
    let device = file.metadata().map_err(file_error("stat", path))?.dev();
    if Some(device) == *NSFS { Ok(file) } else { Err(NetnsError::NotNetns(path.to_owned())) }
}

/// The inode of the namespace that is bound to `path`. `None` where there is nothing, or the plain file of an interrupted
/// creation.
pub fn inode(path: &Path) -> Result<Option<u64>, NetnsError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok((Some(metadata.dev()) == *NSFS).then(|| metadata.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error("stat", path)(error)),
    }
}

/// Whether a namespace is bound to `path`.
pub fn is_netns(path: &Path) -> Result<bool, NetnsError> {
    Ok(inode(path)?.is_some())
}

/// The device number of nsfs, the one file system of all namespaces.
static NSFS: LazyLock<Option<u64>> = LazyLock::new(|| fs::metadata("/proc/self/ns/net").ok().map(|m| m.dev()));

/// Creates a namespace and binds it to `path`, as `ip netns add` does, or adopts what is bound there. The directory becomes a
/// shared mount, so that the namespace is visible in other mount namespaces too.
pub fn create(path: &Path) -> Result<Creation, NetnsError> {
    if is_netns(path)? {
        return Ok(Creation::Adopted);
    }
    prepare_file(path)?;
    on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(NetnsError::Unshare)?;
        bind(Path::new("/proc/thread-self/ns/net"), path)
    })??;
    Ok(Creation::Created)
}

/// The file to which a namespace is bound, in a shared mount. An interrupted creation leaves a plain file, which is used.
fn prepare_file(path: &Path) -> Result<(), NetnsError> {
    if let Some(dir) = path.parent() {
        share(dir)?;
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o000).open(path);
    file.map_err(file_error("create", path))?;
    Ok(())
}

/// Binds a namespace to `path` again, from where others have unbound it. `source`: a namespace that is kept alive otherwise.
pub fn restore(source: &Path, path: &Path) -> Result<(), NetnsError> {
    prepare_file(path)?;
    bind(source, path)
}

/// Unbinds the namespace from `path` and removes the file. The namespace exists as long as a process or a socket is in it.
/// Succeeds where there is nothing.
pub fn remove(path: &Path) -> Result<(), NetnsError> {
    unmount(path)?;
    remove_file(path)
}

/// Creates `dir` if need be and turns it into a mount with shared propagation, as `ip netns` does with `/run/netns`:
/// namespaces bound below it later appear in mount namespaces that were unshared before.
pub fn share(dir: &Path) -> Result<(), NetnsError> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(file_error("create", dir))?;
    // The lock that `ip netns` takes: a second bind of the directory would hide what was bound below the first.
    let lock = File::open(dir).map_err(file_error("open", dir))?;
    lock.lock().map_err(file_error("lock", dir))?;
    let make_shared = || mount(None::<&str>, dir, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match make_shared() {
        // Not a mount yet.
        Err(Errno::EINVAL) => {
            bind(dir, dir)?;
            make_shared().map_err(mount_error("share", dir))
        }
        other => other.map_err(mount_error("share", dir)),
    }
}

/// Reverts [`share`] and removes the directory with all that is bound below it. Succeeds where there is nothing.
pub fn unshare_dir(dir: &Path) -> Result<(), NetnsError> {
    // With all mounts below it.
    unmount(dir)?;
    for name in entries(dir)? {
        remove(&dir.join(name))?;
    }
    remove_dir(dir)
}

/// Runs `work` inside `netns` on a thread of its own and returns what it returns. A socket opened there stays in that
/// namespace, and keeps it alive.
pub fn in_netns<T: Send>(netns: &File, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    on_thread(|| {
        setns(netns, CloneFlags::CLONE_NEWNET).map_err(NetnsError::Enter)?;
        Ok(work())
    })?
}

/// Reads `net/<key>` below `/proc/sys` as seen in `netns`, for example `net/ipv4/ip_forward`. `None`: the kernel has no
/// such setting.
pub fn read_sysctl(netns: &File, key: &str) -> Result<Option<String>, NetnsError> {
    // `/proc/sys/net` is that of the reading thread.
    let found = read_files(netns, vec![((), Path::new("/proc/sys").join(key))])?;
    Ok(found.into_iter().next().map(|((), value)| value.trim().to_owned()))
}

/// Writes a setting as seen in `netns`.
pub fn write_sysctl(netns: &File, key: &str, value: &str) -> Result<(), NetnsError> {
    let path = Path::new("/proc/sys").join(key);
    in_netns(netns, || fs::write(&path, value).map_err(file_error("write", &path)))?
}

/// Reads files below `/proc/thread-self` or `/proc/sys` as seen in `netns`. Those that do not exist are left out.
pub fn read_files<K: Send>(netns: &File, paths: Vec<(K, PathBuf)>) -> Result<Vec<(K, String)>, NetnsError> {
    in_netns(netns, || read_here(paths))?
}

/// The same for each of the namespaces, one after the other on one thread.
pub fn read_files_of_each<K: Send + Sync + Clone>(
    namespaces: &[Arc<File>],
    paths: &[(K, PathBuf)],
) -> Result<Vec<Vec<(K, String)>>, NetnsError> {
    on_thread(|| {
        let enter = |netns: &Arc<File>| {
            setns(netns, CloneFlags::CLONE_NEWNET).map_err(NetnsError::Enter)?;
            read_here(paths.to_vec())
        };
        namespaces.iter().map(enter).collect()
    })?
}

fn read_here<K>(paths: Vec<(K, PathBuf)>) -> Result<Vec<(K, String)>, NetnsError> {
    let mut texts = Vec::with_capacity(paths.len());
    let mut buffer = Vec::with_capacity(ROOM);
    for (key, path) in paths {
        match File::open(&path).and_then(|file| read_whole(file, &mut buffer)) {
            Ok(text) => texts.push((key, text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error("read", &path)(error)),
        }
    }
    Ok(texts)
}

/// Reads a file of `/proc` with two system calls: it has no size, so that `fs::read_to_string` reads it in many pieces.
fn read_whole(file: File, buffer: &mut Vec<u8>) -> io::Result<String> {
    buffer.clear();
    // Without the size of the file, which `Read::take` does not ask for.
    file.take(u64::MAX).read_to_end(buffer)?;
    String::from_utf8(buffer.clone()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Opens files as [`read_files`] reads them. A file below `/proc/sys/net` goes on to be that of `netns`, which it does not
/// keep alive.
pub fn open_files<K: Send>(netns: &File, paths: Vec<(K, PathBuf)>) -> Result<Vec<(K, File)>, NetnsError> {
    let open = |(key, path): (K, PathBuf)| Some((key, File::open(path).ok()?));
    in_netns(netns, || paths.into_iter().filter_map(open).collect())
}

/// Creates the empty namespace of an IP-VRF, or adopts it. Zebra does not see it before [`expose_vrf`].
pub fn create_vrf(runtime: &Runtime, vrf: &VrfName) -> Result<Creation, NetnsError> {
    create(&runtime.vrf_netns(vrf))
}

/// Makes the namespace of an IP-VRF visible to zebra. By a symlink, since zebra opens a new name at once and then only every
/// second: a file that becomes a namespace later costs that second.
pub fn expose_vrf(runtime: &Runtime, vrf: &VrfName) -> Result<(), NetnsError> {
    let dir = runtime.zebra_netns_dir();
    DirBuilder::new().recursive(true).mode(0o755).create(&dir).map_err(file_error("create", &dir))?;
    let (target, link) = (runtime.vrf_netns(vrf), runtime.zebra_netns(vrf));
    match symlink(&target, &link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(file_error("link", &link)),
    }
}

/// Removes the namespace of an IP-VRF, first where zebra sees it. Succeeds where there is nothing.
pub fn remove_vrf(runtime: &Runtime, vrf: &VrfName) -> Result<(), NetnsError> {
    remove_file(&runtime.zebra_netns(vrf))?;
    remove(&runtime.vrf_netns(vrf))
}

/// The IP-VRFs that have a namespace, visible to zebra or not, each with its inode. Interrupted creations and names that are
/// no VRF are left out.
pub fn list_vrfs(runtime: &Runtime) -> Result<BTreeMap<VrfName, u64>, NetnsError> {
    let dir = runtime.vrf_netns_dir();
    let mut vrfs = BTreeMap::new();
    for name in entries(&dir)? {
        if let Ok(vrf) = name.parse()
            && let Some(inode) = inode(&dir.join(&name))?
        {
            vrfs.insert(vrf, inode);
        }
    }
    Ok(vrfs)
}

/// Removes all namespaces of the router, the shared mount of those of the IP-VRFs, and zebra's directory.
pub fn remove_all(runtime: &Runtime) -> Result<(), NetnsError> {
    let zebra = runtime.zebra_netns_dir();
    for name in entries(&zebra)? {
        remove_file(&zebra.join(name))?;
    }
    remove_dir(&zebra)?;
    unshare_dir(&runtime.vrf_netns_dir())?;
    remove(runtime.router_netns())
}

/// Names in a directory; none where it does not exist.
fn entries(dir: &Path) -> Result<Vec<String>, NetnsError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_error("list", dir)(error)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
    names.collect::<io::Result<_>>().map_err(file_error("list", dir))
}

fn bind(source: &Path, target: &Path) -> Result<(), NetnsError> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&str>, flags, None::<&str>).map_err(mount_error("bind", target))
}

/// Detaches every mount on `path`, as a namespace may be mounted over another one.
fn unmount(path: &Path) -> Result<(), NetnsError> {
    loop {
        match umount2(path, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            // EINVAL: not a mount.
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(mount_error("unmount", path)(errno)),
        }
    }
}

fn remove_file(path: &Path) -> Result<(), NetnsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error("remove", path)(error)),
        _ => Ok(()),
    }
}

fn remove_dir(path: &Path) -> Result<(), NetnsError> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Runs `work` on a new thread and waits for it. A change of the thread's namespaces ends with the thread.
pub fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    thread::scope(|scope| {
        let handle =
            thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, work).map_err(NetnsError::Thread)?;
        handle.join().map_err(|_| NetnsError::Panicked)
    })
}
