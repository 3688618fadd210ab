use std::collections::BTreeMap;

use proptest::prelude::*;

use super::generated::{Segment, World, drift, drift_op, in_view_of, world};
use super::*;
use crate::kernel::fake::FakeKernel;
use crate::kernel::model::{HostPort, HostPorts, IpUse};
use crate::kernel::op::Stage;
use crate::kernel::ovs_state::{OvsBridge, OvsPort, OvsState, bridge_name};
use crate::kernel::{Kernel, Outcome};
use crate::types;
use crate::types::{Family, VrfMode};

const BOTH: &[VrfMode] = &[VrfMode::Vrf, VrfMode::Netns];

fn drifted(world: &World, drifts: &[(usize, u8)]) -> KernelState {
    let mut state = world.state();
    for drift in drifts {
        if let Some(op) = drift_op(&state, *drift) {
            state.apply(&op).unwrap();
        }
    }
    state
}

/// What a plan wants of Open vSwitch: of each VNI nothing, a bridge of ours with this MTU, or a bridge of the host.
fn open_vswitch() -> impl Strategy<Value = OvsState> {
    let bridge = prop_oneof![Just(None), Just(Some(Some(1400u32))), Just(Some(Some(1450))), Just(Some(None))];
    proptest::collection::vec(bridge, 3).prop_map(|bridges| {
        let mut state = OvsState::default();
        for (raw, mtu) in (100u32..).zip(bridges).filter_map(|(raw, bridge)| Some((raw, bridge?))) {
            let vni = Vni::try_from(raw).unwrap();
            let bridge = if mtu.is_some() { bridge_name(vni) } else { format!("pods{raw}").parse().unwrap() };
            state.bridges.extend(mtu.map(|mtu| (vni, OvsBridge { mtu: Some(mtu) })));
            state.ports.insert(vni, OvsPort { bridge, attached: true });
        }
        state
    })
}

fn run(kernel: &FakeKernel, steps: &[Step]) -> Vec<Outcome> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(kernel.apply_all(steps))
}

