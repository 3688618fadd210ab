use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::{Value, json};

use crate::frr::config::command::Intent;
use crate::frr::config::render::render;
use crate::frr::config::tree::Config;
use crate::frr::release::{FRR_8_4, FRR_10_7};
use crate::frr::stanza::rules::resets_sessions;
use crate::kernel::KernelOp;
use crate::kernel::model::{HostNetwork, KernelState, LinkKind};
use crate::kernel::ovs_state::OvsState;
use crate::kind::Spec;
use crate::plan::last_accepted::{LastAccepted, plan_with_last_accepted};
use crate::plan::{NodeFacts, Plan, plan};
use crate::reconcile::schedule::{Schedule, State, schedule};
use crate::scope::Scope;
use crate::snapshot::{Kind, NodeIdentity, Object, ObjectRef, Snapshot};
use crate::types::VrfMode;

fn object(kind: Kind, name: &str, spec: Value) -> (ObjectRef, Object) {
    (ObjectRef::new(kind, "default", name), Object::new(Spec::from_json(kind, spec).unwrap()))
}

/// A node with red (VNI 100), blue (VNI 200) and these L2VNIs.
fn snapshot(l2vnis: &[(&str, Value)]) -> Snapshot {
    let l3vni = |name: &str, vni: u32, subnet: &str| {
        object(Kind::L3VNI, name, json!({"asn": 64514, "vni": vni, "localcidr": {"ipv4": subnet}}))
    };
    let underlay = json!({"asn": 64514, "vtepcidr": "100.65.0.0/24", "nics": ["toswitch"]});
    let fixed = [
        object(Kind::Underlay, "u", underlay),
        l3vni("red", 100, "192.169.10.0/24"),
        l3vni("blue", 200, "192.169.11.0/24"),
    ];
    let l2vnis = l2vnis.iter().map(|(name, spec)| object(Kind::L2VNI, name, spec.clone()));
    Snapshot {
        node: NodeIdentity { name: "n".into(), index: 0, labels: [].into() },
        objects: fixed.into_iter().chain(l2vnis).collect(),
        ..Snapshot::default()
    }
}

fn facts(mode: VrfMode) -> NodeFacts {
    NodeFacts::unknown(mode, FRR_10_7)
}

/// An L2VNI in a VRF with these further fields.
fn within(vrf: &str, vni: u32, more: Value) -> Value {
    let mut spec = json!({
        "vni": vni,
        "routingDomain": {"type": "L3VNI", "l3vni": {"name": vrf}},
        "gatewayIPs": [format!("10.{vni}.0.1/24")],
        "hostMaster": {"type": "LinuxBridge", "linuxBridge": {"lifecycle": "Managed"}},
    });
    if let Value::Object(more) = more {
        spec.as_object_mut().unwrap().extend(more);
    }
    spec
}

fn planned(l2vnis: &[(&str, Value)], mode: VrfMode) -> Plan {
    let plan = plan(&snapshot(l2vnis), &facts(mode));
    assert_eq!(plan.rejected, vec![]);
    plan
}

/// What leads from one plan to another.
fn step(before: &Plan, after: &Plan) -> Schedule {
    let [from, to] = [before, after].map(|plan| render(&plan.frr, &FRR_10_7).unwrap());
    let wanted = State { kernel: &after.kernel, frr: &to };
    schedule(wanted, State { kernel: &before.kernel, frr: &from }, &BTreeSet::new(), FRR_10_7)
}

