//! `L2VNI`: a segment that the fabric identifies by its VNI, with or without gateways in an IP-VRF. In: a spec, the [`Fabric`] and
//! the IP-VRFs of accepted objects. Out: its values, claims, links and FRR configuration. It must not know another kind. Pure.

mod links;
mod routing;
mod schema;
mod spec;
mod validate;

#[cfg(test)]
mod tests;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResourceExt;

use super::check::Check;
use super::claim::{Claim, Claimed};
use super::definition::{Expectation, Fabric, KindSpec, KindValid};
use super::note::{Loss, Note};
use super::object::{Kind, ObjectRef};
use crate::frr::model::RouterConfig;
use crate::kernel::model::KernelState;
use crate::scope::Scope;

pub use spec::{
    HostMasterSpec, HostMasterType, L2VNI, L2VNISpec, L3VNIReference, Lifecycle, LinuxBridgeSpec, OVSBridgeSpec,
    RoutingDomain, RoutingDomainType,
};
pub use validate::{HostBridge, ValidL2vni};

impl KindSpec for L2VNISpec {
    const KIND: Kind = Kind::L2VNI;
    const NEEDS_FABRIC: bool = true;
    type Valid = ValidL2vni;

    fn crd() -> CustomResourceDefinition {
        L2VNI::crd()
    }

    fn selector(&self) -> Option<&LabelSelector> {
        self.node_selector.as_ref()
    }

    fn validate(&self, check: &mut Check<'_>) -> Option<ValidL2vni> {
        validate::validate(self, check)
    }
}

impl KindValid for ValidL2vni {
    fn scope(&self) -> Scope {
        Scope::Segment(self.vni)
    }

    fn claims(&self) -> Vec<Claim> {
        let bridge = self
            .host_bridge
            .as_ref()
            .and_then(|bridge| Some(Claim::new(Claimed::HostBridge(bridge.external.clone()?), bridge.name_field())));
        let subnets = self.gateways.values().filter_map(|gateway| {
            Some(Claim::new(Claimed::GatewaySubnet(self.vrf.clone()?, gateway.trunc()), "spec.gatewayIPs"))
        });
        [Claim::new(Claimed::Vni(self.vni), "spec.vni")].into_iter().chain(bridge).chain(subnets).collect()
    }

    fn links(&self, fabric: &Fabric, state: &mut KernelState) {
        links::links(self, fabric, state);
    }

    fn routing(&self, fabric: &Fabric, config: &mut RouterConfig) {
        routing::routing(self, fabric, config);
    }

    fn notes(accepted: &[(&ObjectRef, &Self)], _fabric: &Fabric) -> Vec<Note> {
        let note = |loss, object: &ObjectRef, field: &str, message: &String| Note {
            loss,
            object: object.clone(),
            field: field.to_owned(),
            message: message.clone(),
        };
        let of_one = |(object, l2vni): &(&ObjectRef, &Self)| -> Vec<Note> {
            let lost = l2vni.not_advertised.values();
            let lost = lost.map(|message| note(Loss::Fabric, object, "spec.gatewayIPs", message));
            let filtered = l2vni.not_to_host.iter();
            let filtered = filtered.map(|(l3vni, text)| note(Loss::Node, l3vni, "spec.toHost.allowedPrefixes", text));
            lost.chain(filtered).collect()
        };
        accepted.iter().flat_map(of_one).collect()
    }

    fn expects(&self) -> Vec<Expectation> {
        vec![Expectation::L2vni { vrf: self.vrf.clone(), vni: self.vni }]
    }
}