proptest! {
    #[test]
    fn a_state_does_not_differ_from_itself(a in world(BOTH)) {
        prop_assert_eq!(diff(&a.state(), &a.state()), vec![]);
    }

    #[test]
    fn steps_lead_from_any_state_to_any_other(a in world(BOTH), drifts in drift(), b in world(BOTH)) {
        let (observed, wanted) = (drifted(&a, &drifts), b.state());
        let mut state = observed.clone();
        for step in diff(&wanted, &observed) {
            prop_assert_eq!(state.apply(&step.op), Ok(()), "{}", step);
        }
        prop_assert_eq!(diff(&wanted, &state), vec![]);
        prop_assert_eq!(in_view_of(&wanted, state), wanted);
    }

    #[test]
    fn steps_in_lanes_lead_to_any_other_state_too(a in world(BOTH), drifts in drift(), b in world(BOTH)) {
        let (observed, wanted) = (drifted(&a, &drifts), b.state());
        let kernel = FakeKernel::new(observed.clone(), BTreeMap::new());
        let outcomes = run(&kernel, &diff(&wanted, &observed));
        prop_assert!(outcomes.iter().all(Outcome::is_done), "{:?}", outcomes);
        prop_assert_eq!(in_view_of(&wanted, kernel.state()), wanted);
    }

    #[test]
    fn open_vswitch_is_led_from_any_state_to_any_other(a in open_vswitch(), attached in any::<bool>(), b in open_vswitch()) {
        let of = |ovs: OvsState| KernelState { ovs, ..KernelState::default() };
        let (mut observed, wanted) = (of(a), of(b));
        observed.ovs.ports.values_mut().for_each(|port| port.attached = attached);
        let steps = diff(&wanted, &observed);
        prop_assert!(steps.iter().map(|step| step.op.stage()).is_sorted());
        let kernel = FakeKernel::new(observed.clone(), BTreeMap::new());
        let outcomes = run(&kernel, &steps);
        prop_assert!(outcomes.iter().all(Outcome::is_done), "{:?}", outcomes);
        prop_assert_eq!(&kernel.state(), &wanted);
        let mut state = observed;
        for step in &steps {
            prop_assert_eq!(Some(step.scope.clone()), step.op.vni().map(Scope::Segment));
            prop_assert_eq!(state.apply(&step.op), Ok(()), "{}", step);
        }
        prop_assert_eq!(diff(&wanted, &state), vec![]);
        prop_assert_eq!(state, wanted);
    }

    #[test]
    fn stages_follow_each_other(a in world(BOTH), b in world(BOTH)) {
        let stages: Vec<Stage> = diff(&b.state(), &a.state()).iter().map(|step| step.op.stage()).collect();
        prop_assert!(stages.is_sorted());
    }

    #[test]
    fn one_more_vni_changes_no_other(a in world(BOTH), b in world(BOTH)) {
        let Some((raw, spec)) = b.specs.first_key_value() else { return Ok(()) };
        let mut more = a;
        // A segment in its VRF would be moved there.
        more.segments.retain(|_, segment| segment.within != Some(*raw));
        let before = { let mut before = more.clone(); before.specs.remove(raw); before };
        more.specs.insert(*raw, spec.clone());
        let added = Vni::try_from(100 + u32::from(*raw)).unwrap();
        let new_vrf: types::VrfName = format!("v{}", (raw + more.shift) % 6).parse().unwrap();
        for Step { scope, op } in diff(&more.state(), &before.state()) {
            prop_assert_eq!(scope, Scope::Vrf(new_vrf.clone()), "{}", op);
            prop_assert!(op.vni() == Some(added) || op.vrf() == Some(&new_vrf), "{}", op);
        }
    }

    /// perouter may be killed after any step.
    #[test]
    fn no_link_of_a_vrf_forwards_in_table_main_after_any_step(a in world(&[VrfMode::Vrf]), b in world(&[VrfMode::Vrf])) {
        for (from, to) in [(a.state(), b.state()), (a.state(), KernelState::default()), (KernelState::default(), b.state())] {
            let mut steps = diff(&to, &from);
            // As a pass executes them.
            steps.sort_by_cached_key(|step| (step.op.wave(), step.op.lane()));
            let mut state = from;
            for step in steps {
                prop_assert_eq!(state.apply(&step.op), Ok(()), "{}", step);
                prop_assert_eq!(forwarding_in_main(&state), Vec::<String>::new(), "after {}", step);
            }
        }
    }

    #[test]
    fn nothing_wanted_leaves_nothing(a in world(BOTH), drifts in drift()) {
        let mut state = drifted(&a, &drifts);
        for step in diff(&KernelState::default(), &state.clone()) {
            prop_assert_eq!(state.apply(&step.op), Ok(()), "{}", step);
        }
        let nothing = KernelState::default();
        prop_assert_eq!(in_view_of(&nothing, state), nothing);
    }
}

/// Links whose packets are looked up in table `main`: those that are up outside of a VRF, and the members of a VRF whose
/// table has no unreachable default.
fn forwarding_in_main(state: &KernelState) -> Vec<String> {
    let table_of = |link: &Link| {
        let device = LinkKey { netns: Netns::Router, name: link.master.clone()? };
        match state.links.get(&device)?.kind {
            LinkKind::Vrf { table } => Some(table),
            _ => None,
        }
    };
    let ends = |table| [Family::Ipv4, Family::Ipv6].iter().all(|family| state.unreachable.contains(&(table, *family)));
    let receives = |key: &LinkKey| matches!(key.name, OwnedName::Vni(Role::Bridge | Role::PeVeth, _));
    let up = state.links.iter().filter(|(key, link)| key.netns == Netns::Router && receives(key) && link.up);
    // What carries frames only forwards no packet.
    let routed = up.filter(|(_, link)| link.ip != IpUse::Bridged);
    routed.filter(|(_, link)| !table_of(link).is_some_and(ends)).map(|(key, _)| key.to_string()).collect()
}

