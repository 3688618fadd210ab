//! A fake scheduler and kubelet of a lab's cluster nodes: Pods are bound, their containers run, their status is reported.
//!
//! In: Pods as the API server lists them. Out: containers, or processes in place of containers whose image the lab does not
//! have. It must not decide what runs in place of an image: `Programs` does. Probes are sent and containers restarted when it
//! is called, so it has to be called often.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::containers::{ContainerPod, PodManifest, Secrets, Surroundings};
use super::control_plane::ControlPlane;
use super::error::KubernetesError;
use super::kubectl::Kubectl;
use super::pod::Pod;
use super::process_pod::{self, PlacedPod, ProcessPod};
use super::programs::Programs;
use super::status::{self, PodCondition};
use crate::node::Node;

/// A cluster node: a node of the lab with an address that the others can reach.
#[derive(Debug, Clone)]
pub struct Member {
    /// The node; the Kubernetes Node has the same name.
    pub node: Node,
    /// Its address in the management network.
    pub address: IpAddr,
}

/// The fake scheduler and kubelet of all cluster nodes.
#[derive(Debug)]
pub struct Kubelet {
    members: Vec<Member>,
    programs: Programs,
    started: BTreeMap<(String, String), StartedPod>,
    /// Nodes that are ready for containers.
    prepared: BTreeSet<String>,
    addresses: u8,
}

#[derive(Debug)]
struct StartedPod {
    pod: Pod,
    member: Member,
    address: IpAddr,
    body: PodBody,
    /// The last status that the API server accepted, without times.
    reported: Option<Value>,
    /// Since when its readiness is what it is.
    since: Timestamp,
}

#[derive(Debug)]
enum PodBody {
    Processes(ProcessPod),
    Containers(Box<ContainerPod>),
}

impl Kubelet {
    pub(super) fn new(members: Vec<Member>, programs: Programs) -> Self {
        Self { members, programs, started: BTreeMap::new(), prepared: BTreeSet::new(), addresses: 0 }
    }

    /// Registers the Nodes, as a kubelet does.
    pub(super) fn register(&self, kubectl: &Kubectl) -> Result<(), KubernetesError> {
        let nodes: Vec<Value> = self.members.iter().map(node_object).collect();
        create(kubectl, &nodes)
    }

    /// Binds and starts new Pods, stops deleted ones, keeps containers running, and reports what has changed to the API server.
    pub(super) fn sync(&mut self, plane: &ControlPlane, mut pods: Vec<Pod>) -> Result<(), KubernetesError> {
        self.stop_deleted(plane, &pods)?;
        let is_new = |started: &BTreeMap<(String, String), StartedPod>, pod: &Pod| !started.contains_key(&key(pod));
        pods.retain(|pod| !pod.deleted && pod.phase == "Pending" && is_new(&self.started, pod));
        self.bind(plane, &mut pods)?;
        for pod in pods.into_iter().filter(|pod| pod.node.is_some()) {
            let key = key(&pod);
            let started = self.start(plane, pod)?;
            self.started.insert(key, started);
        }
        self.advance()?;
        let changed = |started: &StartedPod| {
            let status = started.status(&self.programs);
            (started.reported.as_ref() != Some(&status)).then_some(status)
        };
        let statuses: BTreeMap<_, _> =
            self.started.iter().filter_map(|(key, pod)| Some((key.clone(), changed(pod)?))).collect();
        if statuses.is_empty() {
            return Ok(());
        }
        let words = ["apply", "--server-side", "--force-conflicts", "--subresource=status", "-f", "-"];
        let now = Timestamp::now();
        let mut timed = Vec::new();
        for (key, status) in &statuses {
            let Some(started) = self.started.get_mut(key) else { continue };
            if started.reported.as_ref().is_none_or(|last| status::is_ready(last) != status::is_ready(status)) {
                started.since = now;
            }
            timed.push(status::with_time(status.clone(), &started.since.to_string()));
        }
        send_list(&plane.kubectl(), &words, &timed)?;
        for (key, status) in statuses {
            if let Some(started) = self.started.get_mut(&key) {
                started.reported = Some(status);
            }
        }
        Ok(())
    }

    /// Sends the probes of containers that are due and restarts what has exited, without the API server.
    pub fn advance(&mut self) -> Result<(), KubernetesError> {
        for started in self.started.values_mut() {
            if let PodBody::Containers(pod) = &mut started.body {
                pod.advance()?;
            }
        }
        Ok(())
    }

    /// Kills the processes of a Pod and starts them again, as a kubelet does with a container that exited. The API server
    /// is not involved.
    pub fn restart(&mut self, workload: &str, node: &str) -> Result<(), KubernetesError> {
        let is_it =
            |started: &&mut StartedPod| started.pod.workload() == workload && started.pod.node.as_deref() == Some(node);
        let started = self.started.values_mut().find(is_it);
        let started =
            started.ok_or_else(|| KubernetesError::NoPod { workload: workload.to_owned(), node: node.to_owned() })?;
        let StartedPod { pod, member, address, body, .. } = started;
        match body {
            PodBody::Processes(processes) => processes.restart(placed(pod, member, *address), &self.programs),
            PodBody::Containers(containers) => {
                containers.kill()?;
                containers.advance()
            }
        }
    }

