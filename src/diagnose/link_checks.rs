//! Checks of links: the NICs of the underlay, and the links of each VNI. In: [`Facts`]. Out: [`Finding`]s, and why a VNI or a session
//! has no link. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::facts::{ControllerState, Facts};
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use crate::frr::show::interface::Interface;
use crate::frr::show::vni::{VniState, VniType};
use crate::names::{OwnedName, Role};
use crate::types::{Vni, VrfName};

/// Packets of this size are what most hosts send.
const COMMON_MTU: u32 = 1500;

/// The link that has the VTEPs.
const LOOPBACK: &str = "lo";

/// All of them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = nics(facts);
    found.extend(without_vtep(facts));
    let of_vnis = facts.vnis.iter().flat_map(|(vni, state)| of_vni(*vni, state, facts));
    found.extend(of_vnis);
    found
}

/// The source of all VXLAN packets is no address of this node any more.
fn without_vtep(facts: &Facts) -> Option<Finding> {
    let lo = facts.links.as_ref()?.get(LOOPBACK)?;
    let is_missing = |vtep: &&IpAddr| !lo.is_admin_up || lo.addresses.iter().all(|net| net.addr() != **vtep);
    let vtep = facts.vteps.iter().find(is_missing)?;
    let what = format!("{LOOPBACK} of the router does not have VTEP {vtep}: nothing is received from the fabric");
    let missing = Finding::new(severity(facts), Area::Links, FindingKind::LinkDown, what)
        .at(Place { vtep: Some(*vtep), link: Some(LOOPBACK.to_owned()), ..Place::default() })
        .shown_by(format!("zebra: show interface {LOOPBACK}"))
        .remedied_by(repair(facts.controller))
        .of(facts.object_of(None), "spec.vtepcidr");
    Some(missing)
}

/// A controller that runs repairs a link at once.
pub(super) fn severity(facts: &Facts) -> FindingSeverity {
    match facts.controller {
        ControllerState::Running => FindingSeverity::Warning,
        ControllerState::Stopped | ControllerState::Stale(_) => FindingSeverity::Error,
    }
}

/// A link of a VNI that does not forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DownLink {
    /// Its name: of the router, or the host end of the veth pair.
    pub name: String,
    /// Why.
    pub what: String,
    /// The command that shows it.
    pub evidence: String,
    /// What does not work without it.
    pub part: LinkPart,
}

/// What depends on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkPart {
    /// All VNIs of a VRF, and its host sessions.
    Vrf,
    /// The VNI in FRR.
    Vni,
    /// The host session, or the port of a segment.
    Veth,
}

impl DownLink {
    fn new(name: &str, shown: &str, part: LinkPart) -> Self {
        let (what, evidence) = (format!("{name} is set down"), format!("zebra: show interface {shown}"));
        Self { name: name.to_owned(), what, evidence, part }
    }
}

/// The links of a VNI that are down, of the router and the host end of the veth pair; none where links were not read.
pub(super) fn down(vni: Vni, state: &VniState, facts: &Facts) -> Vec<DownLink> {
    facts.links.as_ref().map(|links| down_links(vni, &state.vrf, links)).unwrap_or_default()
}

/// Those of a VNI of a VRF among these links.
pub(super) fn down_links(vni: Vni, vrf: &str, links: &BTreeMap<String, Interface>) -> Vec<DownLink> {
    let link = |role| OwnedName::Vni(role, vni).to_string();
    let set_down = |(name, part): (String, LinkPart)| {
        let is_down = links.get(&name).is_some_and(|link| !link.is_admin_up);
        is_down.then(|| DownLink::new(&name, &name, part))
    };
    // Of a segment zebra has no VRF while its bridge is down.
    let device = links.get(vrf).filter(|link| link.is_vrf_device()).map(|_| (vrf.to_owned(), LinkPart::Vrf));
    let parts = [(Role::Vxlan, LinkPart::Vni), (Role::Bridge, LinkPart::Vni), (Role::PeVeth, LinkPart::Veth)];
    let own = parts.map(|(role, part)| (link(role), part));
    let mut found: Vec<DownLink> = device.into_iter().chain(own).filter_map(set_down).collect();
    let veth = link(Role::PeVeth);
    if links.get(&veth).is_some_and(|pe| pe.is_admin_up && !pe.has_carrier) {
        found.push(DownLink::new(&link(Role::HostVeth), &veth, LinkPart::Veth));
    }
    found
}

