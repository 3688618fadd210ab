//! What the NICs had in the host namespace before they were moved: a file, so that it outlives a crash. In: netlink
//! messages of addresses and routes. Out: the same. Talks to no kernel.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use netlink_packet_core::{Emitable, Parseable};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::route::RouteMessage;
use serde::{Deserialize, Serialize};

use super::error::RecordError;
use crate::atomic_file;
use crate::types::IfName;

/// Version of the file.
pub const VERSION: u32 = 1;

/// The moved NICs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// By name.
    pub nics: BTreeMap<IfName, NicRecord>,
}

/// What was read last: the text of the file, if there was one, and what it says.
pub type Known = Option<(Option<String>, Arc<Record>)>;

/// What one NIC had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicRecord {
    /// How far its move is.
    pub phase: Phase,
    /// Its ifindex, which the routes below speak of.
    pub index: u32,
    /// MTU in bytes.
    pub mtu: u32,
    /// Whether it was up.
    pub up: bool,
    /// `IFLA_INET6_ADDR_GEN_MODE`; absent where it had no IPv6.
    pub addrgen: Option<u8>,
    /// Its addresses.
    pub addresses: Vec<Raw>,
    /// The routes that named it, but those that the kernel makes itself.
    pub routes: Vec<Raw>,
    /// Its settings below `/proc/sys/net`.
    pub settings: BTreeMap<PathBuf, String>,
}

/// How far the move of a NIC is. What is not finished is finished by the next move or return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// On its way into the router namespace.
    Taking,
    /// There with all that it had.
    Taken,
    /// On its way back.
    Returning,
}

/// A netlink message, exact, and with a text for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raw {
    text: String,
    netlink: String,
}

impl Raw {
    fn new(text: String, message: &impl Emitable) -> Self {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
        Self { text, netlink: bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect() }
    }

    /// Of an address.
    pub fn address(text: String, message: &AddressMessage) -> Self {
        Self::new(text, message)
    }

    /// Of a route.
    pub fn route(text: String, message: &RouteMessage) -> Self {
        Self::new(text, message)
    }

    /// The message.
    pub fn decode<T: Parseable<[u8]>>(&self, nic: &IfName) -> Result<T, RecordError> {
        let digits = self.netlink.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        let decoded = bytes.and_then(|bytes| T::parse(bytes.as_slice()).ok());
        decoded.ok_or_else(|| RecordError::Message(nic.clone()))
    }
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    move |source| RecordError::File { action, path: path.to_owned(), source }
}

impl Record {
    /// Reads the file; an empty record where there is none.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        Self::parse(path, Self::text(path)?.as_deref())
    }

    /// The same value again where the file is as it was read last.
    pub fn read_after(path: &Path, last: &mut Known) -> Result<Arc<Self>, RecordError> {
        let text = Self::text(path)?;
        if let Some((_, known)) = last.as_ref().filter(|(known, _)| *known == text) {
            return Ok(Arc::clone(known));
        }
        let record = Arc::new(Self::parse(path, text.as_deref())?);
        *last = Some((text, Arc::clone(&record)));
        Ok(record)
    }

    fn text(path: &Path) -> Result<Option<String>, RecordError> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => text.map(Some).map_err(file_error("read", path)),
        }
    }

    fn parse(path: &Path, text: Option<&str>) -> Result<Self, RecordError> {
        let Some(text) = text else { return Ok(Self::default()) };
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
            phase: Phase::Taking,
            index: 7,
            mtu: 9000,
            up: true,
            addrgen: Some(1),
            addresses: vec![Raw { text: "192.0.2.1/24".into(), netlink: "0218".into() }],
            routes: vec![],
            settings: BTreeMap::new(),
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
    fn another_version_and_broken_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nics.json");
        fs::write(&path, r#"{"version": 7, "nics": {}}"#).unwrap();
        assert!(matches!(Record::read(&path), Err(RecordError::Version { version: 7, .. })));
        fs::write(&path, "{").unwrap();
        assert!(matches!(Record::read(&path), Err(RecordError::Contents { .. })));
    }
}
