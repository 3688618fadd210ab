//! Fields that kinds with a VNI have in common, and what they mean. In: raw fields. Out: typed values; the mistakes go to the
//! [`Check`]. It must not know a kind. Pure.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cel;
use super::check::Check;
use super::object::Reason;
use super::vtep::Vtep;
use crate::types::{Family, RouteTarget};

/// The UDP port of VXLAN (RFC 7348 section 5).
pub(super) fn default_vxlanport() -> u16 {
    4789
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AddressFamily {
    /// IPv4.
    IPv4,
    /// IPv6, with FRR 10.6 or later.
    IPv6,
}

impl AddressFamily {
    /// As in an object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }
}

impl From<AddressFamily> for Family {
    fn from(family: AddressFamily) -> Self {
        match family {
            AddressFamily::IPv4 => Self::Ipv4,
            AddressFamily::IPv6 => Self::Ipv6,
        }
    }
}

/// Route targets, `ASN:NUMBER` or `IPV4:NUMBER`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTargets {
    /// Routes with one of these are imported into the VRF, `ASN:NUMBER` or `IPV4:NUMBER`, at most 64. Empty: the derived one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cel::route_targets")]
    pub import: Vec<String>,
    /// Routes of the VRF are exported with these, `ASN:NUMBER` or `IPV4:NUMBER`, at most 64. Empty: the derived one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cel::route_targets")]
    pub export: Vec<String>,
}

/// Import and export route targets.
pub(super) fn route_targets(
    check: &mut Check<'_>,
    targets: Option<&RouteTargets>,
) -> (BTreeSet<RouteTarget>, BTreeSet<RouteTarget>) {
    let default = RouteTargets::default();
    let targets = targets.unwrap_or(&default);
    let [import, export] = [("import", &targets.import), ("export", &targets.export)].map(|(direction, list)| {
        let parsed = list.iter().enumerate().filter_map(|(i, raw)| {
            check.value(format_args!("spec.routeTargets.{direction}[{i}]"), raw.parse::<RouteTarget>())
        });
        parsed.collect()
    });
    (import, export)
}

/// The VTEP of this node for the VNI. An object with a VNI is not validated without an Underlay.
pub(super) fn vtep(check: &mut Check<'_>, family: Option<AddressFamily>) -> Option<Vtep> {
    let (underlay, vteps) = check.node.fabric?;
    let vtep = vteps.select(family.map(Family::from));
    if let (Some(family), None) = (family, vtep) {
        let remedy = match family {
            AddressFamily::IPv4 => "write an IPv4 pool to its spec.vtepcidr and the IPv6 pool to spec.vtepcidr6",
            AddressFamily::IPv6 => "set its spec.vtepcidr6",
        };
        let text = format!("{underlay} has no pool of {} VTEPs: {remedy}, or remove this field", family.as_str());
        check.reject(Reason::DependencyFailed, "spec.underlayAddressFamily", text);
    }
    vtep
}