/// Whether a VNI is down in FRR since a link of it is.
pub(super) fn takes_vni_down(vni: Vni, state: &VniState, facts: &Facts) -> bool {
    down(vni, state, facts).iter().any(|link| link.part != LinkPart::Veth)
}

/// How the links of a VNI are repaired.
pub(super) fn repair(controller: ControllerState) -> &'static str {
    match controller {
        ControllerState::Running => "perouter repairs it in its next reconcile pass",
        ControllerState::Stopped => "start `perouter run` or `perouter controller`, which repairs it",
        ControllerState::Stale(_) => "restart the controller, which repairs it: it reconciles nothing now",
    }
}

fn of_vni(vni: Vni, state: &VniState, facts: &Facts) -> Vec<Finding> {
    let vrf: Option<VrfName> = state.vrf.parse().ok();
    let object = match state.vni_type {
        VniType::L3 => vrf.as_ref().and_then(|vrf| facts.object_of(Some(vrf))),
        VniType::L2 => facts.object_with(vni),
    };
    let severity = severity(facts);
    // The VRF device is a finding of the VRF's own VNI.
    let is_of_it = |link: &DownLink| link.part != LinkPart::Vrf || state.vni_type == VniType::L3;
    let finding = |DownLink { name, what, evidence, .. }: DownLink| {
        Finding::new(
            severity,
            Area::Links,
            FindingKind::LinkDown,
            format!("{what}: VNI {vni} forwards nothing over it"),
        )
        .at(Place { vrf: vrf.clone(), vni: Some(vni), link: Some(name), ..Place::default() })
        .shown_by(evidence)
        .remedied_by(repair(facts.controller))
        .of(object, "")
    };
    down(vni, state, facts).into_iter().filter(is_of_it).map(finding).collect()
}

/// Why the link of a session does not lead to its peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SessionLink {
    /// It is down.
    Down(String),
    /// It has no address in the subnet of the peer.
    WithoutAddress(String),
}

/// The link of a host session, where it does not lead to the peer.
pub(super) fn of_host_session(vrf: &VrfName, peer: IpAddr, facts: &Facts) -> Option<SessionLink> {
    let (links, vni) = (facts.links.as_ref()?, facts.vni_of(vrf)?);
    let down = down(vni, facts.vnis.get(&vni)?, facts);
    if let Some(down) = down.into_iter().rfind(|link| link.part != LinkPart::Vni) {
        return Some(SessionLink::Down(down.what));
    }
    let name = OwnedName::Vni(Role::PeVeth, vni).to_string();
    let Some(link) = links.get(&name) else { return Some(SessionLink::Down(format!("there is no link {name}"))) };
    let is_there = link.addresses.iter().any(|net| net.contains(&peer));
    (!is_there).then(|| SessionLink::WithoutAddress(format!("{name} has no address in the subnet of {peer}")))
}

/// Whether an address is in the subnet of a NIC.
pub(super) fn is_on_nic(address: IpAddr, links: &BTreeMap<String, Interface>) -> bool {
    let nics = links.iter().filter(|(name, link)| link.is_nic(name));
    nics.flat_map(|(_, link)| &link.addresses).any(|net| net.contains(&address))
}

