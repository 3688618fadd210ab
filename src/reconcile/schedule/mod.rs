//! What a reconcile pass does, step by step. In: what is wanted and what was observed. Out: a [`Schedule`], which
//! [`super::execute`] walks and `perouter plan` prints. Pure.
//!
//! The order between kernel and FRR is what FRR demands (measured on 8.4.4): a VRF leaves FRR before its links are
//! deleted; the default BGP instance with EVPN is configured before the first VXLAN device (frr#22851); zebra has taken up
//! an empty VRF namespace before links are created in it; the VNI is configured when its links are there.

mod state;
mod step;
mod teardown;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::frr::client::port::Presence;
use crate::frr::config::batch::{BatchStage, CommandBatch, merge};
use crate::frr::config::diff::{diff, policies_of_new, policies_of_underlay};
use crate::frr::config::removal::Removal;
use crate::frr::config::tree::Config;
use crate::frr::release::Release;
use crate::kernel::model::{KernelState, Netns};
use crate::kernel::{self, KernelOp, Stage, Step as KernelStep};
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::types::{IfName, MacAddr, Vni, VrfName};
use teardown::{Reasons, members};

pub use state::State;
pub use step::ScheduleStep;

/// Router MACs are changed in so many steps at most, each of which takes bgpd 150 ms.
const MAC_GROUPS: usize = 32;

/// What a reconcile pass does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// In the order in which they run.
    pub steps: Vec<ScheduleStep>,
    /// The scopes that are torn down, to be rebuilt or not, in the order in which they are.
    pub torn_down: Vec<Scope>,
    /// Lines within our stanzas in FRR that are not ours: reported, left alone.
    pub unknown: BTreeSet<(Scope, Daemon, String)>,
}

impl Schedule {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds the edits from `before`, which FRR runs after this schedule, to `wanted`. bgpd processes what it has first.
    pub fn then(&mut self, before: &Config, wanted: &Config) {
        let mut order = Order { steps: std::mem::take(&mut self.steps) };
        order.steps.push(ScheduleStep::AwaitRouterMacs(BTreeMap::new()));
        order.send(merge(diff(before, wanted).scopes.into_values().flatten()));
        self.steps = order.steps;
    }

    /// The kernel operations, in order.
    pub fn kernel_ops(&self) -> impl Iterator<Item = &KernelStep> {
        self.steps.iter().flat_map(ScheduleStep::kernel_ops)
    }

    /// FRR lines that change something.
    pub fn frr_lines(&self) -> usize {
        self.steps.iter().map(ScheduleStep::frr_lines).sum()
    }

    /// The scopes that change.
    pub fn scopes(&self) -> BTreeSet<&Scope> {
        self.steps.iter().flat_map(ScheduleStep::scopes).chain(&self.torn_down).collect()
    }

    /// The IP-VRFs that change.
    pub fn vrfs(&self) -> BTreeSet<VrfName> {
        let vrf = |scope: &Scope| if let Scope::Vrf(vrf) = scope { Some(vrf.clone()) } else { None };
        self.scopes().into_iter().filter_map(vrf).collect()
    }

    /// The segments that change.
    pub fn segments(&self) -> BTreeSet<Vni> {
        let vni = |scope: &Scope| if let Scope::Segment(vni) = scope { Some(*vni) } else { None };
        self.scopes().into_iter().filter_map(vni).collect()
    }

    /// The segments that get a link in the router, or have one set up or attached again.
    pub fn restored_segments(&self) -> BTreeSet<Vni> {
        let is_restored = |step: &&KernelStep| match &step.op {
            KernelOp::CreateLink(new) => !new.key.name.is_host_bridge(),
            KernelOp::SetUp(key) | KernelOp::SetMaster { key, master: Some(_) } => !key.name.is_host_bridge(),
            _ => false,
        };
        let vni = |step: &KernelStep| if let Scope::Segment(vni) = step.scope { Some(vni) } else { None };
        self.kernel_ops().filter(is_restored).filter_map(vni).collect()
    }
}

/// As `perouter plan` prints it.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))?;
        writeln!(f, "{} kernel operations, {} FRR lines", self.kernel_ops().count(), self.frr_lines())
    }
}

