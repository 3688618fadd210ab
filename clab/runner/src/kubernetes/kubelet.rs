//! A fake scheduler and kubelet of a lab's cluster nodes: Pods are bound, their containers run as plain processes of the
//! node, their status is reported.
//!
//! In: Pods as the API server lists them. Out: processes with the command line and the environment of the Pod and the token
//! of its service account. It must not change a Pod beyond the table of `Programs::of`, and it runs no image: a container
//! whose image is not in the table is not started, and reported as not ready.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::assets::Assets;
use super::control_plane::ControlPlane;
use super::error::{KubernetesError, at};
use super::kubectl::Kubectl;
use super::pod::{Container, Pod};
use crate::frr::{self, Instance};
use crate::node::{Background, Node};

const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A cluster node: a node of the lab with an address that the others can reach.
#[derive(Debug, Clone)]
pub struct Member {
    /// The node; the Kubernetes Node has the same name.
    pub node: Node,
    /// Its address in the management network.
    pub address: IpAddr,
}

/// Programs in place of images.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `perouter`.
    pub perouter: PathBuf,
    /// This program, if web servers are to be processes of it; otherwise they are threads and stop with the cluster.
    pub lab: Option<PathBuf>,
    /// `MetalLB` and FRR-K8s.
    pub metallb: Option<Assets>,
}

/// What runs in place of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Replacement {
    /// A program that replaces the word that names it in the image.
    Program {
        word: &'static str,
        path: PathBuf,
        extra_arguments: &'static [&'static str],
        removed_variables: &'static [&'static str],
    },
    /// FRR of the machine in the node's network namespace.
    Frr,
}

impl Programs {
    fn of(&self, container: &Container) -> Option<Replacement> {
        let program = |word, path| Replacement::Program { word, path, extra_arguments: &[], removed_variables: &[] };
        let metallb = |name: &str| self.metallb.as_ref().map(|assets| assets.program(name));
        Some(match (container.repository(), &*container.name) {
            ("perouter", _) => program("perouter", self.perouter.clone()),
            ("quay.io/metallb/frr-k8s", _) => program("/frr-k8s", metallb("frr-k8s")?),
            ("quay.io/metallb/controller", _) => Replacement::Program {
                word: "/controller",
                path: metallb("controller")?,
                // The API server cannot reach a webhook of a Pod.
                extra_arguments: &["--webhook-mode=disabled"],
                removed_variables: &[],
            },
            ("quay.io/metallb/speaker", _) => Replacement::Program {
                word: "/speaker",
                path: metallb("speaker")?,
                extra_arguments: &[],
                // Without an address there is no memberlist, which only layer 2 needs.
                removed_variables: &["METALLB_ML_BIND_ADDR", "METALLB_ML_SECRET_KEY_PATH"],
            },
            ("quay.io/frrouting/frr", "frr") => Replacement::Frr,
            ("quay.io/frrouting/frr", "reloader") => {
                program("/etc/frr_reloader/frr-reloader.sh", metallb("frr-reloader.sh")?)
            }
            _ => return None,
        })
    }
}

/// The fake scheduler and kubelet of all cluster nodes.
#[derive(Debug)]
pub struct Kubelet {
    members: Vec<Member>,
    programs: Programs,
    started: BTreeMap<(String, String), StartedPod>,
    addresses: u8,
}

#[derive(Debug)]
struct StartedPod {
    pod: Pod,
    address: IpAddr,
    processes: Vec<Background>,
    frr: bool,
    token: Option<PathBuf>,
}

impl Kubelet {
    pub(super) fn new(members: Vec<Member>, programs: Programs) -> Self {
        Self { members, programs, started: BTreeMap::new(), addresses: 0 }
    }

    /// Registers the Nodes, as a kubelet does.
    pub(super) fn register(&self, kubectl: &Kubectl) -> Result<(), KubernetesError> {
        let nodes: Vec<Value> = self.members.iter().map(node_object).collect();
        create(kubectl, &nodes)
    }

    /// Binds and starts new Pods, stops deleted ones, and reports their status to the API server.
    pub(super) fn sync(&mut self, plane: &ControlPlane, mut pods: Vec<Pod>) -> Result<(), KubernetesError> {
        self.stop_deleted(plane, &pods)?;
        pods.retain(|pod| !pod.deleted && pod.phase == "Pending");
        self.bind(plane, &mut pods)?;
        let mut statuses = Vec::new();
        for pod in pods.into_iter().filter(|pod| pod.node.is_some()) {
            let key = (pod.namespace.clone(), pod.name.clone());
            if !self.started.contains_key(&key) {
                let started = self.start(plane, pod)?;
                self.started.insert(key.clone(), started);
            }
            statuses.extend(self.started.get(&key).map(|started| self.status(started)));
        }
        if statuses.is_empty() {
            return Ok(());
        }
        let words = ["apply", "--server-side", "--force-conflicts", "--subresource=status", "-f", "-"];
        send_list(&plane.kubectl(), &words, &statuses)
    }

