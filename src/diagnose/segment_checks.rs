//! Checks of L2 segments: the bridge on the host, the MTU of its ports, addresses that several workloads have. In: [`Facts`]. Out:
//! [`Finding`]s. Pure.

use super::facts::{DuplicateAddresses, Facts};
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use super::link_checks;
use super::node_checks::{count, few};
use crate::kernel::segment_ports::SegmentPort;
use crate::names::{OwnedName, Role};
use crate::types::Vni;

/// All of them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for port in &facts.segment_ports {
        found.extend(bridge_down(port, facts));
        found.extend(port_mtu(port, facts));
        found.extend(ports_down(port, facts));
        found.extend(detached(port, facts));
    }
    found.extend(facts.duplicates.iter().map(|(vni, duplicates)| duplicate_address(*vni, duplicates, facts)));
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

/// Ports of workloads that somebody has set down.
fn ports_down(port: &SegmentPort, facts: &Facts) -> Option<Finding> {
    let SegmentPort { vni, bridge, down, .. } = port;
    (!down.is_empty()).then(|| {
        let ports = count(down.len(), "port of", "ports of");
        let what = format!("{ports} {bridge} in L2VNI {vni} {} down", if down.len() == 1 { "is" } else { "are" });
        let named = few(down.iter().cloned());
        Finding::new(FindingSeverity::Warning, Area::Links, FindingKind::PortDown, what)
            .at(place(port))
            .shown_by(format!("ports that are set down: {named}"))
            .remedied_by("set it up on the host, `ip link set PORT up`, or delete it with its workload")
            .of(facts.object_with(*vni), "spec.hostMaster")
    })
}

/// The host end of the segment is no port of its bridge any more.
fn detached(port: &SegmentPort, facts: &Facts) -> Option<Finding> {
    let SegmentPort { vni, bridge, is_attached, .. } = port;
    (!is_attached).then(|| {
        let host = OwnedName::Vni(Role::HostVeth, *vni);
        let what =
            format!("{host} is no port of bridge {bridge}: the workloads of L2VNI {vni} reach nothing beyond it");
        Finding::new(link_checks::severity(facts), Area::Links, FindingKind::LinkDown, what)
            .at(Place { vni: Some(*vni), link: Some(host.to_string()), ..Place::default() })
            .shown_by(format!("ip link show {host}"))
            .remedied_by(link_checks::repair(facts.controller))
            .of(facts.object_with(*vni), "spec.hostMaster")
    })
}

/// A bridge drops what is larger than the MTU of the port over which it would leave.
fn port_mtu(port: &SegmentPort, facts: &Facts) -> Option<Finding> {
    let SegmentPort { vni, bridge, mtu, larger, .. } = port;
    (!larger.is_empty()).then(|| {
        let named = larger.iter().map(|(name, mtu)| format!("{name} {mtu}"));
        let ports = count(larger.len(), "port has", "ports have");
        let what = format!("{ports} a larger MTU than L2VNI {vni}, which carries packets of {mtu} bytes: larger ones are lost");
        Finding::new(FindingSeverity::Warning, Area::Links, FindingKind::PortMtu, what)
            .at(place(port))
            .shown_by(format!("ports of {bridge}: {}", few(named)))
            .remedied_by(format!(
                "set mtu {mtu} for the workloads (`mtu` of a NetworkAttachmentDefinition), or raise it on the NIC and in the fabric"
            ))
            .of(facts.object_with(*vni), "spec.mtu")
    })
}

fn duplicate_address(vni: Vni, DuplicateAddresses { macs, ips }: &DuplicateAddresses, facts: &Facts) -> Finding {
    let macs: Vec<String> = macs.iter().map(ToString::to_string).collect();
    let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
    let kinds = [(macs, "MAC address", "MAC addresses"), (ips, "IP address", "IP addresses")];
    let found: Vec<_> = kinds.into_iter().filter(|(all, ..)| !all.is_empty()).collect();
    let counts: Vec<String> = found.iter().map(|(all, one, many)| count(all.len(), one, many)).collect();
    let named: Vec<String> = found.into_iter().map(|(all, ..)| few(all.into_iter())).collect();
    let what = format!("workloads of L2VNI {vni} behind several VTEPs have the same {}", counts.join(" and "));
    Finding::new(FindingSeverity::Warning, Area::Evpn, FindingKind::DuplicateAddress, what)
        .at(Place { vni: Some(vni), ..Place::default() })
        .shown_by(format!("five moves within 180 s: {}", named.join("; ")))
        .remedied_by(format!(
            "find them with `perouter macs {vni}` on each node, give one of them another address, and have zebra forget it: `clear evpn \
             dup-addr vni {vni}` in vtysh"
        ))
        .of(facts.object_with(vni), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port() -> SegmentPort {
        SegmentPort {
            vni: Vni::try_from(110).unwrap(),
            mtu: 1450,
            bridge: "br0".to_owned(),
            is_bridge_up: true,
            is_attached: true,
            larger: [].into(),
            down: [].into(),
        }
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
    fn ports_that_are_down_or_missing_are_found() {
        let down = ["a", "b"].map(str::to_owned).into();
        let facts =
            Facts { segment_ports: vec![SegmentPort { down, is_attached: false, ..port() }], ..Facts::default() };
        assert_eq!(
            shown(&facts),
            [
                "warning port-down VNI 110, link br0: 2 ports of br0 in L2VNI 110 are down [ports that are set down: a, b]",
                "warning link-down VNI 110, link host-110: host-110 is no port of bridge br0: the workloads of L2VNI 110 reach nothing \
                 beyond it [ip link show host-110]"
            ]
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
    fn addresses_of_several_workloads_are_one_finding() {
        let vni = Vni::try_from(110).unwrap();
        let macs: std::collections::BTreeSet<_> =
            (1..=4).map(|last| crate::types::MacAddr([2, 0, 0, 0, 0, last])).collect();
        let both = DuplicateAddresses { macs: macs.clone(), ips: ["10.110.0.12".parse().unwrap()].into() };
        let facts = Facts { duplicates: [(vni, both)].into(), ..Facts::default() };
        assert_eq!(
            shown(&facts),
            [
                "warning duplicate-address VNI 110: workloads of L2VNI 110 behind several VTEPs have the same 4 MAC addresses and 1 IP \
              address [five moves within 180 s: 02:00:00:00:00:01, 02:00:00:00:00:02, 02:00:00:00:00:03 and 1 more; 10.110.0.12]"
            ]
        );
    }
}
