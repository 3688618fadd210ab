//! runc in a node.
//!
//! In: a bundle's configuration and the root file system of an image. Out: a [`RuncContainer`]. It must not change the image: a
//! container writes to an overlay of its own.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::cgroups;
use crate::kubernetes::error::{KubernetesError, at};
use crate::node::{Background, Node};
use crate::wait;

/// Where runc keeps its state in the node.
const STATE: &str = "/run/runc";
const POLL: Duration = Duration::from_millis(10);
/// After SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A container.
#[derive(Debug)]
pub(super) struct RuncContainer {
    node: Node,
    id: String,
    bundle: PathBuf,
    process: Background,
}

/// A folder of a container in its node.
#[derive(Debug)]
pub(super) struct Bundle<'a> {
    pub(super) node: &'a Node,
    /// Its folder in the node.
    pub(super) folder: PathBuf,
    /// Root file system of the image, which is not written to.
    pub(super) image: PathBuf,
}

impl Bundle<'_> {
    /// The root file system of the container.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("rootfs")
    }
}

/// Makes a node ready for containers, once: cgroups, and mounts that are shared with containers, as systemd makes them.
pub(super) fn prepare(node: &Node) -> Result<(), KubernetesError> {
    cgroups::mount_in(node)?;
    node.check(&["mount", "--make-rshared", "/"])?;
    Ok(())
}

impl RuncContainer {
    /// Starts a container; its outputs are appended to a file of the machine.
    pub(super) fn start(bundle: &Bundle, id: &str, config: &Value, log: &Path) -> Result<Self, KubernetesError> {
        let (node, folder) = (bundle.node, &bundle.folder);
        let [root, upper, work] = ["rootfs", "upper", "work"].map(|name| folder.join(name));
        node.check(&[OsStr::new("mkdir"), OsStr::new("-p"), root.as_ref(), upper.as_ref(), work.as_ref()])?;
        let layers =
            format!("lowerdir={},upperdir={},workdir={}", bundle.image.display(), upper.display(), work.display());
        let words = ["mount", "-t", "overlay", "-o", &layers, "overlay"].map(OsStr::new);
        node.check(&[&words[..], &[root.as_ref()]].concat())?;
        let path = node.file(folder.join("config.json"));
        fs::write(&path, config.to_string()).map_err(at(&path))?;
        let folder_text = folder.to_string_lossy();
        let words = ["runc", "--root", STATE, "run", "--bundle", &folder_text, id];
        let process = node.spawn(&words, log)?;
        Ok(Self { node: node.clone(), id: id.to_owned(), bundle: folder.clone(), process })
    }

    /// Its exit status, if it has exited.
    pub(super) fn exit_status(&mut self) -> Result<Option<ExitStatus>, KubernetesError> {
        let log = self.process.log().to_owned();
        self.process.exit_status().map_err(at(log))
    }

    /// The end of its log.
    pub(super) fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// Sends SIGTERM, after the grace period SIGKILL, and removes it.
    pub(super) fn terminate(mut self, grace: Duration) -> Result<(), KubernetesError> {
        if self.exit_status()?.is_none() {
            // runc forwards it to process 1 of the container. It may have exited meanwhile.
            let _ = kill(self.process.pid(), Signal::SIGTERM);
            if self.wait(grace)?.is_err() {
                return self.kill();
            }
        }
        self.remove()
    }

    /// Sends SIGKILL to all its processes and removes it.
    pub(super) fn kill(mut self) -> Result<(), KubernetesError> {
        // Process 1 takes the others with it. An error means that it has exited.
        self.node.run(&["runc", "--root", STATE, "kill", &self.id, "KILL"])?;
        let waited = self.wait(KILL_TIMEOUT)?;
        waited.map_err(|waited| KubernetesError::NotReady { waited, last: self.log_tail() })?;
        self.remove()
    }

    fn wait(&mut self, at_most: Duration) -> Result<Result<(), wait::TimedOut>, KubernetesError> {
        let what = format!("container {} to exit", self.id);
        let waited =
            wait::until(&what, at_most, POLL, || self.exit_status().map(|status| status.map(drop)).transpose());
        match waited {
            Ok(exited) => exited.map(Ok),
            Err(waited) => Ok(Err(waited)),
        }
    }

    /// Removes its root file system after it has exited.
    pub(super) fn remove(self) -> Result<(), KubernetesError> {
        // `runc run` has removed its state unless it was killed itself.
        self.node.run(&["runc", "--root", STATE, "delete", "--force", &self.id])?;
        self.node.check(&[OsStr::new("umount"), self.bundle.join("rootfs").as_ref()])?;
        self.node.check(&[OsStr::new("rm"), OsStr::new("-rf"), self.bundle.as_ref()])?;
        Ok(())
    }
}
