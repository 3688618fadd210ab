//! Passwords: in files, laid out as a mounted Secret (`<secrets>/<name>/<key>`), or in a Secret of the API. In: a path or bytes.
//! Out: the password, or why it is unusable and the remedy. No error may quote the password.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::kind::SecretKey;
use crate::types::Secret;
use crate::untrusted_file::{self, Symlinks};

/// Bytes of a file with a password, at most.
const MAX_FILE: u64 = 4096;

/// `TCP_MD5SIG_MAXKEYLEN` of the kernel.
const MAX_BYTES: usize = 80;

/// Why bytes are not a password. The message continues a sentence that begins with where they are.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum PasswordError {
    /// There are no bytes.
    #[error("is empty: write the password into it")]
    Empty,
    /// It is longer than the kernel accepts.
    #[error("has {0} bytes: a TCP MD5 password has at most {MAX_BYTES} (RFC 2385, kernel limit)")]
    TooLong(usize),
    /// FRR reads the password as one word of a command.
    #[error(
        "contains white space or characters outside printable ASCII: write one word of letters, digits and punctuation"
    )]
    NotPrintable,
    /// The data of a Secret is not encoded.
    #[error("is not base64")]
    NotBase64,
}

/// Why a file is not a password.
#[derive(Debug, Error)]
pub(crate) enum SecretFileError {
    /// There is no such file.
    #[error("{} does not exist: write the password into it, with mode 0600", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{} cannot be read ({source}): make it readable for perouter", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is a directory, a socket or the like.
    #[error("{} is not a file: write the password into a file of this name", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Every user may read or write it.
    #[error(
        "{} has mode {mode:04o} and is open to every user: chmod 0600 it, or set defaultMode: 0400 where it is mounted",
        path.display()
    )]
    OpenToAll {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is much longer than a password.
    #[error("{} has more than {MAX_FILE} bytes: write nothing but the password into it", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Its content is not a password.
    #[error("{} {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: PasswordError,
    },
}

/// The file of a key of a Secret.
pub(crate) fn path(secrets: &Path, key: &SecretKey) -> PathBuf {
    secrets.join(&key.name).join(&key.key)
}

/// Reads a password file, which must be accessible to its owner and group only.
pub(crate) fn read(path: &Path) -> Result<Secret, SecretFileError> {
    let at = || path.to_owned();
    let file = untrusted_file::open(path, Symlinks::Follow).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SecretFileError::Missing { path: at() },
        io::ErrorKind::InvalidInput => SecretFileError::NotAFile { path: at() },
        _ => SecretFileError::Unreadable { path: at(), source },
    })?;
    let unreadable = |source| SecretFileError::Unreadable { path: at(), source };
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(SecretFileError::OpenToAll { path: at(), mode });
    }
    let bytes = untrusted_file::read_open(&file, MAX_FILE).map_err(|source| match source.kind() {
        io::ErrorKind::FileTooLarge => SecretFileError::TooLarge { path: at() },
        _ => SecretFileError::Unreadable { path: at(), source },
    })?;
    password(&bytes).map_err(|source| SecretFileError::Content { path: at(), source })
}

/// The password in `bytes`, without a line end.
///
/// # Errors
/// Why FRR and the kernel would not accept it.
pub fn password(bytes: &[u8]) -> Result<Secret, PasswordError> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        return Err(PasswordError::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(PasswordError::TooLong(text.len()));
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(PasswordError::NotPrintable);
    }
    String::from_utf8(text.to_vec()).map(Secret::new).map_err(|_| PasswordError::NotPrintable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::fs;

    #[rstest]
    #[case::plain(b"hunter2", 0o600, Ok("hunter2"))]
    #[case::newline(b"hunter2\n", 0o640, Ok("hunter2"))]
    #[case::punctuation(b"a!b#c?\r\n", 0o400, Ok("a!b#c?"))]
    #[case::longest(&[b'x'; 80], 0o600, Ok("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))]
    #[case::too_long(&[b'x'; 81], 0o600, Err("F has 81 bytes: a TCP MD5 password has at most 80 (RFC 2385, kernel limit)"))]
    #[case::no_password(&[b'x'; 4097], 0o600, Err("F has more than 4096 bytes: write nothing but the password into it"))]
    #[case::empty(b"\n", 0o600, Err("F is empty: write the password into it"))]
    #[case::space(
        b"a b",
        0o600,
        Err(
            "F contains white space or characters outside printable ASCII: write one word of letters, digits and punctuation"
        )
    )]
    #[case::two_lines(
        b"a\n\n",
        0o600,
        Err(
            "F contains white space or characters outside printable ASCII: write one word of letters, digits and punctuation"
        )
    )]
    #[case::open(
        b"a",
        0o644,
        Err("F has mode 0644 and is open to every user: chmod 0600 it, or set defaultMode: 0400 where it is mounted")
    )]
    fn a_password_file_is_private_and_one_word(
        #[case] bytes: &[u8],
        #[case] mode: u32,
        #[case] wanted: Result<&str, &str>,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let got = read(&file).map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string());
        let name = file.display().to_string();
        assert_eq!(got, wanted.map(str::to_owned).map_err(|text| text.replacen('F', &name, 1)));
    }

    #[test]
    fn errors_of_a_missing_file_and_of_a_directory_name_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let wanted = format!("{} does not exist: write the password into it, with mode 0600", file.display());
        let message = |path: &Path| read(path).map_err(|error| error.to_string());
        assert_eq!(message(&file), Err(wanted));
        let wanted = format!("{} is not a file: write the password into a file of this name", dir.path().display());
        assert_eq!(message(dir.path()), Err(wanted));
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let wanted = format!("{} is not a file: write the password into a file of this name", file.display());
        assert_eq!(message(&file), Err(wanted));
    }
}
