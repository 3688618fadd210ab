//! FRR's log files, forwarded as structured events. In: the files that the daemons write. Out: `tracing` events with the
//! targets `frr::<daemon>`. Files and not pipes, since a pipe would break when this process exits and the daemons stay.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::printable::{masked, printable};
use crate::runtime::{Daemon, Runtime};
use crate::untrusted_file;
use crate::write_watch::{WatchedFile, WriteWatch};

/// A file that is larger is truncated.
const MAX_FILE: u64 = 4 << 20;
/// So much of a file is read at once, at most.
const MAX_READ: u64 = 256 << 10;
/// So often in a row: a file of [`MAX_FILE`].
const READS: u64 = MAX_FILE / MAX_READ;
/// What is written within so long is read at once.
const COALESCE: Duration = Duration::from_millis(200);
/// The files are read this often where inotify does not report writes.
const POLL: Duration = Duration::from_millis(500);
/// And this often where it does: the directory may have been replaced.
const SLOW_POLL: Duration = Duration::from_secs(10);

/// When the daemons write.
#[derive(Debug)]
struct LogWrites {
    watch: Arc<WriteWatch>,
    directory: Option<WatchedFile>,
}

impl LogWrites {
    fn start(runtime: &Runtime) -> Self {
        let watch = WriteWatch::start();
        let directory = File::open(runtime.log_dir()).ok().map(|directory| watch.watch(directory));
        Self { watch, directory }
    }

    /// Waits until the files are to be read.
    async fn next(&self) {
        if !self.directory.as_ref().is_some_and(WatchedFile::is_watched) {
            return sleep(POLL).await;
        }
        if timeout(SLOW_POLL, self.watch.written()).await.is_ok() {
            sleep(COALESCE).await;
        }
    }
}

/// The log files of all daemons, and how far each was read.
#[derive(Debug, Default)]
pub(crate) struct Logs(BTreeMap<Daemon, Tail>);

#[derive(Debug)]
struct Tail {
    path: PathBuf,
    position: u64,
    /// The last read had more to read than [`MAX_READ`].
    is_behind: bool,
}

impl Logs {
    /// Begins at the end of the files: earlier lines were forwarded by an earlier process.
    pub fn at_end(runtime: &Runtime, daemons: &[Daemon]) -> Self {
        let tail = |path: PathBuf| Tail { position: path.metadata().map_or(0, |m| m.len()), path, is_behind: false };
        Self(daemons.iter().map(|daemon| (*daemon, tail(runtime.log_file(*daemon)))).collect())
    }

    /// Forwards what the daemons of this router write until `stop`. Its directory of logs exists. Must be called within a tokio
    /// runtime.
    pub async fn forward_until(mut self, runtime: Runtime, stop: CancellationToken) {
        let writes = LogWrites::start(&runtime);
        while !stop.is_cancelled() {
            self = self.forwarded().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = writes.next() => {}
            }
        }
        self.forwarded().await;
    }

    /// On a thread for that: a file system may be slow.
    async fn forwarded(mut self) -> Self {
        let forwarded = tokio::task::spawn_blocking(move || {
            self.forward();
            self
        });
        forwarded.await.unwrap_or_default()
    }

    /// Forwards what was written since.
    fn forward(&mut self) {
        for (daemon, tail) in &mut self.0 {
            for _ in 0..READS {
                match tail.advance() {
                    // A peer supplies parts of it, and with `log commands` FRR writes passwords.
                    Ok(text) => masked(&text).lines().for_each(|line| emit(*daemon, &parse(&printable(line)))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => tail.position = 0,
                    Err(error) => {
                        tracing::warn!(%daemon, path = %tail.path.display(), %error, "log file cannot be read");
                    }
                }
                if !tail.is_behind {
                    break;
                }
            }
        }
    }
}

impl Tail {
    /// The complete lines since the last time.
    fn advance(&mut self) -> io::Result<String> {
        self.is_behind = false;
        let mut file = untrusted_file::open_to_write(&self.path)?;
        let length = file.metadata()?.len();
        if length == self.position && length <= MAX_FILE {
            return Ok(String::new());
        }
        if length < self.position {
            self.position = 0;
        }
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        (&file).take(MAX_READ).read_to_end(&mut bytes)?;
        self.is_behind = bytes.len() as u64 == MAX_READ;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let endless = whole == 0 && bytes.len() as u64 == MAX_READ;
        if !endless {
            bytes.truncate(whole);
        }
        self.position += bytes.len() as u64;
        // FRR appends, so the next line is written at the new end. Lines of a daemon that writes faster than is read are lost.
        if length > MAX_FILE && (self.position >= length || length > 4 * MAX_FILE) {
            file.set_len(0)?;
            self.position = 0;
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// How severe a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// `errors` and worse.
    Error,
    /// `warnings`, or a line with an error code.
    Warning,
    /// `informational`, `notifications`, or not said.
    Info,
    /// `debugging`
    Debug,
}

/// A line of FRR: `DATE TIME [SEVERITY: ]PROTOCOL: [ID][EC CODE] TEXT`.
#[derive(Debug, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// How severe it is.
    pub severity: Severity,
    /// The unique id of the message in FRR's source.
    pub id: Option<&'a str>,
    /// The text.
    pub text: &'a str,
}

/// Reads a line; one of another form is its own text.
pub fn parse(line: &str) -> LogRecord<'_> {
    let has_date = line.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let mut rest = if has_date { line.splitn(3, ' ').nth(2).unwrap_or(line) } else { line };
    // `log record-priority` writes the severity. Without it only errors and warnings are recognised, by the error code.
    let mut named = None;
    if let Some((word, tail)) = rest.split_once(": ") {
        named = match word {
            "emergencies" | "alerts" | "critical" | "errors" => Some(Severity::Error),
            "warnings" => Some(Severity::Warning),
            "notifications" | "informational" => Some(Severity::Info),
            "debugging" => Some(Severity::Debug),
            _ => None,
        };
        rest = if named.is_some() { tail } else { rest };
    }
    if let Some((word, tail)) = rest.split_once(": ")
        && has_date
        && !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    {
        rest = tail;
    }
    let (id, text) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((id, text)) if id.len() == 11 => (Some(id), text.trim_start()),
        _ => (None, rest),
    };
    let coded = if text.starts_with("[EC ") { Severity::Warning } else { Severity::Info };
    LogRecord { severity: named.unwrap_or(coded), id, text }
}