#[rstest]
#[case::unknown_vrf(
    json!({"vni": 110, "routingDomain": {"type": "L3VNI", "l3vni": {"name": "green"}}}),
    "spec.routingDomain.l3vni.name: L3VNI default/green is not accepted for this node: create L3VNI green in namespace \
     default, fix it if it is rejected, or select the same nodes with its nodeSelector"
)]
#[case::vni_of_an_l3vni(json!({"vni": 100}), "spec.vni: VNI 100 belongs to L3VNI default/red: use another VNI")]
#[case::session_subnet(
    within("red", 110, json!({"gatewayIPs": ["192.169.11.9/24"]})),
    "spec.gatewayIPs: 192.169.11.0/24 overlaps 192.169.11.0/24, spec.localcidr.ipv4 of L3VNI default/blue: use another subnet"
)]
#[case::mtu(
    json!({"vni": 110, "mtu": 1451}),
    "spec.mtu: 1451 is more than the NICs of the node carry with VXLAN, 1450: use at most that, or raise the MTU of the NICs"
)]
#[case::broadcast(
    within("red", 110, json!({"gatewayIPs": ["10.110.0.255/24"]})),
    "spec.gatewayIPs[0]: 10.110.0.255/24 is the address of the network or its broadcast address: use one of a host in it"
)]
#[case::reserved_bridge(
    json!({
        "vni": 110,
        "hostMaster": {"type": "OVSBridge", "ovsBridge": {"lifecycle": "External", "name": "br-hs-120"}},
    }),
    "spec.hostMaster.ovsBridge.name: br-hs-120 is the name of a link of perouter (vni, pe-, host-, br-pe- or br-hs- before a number): \
     use another one"
)]
#[case::no_bridge_of_its_type(
    json!({"vni": 110, "hostMaster": {"type": "OVSBridge", "linuxBridge": {"lifecycle": "Managed"}}}),
    "spec.hostMaster.ovsBridge: set lifecycle to Managed without a name, or to External with the name of a bridge of the host"
)]
#[case::no_pool(
    json!({"vni": 110, "underlayAddressFamily": "IPv6"}),
    "spec.underlayAddressFamily: Underlay default/u has no pool of IPv6 VTEPs: set its spec.vtepcidr6, or remove this field"
)]
fn an_l2vni_is_rejected_with_the_remedy(#[case] spec: Value, #[case] expected: &str) {
    let plan = plan(&snapshot(&[("s", spec)]), &facts(VrfMode::Netns));
    let rejected: Vec<String> = plan.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(rejected, [format!("L2VNI default/s: {expected}")]);
}

/// The host and the fabric have routes to its workloads; a segment without gateways has none.
#[rstest]
#[case(within("red", 110, json!({})), &["10.110.0.0/24", "192.169.10.2/32"])]
#[case(
    within("red", 110, json!({"gatewayIPs": ["10.110.0.1/24", "2001:db8:110::1/64"]})),
    &["10.110.0.0/24", "192.169.10.2/32", "2001:db8:110::/64"]
)]
#[case(within("red", 110, json!({"gatewayIPs": []})), &["192.169.10.2/32"])]
#[case(json!({"vni": 110}), &["192.169.10.2/32"])]
fn the_vrf_advertises_the_gateway_subnets(#[case] spec: Value, #[case] expected: &[&str]) {
    let plan = planned(&[("s", spec)], VrfMode::Netns);
    let networks = |vrf: &str| -> Vec<String> {
        plan.frr.vrfs[&vrf.parse().unwrap()].networks.iter().map(ToString::to_string).collect()
    };
    assert_eq!(networks("red"), expected);
    assert_eq!(networks("blue"), ["192.169.11.2/32"]);
}

