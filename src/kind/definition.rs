//! What every kind defines, and what its definition gets to see. Each kind implements the two traits in its own folder;
//! nothing here knows one of them. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bgp::SecretKeyRef;
use super::check::Check;
use super::claim::Claim;
use super::note::Note;
use super::object::{Kind, ObjectRef};
use crate::frr::model::{Neighbor, Peer, RouterConfig};
use crate::frr::release::Release;
use crate::kernel::model::KernelState;
use crate::scope::Scope;
use crate::types::{Asn, Family, IfName, Vni, VrfMode, VrfName};

/// What the plan must know of the node beyond the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// VRF mode of this node.
    pub mode: VrfMode,
    /// The installed release of FRR.
    pub release: Release,
    /// MTU in bytes of the NICs that exist.
    pub nic_mtu: BTreeMap<IfName, u32>,
}

/// The node's connection to the fabric, on which the objects of the other kinds are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fabric {
    /// The object that provides it.
    pub object: ObjectRef,
    /// AS number of the default BGP instance.
    pub asn: Asn,
    /// VTEP address of the node.
    pub vtep: IpAddr,
    /// BGP router id of the node.
    pub router_id: Ipv4Addr,
    /// BGP neighbors in the fabric.
    pub neighbors: BTreeMap<Peer, Neighbor>,
    /// Prefixes that no host may advertise, since the underlay depends on them.
    pub protected: Vec<IpNet>,
    /// VRF mode of the node.
    pub mode: VrfMode,
    /// The installed release of FRR.
    pub release: Release,
    /// MTU in bytes of the overlay.
    pub mtu: u32,
}

impl Fabric {
    /// The protected prefixes of a family.
    pub fn protected_of(&self, family: Family) -> Vec<IpNet> {
        self.protected.iter().filter(|prefix| Family::of(prefix) == family).copied().collect()
    }
}

/// What FRR must have when an object is in place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expectation {
    /// An L3VNI in service, in its IP-VRF.
    L3vni {
        /// The IP-VRF.
        vrf: VrfName,
        /// The VNI.
        vni: Vni,
    },
}

/// The spec of a kind: what users write.
pub trait KindSpec: Serialize + DeserializeOwned + PartialEq + Clone {
    /// The kind.
    const KIND: Kind;
    /// Whether objects of the kind need the node's connection to the fabric.
    const NEEDS_FABRIC: bool;
    /// A spec whose fields are values.
    type Valid: KindValid;

    /// The definition, as derived.
    fn crd() -> CustomResourceDefinition;

    /// The nodes that an object is for; `None`: all.
    fn selector(&self) -> Option<&LabelSelector>;

    /// The Secrets that an object names.
    fn secrets(&self) -> Vec<&SecretKeyRef> {
        vec![]
    }

    /// The NICs of the node that an object names.
    fn nics(&self) -> Vec<&str> {
        vec![]
    }

    /// Takes the fields to values. `None` where one is wrong; `check` has every mistake.
    fn validate(&self, check: &mut Check<'_>) -> Option<Self::Valid>;
}

/// An accepted object of a kind, by its values.
pub trait KindValid: Sized {
    /// To what all that the object asks for belongs.
    fn scope(&self) -> Scope;

    /// What no other object may have.
    fn claims(&self) -> Vec<Claim>;

    /// The connection to the fabric, where this object provides it.
    fn fabric(&self, _object: &ObjectRef, _facts: &NodeFacts) -> Option<Fabric> {
        None
    }

    /// Adds the links, addresses and settings of the object.
    fn links(&self, fabric: &Fabric, state: &mut KernelState);

    /// Adds the FRR configuration of the object.
    fn routing(&self, fabric: &Fabric, config: &mut RouterConfig);

    /// What FRR must have when the object is in place.
    fn expects(&self) -> Vec<Expectation> {
        vec![]
    }

    /// What all accepted objects of the kind lose together.
    fn notes(_accepted: &[(&ObjectRef, &Self)], _fabric: &Fabric) -> Vec<Note> {
        vec![]
    }
}
