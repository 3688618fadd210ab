//! Checks of the node: daemons, the controller, objects, VNIs. In: [`Facts`]. Out: [`Finding`]s. Pure.

use std::collections::BTreeSet;

use super::cause::short_age;
use super::facts::{CheckedObject, ControllerState, Facts, ObjectOutcome};
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use super::link_checks;
use crate::frr::show::vni::{VniState, VniType};
use crate::kind::note::Loss;
use crate::names::{OwnedName, Role};
use crate::types::Vni;

/// Of prefixes, ports and addresses, further ones are counted.
const NAMED: usize = 3;

/// So many ports of a bridge are named.
const NAMED_PORTS: usize = 8;

/// All of them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = router(facts);
    found.extend(objects(facts));
    found.extend(facts.kept_ports.iter().map(|(vni, ports)| bridge_without_segment(*vni, ports)));
    if let Some(restarted) = zebra_restarted(facts) {
        // What it does not list yet is no failure of an object.
        found.retain(|finding| finding.kind != FindingKind::ObjectFailed);
        found.push(restarted);
        return found;
    }
    // A link that is down is a finding itself.
    let is_down =
        |(vni, state): &(&Vni, &VniState)| !state.is_ready() && !link_checks::takes_vni_down(**vni, state, facts);
    found.extend(facts.vnis.iter().filter(is_down).map(|(vni, state)| vni_down(*vni, state, facts)));
    found
}

fn router(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for (daemon, error) in &facts.silent {
        let place = Place { daemon: Some(daemon.clone()), ..Place::default() };
        let silent = Finding::new(
            FindingSeverity::Error,
            Area::Router,
            FindingKind::FrrSilent,
            format!("{daemon} does not answer"),
        )
        .at(place)
        .shown_by(error.clone())
        .remedied_by(match facts.controller {
            ControllerState::Stopped => {
                "start `perouter run` or `perouter router` on this node; its log has why a daemon exits"
            }
            _ => "see the log of the router on this node, which restarts its daemons: it has why one exits or hangs",
        });
        found.push(silent);
    }
    let (what, evidence) = match facts.controller {
        ControllerState::Running => (None, String::new()),
        ControllerState::Stopped => (Some("no controller runs on this node"), "nobody has its lock".to_owned()),
        ControllerState::Stale(age) => {
            (Some("the controller does not write its status"), format!("the status is {} old", short_age(age)))
        }
    };
    if let Some(what) = what {
        let stopped = Finding::new(FindingSeverity::Error, Area::Router, FindingKind::ControllerStopped, what)
            .shown_by(evidence)
            .remedied_by(if facts.controller == ControllerState::Stopped {
                "start `perouter run` or `perouter controller`: until then no change of an object is applied, and no drift repaired; \
                 `perouter plan` has what differs"
            } else {
                "see its log: it runs, and hangs or cannot write, as where the file system of /run is full (`df /run`)"
            });
        found.push(stopped);
    }
    if let Some(warning) = &facts.frr_warning {
        let unmeasured = Finding::new(FindingSeverity::Info, Area::Router, FindingKind::FrrUnmeasured, warning.clone());
        found.push(unmeasured.remedied_by("use a version of FRR that is measured"));
    }
    if !facts.foreign_lines.is_empty() {
        let what = format!("{} in FRR not from perouter", count(facts.foreign_lines.len(), "line", "lines"));
        let lines = Finding::new(FindingSeverity::Info, Area::Router, FindingKind::ForeignLines, what)
            .shown_by(facts.foreign_lines.iter().take(3).cloned().collect::<Vec<_>>().join("; "))
            .remedied_by("remove them, if nobody needs them: they are left alone");
        found.push(lines);
    }
    found
}

