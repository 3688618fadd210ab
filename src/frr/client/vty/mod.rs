//! The vty of a daemon over its unix socket. In: command lines. Out: for each its reply text and status. It knows the
//! framing and nothing of what the commands mean.
//!
//! A command is its bytes and NUL. A reply is text, three NULs and a status byte. Commands may be sent one after the
//! other without waiting; replies come in order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Why a conversation with a daemon failed. After any of these the connection is of no use.
#[derive(Debug, Error)]
pub enum VtyError {
    /// No daemon listens.
    #[error("connecting to {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("talking to {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The daemon went away.
    #[error("{path}: the daemon closed the connection with {missing} replies to come")]
    Closed {
        /// The socket.
        path: PathBuf,
        /// Replies that were still due.
        missing: usize,
    },
    /// Not in time.
    #[error("{path}: no answer within {limit:?}")]
    Deadline {
        /// The socket.
        path: PathBuf,
        /// The time given.
        limit: Duration,
    },
    /// Not the framing that we know.
    #[error("{path}: not a vty reply")]
    Framing {
        /// The socket.
        path: PathBuf,
        /// Cause.
        #[source]
        source: FramingError,
    },
}

/// What is wrong with the bytes on a vty socket.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// A reply's text ends with three NULs.
    #[error("a NUL that no two others follow")]
    Terminator,
    /// A command would end early.
    #[error("a command with a NUL or line break in it")]
    Command,
}

/// How a daemon took a command (`CMD_*` in FRR's `command.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReplyStatus {
    /// Done.
    Success,
    /// Nothing to do: what it would remove is not there, or it is so already.
    Warning,
    /// No such command in this context.
    Unknown,
    /// More words are needed.
    Incomplete,
    /// Understood and refused; the text tells why.
    Refused,
    /// Any other.
    Other(u8),
}

impl From<u8> for ReplyStatus {
    fn from(byte: u8) -> Self {
        match byte {
            0 => Self::Success,
            1 => Self::Warning,
            2 => Self::Unknown,
            4 => Self::Incomplete,
            13 => Self::Refused,
            other => Self::Other(other),
        }
    }
}

impl ReplyStatus {
    /// The state after the command is the one asked for.
    pub fn is_ok(self) -> bool {
        matches!(self, Self::Success | Self::Warning)
    }
}

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What a person at a terminal would see.
    pub text: String,
    /// How it went.
    pub status: ReplyStatus,
}

/// Takes bytes as they come and gives replies as they are complete.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Where the next reply begins.
    start: usize,
    /// Bytes from there to this one are known not to be NUL.
    seen: usize,
}

/// NULs at the end of a reply's text, before the status byte.
const TERMINATOR: usize = 3;
/// Bytes that are read at once, at least.
const ROOM: usize = 4096;

impl Decoder {
    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Where more bytes are to be appended.
    fn room(&mut self) -> &mut Vec<u8> {
        self.bytes.reserve(ROOM);
        &mut self.bytes
    }

    /// The next complete reply.
    ///
    /// # Errors
    /// If the bytes are not framed as vty replies.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, FramingError> {
        let rest = self.bytes.get(self.seen..).unwrap_or_default();
        let Some(at) = memchr::memchr(0, rest) else {
            self.seen = self.bytes.len();
            return Ok(None);
        };
        let end = self.seen + at;
        self.seen = end;
        let Some(trailer) = self.bytes.get(end..=end + TERMINATOR) else { return Ok(None) };
        let (nuls, status) = trailer.split_at(TERMINATOR);
        if nuls.iter().any(|byte| *byte != 0) {
            return Err(FramingError::Terminator);
        }
        let status = ReplyStatus::from(status.first().copied().unwrap_or_default());
        let next = end + TERMINATOR + 1;
        let text = if self.start == 0 && next == self.bytes.len() {
            // A configuration of hundreds of IP-VRFs is not copied, nor is its room held for the next short answer.
            let mut text = std::mem::take(&mut self.bytes);
            text.truncate(end);
            text
        } else {
            self.bytes.get(self.start..end).unwrap_or_default().to_vec()
        };
        let is_last = next >= self.bytes.len();
        if is_last {
            self.bytes = Vec::new();
        }
        self.start = if is_last { 0 } else { next };
        self.seen = self.start;
        let text =
            String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(Some(Reply { text, status }))
    }
}

