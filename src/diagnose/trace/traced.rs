//! What is traced, and the path that is found. The one shape of `perouter trace` and of the page. Pure data.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

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

impl TraceQuery {
    /// Whether packets can go from one address to the other.
    ///
    /// # Errors
    /// Why none can.
    pub fn check(&self) -> Result<(), String> {
        [Some(self.to), self.from].into_iter().flatten().try_for_each(check_address)?;
        match self.from {
            Some(from) if from.is_ipv4() != self.to.is_ipv4() => Err(format!(
                "{from} and {} have different address families: no packet goes from one to the other",
                self.to
            )),
            Some(from) if from == self.to => Err(format!("both ends are {from}: trace from another address")),
            _ => Ok(()),
        }
    }
}

/// No route leads to addresses of one link, of groups, and of a host itself.
fn check_address(address: IpAddr) -> Result<(), String> {
    // An IPv4 one may be that of a session, as localcidr has it.
    if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return Err(format!(
            "{address} is a link-local address, which no route leads to: trace a routed address, or see `perouter macs VNI`"
        ));
    }
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if address.is_multicast() || address.is_unspecified() || address.is_loopback() || is_broadcast || is_mapped {
        return Err(format!("{address} is not the address of a host in a VRF: trace a unicast address"));
    }
    Ok(())
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

/// From where to where packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathDirection {
    /// From the host of this node.
    HostToFabric,
    /// To the host of this node.
    FabricToHost,
    /// From a workload of an L2 segment behind this node.
    WorkloadToFabric,
    /// To a workload of an L2 segment behind this node.
    FabricToWorkload,
    /// From a workload of an L2 segment behind this node, or the host, to the other one or to another workload.
    WithinNode,
    /// To the gateway of an L2 segment, or to a workload of another node that only the segment leads to.
    WithinSegment,
}

impl PathDirection {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostToFabric => "host-to-fabric",
            Self::FabricToHost => "fabric-to-host",
            Self::WorkloadToFabric => "workload-to-fabric",
            Self::FabricToWorkload => "fabric-to-workload",
            Self::WithinNode => "within-node",
            Self::WithinSegment => "within-segment",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::HostToFabric => "from the host to the fabric",
            Self::FabricToHost => "from the fabric to the host",
            Self::WorkloadToFabric => "from a workload to the fabric",
            Self::FabricToWorkload => "from the fabric to a workload",
            Self::WithinNode => "within this node",
            Self::WithinSegment => "within the segment",
        }
    }
}

impl Serialize for PathDirection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
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
    pub direction: Option<PathDirection>,
    /// The address is one that serves as an example.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub example: bool,
    /// The path reaches its end.
    pub complete: bool,
    /// Its steps.
    #[serde(flatten)]
    pub trace: Trace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_routed_is_an_error() {
        for address in ["10.0.0.1", "169.254.1.1", "2001:db8::1"] {
            check_address(address.parse().unwrap()).unwrap();
        }
        for (address, words) in [
            ("fe80::1", "link-local"),
            ("ff02::1", "unicast address"),
            ("127.0.0.1", "unicast address"),
            ("::", "unicast address"),
            ("255.255.255.255", "unicast address"),
            ("::ffff:10.0.0.1", "unicast address"),
        ] {
            let error = check_address(address.parse().unwrap()).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let query = |from: &str| TraceQuery { to: "10.0.0.1".parse().unwrap(), from: from.parse().ok(), vrf: None };
        assert!(query("2001:db8::1").check().unwrap_err().contains("different address families"));
        assert!(query("10.0.0.1").check().unwrap_err().contains("both ends are 10.0.0.1"));
        assert!(query("127.0.0.1").check().is_err() && query("10.0.0.2").check().is_ok());
    }
}