/// Schedules a pass. `not_up` are IP-VRFs that FRR did not bring up although all is in place: they are rebuilt.
pub fn schedule(wanted: State<'_>, observed: State<'_>, not_up: &BTreeSet<VrfName>, release: Release) -> Schedule {
    let none = BTreeSet::new();
    let kept_netns = if release.netns_stays { &observed.kernel.vrf_netns } else { &none };
    let (members_now, members_wanted) = (members(observed.kernel), members(wanted.kernel));
    let reasons = Reasons { not_up, kept_netns, observed: &members_now, wanted: &members_wanted };
    let torn_down = teardown::torn_down(wanted, observed, reasons);
    let mut kernel_wanted = Cow::Borrowed(wanted.kernel);
    if !kept_netns.is_subset(&wanted.kernel.vrf_netns) {
        kernel_wanted.to_mut().vrf_netns.extend(kept_netns.iter().cloned());
    }
    let going: BTreeSet<Scope> = torn_down.iter().cloned().collect();
    let (after, frr_after) = if going.is_empty() {
        (Cow::Borrowed(observed.kernel), Cow::Borrowed(observed.frr))
    } else {
        (
            Cow::Owned(teardown::kernel_without(observed.kernel, &going, reasons)),
            Cow::Owned(observed.frr.without(&going)),
        )
    };
    let release = if going.is_empty() { Vec::new() } else { kernel::diff(&after, observed.kernel) };
    let build = kernel::diff(&kernel_wanted, &after);
    let change = diff(&frr_after, wanted.frr);
    let mut order = Order::default();
    order.begin_policies(early_policies(observed.frr, wanted.frr));
    let lines = torn_down.iter().map(|scope| (scope, teardown::lines(observed.frr, scope, kept_netns)));
    order.teardown(&lines.collect::<Vec<_>>(), release);
    let is_early = |scope: &Scope| match scope {
        Scope::Underlay => policies_of_underlay(observed.frr, wanted.frr).is_some(),
        scope => !observed.frr.has(scope),
    };
    order.build(&kernel_wanted, build, change.scopes.iter().map(|(scope, change)| (scope, change, is_early(scope))));
    Schedule { steps: order.steps, torn_down, unknown: change.unknown }
}

/// The policies that are sent before the kernel is changed, while it is read if possible: those of the scopes of which FRR
/// runs nothing yet, and of the underlay where nothing else of it changes. Nothing refers to them before the rest of their
/// scope is sent.
pub(super) fn early_policies(observed: &Config, wanted: &Config) -> Vec<CommandBatch> {
    let is_new = |scope: &&Scope| **scope != Scope::Underlay && !observed.has(scope);
    let of_new = wanted.scopes().into_iter().filter(is_new).filter_map(|scope| policies_of_new(wanted, scope));
    merge(policies_of_underlay(observed, wanted).into_iter().chain(of_new))
}

/// Puts steps in order.
#[derive(Default)]
struct Order {
    steps: Vec<ScheduleStep>,
}

impl Order {
    fn kernel(&mut self, mut steps: Vec<KernelStep>) {
        steps.sort_by_cached_key(|step| (step.op.wave(), step.op.lane()));
        let waves = steps.chunk_by(|one, next| one.op.wave() == next.op.wave());
        self.steps.extend(waves.map(|wave| ScheduleStep::Kernel(wave.to_vec())));
    }

    fn send(&mut self, batches: Vec<CommandBatch>) {
        self.steps.extend(batches.into_iter().map(ScheduleStep::Frr));
    }

    fn begin_policies(&mut self, batches: Vec<CommandBatch>) {
        self.steps.extend(batches.into_iter().map(ScheduleStep::BeginPolicies));
    }

    fn teardown(&mut self, lines: &[(&Scope, Removal)], release: Vec<KernelStep>) {
        self.send(merge(lines.iter().flat_map(|(_, teardown)| teardown.before.iter().cloned())));
        self.kernel(release);
        for (scope, _) in lines.iter().filter(|(_, teardown)| !teardown.after.is_empty()) {
            if let Scope::Vrf(vrf) = scope {
                self.steps.push(ScheduleStep::AwaitVrf { vrf: vrf.clone(), presence: Presence::Gone });
            }
        }
        self.send(merge(lines.iter().flat_map(|(_, teardown)| teardown.after.iter().cloned())));
    }

