//! What runs in place of an image.
//!
//! In: a container. Out: a [`Replacement`], or an image that runs as it is. It must not start anything.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::assets::Assets;
use super::containers::ContainerImage;
use super::pod::Container;

/// Images, and programs in place of images.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `perouter`, for an image that is not in `images`.
    pub perouter: PathBuf,
    /// Images that run as containers, by their name in manifests.
    pub images: BTreeMap<String, ContainerImage>,
    /// This program, if web servers are to be processes of it; otherwise they are threads and stop with the cluster.
    pub lab: Option<PathBuf>,
    /// `MetalLB` and FRR-K8s.
    pub metallb: Option<Assets>,
}

/// What runs in place of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Replacement {
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
    pub(super) fn of(&self, container: &Container) -> Option<Replacement> {
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