fn lines(wanted: &World, observed: Option<&World>) -> Vec<String> {
    let observed = observed.map(World::state).unwrap_or_default();
    diff(&wanted.state(), &observed).iter().map(ToString::to_string).collect()
}

fn red(mode: VrfMode) -> World {
    let session = super::generated::Session { ipv4: Some(2), ipv6: None, listen: None };
    let spec = super::generated::Spec { port: 4789, mtu: 1450, mac: 1, strict: false, session: Some(session) };
    World {
        mode,
        vtep: "100.65.0.1/32".parse().unwrap(),
        shift: 0,
        specs: BTreeMap::from([(0, spec)]),
        segments: BTreeMap::new(),
        filters: true,
    }
}

#[test]
fn a_vni_in_netns_mode_is_created_in_the_order_that_zebra_needs() {
    assert_eq!(
        lines(&red(VrfMode::Netns), None),
        [
            "router: sysctl net.ipv4.conf.all.forwarding=1",
            "router: sysctl net.ipv6.conf.all.forwarding=1",
            "router: sysctl net.ipv4.conf.all.rp_filter=0",
            "router: sysctl net.ipv4.conf.all.accept_redirects=0",
            "router: sysctl net.ipv4.conf.all.send_redirects=0",
            "router: sysctl net.ipv4.conf.all.route_localnet=0",
            "router: address add 100.65.0.1/32 dev lo",
            "netns add v0",
            "vrf:v0: sysctl net.ipv4.conf.all.forwarding=1",
            "vrf:v0: sysctl net.ipv6.conf.all.forwarding=1",
            "vrf:v0: sysctl net.ipv4.conf.all.rp_filter=0",
            "vrf:v0: sysctl net.ipv4.conf.all.accept_redirects=0",
            "vrf:v0: sysctl net.ipv4.conf.all.send_redirects=0",
            "vrf:v0: sysctl net.ipv4.conf.all.route_localnet=0",
            "vrf:v0: link add vni100 mtu 1450 addrgenmode none type vxlan id 100 local 100.65.0.1 dstport 4789 nolearning tos 2",
            "vrf:v0: link add br-pe-100 address 02:00:00:00:00:01 mtu 1450 addrgenmode none rp_filter 2 type bridge stp_state 0 \
             mcast_snooping 0",
            "vrf:v0: link add pe-100 mtu 1450 rp_filter 2 type veth peer name host-100 netns host",
            "vrf:v0: link set vni100 master br-pe-100",
            "vrf:v0: link set vni100 type bridge_slave neigh_suppress on learning off",
            "vrf:v0: link set br-pe-100 up",
            "vrf:v0: link set pe-100 up",
            "host: link set host-100 up",
            "vrf:v0: link set vni100 up",
            "host: address add 192.169.100.2/24 dev host-100",
            "vrf:v0: address add 192.169.100.1/24 dev pe-100",
        ]
    );
}

#[test]
fn links_are_deleted_with_their_vrf_netns() {
    let ops = diff(&KernelState::default(), &red(VrfMode::Netns).state());
    let lines: Vec<String> = ops.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["netns delete v0", "router: address delete 100.65.0.1/32 dev lo"]);
}