    /// An error if a process of a Pod has exited. Containers are restarted.
    pub fn all_alive(&mut self) -> Result<(), KubernetesError> {
        for started in self.started.values_mut() {
            if let PodBody::Processes(processes) = &mut started.body {
                processes.all_alive(&started.pod.name)?;
            }
        }
        Ok(())
    }

    /// The containers of a Pod, by its workload and its node; none if it consists of processes.
    pub fn containers(&self, workload: &str, node: &str) -> Option<&ContainerPod> {
        let is_it =
            |started: &&StartedPod| started.pod.workload() == workload && started.pod.node.as_deref() == Some(node);
        self.started.values().find(is_it).and_then(|started| match &started.body {
            PodBody::Containers(containers) => Some(&**containers),
            PodBody::Processes(_) => None,
        })
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
        let address = if pod.host_network { member.address } else { self.next_address() };
        let place = placed(&pod, &member, address);
        let images = pod.init_containers.iter().chain(&pod.containers).map(|container| &container.image);
        let body = if images.into_iter().all(|image| self.programs.images.contains_key(image)) {
            PodBody::Containers(Box::new(self.start_containers(plane, place)?))
        } else {
            let kubeconfig = match pod.account.as_deref().filter(|_| process_pod::needs_token(&pod, &self.programs)) {
                Some(account) => {
                    Some(plane.kubectl_of_pod(&pod.namespace, account, &pod.name)?.kubeconfig().to_owned())
                }
                None => None,
            };
            PodBody::Processes(ProcessPod::start(place, &self.programs, &plane.kubectl(), kubeconfig)?)
        };
        Ok(StartedPod { pod, member, address, body, reported: None, since: Timestamp::now() })
    }

    fn start_containers(&mut self, plane: &ControlPlane, place: PlacedPod) -> Result<ContainerPod, KubernetesError> {
        let PlacedPod { pod, node, node_address, address } = place;
        if self.prepared.insert(node.name().to_string()) {
            ContainerPod::prepare(node)?;
        }
        let manifest = PodManifest::read(&pod.name, &pod.spec)?;
        let surroundings = Surroundings { node, address, api_server: plane.address(), images: &self.programs.images };
        let of_container = |name: &str| {
            let mut all = pod.init_containers.iter().chain(&pod.containers);
            let container = all.find(|container| container.name == name);
            let environment = container.map(|found| pod.environment(found, address, node_address));
            Ok((environment.transpose()?.unwrap_or_default(), process_pod::log(node, pod, name)))
        };
        let name = format!("{}_{}", pod.namespace, pod.name);
        let secrets = PodSecrets { plane, place };
        ContainerPod::new(&name, manifest, &surroundings, &secrets, of_container)
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
            match self.started.remove(&key).map(|started| started.body) {
                Some(PodBody::Processes(processes)) => processes.stop()?,
                Some(PodBody::Containers(containers)) => containers.stop()?,
                None => {}
            }
        }
        for pod in pods.iter().filter(|pod| pod.deleted) {
            let words = ["--namespace", &pod.namespace, "delete", "pod", &pod.name, "--force", "--grace-period=0"];
            plane.kubectl().check(&[&words[..], &["--ignore-not-found", "--wait=false"]].concat())?;
        }
        Ok(())
    }
}

impl StartedPod {
    fn status(&self, programs: &Programs) -> Value {
        let (condition, all_count) = match &self.body {
            PodBody::Processes(_) => (PodCondition::of_processes(&self.pod, programs), false),
            PodBody::Containers(containers) => (PodCondition::of_containers(containers), true),
        };
        status::of(&self.pod, &condition, all_count, self.address, self.member.address)
    }
}

/// What the volumes of a Pod need of the API server.
struct PodSecrets<'a> {
    plane: &'a ControlPlane,
    place: PlacedPod<'a>,
}

impl Secrets for PodSecrets<'_> {
    fn token(&self, seconds: u64) -> Result<String, KubernetesError> {
        let pod = self.place.pod;
        let account = pod.account.as_deref().unwrap_or_default();
        self.plane.token_of_pod(&pod.namespace, account, &pod.name, seconds)
    }

    fn config_map(&self, name: &str) -> Result<BTreeMap<String, String>, KubernetesError> {
        let words = ["--namespace", &self.place.pod.namespace, "get", "configmap", name, "-o", "json"];
        let object: Value =
            serde_json::from_str(&self.plane.kubectl().check(&words)?).map_err(KubernetesError::Json)?;
        let data = object["data"].as_object().into_iter().flatten();
        Ok(data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect())
    }

    fn field(&self, path: &str) -> Option<String> {
        self.place.pod.field(path, self.place.address, self.place.node_address)
    }
}

fn key(pod: &Pod) -> (String, String) {
    (pod.namespace.clone(), pod.name.clone())
}

fn placed<'a>(pod: &'a Pod, member: &'a Member, address: IpAddr) -> PlacedPod<'a> {
    PlacedPod { pod, node: &member.node, node_address: member.address, address }
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