/// The host has no route to a subnet that the L3VNI does not advertise to it.
#[rstest]
#[case::all(json!(null), &[])]
#[case::exact(json!([{"prefix": "10.110.0.0/24"}]), &[])]
#[case::within(json!([{"prefix": "10.0.0.0/8", "le": 24}]), &[])]
#[case::default_route(json!([{"prefix": "0.0.0.0/0"}]), &["10.110.0.0/24"])]
#[case::shorter_ones(json!([{"prefix": "10.0.0.0/8", "le": 16}]), &["10.110.0.0/24"])]
fn a_subnet_that_is_filtered_to_the_host_is_named(#[case] allowed: Value, #[case] filtered: &[&str]) {
    let mut snapshot = snapshot(&[("s", within("red", 110, json!({})))]);
    let mut spec = json!({"asn": 64514, "vni": 100, "localcidr": {"ipv4": "192.169.10.0/24"}});
    if allowed.is_array() {
        spec["toHost"] = json!({"allowedPrefixes": allowed});
    }
    snapshot.objects.extend([object(Kind::L3VNI, "red", spec)]);
    let plan = plan(&snapshot, &facts(VrfMode::Netns));
    assert_eq!(plan.rejected, vec![]);
    let of_filter = plan.notes.iter().filter(|note| note.field == "spec.toHost.allowedPrefixes");
    let notes: Vec<String> = of_filter.map(|note| format!("{:?} {note}", note.loss)).collect();
    let expected = |subnet: &&str| {
        format!(
            "Node L3VNI default/red: spec.toHost.allowedPrefixes: leaves out {subnet}, so that the host has no route to the workloads \
             of L2VNI default/s, nor do Pods that reach the VRF over the host: add it if they need one"
        )
    };
    assert_eq!(notes, filtered.iter().map(expected).collect::<Vec<_>>());
    let advertised = &plan.frr.vrfs[&"red".parse().unwrap()].networks;
    assert!(advertised.contains(&"10.110.0.0/24".parse().unwrap()), "it is advertised to the fabric");
}

#[test]
fn two_segments_share_neither_a_bridge_nor_a_subnet_of_a_vrf() {
    let bridge =
        json!({"hostMaster": {"type": "LinuxBridge", "linuxBridge": {"lifecycle": "External", "name": "pods"}}});
    let subnet = json!({"gatewayIPs": ["10.9.0.1/24"]});
    let both = |first: &str, second: &str, more: &Value| {
        let l2vnis = [("a", within(first, 110, more.clone())), ("b", within(second, 120, more.clone()))];
        plan(&snapshot(&l2vnis), &facts(VrfMode::Netns)).rejected.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        both("red", "blue", &bridge),
        [
            "L2VNI default/b: spec.hostMaster.linuxBridge.name: bridge pods belongs to L2VNI default/a, and one bridge would join \
          both segments: use another bridge"
        ]
    );
    let ovs = json!({"hostMaster": {"type": "OVSBridge", "ovsBridge": {"lifecycle": "External", "name": "pods"}}});
    assert_eq!(
        both("red", "blue", &ovs),
        [
            "L2VNI default/b: spec.hostMaster.ovsBridge.name: bridge pods belongs to L2VNI default/a, and one bridge would join \
          both segments: use another bridge"
        ]
    );
    assert_eq!(
        both("red", "red", &subnet),
        [
            "L2VNI default/b: spec.gatewayIPs: 10.9.0.0/24 overlaps 10.9.0.0/24, spec.gatewayIPs of L2VNI default/a: use another \
          subnet"
        ]
    );
    assert_eq!(both("red", "blue", &subnet), Vec::<String>::new());
}

#[test]
fn a_segment_without_its_l3vni_is_removed_and_comes_back() {
    let all = snapshot(&[("s", within("red", 110, json!({})))]);
    let mut without = all.clone();
    without.objects.remove(&ObjectRef::new(Kind::L3VNI, "default", "red"));
    let mut accepted = LastAccepted::default();
    let segment = ObjectRef::new(Kind::L2VNI, "default", "s");
    for (snapshot, expected) in [(&all, true), (&without, false), (&all, true)] {
        let plan = plan_with_last_accepted(snapshot, &facts(VrfMode::Vrf), &mut accepted);
        assert_eq!(plan.objects.contains_key(&segment), expected);
        assert_eq!(plan.kernel.links.values().any(|link| link.segment), expected);
    }
    // An L3VNI with a mistake stays in force, and the segment in it.
    let mut wrong = all.clone();
    let red = object(Kind::L3VNI, "red", json!({"asn": 64514, "vni": 100, "localcidr": {"ipv4": "192.169.10.1/24"}}));
    wrong.objects.extend([red]);
    let plan = plan_with_last_accepted(&wrong, &facts(VrfMode::Vrf), &mut accepted);
    let rejected: Vec<_> = plan.rejected.iter().map(|rejection| rejection.object.name.as_str()).collect();
    assert_eq!((rejected, plan.objects.contains_key(&segment)), (vec!["red"], true));
}

