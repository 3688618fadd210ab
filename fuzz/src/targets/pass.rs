//! From any snapshot to a schedule and back. In: a snapshot, as a controller keeps the last one, with any values in its objects,
//! valid by their schema or not. The plan is rendered, read as FRR's output, compared, and carried out on a kernel and an
//! FRR in memory: from nothing, then without one of the objects, then with it again.
//!
//! Nothing panics, whatever the objects. Of valid objects:
//! * FRR reads each line as what it is meant to be, and prints what was rendered;
//! * nothing differs from itself, and after each schedule there is nothing to do;
//! * steps, lines and their effects are of the scopes of the objects that changed.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use perouter::frr::client::fake::FakeRouting;
use perouter::frr::client::port::Routing;
use perouter::frr::config::diff::diff;
use perouter::frr::config::line::Line;
use perouter::frr::config::render::render;
use perouter::frr::config::tree::Config;
use perouter::frr::release::{FRR_8_4, FRR_10_3, FRR_10_7, FrrVersion, Release};
use perouter::frr::show::running_config::{DaemonOutput, RunningConfigReader};
use perouter::frr::stanza::rules;
use perouter::frr::stanza::text::text;
use perouter::kernel::fake::FakeKernel;
use perouter::kernel::model::{KernelState, LinkKind, NicFacts};
use perouter::kernel::{self, Kernel, Outcome};
use perouter::names::OwnedName;
use perouter::plan::{NodeFacts, Plan, plan};
use perouter::reconcile::schedule::{Schedule, ScheduleStep, State, schedule};
use perouter::runtime::Daemon;
use perouter::scope::Scope;
use perouter::snapshot::Snapshot;
use perouter::source::kube::disk_cache;
use perouter::types::{IfName, VrfMode};

use super::snapshot::{is_valid, seeds};
use crate::Target;
use crate::mutate::Format;

pub const TARGET: Target = Target { name: "pass", format: Format::Text, max_input: 4096, run, more_seeds: seeds };

fn run(input: &[u8]) {
    let Ok(Some(snapshot)) = disk_cache::parse(input) else { return };
    // As good as random, and the same for the same input.
    let pick = input.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let mode = if pick.is_multiple_of(2) { VrfMode::Netns } else { VrfMode::Vrf };
    let release = match pick / 2 % 4 {
        0 | 2 => FRR_8_4,
        1 => FRR_10_3,
        _ => FRR_10_7,
    };
    let result = check(&snapshot, &facts(&snapshot, mode, release), pick / 4);
    assert!(result.is_ok() || !is_valid(&snapshot), "{mode}, {}: {:?}", release.name, result.err());
}

/// All NICs that the objects name are there.
pub fn facts(snapshot: &Snapshot, mode: VrfMode, release: Release) -> NodeFacts {
    let names = snapshot.nics().filter_map(|nic| nic.parse::<IfName>().ok());
    let nics = names.map(|name| (name.clone(), NicFacts::unused(name, 1500))).collect();
    NodeFacts { nics: Some(nics), ..NodeFacts::unknown(mode, release) }
}

fn check(snapshot: &Snapshot, facts: &NodeFacts, pick: usize) -> Result<(), String> {
    let all = Wanted::of(snapshot, facts)?;
    let mut router = Router::new(facts);
    router.change(&Wanted::default(), &all, &facts.release)?;
    let Some(removed) = snapshot.objects.keys().nth(pick % snapshot.objects.len().max(1)).cloned() else {
        return Ok(());
    };
    let mut fewer = snapshot.clone();
    fewer.objects.remove(&removed);
    let fewer = Wanted::of(&fewer, facts)?;
    router.change(&all, &fewer, &facts.release)?;
    router.change(&fewer, &all, &facts.release)?;
    router.rebuild(&all, &facts.release)
}

/// What a snapshot becomes.
#[derive(Debug, Default)]
pub struct Wanted {
    plan: Plan,
    frr: Config,
}

