//! Checks of L2 segments: the bridge on the host, the MTU of its ports, addresses that several workloads have. In: [`Facts`]. Out:
//! [`Finding`]s. Pure.

use super::facts::{DuplicateAddress, Facts};
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use super::node_checks::count;
use crate::kernel::segment_ports::SegmentPort;

/// Further ports are counted.
const NAMED: usize = 3;

/// All of them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for port in &facts.segment_ports {
        found.extend(bridge_down(port, facts));
        found.extend(port_mtu(port, facts));
    }
    found.extend(facts.duplicates.iter().map(|duplicate| duplicate_address(duplicate, facts)));
    found
}

fn place(port: &SegmentPort) -> Place {
    Place { vni: Some(port.vni), link: Some(port.bridge.clone()), ..Place::default() }
}

fn bridge_down(port: &SegmentPort, facts: &Facts) -> Option<Finding> {
    let SegmentPort { vni, bridge, .. } = port;
    (!port.is_bridge_up).then(|| {
        let what = format!("bridge {bridge} of L2VNI {vni} is down: its workloads reach nothing");
        Finding::new(FindingSeverity::Error, Area::Links, FindingKind::BridgeDown, what)
            .at(place(port))
            .remedied_by(format!("set it up on the host: `ip link set {bridge} up`"))
            .of(facts.object_with(*vni), "spec.hostMaster")
    })
}

/// A bridge drops what is larger than the MTU of the port over which it would leave.
fn port_mtu(port: &SegmentPort, facts: &Facts) -> Option<Finding> {
    let SegmentPort { vni, bridge, mtu, larger, .. } = port;
    let named: Vec<String> = larger.iter().take(NAMED).map(|(name, mtu)| format!("{name} {mtu}")).collect();
    (!larger.is_empty()).then(|| {
        let more = larger.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let ports = count(larger.len(), "port has", "ports have");
        let what = format!("{ports} a larger MTU than L2VNI {vni}, which carries packets of {mtu} bytes: larger ones are lost");
        Finding::new(FindingSeverity::Warning, Area::Links, FindingKind::PortMtu, what)
            .at(place(port))
            .shown_by(format!("ports of {bridge}: {}{more}", named.join(", ")))
            .remedied_by(format!(
                "set mtu {mtu} for the workloads (`mtu` of a NetworkAttachmentDefinition), or raise it on the NIC and in the fabric"
            ))
            .of(facts.object_with(*vni), "spec.mtu")
    })
}

fn duplicate_address(duplicate: &DuplicateAddress, facts: &Facts) -> Finding {
    let DuplicateAddress { vni, ip, mac } = duplicate;
    let what = match ip {
        Some(ip) => format!("several MAC addresses claim {ip} in L2VNI {vni}, the last of them {mac}"),
        None => format!("several workloads have the MAC address {mac} in L2VNI {vni}"),
    };
    let prefix = ip.map(Into::into);
    Finding::new(FindingSeverity::Warning, Area::Evpn, FindingKind::DuplicateAddress, what)
        .at(Place { vni: Some(*vni), prefix, ..Place::default() })
        .shown_by("zebra: moves in 180 s, 5 or more, between VTEPs")
        .remedied_by(format!(
            "find both with `perouter macs {vni}` on each node, give one of them another address, and have zebra forget it: `clear evpn \
             dup-addr vni {vni}` in vtysh"
        ))
        .of(facts.object_with(*vni), "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Vni;

    fn port() -> SegmentPort {
        let (bridge, larger) = ("br0".to_owned(), [].into());
        SegmentPort { vni: Vni::try_from(110).unwrap(), mtu: 1450, bridge, is_bridge_up: true, larger }
    }

    fn shown(facts: &Facts) -> Vec<String> {
        let shown =
            |f: &Finding| format!("{} {} {}: {} [{}]", f.severity.as_str(), f.kind, f.place, f.what, f.evidence);
        findings(facts).iter().map(shown).collect()
    }

    #[test]
    fn a_bridge_that_is_up_with_ports_of_its_mtu_is_well() {
        let mut facts = Facts { segment_ports: vec![port()], ..Facts::default() };
        assert_eq!(shown(&facts), [""; 0]);
        facts.segment_ports[0].is_bridge_up = false;
        assert_eq!(
            shown(&facts),
            ["error bridge-down VNI 110, link br0: bridge br0 of L2VNI 110 is down: its workloads reach nothing []"]
        );
    }

    #[test]
    fn ports_with_a_larger_mtu_are_counted() {
        let larger = ["a", "b", "c", "d"].map(|name| (name.to_owned(), 9000)).into();
        let facts = Facts { segment_ports: vec![SegmentPort { larger, ..port() }], ..Facts::default() };
        assert_eq!(
            shown(&facts),
            [
                "warning port-mtu VNI 110, link br0: 4 ports have a larger MTU than L2VNI 110, which carries packets of 1450 bytes: \
              larger ones are lost [ports of br0: a 9000, b 9000, c 9000 and 1 more]"
            ]
        );
    }

    #[test]
    fn an_address_of_several_workloads_is_found() {
        let (vni, mac) = (Vni::try_from(110).unwrap(), "02:00:00:00:00:01".parse().unwrap());
        let of = |ip: Option<&str>| DuplicateAddress { vni, ip: ip.map(|ip| ip.parse().unwrap()), mac };
        let facts = Facts { duplicates: [of(None), of(Some("10.110.0.12"))].into(), ..Facts::default() };
        let evidence = "[zebra: moves in 180 s, 5 or more, between VTEPs]";
        assert_eq!(
            shown(&facts),
            [
                format!(
                    "warning duplicate-address VNI 110: several workloads have the MAC address 02:00:00:00:00:01 in L2VNI 110 {evidence}"
                ),
                format!(
                    "warning duplicate-address VNI 110, 10.110.0.12/32: several MAC addresses claim 10.110.0.12 in L2VNI 110, the last \
                     of them 02:00:00:00:00:01 {evidence}"
                )
            ]
        );
    }
}