    /// The changes are those of a scope, with whether its policies have been begun already.
    fn build<'a>(
        &mut self,
        wanted: &KernelState,
        steps: Vec<KernelStep>,
        changes: impl Iterator<Item = (&'a Scope, &'a Vec<CommandBatch>, bool)>,
    ) {
        let (mut underlay, mut others, mut policies) = (Vec::new(), Vec::new(), Vec::new());
        for (scope, batches, is_early) in changes {
            for batch in batches.iter().cloned() {
                match (scope, batch.stage) {
                    (_, BatchStage::Policies) if is_early => {}
                    (Scope::Underlay, _) => underlay.push(batch),
                    (_, BatchStage::Policies) => policies.push(batch),
                    (_, _) => others.push(batch),
                }
            }
        }
        self.begin_policies(merge(policies));
        let (underlay, leftovers): (Vec<_>, Vec<_>) =
            underlay.into_iter().partition(|batch| batch.stage < BatchStage::Leftovers);
        let (first, last): (Vec<_>, Vec<_>) = others.into_iter().partition(|batch| batch.stage < BatchStage::Policies);
        let (ground, links): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.op.stage() < Stage::Build);
        let (macs, links): (Vec<_>, Vec<_>) = links.into_iter().partition(|step| router_mac(step).is_some());
        let netns = ground.iter().filter_map(|step| created_netns(&step.op)).cloned().collect::<Vec<_>>();
        self.kernel(ground);
        let has_underlay = !underlay.is_empty();
        self.send(underlay);
        let barrier = self.steps.len();
        for vrf in netns {
            self.steps.push(ScheduleStep::AwaitVrf { vrf, presence: Presence::Active });
        }
        self.links(wanted, links);
        self.send(merge(first));
        if self.steps.iter().any(|step| matches!(step, ScheduleStep::BeginPolicies(_))) {
            self.steps.push(ScheduleStep::AwaitPolicies);
        }
        // What the underlay had for IP-VRFs is removed when they use it no more.
        self.send(merge(last.into_iter().chain(leftovers)));
        self.router_macs(&macs);
        if has_underlay && self.steps.len() > barrier {
            self.steps.insert(barrier, ScheduleStep::RequireDefaultInstance);
        }
    }

    /// zebra has an L3VNI whose router MAC changes down and up for bgpd at once. bgpd advertises its routes once if it processes
    /// none in between, and withdraws them first otherwise: when all else is advertised, and one IP-VRF after the other, or
    /// some of hundreds.
    fn router_macs(&mut self, steps: &[KernelStep]) {
        if !steps.is_empty() {
            self.steps.push(ScheduleStep::AwaitRouterMacs(BTreeMap::new()));
        }
        for group in steps.chunks(steps.len().div_ceil(MAC_GROUPS).max(1)) {
            self.kernel(group.to_vec());
            let macs = group.iter().filter_map(router_mac).collect();
            self.steps.push(ScheduleStep::AwaitRouterMacs(macs));
        }
    }

    fn links(&mut self, wanted: &KernelState, steps: Vec<KernelStep>) {
        let is_address = |step: &KernelStep| step.op.stage() == Stage::Address;
        let (addresses, links): (Vec<_>, Vec<_>) = steps.into_iter().partition(is_address);
        self.kernel(links);
        for ((scope, vrf), links) in addressed(wanted, &addresses) {
            self.steps.push(ScheduleStep::AwaitLinks { scope, vrf, links });
        }
        self.kernel(addresses);
    }
}

/// The links in IP-VRFs that get an address, by scope. zebra does not read the host's namespace.
fn addressed(wanted: &KernelState, addresses: &[KernelStep]) -> BTreeMap<(Scope, VrfName), BTreeSet<IfName>> {
    let mut links: BTreeMap<(Scope, VrfName), BTreeSet<IfName>> = BTreeMap::new();
    for KernelStep { scope, op } in addresses {
        let key = op.link().filter(|key| key.netns != Netns::Host);
        if let Some((key, vrf)) = key.and_then(|key| Some((key, wanted.vrf_by_place(key)?))) {
            links.entry((scope.clone(), vrf.clone())).or_default().insert(key.name.if_name());
        }
    }
    links
}

/// The VNI whose router MAC a step changes, and the MAC. The gateway MAC of a segment is none.
fn router_mac(KernelStep { scope, op }: &KernelStep) -> Option<(Vni, MacAddr)> {
    match (scope, op) {
        (Scope::Vrf(_), KernelOp::SetMac { key, mac, .. }) => Some((key.name.vni()?, *mac)),
        _ => None,
    }
}

fn created_netns(op: &KernelOp) -> Option<&VrfName> {
    if let KernelOp::CreateNetns(vrf) = op { Some(vrf) } else { None }
}

#[cfg(test)]
mod tests;
