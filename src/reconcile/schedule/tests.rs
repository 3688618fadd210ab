use super::*;
use crate::frr::release::FrrVersion;
use crate::kernel::model::KernelState;
use crate::kind;
use crate::plan::{NodeFacts, plan};
use crate::snapshot::{Kind, NodeIdentity, Object, ObjectRef, Snapshot};
use crate::types::{MacAddr, VrfMode};
use rstest::rstest;
use serde_json::Value;

fn l3vni(name: &str, vni: u32, net: u8) -> (String, Value) {
    let local = format!("192.169.{net}.0/24");
    (name.to_owned(), serde_json::json!({"asn": 64514, "vni": vni, "hostasn": 64515, "localcidr": {"ipv4": local}}))
}

/// Kernel and FRR as they are when these objects are in place.
fn state(mode: VrfMode, objects: &[(String, Value)]) -> (KernelState, Config) {
    let object = |kind, name: &str, spec| {
        (ObjectRef::new(kind, "default", name), Object::new(kind::Spec::from_json(kind, spec).unwrap()))
    };
    let underlay = serde_json::json!({"asn": 64514, "vtepcidr": "100.65.0.0/24", "nics": ["toswitch"]});
    let kind = |spec: &Value| if spec.get("routingDomain").is_some() { Kind::L2VNI } else { Kind::L3VNI };
    let vnis = objects.iter().map(|(name, spec)| object(kind(spec), name, spec.clone()));
    let snapshot = Snapshot {
        node: NodeIdentity { name: "n".into(), index: 0, labels: BTreeMap::new() },
        objects: vnis.chain([object(Kind::Underlay, "u", underlay)]).collect(),
        ..Snapshot::default()
    };
    let plan = plan(&snapshot, &NodeFacts::unknown(mode, frr_8()));
    assert_eq!(plan.rejected, []);
    let frr = crate::frr::config::render::render(&plan.frr, &frr_8()).unwrap();
    (plan.kernel, frr)
}

fn of_release(text: &str) -> Release {
    Release::of(&FrrVersion::parse(text).unwrap()).unwrap()
}

fn frr_8() -> Release {
    of_release("zebra version 8.4.4")
}

fn pass(mode: VrfMode, from: &[(String, Value)], to: &[(String, Value)]) -> Schedule {
    let (have, want) = (state(mode, from), state(mode, to));
    let view = |state: &'static (KernelState, Config)| State { kernel: &state.0, frr: &state.1 };
    schedule(view(Box::leak(Box::new(want))), view(Box::leak(Box::new(have))), &BTreeSet::new(), frr_8())
}

fn torn(schedule: &Schedule) -> Vec<String> {
    schedule.torn_down.iter().map(ToString::to_string).collect()
}

/// The kernel operations up to the first that is not of a teardown.
fn teardown_ops(schedule: &Schedule) -> Vec<&KernelOp> {
    schedule.kernel_ops().map(|step| &step.op).take_while(|op| op.stage() == Stage::Release).collect()
}

/// The kernel operations after those of [`teardown_ops`].
fn later_ops(schedule: &Schedule) -> Vec<&KernelOp> {
    schedule.kernel_ops().map(|step| &step.op).skip(teardown_ops(schedule).len()).collect()
}

/// The batches of these stages.
fn batches<'a>(schedule: &'a Schedule, stages: &[BatchStage]) -> Vec<&'a CommandBatch> {
    schedule.steps.iter().filter_map(ScheduleStep::batch).filter(|batch| stages.contains(&batch.stage)).collect()
}

#[rstest]
#[case("vni110", false)]
#[case("pe-110", false)]
#[case("br-pe-110", true)]
fn a_segment_is_torn_down_where_its_bridge_has_lost_its_ip_vrf(#[case] name: &str, #[case] is_torn: bool) {
    let domain = serde_json::json!({"type": "L3VNI", "l3vni": {"name": "red"}});
    let segment = serde_json::json!({"vni": 110, "routingDomain": domain, "gatewayIPs": ["10.110.0.1/24"]});
    let (wanted, frr) = state(VrfMode::Vrf, &[l3vni("red", 100, 10), ("layer2".to_owned(), segment)]);
    let mut observed = wanted.clone();
    for (key, link) in &mut observed.links {
        if key.name.to_string() == name {
            link.master = None;
        }
    }
    assert_ne!(observed, wanted);
    let view = |kernel| State { kernel, frr: &frr };
    let schedule = schedule(view(&wanted), view(&observed), &BTreeSet::new(), frr_8());
    assert_eq!(torn(&schedule).len(), usize::from(is_torn), "{:?}", torn(&schedule));
}

