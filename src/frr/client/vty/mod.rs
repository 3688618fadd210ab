//! The vty of a daemon over its unix socket. In: command lines. Out: for each its reply text and status. Does not interpret
//! the commands.

pub mod framing;

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use self::framing::{FramingError, ReplyDecoder, encode_command};
pub use self::framing::{Reply, ReplyStatus};
use crate::untrusted_file::FoundSocket;

/// Why an exchange with a daemon failed. After any of these the connection cannot be used any more.
#[derive(Debug, Error)]
pub enum VtyError {
    /// No daemon listens.
    #[error("connect to {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The connection failed.
    #[error("exchange commands with {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The daemon closed the connection.
    #[error("{path}: the daemon closed the connection with {missing} replies outstanding")]
    Closed {
        /// The socket.
        path: PathBuf,
        /// Replies that were outstanding.
        missing: usize,
    },
    /// The daemon was too slow.
    #[error("{path}: no reply within {limit:?}")]
    Deadline {
        /// The socket.
        path: PathBuf,
        /// The time limit.
        limit: Duration,
    },
    /// The bytes are not framed as expected.
    #[error("{path}: not a vty reply")]
    Framing {
        /// The socket.
        path: PathBuf,
        /// Cause.
        #[source]
        source: FramingError,
    },
}

/// A connection to one daemon.
#[derive(Debug)]
pub struct Vty {
    path: PathBuf,
    stream: UnixStream,
    decoder: ReplyDecoder,
}

impl Vty {
    /// Connects and enters the privileged mode.
    ///
    /// # Errors
    /// If no daemon listens at `path` or it does not answer within `limit`.
    pub async fn connect(path: &Path, limit: Duration) -> Result<Self, VtyError> {
        let failed = |source| VtyError::Connect { path: path.to_owned(), source };
        let late = |_| VtyError::Deadline { path: path.to_owned(), limit };
        let socket = FoundSocket::find(path).map_err(failed)?;
        let stream = timeout(limit, UnixStream::connect(socket.path())).await.map_err(late)?.map_err(failed)?;
        let mut vty = Self { path: path.to_owned(), stream, decoder: ReplyDecoder::default() };
        vty.run("enable", limit).await?;
        Ok(vty)
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// If the exchange fails; a command that FRR rejects is no error here.
    pub async fn run(&mut self, command: &str, limit: Duration) -> Result<Reply, VtyError> {
        let replies = self.run_all(&[command], limit).await?;
        replies.into_iter().next().ok_or_else(|| self.closed(1))
    }

    /// Sends all commands without waiting in between. Returns one reply for each, in order.
    ///
    /// # Errors
    /// If the exchange fails or takes longer than `limit`; a command that FRR rejects is no error here.
    pub async fn run_all(&mut self, commands: &[&str], limit: Duration) -> Result<Vec<Reply>, VtyError> {
        let mut bytes = Vec::new();
        for command in commands {
            bytes.extend(encode_command(command).map_err(|source| self.framing(source))?);
        }
        match timeout(limit, self.exchange(&bytes, commands.len())).await {
            Ok(result) => result,
            Err(_) => Err(VtyError::Deadline { path: self.path.clone(), limit }),
        }
    }

    /// Reads while writing: a daemon stops reading commands when nobody reads its replies.
    async fn exchange(&mut self, bytes: &[u8], count: usize) -> Result<Vec<Reply>, VtyError> {
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
