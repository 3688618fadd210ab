//! What is traced, and the path that is found. The one shape of `perouter trace` and of the page. Pure data.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::step::TraceStep;
use crate::frr::show::route::Origin;
use crate::types::{Vni, VrfName};

/// What is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceQuery {
    /// The address.
    pub to: IpAddr,
    /// The other end; without it, an address that the other side advertises is an example.
    pub from: Option<IpAddr>,
    /// In this VRF only.
    pub vrf: Option<VrfName>,
}

/// The path in one VRF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// The VRF.
    pub vrf: VrfName,
    /// Its VNI.
    pub vni: Vni,
    /// The prefix that covers the address; absent where the VRF has none.
    pub prefix: Option<IpNet>,
    /// From where the best path is.
    pub origin: Option<Origin>,
    /// All steps, the last of which may be where the path is incomplete.
    pub steps: Vec<TraceStep>,
}

impl Trace {
    /// The path reaches its end.
    pub fn is_complete(&self) -> bool {
        self.prefix.is_some() && self.steps.iter().all(|step| step.ok)
    }
}

/// The path of packets to an address.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectedTrace {
    /// The address.
    pub to: IpAddr,
    /// From where to where; absent where no route covers the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'static str>,
    /// The address is one that serves as an example.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub example: bool,
    /// The path reaches its end.
    pub complete: bool,
    /// Its steps.
    #[serde(flatten)]
    pub trace: Trace,
}

impl DirectedTrace {
    /// A path that was followed to an address.
    pub fn new(to: IpAddr, trace: Trace) -> Self {
        let direction = trace.origin.map(|origin| match origin {
            Origin::Fabric => "host-to-fabric",
            Origin::Host | Origin::Router | Origin::Segment => "fabric-to-host",
        });
        Self { to, direction, example: false, complete: trace.is_complete(), trace }
    }
}