impl Wanted {
    /// Plans and renders, and reads what was rendered as FRR's output.
    pub fn of(snapshot: &Snapshot, facts: &NodeFacts) -> Result<Self, String> {
        let plan = plan(snapshot, facts);
        let frr = render(&plan.frr, &facts.release).map_err(|error| format!("{error}: {:?}", error.source))?;
        let wanted = Self { plan, frr };
        wanted.is_printed_as_rendered(&facts.release)?;
        wanted.does_not_differ_from_itself(facts.release)?;
        Ok(wanted)
    }

    fn state(&self) -> State<'_> {
        State { kernel: &self.plan.kernel, frr: &self.frr }
    }

    fn is_printed_as_rendered(&self, release: &Release) -> Result<(), String> {
        let mut outputs = Daemon::ALL.map(|daemon| DaemonOutput { daemon, owner: daemon, text: String::new() });
        for ((_, daemon), text) in text(&self.plan.frr, release).map_err(|error| error.to_string())? {
            for raw in text.split('\n') {
                let line = Line::new(raw);
                let silent = line.send().is_empty() || line.send() == "!" || line.send().starts_with("exit");
                let known = silent || rules::identity(line.send()).is_some();
                if !known || raw.contains(char::is_control) {
                    return Err(format!("no line of perouter: {line:?}"));
                }
            }
            let output = outputs.iter_mut().find(|output| output.daemon == daemon);
            if let Some(output) = output {
                output.text += &text;
            }
        }
        let read = RunningConfigReader::default().read(&outputs);
        let mut config = read.config.clone();
        config.hand_over(Daemon::Staticd, release.static_routes);
        if self.plan.frr.underlay.is_some() {
            config.add(Scope::Underlay, Daemon::Zebra, release.zebra_settings);
        }
        expect(read.foreign.is_empty(), || format!("of no scope: {:?}", read.foreign))?;
        expect(config == self.frr, || format!("read: {config}\nrendered: {}", self.frr))
    }

    fn does_not_differ_from_itself(&self, release: Release) -> Result<(), String> {
        let kernel = kernel::diff(&self.plan.kernel, &self.plan.kernel);
        expect(kernel.is_empty(), || format!("the kernel differs from itself: {kernel:?}"))?;
        let frr = diff(&self.frr, &self.frr);
        expect(frr.is_empty(), || format!("FRR differs from itself: {frr}"))?;
        let schedule = schedule(self.state(), self.state(), &BTreeSet::new(), release);
        expect(schedule.is_empty(), || format!("steps from a state to itself: {schedule}"))
    }
}

/// Kernel and FRR in memory.
struct Router {
    kernel: FakeKernel,
    frr: FakeRouting,
}

impl Router {
    fn new(facts: &NodeFacts) -> Self {
        let nics = facts.nics.clone().unwrap_or_default();
        let (major, minor) = facts.release.since;
        let version = FrrVersion { major, minor, text: facts.release.name.to_owned() };
        Self {
            kernel: FakeKernel::new(KernelState::default(), nics),
            frr: FakeRouting { version, ..FakeRouting::default() },
        }
    }

    /// Carries out what leads from one state to another.
    fn change(&mut self, from: &Wanted, to: &Wanted, release: &Release) -> Result<(), String> {
        let none = BTreeSet::new();
        let (kernel, frr) = (self.kernel.state(), self.frr.config().config);
        let steps = schedule(to.state(), State { kernel: &kernel, frr: &frr }, &none, *release);
        expect(steps.unknown.is_empty(), || format!("lines without a rule: {:?}", steps.unknown))?;
        let may_change = may_change(from, to);
        if let Some(scopes) = &may_change {
            let other = steps.scopes().into_iter().find(|scope| !scopes.contains(scope));
            expect(other.is_none(), || format!("{other:?} is touched, although only {scopes:?} change: {steps}"))?;
        }
        self.apply(&steps)?;
        let (kernel_now, frr_now) = (self.kernel.state(), self.frr.config().config);
        if let Some(scopes) = &may_change {
            let others = frr
                .scopes()
                .into_iter()
                .chain(frr_now.scopes())
                .find(|scope| !scopes.contains(scope) && !frr.same(&frr_now, scope));
            expect(others.is_none(), || format!("{others:?} changed in FRR, although only {scopes:?} do: {steps}"))?;
            let others = |state: &KernelState| {
                let links = state.links.iter().filter(|(_, link)| !scopes.contains(&link.scope));
                links.map(|(key, link)| (key.clone(), link.clone())).collect::<Vec<_>>()
            };
            expect(others(&kernel) == others(&kernel_now), || format!("links of other scopes changed: {steps}"))?;
        }
        self.has(to, release).map_err(|error| format!("{error}after: {steps}"))
    }

