//! What a kind must define, and what it gets as input. In: specs, and facts on the node. Out: the traits that each kind
//! implements in its own folder. Nothing here may depend on one kind. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::IpNet;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bgp::SecretKeyRef;
use super::check::{Check, HostedVrf};
use super::claim::Claim;
use super::note::Note;
use super::object::{Kind, ObjectRef};
use super::vtep::Vteps;
use crate::frr::model::{Neighbor, Peer, RouterConfig};
use crate::frr::release::Release;
use crate::kernel::model::{HostNetwork, KernelState, ObservedNics};
use crate::scope::Scope;
use crate::types::{Asn, Vni, VrfMode, VrfName};

/// The facts on the node, besides objects, that a plan depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// VRF mode of this node.
    pub mode: VrfMode,
    /// The installed release of FRR.
    pub release: Release,
    /// The existing NICs that objects name; `None` where the node is not at hand.
    pub nics: Option<ObservedNics>,
    /// The networks of the host.
    pub host_networks: BTreeSet<HostNetwork>,
    /// The kernel can filter IPv6 sources.
    pub source_filters: bool,
}

impl NodeFacts {
    /// Of a node of which nothing else is known; its kernel is taken to have all that is used.
    pub fn unknown(mode: VrfMode, release: Release) -> Self {
        Self { mode, release, nics: None, host_networks: BTreeSet::new(), source_filters: true }
    }
}

/// The node's connection to the fabric, on which objects of other kinds build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fabric {
    /// The object that provides it.
    pub object: ObjectRef,
    /// AS number of the default BGP instance.
    pub asn: Asn,
    /// The VTEPs of the node.
    pub vteps: Vteps,
    /// BGP router id of the node.
    pub router_id: Ipv4Addr,
    /// BGP neighbors in the fabric.
    pub neighbors: BTreeMap<Peer, Neighbor>,
    /// Prefixes that no IP-VRF may have from a host or the fabric, each with the field of the object that protects it.
    pub protected: BTreeMap<IpNet, String>,
    /// VRF mode of the node.
    pub mode: VrfMode,
    /// The installed release of FRR.
    pub release: Release,
    /// The kernel can filter IPv6 sources.
    pub source_filters: bool,
}

/// What FRR must report once an object is applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expectation {
    /// An L3VNI that is up, in its IP-VRF.
    L3vni {
        /// The IP-VRF.
        vrf: VrfName,
        /// The VNI.
        vni: Vni,
    },
    /// An L2VNI, with its bridge in this IP-VRF.
    L2vni {
        /// The IP-VRF; `None`: the router itself.
        vrf: Option<VrfName>,
        /// The VNI.
        vni: Vni,
    },
}

/// The spec of a kind, as users write it.
pub trait KindSpec: Serialize + DeserializeOwned + PartialEq + Clone {
    /// The kind.
    const KIND: Kind;
    /// Whether objects of the kind require the node's connection to the fabric.
    const NEEDS_FABRIC: bool;
    /// The spec as typed values.
    type Valid: KindValid;

    /// The derived definition.
    fn crd() -> CustomResourceDefinition;

    /// The labels of the nodes that an object applies to; `None`: all nodes.
    fn selector(&self) -> Option<&LabelSelector>;

    /// The Secrets that an object names.
    fn secrets(&self) -> Vec<&SecretKeyRef> {
        vec![]
    }

    /// The NICs of the node that an object names.
    fn nics(&self) -> Vec<&str> {
        vec![]
    }

    /// Converts the fields to typed values. `None` if a field is invalid; everything that is wrong is added to `check`.
    fn validate(&self, check: &mut Check<'_>) -> Option<Self::Valid>;
}

/// A valid object of a kind, as typed values.
pub trait KindValid: Sized {
    /// The scope of everything that the object contributes.
    fn scope(&self) -> Scope;

    /// What no other object of the node may claim.
    fn claims(&self) -> Vec<Claim>;

    /// The connection to the fabric; `None` if the object does not provide it.
    fn fabric(&self, _object: &ObjectRef, _facts: &NodeFacts) -> Option<Fabric> {
        None
    }

    /// The IP-VRF in which objects of later kinds may have a segment; `None` if the object has none.
    fn routing_domain(&self) -> Option<HostedVrf> {
        None
    }

    /// Adds the links, addresses and settings of the object.
    fn links(&self, fabric: &Fabric, state: &mut KernelState);

    /// Adds the FRR configuration of the object.
    fn routing(&self, fabric: &Fabric, config: &mut RouterConfig);

    /// What FRR must report once the object is applied.
    fn expects(&self) -> Vec<Expectation> {
        vec![]
    }

    /// Notes on all accepted objects of the kind.
    fn notes(_accepted: &[(&ObjectRef, &Self)], _fabric: &Fabric) -> Vec<Note> {
        vec![]
    }
}