    /// Kills the processes of a Pod and starts them again, as a kubelet does with a container that exited. The API server
    /// is not involved.
    pub fn restart(&mut self, workload: &str, node: &str) -> Result<(), KubernetesError> {
        let is_it =
            |started: &&mut StartedPod| started.pod.workload() == workload && started.pod.node.as_deref() == Some(node);
        let member = member(&self.members, node)?.clone();
        let started = self.started.values_mut().find(is_it);
        let started =
            started.ok_or_else(|| KubernetesError::NoPod { workload: workload.to_owned(), node: node.to_owned() })?;
        for process in &mut started.processes {
            process.kill().map_err(at(process.log()))?;
        }
        started.processes.clear();
        for container in started.pod.containers.clone() {
            started.processes.extend(started.run(&member, &self.programs, &container)?);
        }
        Ok(())
    }

    /// An error if a process of a Pod has exited.
    pub fn all_alive(&mut self) -> Result<(), KubernetesError> {
        for started in self.started.values_mut() {
            for process in &mut started.processes {
                let Some(status) = process.exit_status().map_err(at(process.log()))? else { continue };
                return Err(KubernetesError::PodExited {
                    pod: started.pod.name.clone(),
                    status: status.to_string(),
                    log: process.log_tail(),
                });
            }
        }
        Ok(())
    }

    /// The running Pods, by namespace and name.
    pub fn running(&self) -> impl Iterator<Item = &Pod> {
        self.started.values().map(|started| &started.pod)
    }

    /// The cluster nodes.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    fn bind(&self, plane: &ControlPlane, pods: &mut [Pod]) -> Result<(), KubernetesError> {
        let mut count: BTreeMap<(String, String), usize> = BTreeMap::new();
        for pod in self.running() {
            *count.entry((pod.workload().to_owned(), pod.node.clone().unwrap_or_default())).or_default() += 1;
        }
        let mut bindings = Vec::new();
        for pod in pods.iter_mut().filter(|pod| pod.node.is_none()) {
            let copies = |member: &&Member| {
                count.get(&(pod.workload().to_owned(), member.node.name().to_string())).copied().unwrap_or_default()
            };
            let fewest = self.members.iter().min_by_key(copies).map(|member| member.node.name().to_string());
            let Some(node) = pod.required_node.clone().or(fewest) else { continue };
            *count.entry((pod.workload().to_owned(), node.clone())).or_default() += 1;
            bindings.push(json!({
                "apiVersion": "v1", "kind": "Binding",
                "metadata": {"namespace": pod.namespace, "name": pod.name},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            }));
            pod.node = Some(node);
        }
        if bindings.is_empty() { Ok(()) } else { create(&plane.kubectl(), &bindings) }
    }

    fn start(&mut self, plane: &ControlPlane, pod: Pod) -> Result<StartedPod, KubernetesError> {
        let member = member(&self.members, pod.node.as_deref().unwrap_or_default())?.clone();
        let replacements: Vec<_> = pod.containers.iter().map(|container| self.programs.of(container)).collect();
        let needs_token =
            replacements.iter().flatten().any(|replacement| matches!(replacement, Replacement::Program { .. }));
        let token = match pod.account.as_deref().filter(|_| needs_token) {
            Some(account) => Some(plane.kubectl_of_pod(&pod.namespace, account, &pod.name)?.kubeconfig().to_owned()),
            None => None,
        };
        let address = if pod.host_network { member.address } else { self.next_address() };
        let frr = replacements.contains(&Some(Replacement::Frr));
        if frr {
            start_frr(&member.node, &plane.kubectl(), &pod.namespace)?;
        }
        let mut started = StartedPod { pod, address, processes: Vec::new(), frr, token };
        let mut containers = started.pod.containers.clone();
        // FRR-K8s retries only after a while if it does not find the reloader.
        containers.sort_by_key(|container| container.name != "reloader");
        for container in containers {
            started.processes.extend(started.run(&member, &self.programs, &container)?);
        }
        Ok(started)
    }

    fn next_address(&mut self) -> IpAddr {
        self.addresses = self.addresses.wrapping_add(1);
        Ipv4Addr::new(10, 244, 0, self.addresses).into()
    }

    fn stop_deleted(&mut self, plane: &ControlPlane, pods: &[Pod]) -> Result<(), KubernetesError> {
        let listed = |key: &(String, String)| pods.iter().find(|pod| pod.namespace == key.0 && pod.name == key.1);
        let gone: Vec<_> =
            self.started.keys().filter(|key| listed(key).is_none_or(|pod| pod.deleted)).cloned().collect();
        for key in gone {
            let Some(mut started) = self.started.remove(&key) else { continue };
            for process in &mut started.processes {
                process.terminate(STOP_TIMEOUT).map_err(at(process.log()))?;
            }
            if started.frr {
                frr::stop(
                    &member(&self.members, started.pod.node.as_deref().unwrap_or_default())?.node,
                    Instance::Main,
                )?;
            }
        }
        for pod in pods.iter().filter(|pod| pod.deleted) {
            let words = ["--namespace", &pod.namespace, "delete", "pod", &pod.name, "--force", "--grace-period=0"];
            plane.kubectl().check(&[&words[..], &["--ignore-not-found", "--wait=false"]].concat())?;
        }
        Ok(())
    }

    fn status(&self, started: &StartedPod) -> Value {
        let pod = &started.pod;
        let host = member(&self.members, pod.node.as_deref().unwrap_or_default()).map(|member| member.address);
        let is_single = pod.containers.len() == 1;
        let container = |container: &Container| {
            let ready = is_single || self.programs.of(container).is_some();
            json!({
                "name": container.name, "image": container.image, "imageID": "", "restartCount": 0,
                "ready": ready, "started": ready, "state": {"running": {}},
            })
        };
        let condition = |kind: &str| json!({"type": kind, "status": "True"});
        let conditions = ["Initialized", "ContainersReady", "Ready"].map(condition);
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": pod.namespace, "name": pod.name},
            "status": {
                "phase": "Running",
                "hostIP": host.unwrap_or(started.address),
                "podIP": started.address,
                "podIPs": [{"ip": started.address}],
                "conditions": conditions,
                "containerStatuses": pod.containers.iter().map(container).collect::<Vec<_>>(),
            },
        })
    }
}