/// The NIC in the subnet of a peer, where it is down, with the reason.
pub(super) fn nic_down(peer: IpAddr, facts: &Facts) -> Option<String> {
    let nics = facts.links.iter().flatten().filter(|(name, link)| link.is_nic(name));
    let (name, link) = nics
        .filter(|(_, link)| link.addresses.iter().any(|net| net.contains(&peer)))
        .min_by_key(|(_, link)| !link.is_up())?;
    (!link.is_up()).then(|| format!("NIC {name} is down: {}", why_down(link)))
}

/// Why a NIC is down that somebody has set down.
pub(super) const NIC_SET_DOWN: &str = "set down";

fn why_down(link: &Interface) -> &'static str {
    if link.is_admin_up { "no carrier" } else { NIC_SET_DOWN }
}

/// NICs that are down or have a small MTU.
pub(super) fn nics(facts: &Facts) -> Vec<Finding> {
    let Some(links) = &facts.links else { return vec![] };
    let nics: Vec<(&String, &Interface)> = links.iter().filter(|(name, link)| link.is_nic(name)).collect();
    let mut found = Vec::new();
    let is_only = !nics.iter().any(|(_, link)| link.is_up());
    for (name, link) in nics.iter().filter(|(_, link)| !link.is_up()) {
        let why = why_down(link);
        let severity = if is_only { FindingSeverity::Error } else { FindingSeverity::Warning };
        let remedy = if link.is_admin_up { "check cable and switch port" } else { repair(facts.controller) };
        let down = Finding::new(severity, Area::Links, FindingKind::LinkDown, format!("NIC {name} is down: {why}"))
            .at(Place { link: Some((*name).clone()), ..Place::default() })
            .remedied_by(remedy)
            .of(facts.object_of(None), "spec.nics");
        found.push(down);
    }
    let overhead = if facts.vteps.iter().all(IpAddr::is_ipv6) { 70 } else { 50 };
    let small = nics.iter().filter(|(_, link)| link.mtu.is_some_and(|mtu| mtu < COMMON_MTU + overhead));
    if let Some((name, mtu)) = small.filter_map(|(name, link)| Some((*name, link.mtu?))).min_by_key(|(_, mtu)| *mtu) {
        let what = format!(
            "NIC {name} has MTU {mtu}: of a packet from the fabric only {} bytes fit, and hosts there send {COMMON_MTU}",
            mtu.saturating_sub(overhead)
        );
        let small = Finding::new(FindingSeverity::Warning, Area::Links, FindingKind::MtuSmall, what)
            .at(Place { link: Some(name.clone()), ..Place::default() })
            .shown_by(format!("VXLAN adds {overhead} bytes"))
            .remedied_by(format!("set MTU {} or more on the NIC and on all switches", COMMON_MTU + overhead))
            .of(facts.object_of(None), "spec.nics");
        found.push(small);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::facts::{CheckedObject, ObjectOutcome};
    use crate::kind::object::{Kind, ObjectRef};
    use rstest::rstest;

    fn link(vrf: &str, mtu: u32) -> Interface {
        Interface { vrf: vrf.into(), is_admin_up: true, has_carrier: true, mtu: Some(mtu), ..Interface::default() }
    }

    /// A node with red (VNI 100) and its segment 110.
    fn good() -> Facts {
        let object = |kind, name: &str, vrf: Option<&str>, vni: Option<u32>| CheckedObject {
            object: ObjectRef::new(kind, "ns", name),
            vrf: vrf.map(|vrf| vrf.parse().unwrap()),
            vni: vni.map(|vni| vni.try_into().unwrap()),
            outcome: ObjectOutcome::Ready,
            message: String::new(),
            location: None,
            last_accepted_in_force: false,
        };
        let objects = [
            object(Kind::Underlay, "u", None, None),
            object(Kind::L3VNI, "red", Some("red"), Some(100)),
            object(Kind::L2VNI, "pods", None, Some(110)),
        ];
        let vni = |vni_type| VniState { vrf: "red".into(), vni_type, up: true, in_bgp: true, ..VniState::default() };
        let mut links: BTreeMap<String, Interface> = ["vni100", "br-pe-100", "vni110", "br-pe-110", "pe-110"]
            .map(|name| (name.to_owned(), link("red", 1500)))
            .into();
        let veth = Interface { addresses: vec!["192.169.10.1/24".parse().unwrap()], ..link("red", 1500) };
        let nic = Interface { addresses: vec!["192.168.11.3/24".parse().unwrap()], ..link("default", 9000) };
        let device = Interface { zebra_type: "VRF".into(), ..link("red", 65_575) };
        let lo = Interface { addresses: vec!["100.65.0.1/32".parse().unwrap()], ..link("default", 65_536) };
        links.extend(
            [("lo", lo), ("pe-100", veth), ("eth1", nic), ("red", device)].map(|(name, link)| (name.to_owned(), link)),
        );
        Facts {
            objects: Some(objects.into()),
            vteps: ["100.65.0.1".parse().unwrap()].into(),
            vnis: [(100, VniType::L3), (110, VniType::L2)].map(|(n, kind)| (n.try_into().unwrap(), vni(kind))).into(),
            links: Some(links),
            ..Facts::default()
        }
    }

    fn edit(facts: &mut Facts, name: &str, change: fn(&mut Interface)) {
        change(facts.links.as_mut().unwrap().get_mut(name).unwrap());
    }

    fn set_down(link: &mut Interface) {
        (link.is_admin_up, link.has_carrier) = (false, false);
    }

    type Change = fn(&mut Facts);

    #[rstest]
    #[case::no_carrier(|facts: &mut Facts| edit(facts, "eth1", |nic| nic.has_carrier = false),
        "error link-down link eth1: NIC eth1 is down: no carrier [] Underlay ns/u spec.nics; check cable and switch port")]
    #[case::set_down(|facts: &mut Facts| edit(facts, "eth1", set_down),
        "error link-down link eth1: NIC eth1 is down: set down [] Underlay ns/u spec.nics; perouter repairs it in its next reconcile pass")]
    #[case::without_vtep(|facts: &mut Facts| edit(facts, "lo", |lo| lo.addresses.clear()),
        "warning link-down VTEP 100.65.0.1, link lo: lo of the router does not have VTEP 100.65.0.1: nothing is received from the fabric \
         [zebra: show interface lo] Underlay ns/u spec.vtepcidr; perouter repairs it in its next reconcile pass")]
    #[case::small_mtu(|facts: &mut Facts| edit(facts, "eth1", |nic| nic.mtu = Some(1500)),
        "warning mtu-small link eth1: NIC eth1 has MTU 1500: of a packet from the fabric only 1450 bytes fit, and hosts there \
         send 1500 [VXLAN adds 50 bytes] Underlay ns/u spec.nics; set MTU 1550 or more on the NIC and on all switches")]
    #[case::bridge(|facts: &mut Facts| edit(facts, "br-pe-100", set_down),
        "warning link-down VRF red, VNI 100, link br-pe-100: br-pe-100 is set down: VNI 100 forwards nothing over it \
         [zebra: show interface br-pe-100] L3VNI ns/red; perouter repairs it in its next reconcile pass")]
    #[case::segment_without_controller(|facts: &mut Facts| { facts.controller = ControllerState::Stopped; edit(facts, "vni110", set_down); },
        "error link-down VRF red, VNI 110, link vni110: vni110 is set down: VNI 110 forwards nothing over it \
         [zebra: show interface vni110] L2VNI ns/pods; start `perouter run` or `perouter controller`, which repairs it")]
    #[case::router_end(|facts: &mut Facts| edit(facts, "pe-110", set_down),
        "warning link-down VRF red, VNI 110, link pe-110: pe-110 is set down: VNI 110 forwards nothing over it \
         [zebra: show interface pe-110] L2VNI ns/pods; perouter repairs it in its next reconcile pass")]
    #[case::host_end(|facts: &mut Facts| { facts.controller = ControllerState::Stale(200); edit(facts, "pe-100", |pe| pe.has_carrier = false); },
        "error link-down VRF red, VNI 100, link host-100: host-100 is set down: VNI 100 forwards nothing over it \
         [zebra: show interface pe-100] L3VNI ns/red; restart the controller, which repairs it: it reconciles nothing now")]
    fn each_link_that_is_down_is_found(#[case] change: Change, #[case] expected: &str) {
        let mut facts = good();
        assert_eq!(findings(&facts), []);
        change(&mut facts);
        let shown = |finding: &Finding| {
            let Finding { severity, kind, place, what, evidence, object, field, remedy, .. } = finding;
            let object = object.as_ref().map(|object| format!(" {object}")).unwrap_or_default();
            let field =
                field.as_ref().filter(|field| !field.is_empty()).map(|field| format!(" {field}")).unwrap_or_default();
            format!("{} {kind} {place}: {what} [{evidence}]{object}{field}; {remedy}", severity.as_str())
        };
        assert_eq!(findings(&facts).iter().map(shown).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_vrf_device_that_is_down_is_one_finding_and_takes_all_its_vnis_down() {
        let mut facts = good();
        edit(&mut facts, "red", set_down);
        let found: Vec<String> = findings(&facts).iter().map(|finding| finding.what.clone()).collect();
        assert_eq!(found, ["red is set down: VNI 100 forwards nothing over it"]);
        assert!(facts.vnis.iter().all(|(vni, state)| takes_vni_down(*vni, state, &facts)));
    }

    #[rstest]
    #[case("vni100", true)]
    #[case("br-pe-100", true)]
    #[case("pe-100", false)]
    fn a_veth_does_not_take_its_vni_down(#[case] name: &str, #[case] expected: bool) {
        let mut facts = good();
        edit(&mut facts, name, set_down);
        let (vni, state) = facts.vnis.iter().next().unwrap();
        assert_eq!(takes_vni_down(*vni, state, &facts), expected);
    }

    #[rstest]
    #[case::well(|_: &mut Facts| (), None)]
    #[case::down(|facts: &mut Facts| edit(facts, "pe-100", set_down), Some(SessionLink::Down("pe-100 is set down".into())))]
    #[case::of_the_vni(|facts: &mut Facts| edit(facts, "vni100", set_down), None)]
    #[case::host_end(|facts: &mut Facts| edit(facts, "pe-100", |pe| pe.has_carrier = false), Some(SessionLink::Down("host-100 is set down".into())))]
    #[case::missing(|facts: &mut Facts| drop(facts.links.as_mut().unwrap().remove("pe-100")), Some(SessionLink::Down("there is no link pe-100".into())))]
    #[case::without_address(|facts: &mut Facts| edit(facts, "pe-100", |pe| pe.addresses.clear()),
        Some(SessionLink::WithoutAddress("pe-100 has no address in the subnet of 192.169.10.2".into())))]
    fn the_link_of_a_host_session_leads_to_its_peer(#[case] change: Change, #[case] expected: Option<SessionLink>) {
        let mut facts = good();
        change(&mut facts);
        let found = of_host_session(&"red".parse().unwrap(), "192.169.10.2".parse().unwrap(), &facts);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_nic_that_is_down_is_that_of_the_peer() {
        let mut facts = good();
        let nic = |facts: &Facts, peer: &str| nic_down(peer.parse().unwrap(), facts);
        assert_eq!(nic(&facts, "192.168.11.2"), None);
        edit(&mut facts, "eth1", set_down);
        assert_eq!(nic(&facts, "192.168.11.2").as_deref(), Some("NIC eth1 is down: set down"));
        assert_eq!(nic(&facts, "192.168.12.2"), None);
    }
}