#[test]
fn members_are_created_after_their_vrf_device_and_deleted_before_it() {
    let world = red(VrfMode::Vrf);
    let built = lines(&world, None);
    let at = |text: &str| built.iter().position(|line| line.contains(text)).unwrap();
    assert!(
        at("link add v0 rp_filter 2 type vrf table 16777316") < at("route add unreachable 0.0.0.0/0 table 16777316")
    );
    assert!(at("route add unreachable ::/0") < at("link set pe-100 master v0"));
    assert!(at("link set br-pe-100 master v0") < at("link set br-pe-100 up"));
    let gone: Vec<String> = diff(&KernelState::default(), &world.state()).iter().map(ToString::to_string).collect();
    assert_eq!(
        gone,
        [
            "host: link delete host-100",
            "router: link delete vni100",
            "router: link delete br-pe-100",
            "router: link delete v0",
            "router: route delete unreachable 0.0.0.0/0 table 16777316 metric 4278198272",
            "router: route delete unreachable ::/0 table 16777316 metric 4278198272",
            "router: address delete 100.65.0.1/32 dev lo",
        ]
    );
}

#[test]
fn the_host_end_is_moved_into_the_vrf_of_the_host_and_out_of_it() {
    let plain = red(VrfMode::Netns);
    let host = LinkKey { netns: Netns::Host, name: OwnedName::Vni(Role::HostVeth, Vni::try_from(100).unwrap()) };
    let within = |vrf: Option<&str>| {
        let mut world = plain.clone();
        world.specs.get_mut(&0).unwrap().session.as_mut().unwrap().ipv6 = Some(2);
        let mut state = world.state();
        state.links.get_mut(&host).unwrap().host_master = vrf.map(|vrf| HostMaster::Vrf(vrf.parse().unwrap()));
        state
    };
    let ops = |wanted: &KernelState, observed: &KernelState| {
        diff(wanted, observed).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // The kernel drops IPv6 addresses when the link changes its VRF.
    let again = "host: address add 2001:db8:100::2/64 dev host-100".to_owned();
    let (out, one, two) = (within(None), within(Some("one")), within(Some("two")));
    assert_eq!(ops(&one, &out), ["host: link set host-100 master one".to_owned(), again.clone()]);
    assert_eq!(ops(&two, &one), ["host: link set host-100 master two".to_owned(), again.clone()]);
    assert_eq!(ops(&out, &one), ["host: link set host-100 nomaster".to_owned(), again]);
    assert_eq!(ops(&one, &one), Vec::<String>::new());
    // A new pair is moved there before it is set up.
    let built = ops(&one, &KernelState::default());
    let at = |text: &str| built.iter().position(|line| line == text).unwrap();
    assert!(at("host: link set host-100 master one") < at("host: link set host-100 up"));
}

#[test]
fn the_host_end_leaves_a_bridge_of_the_host_before_it_joins_another() {
    let plain = red(VrfMode::Netns).state();
    let host = LinkKey { netns: Netns::Host, name: OwnedName::Vni(Role::HostVeth, Vni::try_from(100).unwrap()) };
    let within = |bridge: &str| {
        let mut state = plain.clone();
        state.links.get_mut(&host).unwrap().host_master = Some(HostMaster::Bridge(bridge.parse().unwrap()));
        state
    };
    let ops = |wanted: &KernelState, observed: &KernelState| {
        diff(wanted, observed).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let (one, two) = (within("one"), within("two"));
    assert_eq!(ops(&one, &plain), ["host: link set host-100 master one"]);
    assert_eq!(ops(&two, &one), ["host: link set host-100 nomaster", "host: link set host-100 master two"]);
    assert_eq!(ops(&plain, &one), ["host: link set host-100 nomaster"]);
    assert_eq!(ops(&one, &one), Vec::<String>::new());
}

#[test]
fn a_new_vtep_recreates_only_the_vxlan_device() {
    let before = red(VrfMode::Netns);
    let after = World { vtep: "100.65.0.9/32".parse().unwrap(), ..before.clone() };
    assert_eq!(
        lines(&after, Some(&before)),
        [
            "vrf:v0: link delete vni100",
            "router: address delete 100.65.0.1/32 dev lo",
            "router: address add 100.65.0.9/32 dev lo",
            "vrf:v0: link add vni100 mtu 1450 addrgenmode none type vxlan id 100 local 100.65.0.9 dstport 4789 nolearning tos 2",
            "vrf:v0: link set vni100 master br-pe-100",
            "vrf:v0: link set vni100 type bridge_slave neigh_suppress on learning off",
            "vrf:v0: link set vni100 up",
        ]
    );
}

#[test]
fn a_failed_op_skips_what_depends_on_it_and_nothing_else() {
    let mut world = red(VrfMode::Netns);
    let other = world.specs[&0].clone();
    world.specs.insert(1, other);
    let kernel = FakeKernel::default();
    kernel.fail("link add br-pe-100", nix::errno::Errno::ENOMEM);
    let wanted = world.state();
    let ops = diff(&wanted, &kernel.state());
    let outcomes = run(&kernel, &ops);
    for (Step { op, .. }, outcome) in ops.iter().zip(&outcomes) {
        let depends_on_it = op.stage() >= Stage::Build && op.vni().map(Vni::get) == Some(100);
        assert!(outcome.is_done() || depends_on_it, "{op}: {outcome:?}");
    }
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count(), 1);

    kernel.heal();
    let rest = diff(&wanted, &kernel.state());
    let outcomes = run(&kernel, &rest);
    assert!(outcomes.iter().all(Outcome::is_done), "{outcomes:?}");
    assert_eq!(in_view_of(&wanted, kernel.state()), wanted);
}

#[test]
fn a_missing_setting_is_set_in_a_new_namespace_only() {
    let wanted_of =
        |netns: &Netns| [(netns.clone(), Sysctl::Ipv4Forwarding), (netns.clone(), Sysctl::Ipv4MultipathHash)];
    let vrf = Netns::Vrf("v0".parse().unwrap());
    let mut wanted = KernelState { vrf_netns: ["v0".parse().unwrap()].into(), ..KernelState::default() };
    wanted.sysctls.extend([&Netns::Router, &vrf].into_iter().flat_map(wanted_of).map(|key| (key, 1)));
    let mut observed = KernelState::default();
    observed.sysctls.insert((Netns::Router, Sysctl::Ipv4Forwarding), 0);
    let texts = |observed: &KernelState| diff(&wanted, observed).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        texts(&observed),
        [
            "router: sysctl net.ipv4.conf.all.forwarding=1",
            "netns add v0",
            "vrf:v0: sysctl net.ipv4.conf.all.forwarding=1",
            "vrf:v0: sysctl net.ipv4.fib_multipath_hash_policy=1",
        ]
    );
    observed = wanted.clone();
    observed.sysctls.retain(|(_, sysctl), _| !sysctl.is_optional());
    assert_eq!(texts(&observed), Vec::<String>::new());
    observed.sysctls.insert((vrf, Sysctl::Ipv4MultipathHash), 0);
    assert_eq!(texts(&observed), ["vrf:v0: sysctl net.ipv4.fib_multipath_hash_policy=1"]);
}