/// As of routers that derived the router MAC from VTEP and VNI.
#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn another_router_mac_is_set_in_place(#[case] mode: VrfMode) {
    let objects = [l3vni("red", 100, 10), l3vni("blue", 200, 11)];
    let (mut kernel, frr) = state(mode, &objects);
    let wanted = kernel.clone();
    for (key, link) in &mut kernel.links {
        link.mac = link.mac.map(|_| MacAddr([2, u8::try_from(key.name.vni().unwrap().get()).unwrap(), 100, 65, 0, 1]));
    }
    let view = |kernel| State { kernel, frr: &frr };
    let schedule = schedule(view(&wanted), view(&kernel), &BTreeSet::new(), frr_8());
    assert_eq!((torn(&schedule), schedule.frr_lines()), (vec![], 0));
    let text = schedule.to_string();
    let at = |vni: &str, former: &str| {
        let op = format!("link set br-pe-{vni} address 02:00:64:41:00:01, that of its VXLAN device {former}\n");
        let wait = format!("wait until bgpd has advertised 02:00:64:41:00:01 for VNI {vni}\n");
        (text.find(&op).unwrap(), text.find(&wait).unwrap())
    };
    let (red, blue) = (at("100", "02:64:64:41:00:01"), at("200", "02:c8:64:41:00:01"));
    assert!(red.0 < red.1 && red.1 < blue.0 && blue.0 < blue.1, "one after the other: {text}");
    assert!(text.starts_with("wait until bgpd has advertised all routes\n"), "{text}");
    assert_eq!(schedule.kernel_ops().count(), 2);
}

/// The stages of a teardown.
const TEARDOWN: [BatchStage; 4] = [BatchStage::NoVni, BatchStage::NoInstance, BatchStage::Leftovers, BatchStage::NoVrf];

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn what_is_in_place_needs_nothing(#[case] mode: VrfMode) {
    let objects = [l3vni("red", 100, 10), l3vni("blue", 200, 11)];
    let done = pass(mode, &objects, &objects);
    assert_eq!(done, Schedule::default());
}

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn another_vni_rebuilds_its_vrf_alone(#[case] mode: VrfMode) {
    let done =
        pass(mode, &[l3vni("red", 100, 10), l3vni("blue", 200, 11)], &[l3vni("red", 101, 10), l3vni("blue", 200, 11)]);
    assert_eq!(torn(&done), ["vrf red"]);
    assert!(done.kernel_ops().count() > 0);
    assert!(done.kernel_ops().all(|step| step.scope == Scope::Vrf("red".parse().unwrap())));
}

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn another_subnet_is_an_edit_in_place(#[case] mode: VrfMode) {
    let done = pass(mode, &[l3vni("red", 100, 10)], &[l3vni("red", 100, 12)]);
    assert!(done.torn_down.is_empty() && teardown_ops(&done).is_empty());
    let ops: Vec<_> = later_ops(&done).iter().map(ToString::to_string).collect();
    assert_eq!(ops.len(), 4, "an address is removed and one added at each end: {ops:?}");
}

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn another_name_tears_the_old_vrf_down_before_the_new_one_is_built(#[case] mode: VrfMode) {
    let done = pass(mode, &[l3vni("red", 100, 10)], &[l3vni("crimson", 100, 10)]);
    assert_eq!(torn(&done), ["vrf red"]);
    assert!(!teardown_ops(&done).is_empty());
    assert!(later_ops(&done).iter().all(|op| op.stage() != Stage::Release));
}

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn a_deleted_vrf_leaves_the_others_alone(#[case] mode: VrfMode) {
    let done = pass(mode, &[l3vni("red", 100, 10), l3vni("blue", 200, 11)], &[l3vni("blue", 200, 11)]);
    assert_eq!(torn(&done), ["vrf red"]);
    assert!(later_ops(&done).is_empty());
    // The subnets of both were one line.
    let policies = batches(&done, &[BatchStage::Policies]);
    let lines: Vec<&str> =
        policies.iter().flat_map(|batch| &batch.commands).map(|command| command.line.send()).collect();
    assert_eq!(
        lines,
        [
            "ip prefix-list pe-underlay-subnets-v4 seq 3232304000 permit 192.169.11.0/24 le 32",
            "no ip prefix-list pe-underlay-subnets-v4 seq 3232303872"
        ]
    );
    let teardown = batches(&done, &TEARDOWN).len();
    assert_eq!(teardown + policies.len(), done.steps.iter().filter_map(ScheduleStep::batch).count());
    assert_eq!(done.vrfs(), ["red".parse().unwrap()].into());
}

