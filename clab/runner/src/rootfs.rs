//! The root file system of a node: that of the machine, with private directories mounted over it.
//!
//! In: an empty folder to mount on, and what differs from the machine. Out: the calling thread's mount namespace has
//! that root. It must run in its own mount namespace, and it never writes to a directory of the machine: a directory
//! that needs a new entry is replaced by a tmpfs with the machine's entries bind-mounted into it.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirEntry, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// What a node's root has in addition to the machine's.
#[derive(Debug, Clone)]
pub struct NodeRoot {
    /// Root file system with the node's programs and their data (see `SYSTEM`), if it is not the machine's.
    pub system: Option<PathBuf>,
    /// Empty folder on the machine; the root is mounted there, visible only to the node.
    pub mount_point: PathBuf,
    /// Folder on the machine that is /var/log/frr in the node.
    pub log_folder: PathBuf,
    /// File on the machine that is /etc/hosts in the node.
    pub hosts: PathBuf,
    /// Contents of /etc/hostname.
    pub host_name: String,
    /// Bind mounts: source on the machine, target in the node, read-only.
    pub binds: Vec<(PathBuf, PathBuf, bool)>,
}

/// A root that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A mount failed.
    #[error("cannot mount {} on {}", from.display(), on.display())]
    Mount {
        /// What is mounted.
        from: PathBuf,
        /// Where.
        on: PathBuf,
        /// The cause.
        #[source]
        source: nix::Error,
    },
    /// A file or directory could not be read or created.
    #[error("cannot set up {}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The new root could not become the root.
    #[error("cannot change the root to {}", path.display())]
    Pivot {
        /// The new root.
        path: PathBuf,
        /// The cause.
        #[source]
        source: nix::Error,
    },
}

/// Paths of the machine that are hidden from a node: it has its own.
const PRIVATE: [&str; 7] = ["/proc", "/sys", "/run", "/etc/frr", "/etc/hosts", "/etc/hostname", "/lost+found"];

/// Entries of the root that belong to the operating system. All others (/dev, /tmp, home and build folders) are the
/// machine's also in a node with another system: programs that are started from outside find their files.
const SYSTEM: [&str; 9] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "var"];

const NONE: Option<&Path> = None;

/// Sets up the root and changes the root of the calling thread to it.
pub fn enter_root(root: &NodeRoot) -> Result<(), RootError> {
    mount(Some("none"), "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).map_err(|source| RootError::Mount {
        from: "/".into(),
        on: "/".into(),
        source,
    })?;
    let machine = BTreeMap::from([(PathBuf::from("/"), MountSource::Bound("/".into()))]);
    let mut layout = Layout { base: root.mount_point.clone(), mounts: machine, system: root.system.clone() };
    layout.expand(Path::new("/"))?;
    layout.expand(Path::new("/etc"))?;
    if root.system.is_some() {
        layout.make_folder(Path::new("/var/lib/frr"))?;
        layout.private("/var/lib/frr", 0o755)?;
    }
    for folder in ["/proc", "/sys", "/run", "/var/tmp", "/var/lib/perouter", "/etc/frr"] {
        layout.make_folder(Path::new(folder))?;
    }
    layout.special("sysfs", "/sys")?;
    layout.private("/run", 0o755)?;
    layout.private("/var/tmp", 0o1777)?;
    layout.private("/var/lib/perouter", 0o700)?;
    for folder in ["/run/netns", "/run/lock"] {
        layout.make_folder(Path::new(folder))?;
    }
    layout.write("/etc/hostname", &format!("{}\n", root.host_name))?;
    layout.write("/etc/frr/vtysh.conf", "service integrated-vtysh-config\n")?;
    layout.bind(&root.hosts, Path::new("/etc/hosts"), false)?;
    layout.bind(&root.log_folder, Path::new("/var/log/frr"), false)?;
    for (source, target, read_only) in &root.binds {
        layout.bind(source, target, *read_only)?;
    }
    pivot(&root.mount_point)
}