/// The subnet is not advertised where the host would send a part of its own network into the VRF, and the object is accepted.
#[rstest]
#[case::network(
    "10.110.0.7/16",
    false,
    None,
    Some("10.110.0.0/24 is a part of 10.110.0.0/16, a network of the node on mgmt0")
)]
#[case::route(
    "10.0.0.0/8",
    true,
    None,
    Some("10.110.0.0/24 is a part of 10.0.0.0/8, to which the node has a static route over mgmt0")
)]
#[case::default_route("0.0.0.0/0", true, None, None)]
#[case::the_same("10.110.0.7/24", false, None, None)]
#[case::a_part("10.110.0.7/28", false, None, None)]
#[case::of_another_vrf("10.110.0.7/16", false, Some("other"), None)]
fn a_gateway_subnet_within_a_network_of_the_node(
    #[case] address: &str,
    #[case] is_route: bool,
    #[case] vrf: Option<&str>,
    #[case] note: Option<&str>,
) {
    let (address, vrf) = (address.parse().unwrap(), vrf.map(str::to_owned));
    let network = HostNetwork { address, is_route, link: "mgmt0".to_owned(), vrf };
    let node = NodeFacts { host_networks: [network].into(), ..facts(VrfMode::Netns) };
    let plan = plan(&snapshot(&[("s", within("red", 110, json!({})))]), &node);
    assert_eq!(plan.rejected, vec![]);
    let subnet = "10.110.0.0/24".parse().unwrap();
    assert_eq!(plan.frr.vrfs[&"red".parse().unwrap()].networks.contains(&subnet), note.is_none());
    let notes: Vec<&str> = plan
        .notes
        .iter()
        .filter(|found| found.field == "spec.gatewayIPs")
        .map(|found| found.message.as_str())
        .collect();
    assert_eq!(notes.len(), usize::from(note.is_some()), "{notes:?}");
    assert!(notes.iter().all(|text| text.starts_with(note.unwrap_or_default())), "{notes:?}");
}

/// The scopes in which something changes, in both modes.
#[rstest]
#[case::gateway(json!({"gatewayIPs": ["10.110.0.1/24", "2001:db8::1/64"]}), [3, 2])]
#[case::bridge(
    json!({"hostMaster": {"type": "LinuxBridge", "linuxBridge": {"lifecycle": "External", "name": "pods"}}}),
    [0, 0]
)]
#[case::ovs_bridge(json!({"hostMaster": {"type": "OVSBridge", "ovsBridge": {"lifecycle": "Managed"}}}), [0, 0])]
#[case::ovs_bridge_of_the_host(
    json!({"hostMaster": {"type": "OVSBridge", "ovsBridge": {"lifecycle": "External", "name": "pods"}}}),
    [0, 0]
)]
#[case::no_bridge(json!({"hostMaster": null}), [0, 0])]
#[case::port(json!({"vxlanport": 4790}), [0, 0])]
#[case::mtu(json!({"mtu": 1400}), [0, 0])]
// The subnet moves from one IP-VRF to the other.
#[case::other_vrf(json!({"routingDomain": {"type": "L3VNI", "l3vni": {"name": "blue"}}}), [2, 2])]
#[case::no_vrf(json!({"routingDomain": null, "gatewayIPs": []}), [1, 1])]
// The stanza and its line, and the removal of both at once.
#[case::targets(json!({"routeTargets": {"import": ["65000:1"]}}), [2, 1])]
fn an_edit_touches_its_segment_alone(
    #[case] edit: Value,
    #[case] lines: [usize; 2],
    #[values(VrfMode::Vrf, VrfMode::Netns)] mode: VrfMode,
) {
    let other = ("other", within("red", 120, json!({})));
    let [before, after] =
        [json!({}), edit].map(|more| planned(&[("s", within("red", 110, more)), other.clone()], mode));
    let there = [step(&before, &after), step(&after, &before)];
    there.iter().for_each(assert_alone);
    assert_eq!(there.each_ref().map(Schedule::frr_lines), lines, "{} {}", there[0], there[1]);
    assert_eq!(step(&after, &after), Schedule::default());
}