impl StartedPod {
    /// Starts a container, if a program replaces its image.
    fn run(
        &self,
        member: &Member,
        programs: &Programs,
        container: &Container,
    ) -> Result<Option<Background>, KubernetesError> {
        let Some(Replacement::Program { word, path, extra_arguments, removed_variables }) = programs.of(container)
        else {
            return Ok(None);
        };
        let mut environment = self.pod.environment(container, self.address, member.address)?;
        environment.retain(|name, _| !removed_variables.contains(&&**name));
        // In a cluster these come from /var/run/secrets/kubernetes.io/serviceaccount.
        environment.insert("METALLB_NAMESPACE".into(), self.pod.namespace.clone());
        if let Some(token) = &self.token {
            environment.insert("KUBECONFIG".into(), token.to_string_lossy().into_owned());
        }
        let mut words = vec!["env".to_owned()];
        words.extend(environment.iter().map(|(name, value)| format!("{name}={value}")));
        let program = |text: String| if text == word { path.to_string_lossy().into_owned() } else { text };
        words.extend(container.command_line(word, &environment).into_iter().map(program));
        words.extend(extra_arguments.iter().map(|&word| word.to_owned()));
        let log = member.node.log_folder().join(format!("{}.{}.log", self.pod.workload(), container.name));
        Ok(Some(member.node.spawn(&words, &log)?))
    }
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

fn member<'a>(members: &'a [Member], name: &str) -> Result<&'a Member, KubernetesError> {
    let unknown = || KubernetesError::NoNode { name: name.to_owned() };
    members.iter().find(|member| member.node.name().as_str() == name).ok_or_else(unknown)
}

fn node_object(member: &Member) -> Value {
    let name = member.node.name().as_str();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        }},
        "status": {
            "addresses": [{"type": "InternalIP", "address": member.address}, {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "Fake", "message": "a node of perouter-lab"}],
        },
    })
}

fn create(kubectl: &Kubectl, objects: &[Value]) -> Result<(), KubernetesError> {
    send_list(kubectl, &["create", "-f", "-"], objects)
}

/// Sends a list of objects through kubectl; all of them have to be accepted.
pub(super) fn send_list(kubectl: &Kubectl, words: &[&str], objects: &[Value]) -> Result<(), KubernetesError> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    kubectl.check_with_input(words, &list).map(drop)
}
