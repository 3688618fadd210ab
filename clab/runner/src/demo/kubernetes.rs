//! The steps of the `MetalLB` demo that differ in a cluster: API server, perouter and `MetalLB` installed as a user does it.
//!
//! In: the demo's places. Out: the steps, told by what kubectl says. It must not configure anything but with manifests.

use std::mem::ManuallyDrop;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::metallb::{BLUE, NODES, RED, Running, Step, await_nics};
use super::{Demo, StepError};
use crate::frr::Instance;
use crate::kubernetes::{Assets, Cluster, Kubectl, KubernetesError, Programs};
use crate::metallb::read_manifests;

/// What is not as in a cluster.
pub(super) const REPLACED: &str = "real: etcd, kube-apiserver, kube-controller-manager, kubectl, perouter, MetalLB, FRR-K8s, FRR\n\
    played: scheduler, kubelet and kube-proxy, with kubectl; containers are plain processes of the node, the Pods of the \
    services one web server per node\n\
    left out: admission webhooks, memberlist, metrics of FRR-K8s";

pub(super) const INSTALLED: [Step; 4] = [
    (
        "a Kubernetes API server on pe-kind-control-plane, both nodes in it",
        "pe-kind-control-plane -- ip address",
        start,
    ),
    ("kubectl apply -k deploy/: perouter on both nodes", "pe-kind-worker -- ip netns", install_router),
    ("MetalLB with FRR-K8s, by the manifest of its release", "pe-kind-worker -- vtysh", install_metallb),
    ("kubectl apply -f examples/metallb/", "pe-kind-worker -- ip netns", apply_example),
];

pub(super) const TOLD: [Step; 1] =
    [("kubectl get routernodestatuses", "pe-kind-worker -- ip netns exec perouter ip address", show_status)];

const COLUMNS: &str =
    "custom-columns=POD:.metadata.name,NODE:.spec.nodeName,ACCOUNT:.spec.serviceAccountName,PHASE:.status.phase";

/// The link in a lab's folder to that of its control plane.
pub(super) fn link(lab: &Path) -> PathBuf {
    lab.join("kubernetes")
}

fn start(demo: &Demo, running: &mut Running) -> Result<String, StepError> {
    let programs = Programs {
        perouter: demo.perouter.clone(),
        lab: Some(demo.own_program.clone()),
        metallb: Some(Assets::metallb(&demo.root)?),
    };
    let nodes = NODES.into_iter().map(|name| running.lab.node(name)).collect::<Result<Vec<_>, _>>()?;
    // It goes with the lab, also where a later step fails.
    let mut cluster = ManuallyDrop::new(Cluster::start(&demo.root, &nodes, programs)?);
    let path = link(&running.lab.folder());
    symlink(cluster.control_plane().folder(), &path).map_err(|source| StepError::Folder { path, source })?;
    let found = said(&cluster.kubectl(), &["get", "nodes"])?;
    running.cluster = Some(cluster);
    Ok(found)
}

fn install_router(_: &Demo, running: &mut Running) -> Result<String, StepError> {
    let cluster = cluster(running)?;
    cluster.install_router()?;
    said(&cluster.kubectl(), &["--namespace", "openperouter-system", "get", "pods", "-o", COLUMNS])
}

fn install_metallb(_: &Demo, running: &mut Running) -> Result<String, StepError> {
    let cluster = cluster(running)?;
    cluster.install_metallb()?;
    said(&cluster.kubectl(), &["--namespace", "metallb-system", "get", "pods", "-o", COLUMNS])
}

fn apply_example(demo: &Demo, running: &mut Running) -> Result<String, StepError> {
    let folder = demo.root.join("examples/metallb");
    let cluster = cluster(running)?;
    let mut found = said(&cluster.kubectl(), &["apply", "-f", &folder.to_string_lossy()])?;
    let addresses: Vec<IpAddr> = [RED, BLUE].iter().filter_map(|address| address.parse().ok()).collect();
    let serves = |cluster: &mut Cluster| addresses.iter().all(|address| cluster.serves(*address));
    cluster.play_until("addresses and endpoints of both services", serves)?;
    found += &said(&cluster.kubectl(), &["get", "services", "--selector", "!provider"])?;
    running.hosts = Some((Instance::Main, read_manifests(&folder.join("metallb.yaml"))?));
    await_nics(running)?;
    Ok(found)
}

fn show_status(_: &Demo, running: &mut Running) -> Result<String, StepError> {
    said(&cluster(running)?.kubectl(), &["get", "routernodestatuses", "-o", "wide"])
}

fn cluster(running: &mut Running) -> Result<&mut Cluster, StepError> {
    let missing = || KubernetesError::NoAssets { reason: "the step before has made no cluster".into() };
    Ok(running.cluster.as_deref_mut().ok_or_else(missing)?)
}

fn said(kubectl: &Kubectl, words: &[&str]) -> Result<String, StepError> {
    let lines = kubectl.check(words)?;
    Ok(lines.lines().flat_map(|line| [line.trim_end(), "\n"]).collect())
}
