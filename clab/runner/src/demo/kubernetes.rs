//! Installation of the demo in a cluster: API server, perouter and `MetalLB`, installed as a user does it.
//!
//! In: the demo's settings and the lab. Out: its steps, which show the output of kubectl. It must not configure anything
//! except with manifests.

use std::fmt::Write as _;
use std::mem::ManuallyDrop;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::context::{BLUE, DemoContext, DemoStep, NODES, RED, await_nics};
use super::error::StepError;
use super::settings::Demo;
use crate::frr::Instance;
use crate::kubernetes::{Assets, ContainerImage, ContainerPod, Kubectl, KubernetesError, LabCluster, Programs};
use crate::metallb::read_manifests;

/// The image that `deploy/` names.
const DEPLOYED_IMAGE: &str = "perouter:dev";

/// What differs from a real cluster; `pods` says what the Pods of perouter are.
pub(super) fn differences(pods: &str) -> String {
    format!(
        "real: etcd, kube-apiserver, kube-controller-manager, kubectl, perouter, MetalLB, FRR-K8s, FRR\n\
         fake: scheduler, kubelet and kube-proxy, which use kubectl; Pods of MetalLB are processes of the node, and one web \
         server per node replaces the Pods of a service\n\
         missing: admission webhooks, memberlist, metrics of FRR-K8s\n\
         Pods of perouter: {pods}"
    )
}

/// The image of perouter if there is one and it can be run, and what the Pods are, with the reason.
pub(super) fn image(demo: &Demo, name: Option<&str>) -> (Option<ContainerImage>, String) {
    let Some(name) = name else { return (None, "processes of the node".to_owned()) };
    match ContainerImage::export(&demo.root, name) {
        Ok(image) => {
            let mut lines = format!("containers of {name} ({}), as their manifest says", image.describe());
            let missing = ContainerPod::missing_capabilities();
            if !missing.is_empty() {
                let _ = write!(lines, ", without {}, which this machine does not have", missing.join(" and "));
            }
            (Some(image), lines)
        }
        Err(reason) => (None, format!("processes of the node, because {reason}")),
    }
}

/// Steps after the deployment of the fabric.
pub(super) const STEPS: [DemoStep; 4] = [
    DemoStep {
        title: "a Kubernetes API server on pe-kind-control-plane, both nodes in it",
        inspect: "pe-kind-control-plane -- ip address",
        run: start,
    },
    DemoStep {
        title: "kubectl apply -k deploy/: perouter on both nodes",
        inspect: "pe-kind-worker -- ip netns",
        run: install_router,
    },
    DemoStep {
        title: "MetalLB with FRR-K8s, by the manifest of its release",
        inspect: "pe-kind-worker -- vtysh",
        run: install_metallb,
    },
    DemoStep { title: "kubectl apply -f examples/metallb/", inspect: "pe-kind-worker -- ip netns", run: apply_example },
];

/// The last step, after the checks.
pub(super) const STATUS: DemoStep = DemoStep {
    title: "kubectl get routernodestatuses",
    inspect: "pe-kind-worker -- ip netns exec perouter ip address",
    run: show_status,
};

const COLUMNS: &str =
    "custom-columns=POD:.metadata.name,NODE:.spec.nodeName,ACCOUNT:.spec.serviceAccountName,PHASE:.status.phase";

/// The link in a lab's folder to the folder of its control plane.
pub(super) fn link(lab: &Path) -> PathBuf {
    lab.join("kubernetes")
}

fn start(demo: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let programs = Programs {
        perouter: demo.perouter.clone(),
        images: context.image.clone().map(|image| (DEPLOYED_IMAGE.to_owned(), image)).into_iter().collect(),
        lab: Some(demo.own_program.clone()),
        metallb: Some(Assets::metallb(&demo.root)?),
    };
    let nodes = NODES.into_iter().map(|name| context.lab.node(name)).collect::<Result<Vec<_>, _>>()?;
    // Its processes stop with the lab, also if a later step fails.
    let mut cluster = ManuallyDrop::new(LabCluster::start(&demo.root, &nodes, programs)?);
    let path = link(&context.lab.folder());
    symlink(cluster.control_plane().folder(), &path).map_err(|source| StepError::Folder { path, source })?;
    let lines = output(&cluster.kubectl(), &["get", "nodes"])?;
    context.cluster = Some(cluster);
    Ok(lines)
}

fn install_router(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let cluster = cluster(context)?;
    cluster.install_router()?;
    output(&cluster.kubectl(), &["--namespace", "openperouter-system", "get", "pods", "-o", COLUMNS])
}

fn install_metallb(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let cluster = cluster(context)?;
    cluster.install_metallb()?;
    output(&cluster.kubectl(), &["--namespace", "metallb-system", "get", "pods", "-o", COLUMNS])
}

fn apply_example(demo: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let folder = demo.root.join("examples/metallb");
    let cluster = cluster(context)?;
    let mut lines = output(&cluster.kubectl(), &["apply", "-f", &folder.to_string_lossy()])?;
    let addresses: Vec<IpAddr> = [RED, BLUE].iter().filter_map(|address| address.parse().ok()).collect();
    let serves = |cluster: &mut LabCluster| addresses.iter().all(|address| cluster.serves(*address));
    cluster.sync_until("addresses and endpoints of both services", serves)?;
    lines += &output(&cluster.kubectl(), &["get", "services", "--selector", "!provider"])?;
    context.hosts = Some((Instance::Main, read_manifests(&folder.join("metallb.yaml"))?));
    await_nics(context)?;
    Ok(lines)
}

fn show_status(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    output(&cluster(context)?.kubectl(), &["get", "routernodestatuses", "-o", "wide"])
}

fn cluster(context: &mut DemoContext) -> Result<&mut LabCluster, StepError> {
    let missing = || KubernetesError::NoAssets { reason: "the step before has not started a cluster".into() };
    Ok(context.cluster.as_deref_mut().ok_or_else(missing)?)
}

fn output(kubectl: &Kubectl, words: &[&str]) -> Result<String, StepError> {
    let text = kubectl.check(words)?;
    Ok(text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect())
}