macro_rules! emit_as {
    ($target:literal, $record:expr) => {
        match $record.severity {
            Severity::Error => tracing::error!(target: $target, id = $record.id, "{}", $record.text),
            Severity::Warning => tracing::warn!(target: $target, id = $record.id, "{}", $record.text),
            Severity::Info => tracing::info!(target: $target, id = $record.id, "{}", $record.text),
            Severity::Debug => tracing::debug!(target: $target, id = $record.id, "{}", $record.text),
        }
    };
}

/// One call site for each daemon: a target is a constant.
fn emit(daemon: Daemon, record: &LogRecord<'_>) {
    match daemon {
        Daemon::Mgmtd => emit_as!("frr::mgmtd", record),
        Daemon::Zebra => emit_as!("frr::zebra", record),
        Daemon::Bgpd => emit_as!("frr::bgpd", record),
        Daemon::Bfdd => emit_as!("frr::bfdd", record),
        Daemon::Staticd => emit_as!("frr::staticd", record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::fs::OpenOptions;
    use std::io::Write;

    #[rstest]
    #[case(
        "2026/11/20 12:28:01 ZEBRA: [T83RR-8SM5G] zebra 8.4.4 starting: vty@0",
        Severity::Info,
        Some("T83RR-8SM5G"),
        "zebra 8.4.4 starting: vty@0"
    )]
    #[case(
        "2026/11/20 12:28:01 ZEBRA: [NNACN-54BDA][EC 4043309110] Disabling MPLS support",
        Severity::Warning,
        Some("NNACN-54BDA"),
        "[EC 4043309110] Disabling MPLS support"
    )]
    #[case("2026/11/20 12:28:01 errors: BGP: [AAAAA-BBBBB] lost", Severity::Error, Some("AAAAA-BBBBB"), "lost")]
    #[case("Received signal 6: aborting", Severity::Info, None, "Received signal 6: aborting")]
    #[case("2026/11/20", Severity::Info, None, "2026/11/20")]
    fn a_line_is_parsed(#[case] line: &str, #[case] severity: Severity, #[case] id: Option<&str>, #[case] text: &str) {
        assert_eq!(parse(line), LogRecord { severity, id, text });
    }

    #[test]
    fn a_symlink_or_fifo_in_place_of_a_log_is_an_error_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, log) = (dir.path().join("victim"), dir.path().join("zebra.log"));
        std::fs::File::create(&victim).unwrap().set_len(5 * MAX_FILE).unwrap();
        std::os::unix::fs::symlink(&victim, &log).unwrap();
        let mut tail = Tail { path: log.clone(), position: 0, is_behind: false };
        assert_eq!(tail.advance().unwrap_err().to_string(), "it is not a regular file");
        assert_eq!(victim.metadata().unwrap().len(), 5 * MAX_FILE);
        std::fs::remove_file(&log).unwrap();
        nix::unistd::mkfifo(&log, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(tail.advance().unwrap_err().to_string(), "it is not a regular file");
    }

    #[test]
    fn complete_lines_are_read_once_and_a_large_file_is_truncated() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut tail = Tail { path: file.path().to_owned(), position: 0, is_behind: false };
        let mut append = OpenOptions::new().append(true).open(file.path()).unwrap();
        append.write_all(b"one\ntwo\nthr").unwrap();
        assert_eq!(tail.advance().unwrap(), "one\ntwo\n");
        append.write_all(b"ee\n").unwrap();
        assert_eq!(tail.advance().unwrap(), "three\n");
        assert_eq!(tail.advance().unwrap(), "");
        file.as_file_mut().set_len(MAX_FILE + 1).unwrap();
        tail.position = MAX_FILE + 1;
        assert_eq!(tail.advance().unwrap(), "");
        assert_eq!(file.as_file().metadata().unwrap().len(), 0);
        append.write_all(b"four\n").unwrap();
        assert_eq!(tail.advance().unwrap(), "four\n");
    }

    #[test]
    fn a_burst_is_read_to_its_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let length = 3 * usize::try_from(MAX_READ).unwrap();
        file.write_all("a line\n".repeat(length / 7 + 1).as_bytes()).unwrap();
        let tail = Tail { path: file.path().to_owned(), position: 0, is_behind: false };
        let mut logs = Logs([(Daemon::Bgpd, tail)].into());
        logs.forward();
        assert!(logs.0[&Daemon::Bgpd].position >= length as u64);
    }
}