#[test]
fn a_failed_netns_skips_its_vni() {
    let kernel = FakeKernel::default();
    kernel.fail("netns add v0", nix::errno::Errno::EPERM);
    let ops = diff(&red(VrfMode::Netns).state(), &KernelState::default());
    let outcomes = run(&kernel, &ops);
    for (Step { op, .. }, outcome) in ops.iter().zip(&outcomes) {
        assert_eq!(outcome.is_done(), op.vni().is_none() && op.vrf().is_none(), "{op}: {outcome:?}");
    }
}

#[test]
fn nics_are_moved_in_and_back() {
    let nic: types::IfName = "toswitch".parse().unwrap();
    let at = |netns| KernelState { nics: BTreeMap::from([(nic.clone(), netns)]), ..KernelState::default() };
    let step = |op| Step { scope: Scope::Underlay, op };
    assert_eq!(diff(&at(Netns::Router), &at(Netns::Host)), [step(KernelOp::MoveNic { nic: nic.clone(), named: None })]);
    assert_eq!(
        diff(&at(Netns::Router), &KernelState::default()),
        [step(KernelOp::MoveNic { nic: nic.clone(), named: None })]
    );
    assert_eq!(diff(&KernelState::default(), &at(Netns::Router)), [step(KernelOp::ReturnNic(nic.clone()))]);
    assert_eq!(diff(&KernelState::default(), &at(Netns::Host)), []);
}

