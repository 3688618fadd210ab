//! Files of a running lab: `/run/clab/<lab>/`.
//!
//! In: a lab's name. Out: its folder and its [`LabRecord`]. It must not store what the kernel knows: processes and
//! namespaces are read from the kernel, so that an incomplete record does no harm.
//!
//! ```text
//! /run/clab/<lab>/lab.json            the record, written before anything else is created
//! /run/clab/<lab>/nodes/<node>/root   the node mounts its root here, visible only to itself
//! /run/clab/<lab>/nodes/<node>/hosts  /etc/hosts of the node
//! /run/clab/<lab>/nodes/<node>/log/   /var/log/frr of the node, and the logs of processes that the runner started
//! ```

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::topology::{LabName, NodeName, NodeSpec, Topology};

const STATE: &str = "/run/clab";

/// A lab's folder and record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or folder could not be created, read or removed.
    #[error("cannot access {}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The record has another format.
    #[error("{} is not the record of a lab", path.display())]
    Record {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// What is needed of a running lab without its topology file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabRecord {
    /// The lab's name.
    pub lab: String,
    /// The topology file.
    pub file: PathBuf,
    /// Its nodes.
    pub nodes: Vec<NodeRecord>,
}

/// What is needed of a running node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Short name.
    pub name: String,
    /// Name of the network namespace.
    pub long_name: String,
    /// Kind, as in the topology.
    pub kind: String,
    /// Image, as in the topology.
    pub image: Option<String>,
    /// Environment of its commands.
    pub env: BTreeMap<String, String>,
}

impl LabRecord {
    /// The record of a topology that is about to be deployed.
    pub fn of(topology: &Topology) -> Self {
        let node = |(name, spec): (&NodeName, &NodeSpec)| NodeRecord {
            name: name.to_string(),
            long_name: topology.long_name(name),
            kind: spec.kind.as_str().to_owned(),
            image: spec.image.as_ref().map(|image| image.name.clone()),
            env: spec.env.clone(),
        };
        let file = fs::canonicalize(&topology.file).unwrap_or_else(|_| topology.file.clone());
        Self { lab: topology.lab.to_string(), file, nodes: topology.nodes.iter().map(node).collect() }
    }
}

/// The lab's folder.
pub fn folder(lab: &LabName) -> PathBuf {
    Path::new(STATE).join(lab.as_str())
}

/// A node's folder.
pub fn node_folder(lab: &LabName, node: &str) -> PathBuf {
    folder(lab).join("nodes").join(node)
}

/// Creates the lab's folder with its record; false if there is one already.
pub fn claim(lab: &LabName, record: &LabRecord) -> Result<bool, StateError> {
    let folder = folder(lab);
    fs::create_dir_all(STATE).map_err(at(Path::new(STATE)))?;
    match fs::create_dir(&folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(at(&folder)(error)),
    }
    let path = folder.join("lab.json");
    let text =
        serde_json::to_string_pretty(record).map_err(|source| StateError::Record { path: path.clone(), source })?;
    fs::write(&path, text).map_err(at(&path))?;
    Ok(true)
}

/// The lab's record; none if the lab does not exist or was interrupted before it wrote one.
pub fn read(lab: &LabName) -> Result<Option<LabRecord>, StateError> {
    let path = folder(lab).join("lab.json");
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|source| StateError::Record { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path)(error)),
    }
}

/// Names of all labs that have a folder.
pub fn labs() -> Vec<LabName> {
    let Ok(entries) = fs::read_dir(STATE) else { return Vec::new() };
    let mut labs: Vec<_> =
        entries.flatten().filter_map(|entry| LabName::new(&entry.file_name().to_string_lossy())).collect();
    labs.sort();
    labs
}

/// Removes the lab's folder, and with the last lab the folder of all labs.
pub fn remove(lab: &LabName) -> Result<bool, StateError> {
    let folder = folder(lab);
    let existed = match fs::remove_dir_all(&folder) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(at(&folder)(error)),
    };
    match fs::remove_dir(STATE) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Err(at(Path::new(STATE))(error))
        }
        _ => Ok(existed),
    }
}

pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> StateError {
    move |source| StateError::File { path: path.to_owned(), source }
}
