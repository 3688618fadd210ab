//! `Underlay`: the connection of a node to the fabric. In: a spec. Out: its values, claims, links and FRR configuration, and the
//! [`Fabric`] that objects of the other kinds build on. It must not know another kind. Pure.

mod links;
mod nics;
mod notes;
mod routing;
mod spec;
mod validate;
mod vtep_pools;

use ipnet::IpNet;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResourceExt;

use super::bgp::SecretKeyRef;
use super::check::Check;
use super::claim::{Claim, Claimed};
use super::definition::{Fabric, KindSpec, KindValid, NodeFacts};
use super::note::{Loss, Note};
use super::object::{Kind, ObjectRef};
use super::vtep::Vteps;
use crate::frr::model::RouterConfig;
use crate::kernel::model::KernelState;
use crate::scope::Scope;

pub use spec::{NeighborSpec, NeighborType, NicOverride, Underlay, UnderlaySpec, UpdateSource};
pub use validate::ValidUnderlay;

/// MTU in bytes of a NIC that does not exist (yet).
const DEFAULT_NIC_MTU: u32 = 1500;

impl KindSpec for UnderlaySpec {
    const KIND: Kind = Kind::Underlay;
    const NEEDS_FABRIC: bool = false;
    type Valid = ValidUnderlay;

    fn crd() -> CustomResourceDefinition {
        Underlay::crd()
    }

    fn selector(&self) -> Option<&LabelSelector> {
        self.node_selector.as_ref()
    }

    fn secrets(&self) -> Vec<&SecretKeyRef> {
        self.neighbors.iter().filter_map(|neighbor| neighbor.password_secret.as_ref()).collect()
    }

    fn nics(&self) -> Vec<&str> {
        self.nics.iter().map(String::as_str).collect()
    }

    fn validate(&self, check: &mut Check<'_>) -> Option<ValidUnderlay> {
        validate::validate(self, check)
    }
}

impl KindValid for ValidUnderlay {
    fn scope(&self) -> Scope {
        Scope::Underlay
    }

    fn claims(&self) -> Vec<Claim> {
        let fabric = Claim::new(Claimed::Fabric, "");
        let pools = self.vtep_pools.iter().map(|(pool, field)| Claim::new(Claimed::Subnet(*pool), *field));
        let nics = self.nic_names.iter().map(|(name, field)| Claim::new(Claimed::Nic(name.clone()), field));
        let subnets = self.nic_addresses.iter().map(IpNet::trunc);
        let subnets = subnets.map(|subnet| Claim::new(Claimed::Reserved(subnet), "spec.nics, the subnet of a NIC"));
        let field = |i| format!("spec.protectedPrefixes[{i}]");
        let protected = self.protected_prefixes.iter().enumerate();
        let protected = protected.map(|(i, prefix)| Claim::new(Claimed::Reserved(*prefix), field(i)));
        [fabric].into_iter().chain(pools).chain(nics).chain(subnets).chain(protected).collect()
    }

    fn fabric(&self, object: &ObjectRef, facts: &NodeFacts) -> Option<Fabric> {
        Some(Fabric {
            object: object.clone(),
            asn: self.asn,
            vteps: Vteps::new(&self.vteps, self.nic_mtu.unwrap_or(DEFAULT_NIC_MTU)),
            router_id: self.router_id,
            neighbors: self.neighbors.clone(),
            protected: routing::protected(self),
            mode: facts.mode,
            release: facts.release,
            source_filters: facts.source_filters,
        })
    }

    fn links(&self, fabric: &Fabric, state: &mut KernelState) {
        links::links(self, fabric.mode, state);
    }

    fn notes(accepted: &[(&ObjectRef, &Self)], _fabric: &Fabric) -> Vec<Note> {
        let of_one = |(object, underlay): &(&ObjectRef, &Self)| {
            let note = |(field, message): &(String, String)| Note {
                loss: Loss::Fabric,
                object: (*object).clone(),
                field: field.clone(),
                message: message.clone(),
            };
            underlay.node_notes.iter().chain(&notes::not_advertised(underlay)).map(note).collect::<Vec<_>>()
        };
        accepted.iter().flat_map(of_one).collect()
    }

    fn routing(&self, _fabric: &Fabric, config: &mut RouterConfig) {
        config.underlay = Some(routing::instance(self));
    }
}
