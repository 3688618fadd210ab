//! A Kubernetes control plane: real etcd, kube-apiserver with RBAC, optionally kube-controller-manager, and kubectl.
//!
//! In: the programs, and a placement: this machine's loopback, or a node of a lab. Out: a running API server, kubeconfigs of
//! the administrator and of service accounts; a [`LabCluster`] of lab nodes, on which Pods run as containers where the lab
//! has their image, otherwise as processes. It must not fake any part of the API. Scheduler, kubelet and kube-proxy are
//! fakes that work through kubectl.

mod assets;
mod certificates;
mod cluster;
mod containers;
mod control_plane;
mod error;
mod kubectl;
mod kubelet;
mod placement;
mod pod;
mod process_pod;
mod programs;
mod proxy;
mod status;

pub use assets::Assets;
pub use cluster::LabCluster;
pub use containers::{ContainerCondition, ContainerImage, ContainerPod};
pub use control_plane::{ControlPlane, Options};
pub use error::KubernetesError;
pub use kubectl::Kubectl;
pub use kubelet::{Kubelet, Member};
pub use placement::Placement;
pub use pod::{Container, Pod};
pub use programs::Programs;
