//! The containers of one Pod.
//!
//! In: a manifest, the Pod's node, images, and calls at short intervals. Out: containers that are started, probed, restarted
//! and stopped as a kubelet does it, and their condition. It must not report anything itself.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::capabilities;
use super::health::{Health, back_off};
use super::image::ContainerImage;
use super::manifest::{ContainerManifest, HttpGet, PodManifest};
use super::oci::{self, ContainerContext};
use super::runc::{self, Bundle, RuncContainer};
use super::volumes;
pub use super::volumes::Secrets;
use crate::kubernetes::error::KubernetesError;
use crate::node::Node;

/// Folder of the containers in a node.
const FOLDER: &str = "/run/perouter-lab";
/// Files that a kubelet mounts into every container.
const FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// What a Pod needs of its node and of the cluster.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Its node.
    pub node: &'a Node,
    /// Its address.
    pub address: IpAddr,
    /// The API server.
    pub api_server: SocketAddr,
    /// Images by their name in manifests.
    pub images: &'a BTreeMap<String, ContainerImage>,
}

/// The containers of a Pod.
#[derive(Debug)]
pub struct ContainerPod {
    /// Namespace and name.
    name: String,
    node: Node,
    address: IpAddr,
    grace: Duration,
    volumes: BTreeMap<String, PathBuf>,
    /// Containers that run one after the other, before the others.
    init: Vec<PodContainer>,
    containers: Vec<PodContainer>,
}

/// Condition of a container, for the status of its Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerCondition {
    /// Its name.
    pub name: String,
    /// How often it was restarted.
    pub restarts: u32,
    /// Whether it runs; otherwise it waits for its start or for its restart.
    pub running: bool,
    /// Whether its startup probe succeeded.
    pub started: bool,
    /// Whether its readiness probe succeeds.
    pub ready: bool,
}

#[derive(Debug)]
struct PodContainer {
    manifest: ContainerManifest,
    image: ContainerImage,
    environment: BTreeMap<String, String>,
    log: PathBuf,
    /// Whether it is an init container: it has done its work when it exits with success.
    completes: bool,
    state: ContainerState,
    restarts: u32,
}

#[derive(Debug)]
enum ContainerState {
    Waiting { until: Instant },
    Running(Box<RunningContainer>),
    Completed,
}

#[derive(Debug)]
struct RunningContainer {
    container: RuncContainer,
    since: Instant,
    health: Health,
}

impl ContainerPod {
    /// Creates the volumes of a Pod. The containers start at the first [`ContainerPod::advance`]. `environments` and `logs` are
    /// by the name of the container.
    pub(in crate::kubernetes) fn new(
        name: &str,
        manifest: PodManifest,
        surroundings: &Surroundings,
        secrets: &dyn Secrets,
        of_container: impl Fn(&str) -> Result<(BTreeMap<String, String>, PathBuf), KubernetesError>,
    ) -> Result<Self, KubernetesError> {
        if !manifest.host_network {
            return Err(KubernetesError::OwnNetwork { pod: name.to_owned() });
        }
        let node = surroundings.node;
        let folder = Path::new(FOLDER).join("pods").join(name);
        let volumes = volumes::create(node, &folder, &manifest.volumes, secrets)?;
        let containers = |list: Vec<ContainerManifest>, completes: bool| {
            let container = |manifest: ContainerManifest| {
                let missing = || KubernetesError::NoImage { image: manifest.image.clone() };
                let image = surroundings.images.get(&manifest.image).ok_or_else(missing)?.clone();
                let (mut environment, log) = of_container(&manifest.name)?;
                let api = surroundings.api_server;
                let from_kubelet = [
                    ("HOSTNAME", node.name().to_string()),
                    ("KUBERNETES_SERVICE_HOST", api.ip().to_string()),
                    ("KUBERNETES_SERVICE_PORT", api.port().to_string()),
                ];
                for (name, value) in from_kubelet {
                    environment.entry(name.to_owned()).or_insert(value);
                }
                let state = ContainerState::Waiting { until: Instant::now() };
                Ok(PodContainer { manifest, image, environment, log, completes, state, restarts: 0 })
            };
            list.into_iter().map(container).collect::<Result<Vec<_>, KubernetesError>>()
        };
        let (init, containers) = (containers(manifest.init_containers, true)?, containers(manifest.containers, false)?);
        let grace = Duration::from_secs(manifest.termination_grace_period_seconds);
        let (name, node, address) = (name.to_owned(), node.clone(), surroundings.address);
        Ok(Self { name, node, address, grace, volumes, init, containers })
    }