/// bgpd takes long over them: they are sent first, together, and answered while the links are created.
#[test]
fn the_lines_of_a_new_vrf_in_lists_of_the_underlay_are_sent_before_the_kernel_is_changed() {
    let done = pass(VrfMode::Netns, &[l3vni("red", 100, 10)], &[l3vni("red", 100, 10), l3vni("blue", 200, 11)]);
    let ScheduleStep::BeginPolicies(batch) = &done.steps[0] else { panic!("{:?}", done.steps[0]) };
    let lines: Vec<&str> = batch.commands.iter().map(|command| command.line.send()).collect();
    assert_eq!(
        lines,
        [
            "ip prefix-list pe-underlay-hosts-v4 seq 3232303874 permit 192.169.11.2/32",
            "ip prefix-list pe-underlay-subnets-v4 seq 3232303872 permit 192.169.10.0/23 le 32",
            "no ip prefix-list pe-underlay-subnets-v4 seq 3232303744"
        ]
    );
    let place = |is_it: fn(&ScheduleStep) -> bool| done.steps.iter().position(is_it).unwrap();
    let answered = place(|step| matches!(step, ScheduleStep::AwaitPolicies));
    assert!(place(|step| !step.kernel_ops().is_empty()) < answered);
    let of_underlay = |step: &&ScheduleStep| matches!(step, ScheduleStep::Frr(batch) if batch.commands.iter().any(|command| command.scope == Scope::Underlay));
    assert_eq!(done.steps.iter().find(of_underlay), None);
}

#[test]
fn a_vrf_that_is_not_up_is_rebuilt_although_nothing_differs() {
    let have = state(VrfMode::Netns, &[l3vni("red", 100, 10)]);
    let view = State { kernel: &have.0, frr: &have.1 };
    let done = schedule(view, view, &["red".parse().unwrap()].into(), frr_8());
    assert_eq!(torn(&done), ["vrf red"]);
    assert!(!teardown_ops(&done).is_empty() && !later_ops(&done).is_empty());
}

#[rstest]
#[case("zebra version 8.4.4", &["netns delete red"], 1)]
#[case("zebra version 10.3", &[], 0)]
fn the_namespace_of_a_deleted_vrf_stays_where_zebra_would_crash(
    #[case] frr: &str,
    #[case] deleted: &[&str],
    #[case] after: usize,
) {
    let release = of_release(frr);
    let have = state(VrfMode::Netns, &[l3vni("red", 100, 10), l3vni("blue", 200, 11)]);
    let want = state(VrfMode::Netns, &[l3vni("blue", 200, 11)]);
    let wanted = State { kernel: &want.0, frr: &want.1 };
    let done = schedule(wanted, State { kernel: &have.0, frr: &have.1 }, &BTreeSet::new(), release);
    assert_eq!(torn(&done), ["vrf red"]);
    assert_eq!(batches(&done, &[BatchStage::NoVrf]).len(), after);
    let ops: Vec<String> = teardown_ops(&done).iter().map(ToString::to_string).collect();
    assert_eq!(
        ops.iter().filter(|op| op.starts_with("netns ")).collect::<Vec<_>>(),
        deleted.iter().collect::<Vec<_>>()
    );
    assert!(later_ops(&done).is_empty(), "{:?}", later_ops(&done));

    let mut left = want.0.clone();
    if deleted.is_empty() {
        left.vrf_netns.insert("red".parse().unwrap());
    }
    let next = schedule(wanted, State { kernel: &left, frr: &want.1 }, &BTreeSet::new(), release);
    assert!(next.is_empty(), "{next:?}");
    // It is taken for the VRF when that comes back.
    let back = schedule(
        State { kernel: &have.0, frr: &have.1 },
        State { kernel: &left, frr: &want.1 },
        &BTreeSet::new(),
        release,
    );
    assert!(back.torn_down.is_empty() && teardown_ops(&back).is_empty());
    assert_eq!(later_ops(&back).iter().any(|op| matches!(op, KernelOp::CreateNetns(_))), !deleted.is_empty());
}