/// The kernel operations are those of the segment. The lines of FRR are its route targets in the default instance, and its gateway
/// subnets in the IP-VRF, where they reset no session.
fn assert_alone(schedule: &Schedule) {
    let segment = Scope::Segment(110.try_into().unwrap());
    assert_eq!(schedule.kernel_ops().find(|step| step.scope != segment), None, "{schedule}");
    assert_eq!(schedule.torn_down.iter().find(|scope| **scope != segment), None, "{schedule}");
    let commands = schedule.steps.iter().filter_map(|step| step.batch()).flat_map(|batch| &batch.commands);
    for line in commands.filter(|command| command.intent == Intent::Set).map(|command| command.line.send()) {
        let what = line.strip_prefix("no ").unwrap_or(line);
        let of_segment = [
            "network 10.110.0.0/24",
            "network 2001:db8::/64",
            "address-family ipv6 unicast",
            "advertise ipv6 unicast",
            "vni 110",
        ];
        assert!(of_segment.contains(&what) || what.starts_with("route-target import "), "{line}: {schedule}");
        assert!(!resets_sessions(line), "{line}");
    }
}

#[rstest]
fn a_segment_is_added_and_removed_alone(#[values(VrfMode::Vrf, VrfMode::Netns)] mode: VrfMode) {
    let (without, with) = (planned(&[], mode), planned(&[("s", within("red", 110, json!({})))], mode));
    for schedule in [step(&without, &with), step(&with, &without)] {
        assert_alone(&schedule);
        // The subnet.
        assert_eq!(schedule.frr_lines(), 1, "{schedule}");
    }
    let alone = planned(&[("s", json!({"vni": 110}))], mode);
    assert_eq!([step(&without, &alone), step(&alone, &without)].map(|schedule| schedule.frr_lines()), [0, 0]);
    // zebra has the device in its bridge, both up, before the VXLAN device is.
    let ops: Vec<String> = step(&without, &with).kernel_ops().map(ToString::to_string).collect();
    let at = |text: &str| ops.iter().position(|op| op.ends_with(text)).unwrap();
    assert!(at("set vni110 master br-pe-110") < at("set br-pe-110 up") && at("set br-pe-110 up") < at("set vni110 up"));
}