struct Layout {
    base: PathBuf,
    /// Mounts by their path in the node.
    mounts: BTreeMap<PathBuf, MountSource>,
    /// Where the entries of [`SYSTEM`] come from, if not from the machine.
    system: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum MountSource {
    /// The node may create entries.
    Private,
    /// A path of the machine that must not be written to.
    Bound(PathBuf),
}

impl Layout {
    /// Path on the machine, before the pivot, of a path in the node.
    fn outside(&self, path: &Path) -> PathBuf {
        self.base.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Replaces a directory of the machine by a tmpfs and bind-mounts the directory's entries into it.
    fn expand(&mut self, folder: &Path) -> Result<(), RootError> {
        let source = self.machine_path(folder);
        let mode = fs::metadata(&source).map_err(at(&source))?.permissions().mode() & 0o7777;
        self.private(folder, mode)?;
        let is_root = folder == Path::new("/");
        let mut entries = entries(&source)?;
        if let Some(system) = self.system.clone().filter(|_| is_root) {
            let of_system = |entry: &DirEntry| SYSTEM.iter().any(|name| entry.file_name() == *name);
            entries.retain(|entry| !of_system(entry));
            entries.extend(self::entries(&system)?.into_iter().filter(of_system));
        }
        for entry in entries {
            let path = folder.join(entry.file_name());
            if PRIVATE.iter().any(|private| Path::new(private) == path) {
                continue;
            }
            let outside = self.outside(&path);
            let kind = entry.file_type().map_err(at(&entry.path()))?;
            if kind.is_symlink() {
                let target = fs::read_link(entry.path()).map_err(at(&entry.path()))?;
                symlink(target, &outside).map_err(at(&outside))?;
                continue;
            }
            if kind.is_dir() {
                fs::create_dir(&outside).map_err(at(&outside))?;
            } else {
                File::create(&outside).map_err(at(&outside))?;
            }
            // Many nodes share one system; later labs need it unchanged.
            let shared = self.system.as_ref().is_some_and(|system| entry.path().starts_with(system));
            self.bind_mount(&entry.path(), &path, shared)?;
        }
        Ok(())
    }

    /// The path on the machine of a directory of the node.
    fn machine_path(&self, folder: &Path) -> PathBuf {
        let bound = folder.ancestors().find_map(|above| match self.mounts.get(above) {
            Some(MountSource::Bound(source)) => folder.strip_prefix(above).ok().map(|rest| source.join(rest)),
            Some(MountSource::Private) | None => None,
        });
        bound.unwrap_or_else(|| folder.to_owned())
    }

    fn private(&mut self, folder: impl AsRef<Path>, mode: u32) -> Result<(), RootError> {
        let on = self.outside(folder.as_ref());
        mount(Some("tmpfs"), &on, Some("tmpfs"), MsFlags::empty(), Some(format!("mode={mode:o}").as_str()))
            .map_err(|source| RootError::Mount { from: "tmpfs".into(), on, source })?;
        self.mounts.insert(folder.as_ref().to_owned(), MountSource::Private);
        Ok(())
    }

    fn special(&mut self, kind: &str, folder: &str) -> Result<(), RootError> {
        let on = self.outside(Path::new(folder));
        mount(Some(kind), &on, Some(kind), MsFlags::empty(), NONE).map_err(|source| RootError::Mount {
            from: kind.into(),
            on,
            source,
        })?;
        self.mounts.insert(folder.into(), MountSource::Bound(folder.into()));
        Ok(())
    }

    fn bind_mount(&mut self, source: &Path, target: &Path, read_only: bool) -> Result<(), RootError> {
        let on = self.outside(target);
        let failed = |errno| RootError::Mount { from: source.to_owned(), on: on.clone(), source: errno };
        mount(Some(source), &on, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).map_err(failed)?;
        if read_only {
            // The kernel ignores MS_RDONLY on the bind itself: a second mount sets it (mount(2)).
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(NONE, &on, NONE, flags, NONE).map_err(failed)?;
        }
        self.mounts.insert(target.to_owned(), MountSource::Bound(source.to_owned()));
        Ok(())
    }

    fn bind(&mut self, source: &Path, target: &Path, read_only: bool) -> Result<(), RootError> {
        let target = self.resolve(target);
        if fs::metadata(source).map_err(at(source))?.is_dir() {
            self.make_folder(&target)?;
        } else {
            self.make_file(&target)?;
        }
        self.bind_mount(source, &target, read_only)
    }

    fn write(&mut self, path: &str, text: &str) -> Result<(), RootError> {
        let path = self.resolve(Path::new(path));
        self.make_file(&path)?;
        fs::write(self.outside(&path), text).map_err(at(&path))
    }

    fn make_file(&mut self, path: &Path) -> Result<(), RootError> {
        if self.outside(path).symlink_metadata().is_ok() {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        self.make_folder(folder)?;
        self.make_private(folder)?;
        File::create(self.outside(path)).map(drop).map_err(at(path))
    }

    fn make_folder(&mut self, path: &Path) -> Result<(), RootError> {
        let path = self.resolve(path);
        if self.outside(&path).is_dir() {
            return Ok(());
        }
        let above = path.ancestors().find(|above| self.outside(above).is_dir()).unwrap_or(Path::new("/")).to_owned();
        self.make_private(&above)?;
        fs::create_dir_all(self.outside(&path)).map_err(at(&path))
    }

    /// Makes `folder` private, so that an entry created in it does not appear on the machine.
    fn make_private(&mut self, folder: &Path) -> Result<(), RootError> {
        let below_private = |above: &&Path| self.mounts.get(*above) != Some(&MountSource::Private);
        let chain: Vec<PathBuf> = folder.ancestors().take_while(below_private).map(Path::to_owned).collect();
        let of_machine = chain.iter().any(|above| self.mounts.contains_key(above));
        if !of_machine {
            return Ok(());
        }
        chain.iter().rev().try_for_each(|above| self.expand(above))
    }

    /// Follows symlinks within the node: /var/run is the node's /run.
    fn resolve(&self, path: &Path) -> PathBuf {
        let mut resolved = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::Normal(name) => resolved = self.step(&resolved, name),
                Component::ParentDir => drop(resolved.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        resolved
    }

    fn step(&self, folder: &Path, name: &OsStr) -> PathBuf {
        let path = folder.join(name);
        match fs::read_link(self.outside(&path)) {
            Ok(target) => self.resolve(&folder.join(target)),
            Err(_) => path,
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>, RootError> {
    fs::read_dir(folder).and_then(Iterator::collect).map_err(at(folder))
}

fn pivot(new_root: &Path) -> Result<(), RootError> {
    let failed = |source| RootError::Pivot { path: new_root.to_owned(), source };
    nix::unistd::chdir(new_root).map_err(failed)?;
    // The old root is then mounted on top of the new one, and unmounted from there (pivot_root(2)).
    nix::unistd::pivot_root(".", ".").map_err(failed)?;
    umount2(".", MntFlags::MNT_DETACH).map_err(failed)?;
    nix::unistd::chdir("/").map_err(failed)
}

fn at(path: &Path) -> impl Fn(io::Error) -> RootError {
    move |source| RootError::File { path: path.to_owned(), source }
}
