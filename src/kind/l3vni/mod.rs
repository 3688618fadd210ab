//! `L3VNI`: an IP-VRF that the fabric identifies by its VNI, and the BGP session with the host in it. In: a spec and the
//! [`Fabric`]. Out: its values, claims, links, FRR configuration and notes. It must not know another kind. Pure.

mod host;
mod links;
mod notes;
mod routing;
mod session_subnet;
mod spec;
mod validate;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResourceExt;

use super::bgp::SecretKeyRef;
use super::check::{Check, HostedVrf};
use super::claim::{Claim, Claimed};
use super::definition::{Expectation, Fabric, KindSpec, KindValid};
use super::note::Note;
use super::object::{Kind, ObjectRef};
use crate::frr::model::RouterConfig;
use crate::kernel::model::KernelState;
use crate::scope::Scope;

pub use spec::{
    AggregateSpec, FromHost, HostSessionSpec, L3VNI, L3VNISpec, LocalCidr, ReversePathFilter, SourceAddress, ToFabric,
    ToHost,
};
pub use validate::ValidL3vni;

impl KindSpec for L3VNISpec {
    const KIND: Kind = Kind::L3VNI;
    const NEEDS_FABRIC: bool = true;
    type Valid = ValidL3vni;

    fn crd() -> CustomResourceDefinition {
        L3VNI::crd()
    }

    fn selector(&self) -> Option<&LabelSelector> {
        self.node_selector.as_ref()
    }

    fn secrets(&self) -> Vec<&SecretKeyRef> {
        self.host_session.iter().filter_map(|session| session.password_secret.as_ref()).collect()
    }

    fn validate(&self, check: &mut Check<'_>) -> Option<ValidL3vni> {
        validate::validate(self, check)
    }
}

impl KindValid for ValidL3vni {
    fn scope(&self) -> Scope {
        Scope::Vrf(self.vrf.clone())
    }

    fn claims(&self) -> Vec<Claim> {
        let subnets = self
            .veth
            .iter()
            .map(|(family, (subnet, _))| Claim::new(Claimed::Subnet(*subnet), format!("spec.localcidr.{family}")));
        let names =
            [Claim::new(Claimed::Vni(self.vni), "spec.vni"), Claim::new(Claimed::Vrf(self.vrf.clone()), "spec.vrf")];
        names.into_iter().chain(subnets).collect()
    }

    fn routing_domain(&self) -> Option<HostedVrf> {
        let (vrf, host_vrf, to_host) = (self.vrf.clone(), self.host_vrf.clone(), self.to_host.clone());
        Some(HostedVrf { vrf, host_vrf, sessions: self.veth.keys().copied().collect(), to_host })
    }

    fn links(&self, fabric: &Fabric, state: &mut KernelState) {
        links::links(self, fabric, state);
    }

    fn routing(&self, fabric: &Fabric, config: &mut RouterConfig) {
        routing::routing(self, fabric, config);
    }

    fn expects(&self) -> Vec<Expectation> {
        vec![Expectation::L3vni { vrf: self.vrf.clone(), vni: self.vni }]
    }

    fn notes(accepted: &[(&ObjectRef, &Self)], fabric: &Fabric) -> Vec<Note> {
        notes::notes(accepted, fabric)
    }
}