/// The scopes of the steps that remove links, and those of all steps.
fn scopes(wanted: &KernelState, observed: &KernelState) -> (BTreeSet<String>, BTreeSet<String>) {
    let steps = diff(wanted, observed);
    let removals = steps.iter().filter(|step| matches!(step.op, KernelOp::DeleteLink { .. }));
    let text = |step: &Step| step.scope.to_string();
    (removals.map(text).collect(), steps.iter().map(text).collect())
}

#[test]
fn a_removal_belongs_to_the_vrf_that_the_link_is_in_else_to_the_one_that_wants_its_vni() {
    let all = |scope: &str| BTreeSet::from([scope.to_owned()]);
    for mode in [VrfMode::Vrf, VrfMode::Netns] {
        let wanted = red(mode).state();
        let mut without_session = red(mode);
        without_session.specs.get_mut(&0).unwrap().session = None;
        assert_eq!(scopes(&without_session.state(), &wanted), (all("vrf v0"), all("vrf v0")), "{mode:?}");
    }

    let wanted = red(VrfMode::Vrf).state();
    let vxlan = LinkKey { netns: Netns::Router, name: OwnedName::Vni(Role::Vxlan, Vni::try_from(100).unwrap()) };
    let mut lone = KernelState { links: wanted.links.clone(), ..wanted.clone() };
    lone.links.retain(|key, _| *key == vxlan);
    let link = lone.links.get_mut(&vxlan).unwrap();
    *link = Link {
        kind: LinkKind::Other,
        master: None,
        scope: Scope::Segment(Vni::try_from(100).unwrap()),
        ..link.clone()
    };
    assert_eq!(scopes(&wanted, &lone).0, all("vrf v0"), "wanted in v0");
    let nothing = KernelState { links: BTreeMap::new(), unreachable: BTreeSet::new(), ..wanted.clone() };
    assert_eq!(
        scopes(&nothing, &KernelState { unreachable: BTreeSet::new(), ..lone }).0,
        all("segment 100"),
        "not wanted"
    );
}

fn port(index: u32) -> HostPort {
    HostPort { name: format!("veth{index}"), index }
}

fn host_bridge(raw: u32) -> LinkKey {
    LinkKey { netns: Netns::Host, name: OwnedName::Vni(Role::HostBridge, Vni::try_from(raw).unwrap()) }
}

/// Two ports of others on each managed bridge.
fn with_ports(mut state: KernelState) -> KernelState {
    let bridges: Vec<LinkKey> = state.links.keys().filter(|key| key.name.is_host_bridge()).cloned().collect();
    for key in bridges {
        state.host_ports.attach(&key.name, [port(7), port(8)]);
    }
    state
}

fn applied(mut state: KernelState, steps: &[Step]) -> KernelState {
    for step in steps {
        assert_eq!(state.apply(&step.op), Ok(()), "{step}");
    }
    state
}

proptest! {
    #[test]
    fn a_bridge_with_ports_of_others_is_not_deleted_and_keeps_them(a in world(BOTH), drifts in drift(), b in world(BOTH)) {
        let (observed, wanted) = (with_ports(drifted(&a, &drifts)), b.state());
        let mut state = applied(observed.clone(), &diff(&wanted, &observed));
        prop_assert_eq!(diff(&wanted, &state), vec![], "no step is repeated");
        prop_assert_eq!(&state.host_ports, &observed.host_ports);
        let is_kept = |key: &LinkKey| key.name.is_host_bridge() && !wanted.links.contains_key(key);
        for key in observed.links.keys().filter(|key| is_kept(key)) {
            prop_assert_eq!(state.links.get(key), observed.links.get(key));
        }
        // The last port leaves.
        state.host_ports = HostPorts::default();
        let state = applied(state.clone(), &diff(&wanted, &state));
        prop_assert_eq!(in_view_of(&wanted, state), wanted);
    }
}

