//! A Pod whose containers are plain processes of its node.
//!
//! In: a Pod and the programs in place of its images. Out: processes with the command line and the environment of the Pod and
//! the token of its service account. It must not change a Pod beyond the table of `Programs::of`, and it runs no image: a
//! container whose image is not in the table is not started.

use serde_json::Value;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{KubernetesError, at};
use super::kubectl::Kubectl;
use super::pod::{Container, Pod};
use super::programs::{Programs, Replacement};
use crate::frr::{self, Instance};
use crate::node::{Background, Node};

const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The processes of a Pod.
#[derive(Debug)]
pub(super) struct ProcessPod {
    node: Node,
    processes: Vec<Background>,
    frr: bool,
    kubeconfig: Option<PathBuf>,
}

/// A Pod in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlacedPod<'a> {
    pub(super) pod: &'a Pod,
    pub(super) node: &'a Node,
    pub(super) node_address: IpAddr,
    pub(super) address: IpAddr,
}

/// Whether a program of the Pod uses the API server.
pub(super) fn needs_token(pod: &Pod, programs: &Programs) -> bool {
    let replacements = pod.containers.iter().filter_map(|container| programs.of(container));
    pod.account.is_some() && replacements.into_iter().any(|found| matches!(found, Replacement::Program { .. }))
}

impl ProcessPod {
    /// Starts all processes; `kubeconfig` has the token of the account.
    pub(super) fn start(
        placed: PlacedPod,
        programs: &Programs,
        admin: &Kubectl,
        kubeconfig: Option<PathBuf>,
    ) -> Result<Self, KubernetesError> {
        let PlacedPod { pod, node, .. } = placed;
        let frr = pod.containers.iter().any(|container| programs.of(container) == Some(Replacement::Frr));
        if frr {
            start_frr(node, admin, &pod.namespace)?;
        }
        let mut started = Self { node: node.clone(), processes: Vec::new(), frr, kubeconfig };
        started.run_all(placed, programs)?;
        Ok(started)
    }

    /// Kills all processes and starts them again.
    pub(super) fn restart(&mut self, placed: PlacedPod, programs: &Programs) -> Result<(), KubernetesError> {
        for process in &mut self.processes {
            process.kill().map_err(at(process.log()))?;
        }
        self.processes.clear();
        self.run_all(placed, programs)
    }

    /// Stops all processes.
    pub(super) fn stop(mut self) -> Result<(), KubernetesError> {
        for process in &mut self.processes {
            process.terminate(STOP_TIMEOUT).map_err(at(process.log()))?;
        }
        if self.frr {
            frr::stop(&self.node, Instance::Main)?;
        }
        Ok(())
    }

    /// An error if a process has exited.
    pub(super) fn all_alive(&mut self, pod: &str) -> Result<(), KubernetesError> {
        for process in &mut self.processes {
            let Some(status) = process.exit_status().map_err(at(process.log()))? else { continue };
            let (pod, status, log) = (pod.to_owned(), status.to_string(), process.log_tail());
            return Err(KubernetesError::PodExited { pod, status, log });
        }
        Ok(())
    }

    fn run_all(&mut self, placed: PlacedPod, programs: &Programs) -> Result<(), KubernetesError> {
        let mut containers: Vec<&Container> = placed.pod.containers.iter().collect();
        // FRR-K8s retries only after a while if it does not find the reloader.
        containers.sort_by_key(|container| container.name != "reloader");
        for container in containers {
            self.processes.extend(self.run(placed, programs, container)?);
        }
        Ok(())
    }

    /// Starts a container, if a program replaces its image.
    fn run(
        &self,
        placed: PlacedPod,
        programs: &Programs,
        container: &Container,
    ) -> Result<Option<Background>, KubernetesError> {
        let Some(Replacement::Program { word, path, extra_arguments, removed_variables }) = programs.of(container)
        else {
            return Ok(None);
        };
        let PlacedPod { pod, node, node_address, address } = placed;
        let mut environment = pod.environment(container, address, node_address)?;
        environment.retain(|name, _| !removed_variables.contains(&&**name));
        // In a cluster these come from /var/run/secrets/kubernetes.io/serviceaccount.
        environment.insert("METALLB_NAMESPACE".into(), pod.namespace.clone());
        if let Some(kubeconfig) = &self.kubeconfig {
            environment.insert("KUBECONFIG".into(), kubeconfig.to_string_lossy().into_owned());
        }
        let mut words = vec!["env".to_owned()];
        words.extend(environment.iter().map(|(name, value)| format!("{name}={value}")));
        let program = |text: String| if text == word { path.to_string_lossy().into_owned() } else { text };
        words.extend(container.command_line(word, &environment).into_iter().map(program));
        words.extend(extra_arguments.iter().map(|&word| word.to_owned()));
        Ok(Some(node.spawn(&words, &log(node, pod, &container.name))?))
    }
}

/// The log of a container, on the machine.
pub(super) fn log(node: &Node, pod: &Pod, container: &str) -> PathBuf {
    node.log_folder().join(format!("{}.{container}.log", pod.workload()))
}

/// Starts FRR with the files of FRR-K8s's `ConfigMap`.
fn start_frr(node: &Node, kubectl: &Kubectl, namespace: &str) -> Result<(), KubernetesError> {
    let text = kubectl.check(&["--namespace", namespace, "get", "configmap", "frr-k8s-frr-startup", "-o", "json"])?;
    let object: Value = serde_json::from_str(&text).map_err(KubernetesError::Json)?;
    node.check(&["install", "-d", "-o", "frr", "-g", "frr", "/etc/frr", "/etc/frr_reloader"])?;
    let files = object["data"].as_object().into_iter().flatten();
    for (name, text) in files {
        let path = node.file(Path::new("/etc/frr").join(name));
        fs::write(&path, text.as_str().unwrap_or_default()).map_err(at(&path))?;
    }
    Ok(frr::start(node, Instance::Main)?)
}
