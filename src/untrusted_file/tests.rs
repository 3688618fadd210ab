use std::fs::{self, Permissions};
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;

use super::*;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rstest::rstest;

/// A directory that `nobody` owns, as FRR's user owns that of its sockets, and a file that only root may change.
struct Planted {
    dir: tempfile::TempDir,
}

const NOBODY: Owner = Owner { user: 65534, group: 65534 };

impl Planted {
    fn new() -> Self {
        let planted = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(planted.victim(), "of root").unwrap();
        fs::create_dir(planted.at("")).unwrap();
        if geteuid().is_root() {
            chown(planted.at(""), Some(NOBODY.user), Some(NOBODY.group)).unwrap();
        }
        planted
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("frr").join(name)
    }

    fn victim(&self) -> std::path::PathBuf {
        self.dir.path().join("victim")
    }
}

#[test]
fn a_regular_file_is_read_up_to_its_limit() {
    let planted = Planted::new();
    fs::write(planted.at("file"), "12345").unwrap();
    for symlinks in [Symlinks::Follow, Symlinks::Reject] {
        assert_eq!(read(&planted.at("file"), symlinks, 5).unwrap(), b"12345");
        let error = read(&planted.at("file"), symlinks, 4).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 4 bytes");
        assert_eq!(read(&planted.at("none"), symlinks, 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    // Its size is unknown, and it never ends.
    assert!(read(Path::new("/dev/zero"), Symlinks::Follow, 4).is_err());
}

#[rstest]
#[case::symlink("link", false)]
#[case::fifo("fifo", true)]
#[case::socket("socket", true)]
#[case::directory("dir", true)]
fn what_is_no_regular_file_is_neither_opened_nor_changed(#[case] name: &str, #[case] also_followed: bool) {
    let planted = Planted::new();
    symlink(planted.victim(), planted.at("link")).unwrap();
    mkfifo(&planted.at("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let _socket = UnixListener::bind(planted.at("socket")).unwrap();
    fs::create_dir(planted.at("dir")).unwrap();
    let path = planted.at(name);
    assert!(open(&path, Symlinks::Reject).is_err());
    assert!(open_to_write(&path).is_err());
    assert!(create_for(&path, 0o600, NOBODY).is_err());
    assert_eq!(open(&path, Symlinks::Follow).is_err(), also_followed);
    let victim = fs::metadata(planted.victim()).unwrap();
    assert_eq!((victim.uid(), fs::read(planted.victim()).unwrap()), (geteuid().as_raw(), b"of root".to_vec()));
}

#[test]
fn only_a_socket_itself_is_connected_to() {
    let planted = Planted::new();
    let _listener = UnixListener::bind(planted.at("socket")).unwrap();
    symlink(planted.at("socket"), planted.at("link")).unwrap();
    let found = FoundSocket::find(&planted.at("socket")).unwrap();
    std::os::unix::net::UnixStream::connect(found.path()).unwrap();
    assert_eq!(FoundSocket::find(&planted.at("link")).unwrap_err().to_string(), "it is not a socket");
    assert_eq!(FoundSocket::find(&planted.at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_symlink_to_a_fifo_is_not_waited_for() {
    let planted = Planted::new();
    mkfifo(&planted.at("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    symlink(planted.at("fifo"), planted.at("link")).unwrap();
    let error = open(&planted.at("link"), Symlinks::Follow).unwrap_err();
    assert_eq!(error.to_string(), "it is not a regular file");
}

#[test]
fn a_directory_is_created_for_its_owner() {
    if !geteuid().is_root() {
        println!("skipped: it takes root to give a directory to another user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/frr");
    for _ in 0..2 {
        create_dir(&path, 0o750, Some(NOBODY)).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (NOBODY.user, NOBODY.group, 0o750));
    }
    assert_eq!(fs::metadata(dir.path().join("run")).unwrap().uid(), 0);
}

#[test]
fn a_symlink_in_place_of_a_directory_is_not_given_away() {
    let planted = Planted::new();
    let victim = planted.dir.path().join("etc");
    fs::create_dir(&victim).unwrap();
    symlink(&victim, planted.at("tmp")).unwrap();
    assert!(create_dir(&planted.at("tmp"), 0o750, Some(NOBODY)).is_err());
    assert_eq!(fs::metadata(&victim).unwrap().uid(), geteuid().as_raw());
}

#[test]
fn a_directory_of_others_is_rejected() {
    let planted = Planted::new();
    let open_to_all = planted.dir.path().join("open");
    fs::create_dir(&open_to_all).unwrap();
    create_dir(&open_to_all, 0o755, None).unwrap();
    fs::set_permissions(&open_to_all, Permissions::from_mode(0o777)).unwrap();
    let error = create_dir(&open_to_all, 0o755, None).unwrap_err().to_string();
    assert!(error.starts_with("it is writable for other users"), "{error}");
    if geteuid().is_root() {
        let error = create_dir(&planted.at(""), 0o755, None).unwrap_err().to_string();
        assert!(error.starts_with("user 65534 owns it"), "{error}");
    }
}