    /// Rebuilds all IP-VRFs, as where FRR did not bring one up.
    fn rebuild(&mut self, wanted: &Wanted, release: &Release) -> Result<(), String> {
        let vrfs = wanted.plan.l3vnis().into_keys().cloned().collect();
        let (kernel, frr) = (self.kernel.state(), self.frr.config().config);
        let steps = schedule(wanted.state(), State { kernel: &kernel, frr: &frr }, &vrfs, *release);
        self.apply(&steps)?;
        self.has(wanted, release).map_err(|error| format!("{error}after: {steps}"))
    }

    /// There is nothing to do.
    fn has(&self, wanted: &Wanted, release: &Release) -> Result<(), String> {
        let (kernel, frr) = (self.kernel.state(), self.frr.config().config);
        let rest = schedule(wanted.state(), State { kernel: &kernel, frr: &frr }, &BTreeSet::new(), *release);
        expect(rest.is_empty(), || format!("left to do: {rest}"))?;
        expect(frr == wanted.frr, || format!("FRR has: {frr}\nwanted: {}\n", wanted.frr))
    }

    fn apply(&mut self, schedule: &Schedule) -> Result<(), String> {
        for step in &schedule.steps {
            match step {
                ScheduleStep::Kernel(steps) => {
                    let outcomes = now(self.kernel.apply_all(steps));
                    let failed = steps.iter().zip(&outcomes).find(|(_, outcome)| !outcome.is_done());
                    expect(failed.is_none(), || describe(failed))?;
                    self.notice_vrfs();
                }
                ScheduleStep::Frr(batch) | ScheduleStep::BeginPolicies(batch) => {
                    let rejected = now(self.frr.apply(batch)).map_err(|error| error.to_string())?;
                    expect(rejected.is_empty(), || format!("rejected: {rejected:?}"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// zebra finds VRF devices and namespaces.
    fn notice_vrfs(&mut self) {
        let state = self.kernel.state();
        let devices = state.links.iter().filter_map(|(key, link)| match (&link.kind, &key.name) {
            (LinkKind::Vrf { .. }, OwnedName::Vrf(name)) => Some(name.clone()),
            _ => None,
        });
        self.frr.active = devices.chain(state.vrf_netns.iter().cloned()).collect();
    }
}

fn describe(failed: Option<(&kernel::Step, &Outcome)>) -> String {
    failed.map(|(step, outcome)| format!("{step}: {outcome:?}")).unwrap_or_default()
}

/// The scopes of what changed between two plans; `None` where the underlay did, on which all others depend.
fn may_change(from: &Wanted, to: &Wanted) -> Option<BTreeSet<Scope>> {
    let (old, new) = (&from.plan.objects, &to.plan.objects);
    let changed = old.iter().chain(new).filter(|(object, _)| old.get(*object) != new.get(*object));
    let mut scopes: BTreeSet<_> = changed.map(|(_, planned)| planned.scope.clone()).collect();
    if scopes.contains(&Scope::Underlay) {
        return None;
    }
    // What the default instance has for the others.
    if !from.frr.same(&to.frr, &Scope::Underlay) {
        scopes.insert(Scope::Underlay);
    }
    Some(scopes)
}

fn expect(holds: bool, or: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(or()) }
}

/// Runs a future that never waits for anything outside.
fn now<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: OnceCell<Option<tokio::runtime::Runtime>> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| tokio::runtime::Builder::new_current_thread().build().ok());
        let Some(runtime) = runtime else { unreachable!("a runtime without drivers needs nothing of the system") };
        runtime.block_on(future)
    })
}