/// The bytes of one command.
///
/// # Errors
/// If the command holds a NUL or a line break, which would make two of one.
pub fn encode(command: &str, out: &mut Vec<u8>) -> Result<(), FramingError> {
    if command.contains(['\0', '\n', '\r']) {
        return Err(FramingError::Command);
    }
    out.extend_from_slice(command.as_bytes());
    out.push(0);
    Ok(())
}

/// A connection to one daemon.
#[derive(Debug)]
pub struct Vty {
    path: PathBuf,
    stream: UnixStream,
    decoder: Decoder,
}

impl Vty {
    /// Connects and goes to the privileged mode.
    ///
    /// # Errors
    /// If no daemon listens at `path` or it does not answer within `limit`.
    pub async fn connect(path: &Path, limit: Duration) -> Result<Self, VtyError> {
        let failed = |source| VtyError::Connect { path: path.to_owned(), source };
        let late = |_| VtyError::Deadline { path: path.to_owned(), limit };
        let stream = timeout(limit, UnixStream::connect(path)).await.map_err(late)?.map_err(failed)?;
        let mut vty = Self { path: path.to_owned(), stream, decoder: Decoder::default() };
        vty.run("enable", limit).await?;
        Ok(vty)
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// If the conversation fails; a command that FRR refuses is no error here.
    pub async fn run(&mut self, command: &str, limit: Duration) -> Result<Reply, VtyError> {
        let replies = self.run_all(&[command], limit).await?;
        replies.into_iter().next().ok_or_else(|| self.closed(1))
    }

    /// Sends all commands without waiting in between, and gives one reply for each, in order.
    ///
    /// # Errors
    /// If the conversation fails or is not over within `limit`; a command that FRR refuses is no error here.
    pub async fn run_all(&mut self, commands: &[&str], limit: Duration) -> Result<Vec<Reply>, VtyError> {
        let mut bytes = Vec::new();
        for command in commands {
            encode(command, &mut bytes).map_err(|source| self.framing(source))?;
        }
        match timeout(limit, self.converse(&bytes, commands.len())).await {
            Ok(result) => result,
            Err(_) => Err(VtyError::Deadline { path: self.path.clone(), limit }),
        }
    }

    /// Reads while writing: a daemon stops reading commands when nobody reads its replies.
    async fn converse(&mut self, bytes: &[u8], count: usize) -> Result<Vec<Reply>, VtyError> {
        let path = self.path.clone();
        let io = |source| VtyError::Io { path: path.clone(), source };
        let Self { stream, decoder, .. } = self;
        let (mut reader, mut writer) = stream.split();
        let write = async { writer.write_all(bytes).await.map_err(io) };
        let read = async {
            let mut replies = Vec::with_capacity(count);
            while replies.len() < count {
                let next = decoder.next_reply().map_err(|source| VtyError::Framing { path: path.clone(), source })?;
                if let Some(reply) = next {
                    replies.push(reply);
                    continue;
                }
                if reader.read_buf(decoder.room()).await.map_err(io)? == 0 {
                    return Err(VtyError::Closed { path: path.clone(), missing: count - replies.len() });
                }
            }
            Ok(replies)
        };
        let ((), replies) = tokio::try_join!(write, read)?;
        Ok(replies)
    }

    fn closed(&self, missing: usize) -> VtyError {
        VtyError::Closed { path: self.path.clone(), missing }
    }

    fn framing(&self, source: FramingError) -> VtyError {
        VtyError::Framing { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