/// Red with a segment that has a managed bridge.
fn red_with_segment() -> World {
    let segment = Segment { port: 4789, mtu: 1450, within: Some(0), gateways: true, bridge: true };
    World { segments: BTreeMap::from([(0, segment)]), ..red(VrfMode::Netns) }
}

#[test]
fn a_bridge_loses_the_port_of_its_segment_alone_and_has_it_again() {
    let (with, without) = (red_with_segment().state(), red(VrfMode::Netns).state());
    let observed = with_ports(with.clone());
    let steps = diff(&without, &observed);
    let lines: Vec<String> = steps.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["host: link delete host-150", "vrf:v0: link delete vni150", "vrf:v0: link delete br-pe-150"]);
    let kept = applied(observed, &steps);
    assert_eq!(diff(&without, &kept), []);
    let again = diff(&with, &kept);
    assert!(again.iter().all(|step| step.op.link() != Some(&host_bridge(150))), "{again:?}");
    assert!(again.iter().any(|step| step.to_string() == "host: link set host-150 master br-hs-150"), "{again:?}");
    // It goes with its last port.
    let left = KernelState { host_ports: HostPorts::default(), ..kept };
    let steps = diff(&without, &left);
    assert_eq!(steps.iter().map(ToString::to_string).collect::<Vec<_>>(), ["host: link delete br-hs-150"]);
    assert_eq!(steps[0].scope, Scope::Segment(Vni::try_from(150).unwrap()));
}

#[test]
fn the_host_end_leaves_a_bridge_that_is_kept_for_another_one() {
    let with = red_with_segment().state();
    let observed = with_ports(with.clone());
    let host = LinkKey { netns: Netns::Host, name: OwnedName::Vni(Role::HostVeth, Vni::try_from(150).unwrap()) };
    let mut wanted = with;
    wanted.links.remove(&host_bridge(150));
    let end = wanted.links.get_mut(&host).unwrap();
    (end.master, end.host_master) = (None, Some(HostMaster::Bridge("pods".parse().unwrap())));
    let lines: Vec<String> = diff(&wanted, &observed).iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["host: link set host-150 nomaster", "host: link set host-150 master pods"]);
    // In Open vSwitch, which may not run.
    wanted.links.get_mut(&host).unwrap().host_master = None;
    let lines: Vec<String> = diff(&wanted, &observed).iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["host: link set host-150 nomaster"]);
}

#[test]
fn a_bridge_that_is_made_again_gets_its_ports_back() {
    let with = red_with_segment().state();
    let wanted = with_ports(with.clone());
    let mut deleted = with.clone();
    deleted.apply(&KernelOp::DeleteLink { key: host_bridge(150), with: None }).unwrap();
    let lines: Vec<String> = diff(&wanted, &deleted).iter().map(ToString::to_string).collect();
    let at =
        |text: &str| lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {lines:?}"));
    assert!(at("link add br-hs-150") < at("host: link set veth7, veth8 master br-hs-150"), "{lines:?}");
    assert_eq!(diff(&wanted, &with), [], "only one that is made again");
    // Somebody has made it what it must not be: it is replaced.
    let mut replaced = with_ports(with);
    replaced.links.get_mut(&host_bridge(150)).unwrap().kind = LinkKind::Other;
    let state = applied(replaced.clone(), &diff(&wanted, &replaced));
    assert_eq!((&state.host_ports, &state.links), (&wanted.host_ports, &wanted.links));
}