/// FRR rejects the removal of the default instance while there are others.
#[test]
fn another_as_of_the_default_instance_rebuilds_every_vrf() {
    let (kernel, want) = state(VrfMode::Netns, &[l3vni("red", 100, 10), l3vni("blue", 200, 11)]);
    let mut have = want.without(&[Scope::Underlay].into());
    let other_as = crate::frr::config::tree::Tree::parse("router bgp 64999\n bgp router-id 10.0.0.1\n");
    assert!(have.absorb(crate::runtime::Daemon::Bgpd, other_as).is_empty());
    let (wanted, observed) = (State { kernel: &kernel, frr: &want }, State { kernel: &kernel, frr: &have });
    let done = schedule(wanted, observed, &BTreeSet::new(), frr_8());
    assert_eq!(torn(&done), ["vrf blue", "vrf red", "underlay"]);
}

#[rstest]
#[case("vni100", &["vrf red"])]
#[case("br-pe-100", &["vrf red"])]
#[case("host-100", &[])]
fn an_ip_vrf_whose_device_is_gone_is_rebuilt(
    #[values(VrfMode::Netns, VrfMode::Vrf)] mode: VrfMode,
    #[case] gone: &str,
    #[case] wanted: &[&str],
) {
    let (kernel, frr) = state(mode, &[l3vni("red", 100, 10), l3vni("blue", 200, 11)]);
    let mut observed = kernel.clone();
    observed.links.retain(|key, _| key.name.to_string() != gone);
    let observed = State { kernel: &observed, frr: &frr };
    let schedule = schedule(State { kernel: &kernel, frr: &frr }, observed, &BTreeSet::new(), frr_8());
    assert_eq!(torn(&schedule), wanted);
}

#[rstest]
#[case::netns(VrfMode::Netns, &[])]
#[case::vrf(VrfMode::Vrf, &["vrf red: nftables delete"])]
fn the_second_port_of_a_removed_vrf_goes_with_it(#[case] mode: VrfMode, #[case] expected: &[&str]) {
    assert_eq!(port_ops(&pass(mode, &[listening(64514)], &[])), expected);
}

#[rstest]
#[case::netns(VrfMode::Netns, &["vrf red: nftables add"])]
#[case::vrf(VrfMode::Vrf, &["vrf red: nftables delete", "vrf red: nftables add"])]
fn a_rebuilt_vrf_has_its_second_port_again(#[case] mode: VrfMode, #[case] expected: &[&str]) {
    let schedule = pass(mode, &[listening(64514)], &[listening(64999)]);
    assert_eq!(torn(&schedule), ["vrf red"]);
    assert_eq!(port_ops(&schedule), expected);
}

fn listening(asn: u32) -> (String, Value) {
    let (name, mut spec) = l3vni("red", 100, 10);
    spec["asn"] = asn.into();
    spec["hostSession"] = serde_json::json!({"listenPort": 180});
    (name, spec)
}

/// What happens to second ports, each with its scope.
fn port_ops(schedule: &Schedule) -> Vec<String> {
    let ports = schedule.kernel_ops().filter(|step| matches!(step.op, KernelOp::OpenPort(_) | KernelOp::ClosePort(_)));
    ports
        .map(|step| {
            format!(
                "{}: {}",
                step.scope,
                if matches!(step.op, KernelOp::OpenPort(_)) { "nftables add" } else { "nftables delete" }
            )
        })
        .collect()
}

/// bgpd processes that an aggregate is gone before it gets the next one of the same prefix.
#[test]
fn what_comes_in_turn_is_sent_when_bgpd_has_processed_what_was_before() {
    let aggregate = |alone: bool| {
        let (name, mut spec) = l3vni("red", 100, 10);
        spec["toFabric"] = serde_json::json!({"aggregates": [{"prefix": "172.30.0.0/24", "summaryOnly": alone}]});
        (name, spec)
    };
    let [have, first, last] = [vec![aggregate(false)], vec![l3vni("red", 100, 10)], vec![aggregate(true)]]
        .map(|red| state(VrfMode::Vrf, &red));
    let view = |state: &'static (KernelState, Config)| State { kernel: &state.0, frr: &state.1 };
    let [have, first, last] = [have, first, last].map(|state| view(Box::leak(Box::new(state))));
    let mut schedule = schedule(first, have, &BTreeSet::new(), frr_8());
    schedule.then(first.frr, last.frr);
    let text = schedule.to_string();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no `{part}` in\n{text}"));
    let removed = at("no aggregate-address 172.30.0.0/24\n");
    let waits = at("wait until bgpd has advertised all routes\n");
    let added = at(" aggregate-address 172.30.0.0/24 summary-only\n");
    assert!(removed < waits && waits < added, "{text}");
}
