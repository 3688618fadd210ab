//! Passwords: in files, laid out as a mounted Secret (`<secrets>/<name>/<key>`), or in a Secret of the API. In: a path or
//! bytes. Out: the secret, or a sentence with the remedy. The clear text is in the returned value only.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::kind::SecretKey;
use crate::types::Secret;

/// `TCP_MD5SIG_MAXKEYLEN` of the kernel.
const MAX_BYTES: usize = 80;

/// Where the secret of `key` is.
pub(crate) fn path(secrets: &Path, key: &SecretKey) -> PathBuf {
    secrets.join(&key.name).join(&key.key)
}

/// Reads a secret. The file is for its owner and group alone, and holds one word.
pub(crate) fn read(path: &Path) -> Result<Secret, String> {
    let at = path.display();
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{at} does not exist: write the password into it, with mode 0600"),
        _ => format!("{at} cannot be read ({error}): make it readable for perouter"),
    })?;
    if !metadata.is_file() {
        return Err(format!("{at} is not a file: write the password into a file of this name"));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(format!(
            "{at} has mode {mode:04o} and is open to every user: chmod 0600 it, or set defaultMode: 0400 where it is mounted"
        ));
    }
    let bytes =
        fs::read(path).map_err(|error| format!("{at} cannot be read ({error}): make it readable for perouter"))?;
    word(&at.to_string(), &bytes)
}

/// The one word that `bytes` hold, which are found `at`.
pub(crate) fn word(at: &str, bytes: &[u8]) -> Result<Secret, String> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        return Err(format!("{at} is empty: write the password into it"));
    }
    if text.len() > MAX_BYTES {
        return Err(format!(
            "{at} has {} bytes: a TCP MD5 password has at most {MAX_BYTES} (RFC 2385, kernel limit)",
            text.len()
        ));
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(format!(
            "{at} holds white space or characters outside of printable ASCII: write one word of letters, digits and signs"
        ));
    }
    String::from_utf8(text.to_vec()).map(Secret::new).map_err(|_| format!("{at} is not ASCII: write one word"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain(b"hunter2", 0o600, Ok("hunter2"))]
    #[case::newline(b"hunter2\n", 0o640, Ok("hunter2"))]
    #[case::signs(b"a!b#c?\r\n", 0o400, Ok("a!b#c?"))]
    #[case::longest(&[b'x'; 80], 0o600, Ok("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))]
    #[case::too_long(&[b'x'; 81], 0o600, Err("F has 81 bytes: a TCP MD5 password has at most 80 (RFC 2385, kernel limit)"))]
    #[case::empty(b"\n", 0o600, Err("F is empty: write the password into it"))]
    #[case::space(
        b"a b",
        0o600,
        Err(
            "F holds white space or characters outside of printable ASCII: write one word of letters, digits and signs"
        )
    )]
    #[case::two_lines(
        b"a\n\n",
        0o600,
        Err(
            "F holds white space or characters outside of printable ASCII: write one word of letters, digits and signs"
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
        let got = read(&file).map(|secret| secret.expose().to_owned());
        let name = file.display().to_string();
        assert_eq!(got, wanted.map(str::to_owned).map_err(|text| text.replacen('F', &name, 1)));
    }

    #[test]
    fn a_missing_file_and_a_directory_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let wanted = format!("{} does not exist: write the password into it, with mode 0600", file.display());
        assert_eq!(read(&file), Err(wanted));
        let wanted = format!("{} is not a file: write the password into a file of this name", dir.path().display());
        assert_eq!(read(dir.path()), Err(wanted));
    }
}