/// An IP-VRF that is rebuilt takes its segments along, and not the bridge on the host, of which Pods are ports.
#[rstest]
fn a_rebuilt_vrf_rebuilds_its_segments_without_their_host_bridge(
    #[values(VrfMode::Vrf, VrfMode::Netns)] mode: VrfMode,
) {
    let l2vnis = [("s", within("red", 110, json!({}))), ("b", within("blue", 120, json!({})))];
    let before = planned(&l2vnis, mode);
    let mut changed = snapshot(&l2vnis);
    let red = json!({"asn": 64513, "vni": 100, "localcidr": {"ipv4": "192.169.10.0/24"}});
    changed.objects.extend([object(Kind::L3VNI, "red", red)]);
    let after = plan(&changed, &facts(mode));
    let schedule = step(&before, &after);
    let torn_down: Vec<String> = schedule.torn_down.iter().map(ToString::to_string).collect();
    assert_eq!(torn_down, ["segment 110", "vrf red"]);
    let of_bridge = schedule.kernel_ops().filter(|step| step.op.link().is_some_and(|key| key.name.is_host_bridge()));
    assert_eq!(of_bridge.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    let created: BTreeSet<String> = schedule
        .kernel_ops()
        .filter_map(|step| if let KernelOp::CreateLink(new) = &step.op { Some(new.key.name.to_string()) } else { None })
        .collect();
    assert!(["br-pe-110", "vni110", "pe-110"].iter().all(|name| created.contains(*name)), "{created:?}");
    assert!(!created.iter().any(|name| name.ends_with("-120")), "{created:?}");
}

#[test]
fn the_first_pass_and_the_last_are_whole() {
    let ovs = json!({"type": "OVSBridge", "ovsBridge": {"lifecycle": "Managed"}});
    let l2vnis = [("s", within("red", 110, json!({}))), ("alone", json!({"vni": 120, "hostMaster": ovs}))];
    for mode in [VrfMode::Vrf, VrfMode::Netns] {
        let plan = planned(&l2vnis, mode);
        let mut kernel = KernelState::default();
        let frr = render(&plan.frr, &FRR_10_7).unwrap();
        let build = schedule(
            State { kernel: &plan.kernel, frr: &frr },
            State { kernel: &kernel, frr: &Config::default() },
            &BTreeSet::new(),
            FRR_8_4,
        );
        for step in build.kernel_ops() {
            kernel.apply(&step.op).unwrap();
        }
        assert_eq!(kernel, plan.kernel);
        let nothing = (KernelState::default(), Config::default());
        let removal = schedule(
            State { kernel: &nothing.0, frr: &nothing.1 },
            State { kernel: &kernel, frr: &frr },
            &BTreeSet::new(),
            FRR_8_4,
        );
        for step in removal.kernel_ops() {
            kernel.apply(&step.op).unwrap();
        }
        assert!(kernel.links.is_empty(), "{:#?}", kernel.links);
        assert_eq!(kernel.ovs, OvsState::default());
        let vxlans = plan.kernel.links.values().filter(|link| matches!(link.kind, LinkKind::Vxlan { .. }));
        assert_eq!(vxlans.count(), 4);
    }
}

/// FRR takes the derived target for no configuration.
#[rstest]
#[case::derived(json!({"import": ["64514:110"], "export": ["64514:110"]}), "")]
#[case::besides(
    json!({"import": ["64514:110", "65000:1"]}),
    "  vni 110\n   route-target import 64514:110\n   route-target import 65000:1\n  exit-vni\n"
)]
#[case::other(json!({"export": ["65000:1"]}), "  vni 110\n   route-target export 65000:1\n  exit-vni\n")]
fn only_targets_that_frr_keeps_are_rendered(#[case] targets: Value, #[case] expected: &str) {
    let plan = planned(&[("s", within("red", 110, json!({"routeTargets": targets})))], VrfMode::Vrf);
    let texts = crate::frr::stanza::text::text(&plan.frr, &FRR_10_7).unwrap();
    let bgpd = &texts[&(Scope::Underlay, crate::runtime::Daemon::Bgpd)];
    let from = bgpd.find("  vni ").map_or("", |at| &bgpd[at..]);
    let block = from.find("exit-vni\n").map_or("", |end| &from[..end + "exit-vni\n".len()]);
    assert_eq!(block, expected);
}

#[test]
fn the_derived_target_is_sent_after_another() {
    let with = |targets: &[&str]| {
        planned(&[("s", within("red", 110, json!({"routeTargets": {"import": targets}})))], VrfMode::Vrf)
    };
    let lines = |before: &Plan, after: &Plan| -> Vec<String> {
        let schedule = step(before, after);
        let commands = schedule.steps.iter().filter_map(|step| step.batch()).flat_map(|batch| &batch.commands);
        commands.map(|command| command.line.to_string()).filter(|line| line.contains("route-target")).collect()
    };
    let (derived, one) = (with(&["64514:110"]), with(&["64514:110", "65000:1"]));
    assert_eq!(lines(&derived, &one), ["route-target import 65000:1", "route-target import 64514:110"]);
    // With each other one that is added FRR removes it.
    assert_eq!(
        lines(&one, &with(&["64514:110", "7:7"])),
        ["route-target import 7:7", "route-target import 64514:110", "no route-target import 65000:1"]
    );
    assert_eq!(lines(&with(&["64514:110", "65000:1", "7:7"]), &one), ["no route-target import 7:7"]);
    assert_eq!(lines(&with(&["65000:1"]), &one), ["route-target import 64514:110"]);
}
