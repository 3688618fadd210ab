//! Pods as containers: runc with the root file system of an image, in the namespaces of a lab node.
//!
//! In: the spec of a Pod as the API server returns it, and images that Docker built. Out: a [`ContainerPod`] that a kubelet
//! calls regularly: it starts, probes, restarts and stops its containers. It must not use the API server, and a field of a
//! manifest that it does not implement is an error: the container would differ from the one in a cluster.
//!
//! ```text
//! manifest (fields) ─▶ oci (config.json) ─▶ runc (processes)      capabilities: of this machine
//!                 └▶ volumes (paths of the node)   health: what the probes say     pod: all of it, for one Pod
//! ```
//!
//! What differs from containerd: `oom_score_adj` is not lowered, which needs `CAP_SYS_RESOURCE`; a privileged container has
//! `/dev` of an ordinary one. As with containerd, privileged means the capabilities that the machine has.

mod capabilities;
mod health;
mod image;
mod manifest;
mod oci;
mod pod;
mod runc;
mod volumes;

pub use image::ContainerImage;
pub(super) use manifest::PodManifest;
pub use pod::{ContainerCondition, ContainerPod};
pub(super) use pod::{Secrets, Surroundings};