    /// Capabilities that a privileged container should have and that this machine does not have.
    pub fn missing_capabilities() -> Vec<&'static str> {
        capabilities::missing(&capabilities::of_machine())
    }

    /// Makes a node ready for containers, once.
    pub(in crate::kubernetes) fn prepare(node: &Node) -> Result<(), KubernetesError> {
        runc::prepare(node)
    }

    /// Starts what has to run, sends the probes that are due, restarts what has exited or failed.
    pub(in crate::kubernetes) fn advance(&mut self) -> Result<(), KubernetesError> {
        let pod = PodPlace { name: &self.name, node: &self.node, address: self.address, volumes: &self.volumes };
        for container in &mut self.init {
            container.advance(&pod, self.grace)?;
            if let ContainerState::Running(_) | ContainerState::Waiting { .. } = container.state {
                return Ok(());
            }
        }
        self.containers.iter_mut().try_for_each(|container| container.advance(&pod, self.grace))
    }

    /// Kills all containers; the next [`ContainerPod::advance`] starts them again.
    pub(in crate::kubernetes) fn kill(&mut self) -> Result<(), KubernetesError> {
        for container in &mut self.containers {
            if let ContainerState::Running(running) = container.exchange(Duration::ZERO) {
                running.container.kill()?;
            }
        }
        Ok(())
    }

    /// Stops all containers and removes the volumes that are the Pod's own.
    pub(in crate::kubernetes) fn stop(self) -> Result<(), KubernetesError> {
        for container in self.init.into_iter().chain(self.containers) {
            if let ContainerState::Running(running) = container.state {
                running.container.terminate(self.grace)?;
            }
        }
        let folder = Path::new(FOLDER).join("pods").join(&self.name);
        for volume in self.volumes.values().filter(|path| path.starts_with(&folder)) {
            self.node.check(&[Path::new("umount"), volume])?;
        }
        self.node.check(&[Path::new("rm"), Path::new("-rf"), &folder])?;
        Ok(())
    }

    /// Whether the init containers are done.
    pub fn initialized(&self) -> bool {
        self.init.iter().all(|container| matches!(container.state, ContainerState::Completed))
    }

    /// The condition of the containers, without the init containers.
    pub fn conditions(&self) -> Vec<ContainerCondition> {
        let initialized = self.initialized();
        let condition = |container: &PodContainer| {
            let (name, restarts) = (container.manifest.name.clone(), container.restarts);
            let (running, started, ready) = match &container.state {
                ContainerState::Running(running) => {
                    let health = &running.health;
                    (true, health.started(), health.ready() && initialized)
                }
                ContainerState::Waiting { .. } | ContainerState::Completed => (false, false, false),
            };
            ContainerCondition { name, restarts, running, started, ready }
        };
        self.containers.iter().map(condition).collect()
    }
}

/// What the containers of a Pod have in common.
struct PodPlace<'a> {
    name: &'a str,
    node: &'a Node,
    address: IpAddr,
    volumes: &'a BTreeMap<String, PathBuf>,
}

impl PodContainer {
    /// Replaces the state by a wait, and returns the old one.
    fn exchange(&mut self, wait: Duration) -> ContainerState {
        self.restarts += 1;
        std::mem::replace(&mut self.state, ContainerState::Waiting { until: Instant::now() + wait })
    }

    fn advance(&mut self, pod: &PodPlace, grace: Duration) -> Result<(), KubernetesError> {
        if let ContainerState::Running(running) = &mut self.state {
            let RunningContainer { container, since, health } = &mut **running;
            let exited = container.exit_status()?;
            if exited.is_none() {
                for (kind, probe) in health.due(since.elapsed()) {
                    let success = answers(pod, &probe.http_get, Duration::from_secs(probe.timeout_seconds))?;
                    health.record(kind, since.elapsed(), success);
                }
            }
            let completed = exited.is_some_and(|status| status.success());
            if exited.is_some() || health.failed() {
                let wait = back_off(self.restarts);
                if let ContainerState::Running(running) = self.exchange(wait) {
                    running.container.terminate(grace)?;
                }
                if completed && self.completes {
                    self.state = ContainerState::Completed;
                }
            }
        }
        match self.state {
            ContainerState::Waiting { until } if until <= Instant::now() => self.start(pod),
            _ => Ok(()),
        }
    }

    fn start(&mut self, pod: &PodPlace) -> Result<(), KubernetesError> {
        let id = format!("{}_{}_{}", pod.name, self.manifest.name, self.restarts);
        let folder = Path::new(FOLDER).join("containers").join(&id);
        let bundle = Bundle { node: pod.node, folder, image: self.image.root() };
        let exists = |path: &&&str| pod.node.file(path).exists();
        let files: Vec<(PathBuf, PathBuf)> =
            FILES.iter().filter(exists).map(|path| (path.into(), path.into())).collect();
        let context = ContainerContext {
            image: self.image.config(),
            root: &bundle.root(),
            environment: &self.environment,
            volumes: pod.volumes,
            files: &files,
            capabilities: &capabilities::of_machine(),
            cgroup: &format!("{}/{id}", crate::cgroups::of_node(pod.node)),
        };
        let config = oci::config(&self.manifest, &context)?;
        let container = RuncContainer::start(&bundle, &id, &config, &self.log)?;
        let health = Health::new(&self.manifest);
        self.state = ContainerState::Running(Box::new(RunningContainer { container, since: Instant::now(), health }));
        Ok(())
    }
}

/// Whether a request gets a response that is no error, from the node, as a kubelet sends it.
fn answers(pod: &PodPlace, get: &HttpGet, timeout: Duration) -> Result<bool, KubernetesError> {
    let host: Option<IpAddr> = get.host.as_ref().map_or(Some(pod.address), |host| host.parse().ok());
    let Some(host) = host else { return Ok(false) };
    let (address, path) = (SocketAddr::new(host, get.port), get.path.clone());
    let request = move || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe\r\nConnection: close\r\n\r\n"
        )?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let code: Option<u16> = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok(code.is_some_and(|code| (200..400).contains(&code)))
    };
    Ok(pod.node.within_netns(request)?.unwrap_or(false))
}
