//! A connection to the database: JSON-RPC (RFC 7047 section 4) on a Unix socket. In: requests. Out: messages, in the order in which they
//! arrive. Decides nothing.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::error::OvsError;
use super::framing::Framing;

/// Longest message that is accepted, in bytes: longer than any database of a node.
const LONGEST: usize = 256 << 20;

/// How long the server may not read.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// A message of the server.
#[derive(Debug)]
pub enum Message {
    /// Table updates of the monitor.
    Update(Value),
    /// The answer to the request of this number.
    Reply(u64, Result<Value, OvsError>),
    /// The server wants this back.
    Echo(Value),
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    framing: Framing,
    requests: u64,
}

impl Connection {
    /// Connects.
    pub async fn open(socket: &Path) -> Result<Self, OvsError> {
        let failed = |source| match deleted_directory(socket) {
            Some(path) => OvsError::DeletedDirectory { path, source },
            None => OvsError::Unreachable { path: socket.to_owned(), source },
        };
        let stream = UnixStream::connect(socket).await.map_err(failed)?;
        Ok(Self { stream, framing: Framing::default(), requests: 0 })
    }

    /// Sends a request. Returns its number.
    pub async fn request(&mut self, method: &str, params: &Value) -> Result<u64, OvsError> {
        self.requests += 1;
        self.send(&json!({"method": method, "params": params, "id": self.requests})).await?;
        Ok(self.requests)
    }

    /// Answers an echo.
    pub async fn answer(&mut self, echo: &Value) -> Result<(), OvsError> {
        self.send(&json!({"result": echo["params"], "error": null, "id": echo["id"]})).await
    }

    async fn send(&mut self, message: &Value) -> Result<(), OvsError> {
        let bytes = message.to_string().into_bytes();
        let sent = timeout(WRITE_LIMIT, self.stream.write_all(&bytes)).await;
        sent.map_err(|_| OvsError::NoAnswer)?.map_err(OvsError::Connection)
    }

    /// The next message. Nothing is lost where this is cancelled.
    pub async fn next_message(&mut self) -> Result<Message, OvsError> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            while let Some(message) = self.framing.next_message() {
                if let Some(message) = read(serde_json::from_slice(&message)?)? {
                    return Ok(message);
                }
            }
            if self.framing.waiting() > LONGEST {
                return Err(OvsError::Unexpected("message, which is too long"));
            }
            match self.stream.read(&mut bytes).await.map_err(OvsError::Connection)? {
                0 => return Err(OvsError::Closed),
                count => self.framing.extend(&bytes[..count]),
            }
        }
    }
}

/// The directory of a socket, where it was deleted and is seen by a mount only: what is made in its place is not seen.
fn deleted_directory(socket: &Path) -> Option<PathBuf> {
    let directory = socket.parent()?;
    let is_deleted = std::fs::metadata(directory).is_ok_and(|found| found.nlink() == 0);
    is_deleted.then(|| directory.to_owned())
}

/// `None`: a notification of which nothing depends.
fn read(message: Value) -> Result<Option<Message>, OvsError> {
    match message["method"].as_str() {
        Some("update") => Ok(Some(Message::Update(message["params"][1].clone()))),
        Some("echo") => Ok(Some(Message::Echo(message))),
        Some(_) => Ok(None),
        None => {
            let id = message["id"].as_u64().ok_or(OvsError::Unexpected("message"))?;
            let result = if message["error"].is_null() {
                Ok(message["result"].clone())
            } else {
                Err(rejected(&message["error"]))
            };
            Ok(Some(Message::Reply(id, result)))
        }
    }
}

/// The error of a request, or of an operation in a transaction.
pub fn rejected(error: &Value) -> OvsError {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match error.as_object() {
        Some(fields) => OvsError::Rejected {
            error: text(fields.get("error").unwrap_or(&Value::Null)),
            details: text(fields.get("details").unwrap_or(&Value::Null)),
        },
        None => OvsError::Rejected { error: text(error), details: "no details".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[tokio::test]
    async fn a_directory_that_was_deleted_on_the_node_is_named() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("openvswitch");
        std::fs::create_dir(&directory).unwrap();
        // As a mount it shows what was deleted.
        let open = std::fs::File::open(&directory).unwrap();
        let seen = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
        let socket = seen.join("db.sock");
        let error = Connection::open(&socket).await.unwrap_err();
        assert!(matches!(error, OvsError::Unreachable { path, .. } if path == socket));
        std::fs::remove_dir(&directory).unwrap();
        let error = Connection::open(&socket).await.unwrap_err();
        assert!(matches!(error, OvsError::DeletedDirectory { path, .. } if path == seen));
    }
}
