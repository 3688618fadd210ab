//! What the NICs had in the host namespace before they were moved: a file, so that it survives a crash. In and out: saved
//! addresses, routes and settings. Sends nothing to the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::netlink::saved_link::SavedLink;
use super::netlink::saved_message::{MalformedMessage, SavedMessage};
use super::nic_setting::NicSettings;
use crate::atomic_file::{self, ReplaceError};
use crate::memo::Memo;
use crate::types::{IfName, MacAddr};

/// Version of the file.
const VERSION: u32 = 1;

/// Why the record of moved NICs could not be read or written.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The file.
    #[error("{action} {path}")]
    File {
        /// The action that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
    /// It could not be replaced.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// Its contents.
    #[error("{path} is not a record of moved NICs of version {VERSION}")]
    Contents {
        /// The file.
        path: PathBuf,
        /// Its error.
        source: serde_json::Error,
    },
    /// Written by another version.
    #[error("{path} has version {version}, this is {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        version: u32,
    },
    /// An address or route in it.
    #[error("the record of NIC {nic} has an address or route that cannot be read")]
    Message {
        /// The NIC.
        nic: IfName,
        /// Its error.
        source: MalformedMessage,
    },
}

impl RecordError {
    /// Whether the file is no record: it will not become one by itself.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Contents { .. })
    }
}

/// The moved NICs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// By name.
    pub nics: BTreeMap<IfName, NicRecord>,
}

/// The record that was read last, by the text of the file, if there was one.
#[derive(Debug, Default)]
pub struct RecordCache(Memo<Option<String>, Arc<Record>>);

/// What one NIC had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicRecord {
    /// The phase of its move.
    pub phase: MovePhase,
    /// Its ifindex, to which the routes below refer.
    pub index: u32,
    /// MTU in bytes.
    pub mtu: u32,
    /// Whether it was up.
    pub up: bool,
    /// `IFLA_INET6_ADDR_GEN_MODE`; absent where it had no IPv6.
    pub addrgen: Option<u8>,
    /// Its MAC address: another device in its place is not given what only this one had.
    #[serde(default)]
    pub mac: Option<MacAddr>,
    /// Its ifindex in the router, by which it is found where somebody renamed it.
    #[serde(default)]
    pub router_index: Option<u32>,
    /// The name of its master.
    #[serde(default)]
    pub master: Option<String>,
    /// Its alternative names.
    #[serde(default)]
    pub altnames: BTreeSet<String>,
    /// The devices on top of it.
    #[serde(default)]
    pub stacked: Vec<SavedLink>,
    /// Its addresses, but for those that the kernel generates.
    pub addresses: Vec<SavedMessage>,
    /// The routes that named it, except for those that the kernel adds itself.
    pub routes: Vec<SavedMessage>,
    /// Its settings below `/proc/sys/net`.
    pub settings: NicSettings,
}

/// The phase of the move of a NIC. An interrupted move is completed by the next move or return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MovePhase {
    /// On its way into the router namespace.
    Taking,
    /// There with all that it had.
    Taken,
    /// On its way back.
    Returning,
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    move |source| RecordError::File { action, path: path.to_owned(), source }
}

impl RecordCache {
    /// What was read last.
    pub fn last(&self) -> Option<Arc<Record>> {
        self.0.last().map(|(_, record)| Arc::clone(record))
    }

    /// Reads the file; the same value again where it has not changed.
    pub fn read(&mut self, path: &Path) -> Result<Arc<Record>, RecordError> {
        let text = Record::text(path)?;
        if let Some(record) = self.0.get(&text) {
            return Ok(Arc::clone(record));
        }
        let record = match &text {
            Some(text) => Record::parse(path, text)?,
            None => Record::default(),
        };
        let record = Arc::new(record);
        self.0.set(text, Arc::clone(&record));
        Ok(record)
    }
}

impl Record {
    /// Reads the file; an empty record where there is none.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        Self::text(path)?.map_or_else(|| Ok(Self::default()), |text| Self::parse(path, &text))
    }

    /// Keeps a file that is no record beside the one that is written in its place, for whoever wants to repair it.
    pub fn set_aside(path: &Path) -> Result<PathBuf, RecordError> {
        let aside = path.with_extension("json.broken");
        fs::rename(path, &aside).map_err(file_error("rename", path))?;
        Ok(aside)
    }

    fn text(path: &Path) -> Result<Option<String>, RecordError> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => text.map(Some).map_err(file_error("read", path)),
        }
    }

    /// The record in the text of the file.
    pub fn parse(path: &Path, text: &str) -> Result<Self, RecordError> {
        let record: Self =
            serde_json::from_str(text).map_err(|source| RecordError::Contents { path: path.to_owned(), source })?;
        if record.version != VERSION {
            return Err(RecordError::Version { path: path.to_owned(), version: record.version });
        }
        Ok(record)
    }

    /// Replaces the file. An empty record is no file.
    pub fn write(&mut self, path: &Path) -> Result<(), RecordError> {
        if self.nics.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error("remove", path)(error)),
                _ => Ok(()),
            };
        }
        self.version = VERSION;
        let contents = |source| RecordError::Contents { path: path.to_owned(), source };
        let mut text = serde_json::to_vec_pretty(self).map_err(contents)?;
        text.push(b'\n');
        Ok(atomic_file::replace(path, 0o600, &text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/nics.json");
        assert_eq!(Record::read(&path).unwrap(), Record::default());
        let nic = NicRecord {
            phase: MovePhase::Taking,
            index: 7,
            mtu: 9000,
            up: true,
            addrgen: Some(1),
            mac: None,
            router_index: None,
            master: None,
            altnames: BTreeSet::new(),
            stacked: vec![],
            addresses: vec![serde_json::from_str(r#"{"text": "192.0.2.1/24", "netlink": "0218"}"#).unwrap()],
            routes: vec![],
            settings: NicSettings::default(),
        };
        let mut record = Record::default();
        record.nics.insert("eth1".parse().unwrap(), nic);
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), record);
        record.nics.clear();
        record.write(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn another_version_and_malformed_files_are_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nics.json");
        fs::write(&path, r#"{"version": 7, "nics": {}}"#).unwrap();
        assert!(matches!(Record::read(&path), Err(RecordError::Version { version: 7, .. })));
        fs::write(&path, "{").unwrap();
        assert!(matches!(Record::read(&path), Err(RecordError::Contents { .. })));
    }
}