/// `1 line`, `2 lines`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The first of them, and how many there are besides.
pub(super) fn few(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(NAMED);
    let named = all.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

fn objects(facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<Finding> = facts.objects.iter().flatten().filter_map(object).collect();
    // Those between hosts are most often meant.
    let lost = facts.notes.iter().filter(|note| note.loss != Loss::BetweenHosts);
    found.extend(lost.map(|note| {
        let severity = if note.loss == Loss::Fabric { FindingSeverity::Warning } else { FindingSeverity::Info };
        Finding::new(severity, Area::Objects, FindingKind::ObjectLosesRoutes, note.message.clone())
            .remedied_by(format!("change {}", note.field))
            .of(Some(&note.object), &note.field)
    }));
    if facts.vteps.is_empty() && facts.objects.is_some() {
        let what = "no Underlay is accepted for this node";
        let none = Finding::new(FindingSeverity::Error, Area::Objects, FindingKind::NoUnderlay, what);
        found.push(
            none.remedied_by(
                "create an Underlay whose nodeSelector matches this node, or fix the one that is rejected",
            ),
        );
    }
    found
}

fn object(checked: &CheckedObject) -> Option<Finding> {
    let mut lines = checked.message.lines();
    let first = lines.next().unwrap_or_default();
    // `spec.field: message`
    let (field, message) = match first.split_once(": ") {
        Some((field, message)) if field.starts_with("spec") && !field.contains(' ') => (field, message),
        _ => ("", first),
    };
    let at = checked.location.iter().map(|at| format!("at {at}"));
    let more = at.chain(lines.map(str::to_owned)).collect::<Vec<_>>().join("; ");
    let finding = match checked.outcome {
        ObjectOutcome::Ready => return None,
        ObjectOutcome::Failed => Finding::new(
            FindingSeverity::Error,
            Area::Objects,
            FindingKind::ObjectFailed,
            format!("not in place: {message}"),
        )
        .remedied_by("correct what the message names: it is tried again at least every 30 s"),
        ObjectOutcome::Rejected => {
            let has_version = message.contains("in force");
            let in_force = if checked.last_accepted_in_force && !has_version {
                "; its last accepted version is in force"
            } else {
                ""
            };
            // The message of a rejection ends with the remedy.
            let (message, remedy) = match message.rsplit_once(": ") {
                Some((message, remedy)) if !remedy.contains(['`', '"']) => (message, remedy),
                _ => (message, "change the object as the message says"),
            };
            Finding::new(
                FindingSeverity::Error,
                Area::Objects,
                FindingKind::ObjectRejected,
                format!("rejected: {message}{in_force}"),
            )
            .remedied_by(remedy)
        }
    };
    let place = Place { vrf: checked.vrf.clone(), ..Place::default() };
    Some(finding.at(place).shown_by(more).of(Some(&checked.object), field))
}

/// bgpd keeps its VNIs and routes while zebra restarts, and the kernel forwards.
fn zebra_restarted(facts: &Facts) -> Option<Finding> {
    // It reports no VNI at all.
    let waiting = facts.vnis.len();
    (waiting > 0 && facts.vnis.values().all(VniState::is_only_in_bgp)).then(|| {
        let what = "zebra was restarted, and bgpd is not connected to it yet";
        Finding::new(FindingSeverity::Warning, Area::Router, FindingKind::ZebraRestarted, what)
            .at(Place { daemon: Some("bgpd".to_owned()), ..Place::default() })
            .shown_by(format!("{} in bgpd and not in zebra", count(waiting, "VNI is", "VNIs are")))
            .remedied_by(
                "wait: bgpd connects within 10 s, and the kernel forwards until then; if it stays, see the log of the router",
            )
    })
}

fn vni_down(vni: Vni, state: &VniState, facts: &Facts) -> Finding {
    let vrf = state.vrf.parse().ok();
    let is_l3 = state.vni_type == VniType::L3;
    let missing = [
        (!state.up, "zebra has it down"),
        (state.up && is_l3 && state.router_mac.is_none(), "zebra has no router MAC"),
        (!state.in_bgp, "bgpd does not have it"),
    ];
    let missing = missing.into_iter().filter(|(is, _)| *is).map(|(_, what)| what.to_owned());
    let missing: Vec<String> = missing.chain(state.unbound.map(|unbound| unbound.to_string())).collect();
    let object = if is_l3 { facts.object_of(vrf.as_ref()).filter(|_| vrf.is_some()) } else { facts.object_with(vni) };
    Finding::new(FindingSeverity::Error, Area::Evpn, FindingKind::VniDown, format!("VNI {vni} is not up"))
        .at(Place { vrf: vrf.clone(), vni: Some(vni), ..Place::default() })
        .shown_by(missing.join(", "))
        .remedied_by(if is_l3 {
            "it is rebuilt by itself; if it stays, look for a VXLAN device of somebody else with this VNI"
        } else {
            "look for a VXLAN device of somebody else with this VNI"
        })
        .of(object, "spec.vni")
}

/// The bridge would be deleted without these ports.
fn bridge_without_segment(vni: Vni, ports: &BTreeSet<String>) -> Finding {
    let bridge = OwnedName::Vni(Role::HostBridge, vni).to_string();
    let what = format!(
        "bridge {bridge} has {} of others, and no segment: what is attached to it reaches nothing else",
        count(ports.len(), "port", "ports")
    );
    let mut named: Vec<&str> = ports.iter().take(NAMED_PORTS).map(String::as_str).collect();
    if ports.len() > NAMED_PORTS {
        named.push("...");
    }
    Finding::new(FindingSeverity::Warning, Area::Links, FindingKind::BridgeWithoutSegment, what)
        .at(Place { vni: Some(vni), link: Some(bridge.clone()), ..Place::default() })
        .shown_by(named.join(", "))
        .remedied_by(format!(
            "attach the workloads to the bridge of their segment, or delete them: the bridge is deleted with its last port; or add an \
             L2VNI with VNI {vni} and a managed Linux bridge again, which has {bridge} as it is"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::note::Note;
    use crate::kind::object::{Kind, ObjectRef};
    use rstest::rstest;

    fn underlay() -> ObjectRef {
        ObjectRef::new(Kind::Underlay, "ns", "u")
    }

    fn good() -> Facts {
        let object = |object, vrf: Option<&str>| CheckedObject {
            object,
            vrf: vrf.map(|vrf| vrf.parse().unwrap()),
            vni: None,
            outcome: ObjectOutcome::Ready,
            message: String::new(),
            location: None,
            last_accepted_in_force: false,
        };
        let red = object(ObjectRef::new(Kind::L3VNI, "ns", "red"), Some("red"));
        let vni = VniState {
            vrf: "red".into(),
            up: true,
            in_bgp: true,
            router_mac: "02:00:00:00:00:01".parse().ok(),
            ..VniState::default()
        };
        Facts {
            objects: Some(vec![object(underlay(), None), red]),
            vteps: ["100.65.0.1".parse().unwrap()].into(),
            vnis: [(100.try_into().unwrap(), vni)].into(),
            ..Facts::default()
        }
    }

    type Change = fn(&mut Facts);

    fn vni(facts: &mut Facts) -> &mut VniState {
        facts.vnis.values_mut().next().unwrap()
    }

    fn fail(facts: &mut Facts, outcome: ObjectOutcome, message: &str) {
        let object = &mut facts.objects.as_mut().unwrap()[1];
        (object.outcome, object.message) = (outcome, message.to_owned());
    }

    #[rstest]
    #[case::silent(|facts: &mut Facts| { facts.silent.insert("bgpd".into(), "no socket".into()); },
        "error router frr-silent bgpd: bgpd does not answer [no socket]")]
    #[case::stopped(|facts: &mut Facts| facts.controller = ControllerState::Stopped,
        "error router controller-stopped : no controller runs on this node [nobody has its lock]")]
    #[case::stale(|facts: &mut Facts| facts.controller = ControllerState::Stale(130),
        "error router controller-stopped : the controller does not write its status [the status is 2m10s old]")]
    #[case::foreign(|facts: &mut Facts| facts.foreign_lines = vec!["x".into()],
        "info router foreign-lines : 1 line in FRR not from perouter [x]")]
    #[case::rejected(|facts: &mut Facts| fail(facts, ObjectOutcome::Rejected, "spec.vni: VNI 100 is used\nspec.vrf: x"),
        "error objects object-rejected VRF red: rejected: VNI 100 is used [spec.vrf: x] L3VNI ns/red spec.vni")]
    #[case::failed(|facts: &mut Facts| fail(facts, ObjectOutcome::Failed, "ip link add vni100: File exists"),
        "error objects object-failed VRF red: not in place: ip link add vni100: File exists [] L3VNI ns/red")]
    #[case::no_underlay(|facts: &mut Facts| facts.vteps.clear(),
        "error objects no-underlay : no Underlay is accepted for this node []")]
    #[case::note(|facts: &mut Facts| facts.notes.push(Note { loss: Loss::Fabric, object: underlay(), field: "spec.x".into(), message: "lost".into() }),
        "warning objects object-loses-routes : lost [] Underlay ns/u spec.x")]
    #[case::vni_in_zebra(|facts: &mut Facts| vni(facts).up = false,
        "error evpn vni-down VRF red, VNI 100: VNI 100 is not up [zebra has it down] L3VNI ns/red spec.vni")]
    #[case::vni_in_bgpd(|facts: &mut Facts| vni(facts).in_bgp = false,
        "error evpn vni-down VRF red, VNI 100: VNI 100 is not up [bgpd does not have it] L3VNI ns/red spec.vni")]
    #[case::zebra_restarted(|facts: &mut Facts| *vni(facts) = VniState { in_bgp: true, ..VniState::default() },
        "warning router zebra-restarted bgpd: zebra was restarted, and bgpd is not connected to it yet \
         [1 VNI is in bgpd and not in zebra]")]
    #[case::kept_bridge(|facts: &mut Facts| drop(facts.kept_ports.insert(110.try_into().unwrap(), ["a1".into(), "a2".into()].into())),
        "warning links bridge-without-segment VNI 110, link br-hs-110: bridge br-hs-110 has 2 ports of others, and no segment: what is \
         attached to it reaches nothing else [a1, a2]")]
    #[case::one_is_left_in_bgpd(|facts: &mut Facts| drop(facts.vnis.insert(200.try_into().unwrap(), VniState { in_bgp: true, ..VniState::default() })),
        "error evpn vni-down VNI 200: VNI 200 is not up [zebra has it down]")]
    fn each_fault_is_found_and_nothing_else(#[case] change: Change, #[case] expected: &str) {
        let mut facts = good();
        assert_eq!(findings(&facts), []);
        change(&mut facts);
        let found = findings(&facts);
        let shown = |finding: &Finding| {
            let Finding { severity, area, kind, place, what, evidence, object, field, .. } = finding;
            let object = object.as_ref().map(|object| format!(" {object}")).unwrap_or_default();
            let field = field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
            format!("{} {} {kind} {place}: {what} [{evidence}]{object}{field}", severity.as_str(), area.as_str())
        };
        assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), [expected]);
        assert!(found.iter().all(|finding| !finding.remedy.is_empty()));
    }
}
