//! The pure steps of a reconcile pass at two sizes: plan, render, parse FRR's text, compare, schedule. In: nothing.
//! Out: a table of times and ratios, and exit status 1 if the total time grows faster than the number of L3VNIs allows.
//!
//! Samples of both sizes alternate, so that a machine that is temporarily busy affects both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a benchmark")]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use perouter::frr::config::diff;
use perouter::frr::config::render;
use perouter::frr::config::tree::{Config, Tree};
use perouter::frr::release::{FRR_8_4, Release};
use perouter::frr::stanza::text::text;
use perouter::kernel;
use perouter::kernel::model::KernelState;
use perouter::kernel::model::NicFacts;
use perouter::kind::Spec;
use perouter::plan::last_accepted::{LastAccepted, plan_with_last_accepted};
use perouter::plan::{NodeFacts, Plan};
use perouter::reconcile::schedule::{State, schedule};
use perouter::scope::Scope;
use perouter::snapshot::{Kind, NodeIdentity, Object, ObjectRef, Snapshot};
use perouter::types::VrfMode;
use serde_json::{Value, json};

const SIZES: [u32; 2] = [1000, 4000];
/// Allowed ratio of times for four times as many objects: linear, plus a margin for CPU caches and the depth of trees.
const MAX_RATIO: f64 = 4.4;
const SAMPLES: usize = 7;

const STEPS: [&str; 9] = [
    "plan",
    "render",
    "parse FRR's text",
    "FRR diff, all new",
    "FRR diff, no change",
    "FRR diff, one changed",
    "schedule, all new",
    "schedule, no change",
    "schedule, all rebuilt",
];

fn object(kind: Kind, name: &str, spec: Value) -> (ObjectRef, Object) {
    (ObjectRef::new(kind, "openperouter-system", name), Object::new(Spec::from_json(kind, spec).unwrap()))
}

/// An Underlay in this AS, and this number of L3VNIs with a host session.
fn snapshot(count: u32, asn: u32) -> Snapshot {
    let underlay = json!({
        "asn": asn, "vtepcidr": "100.65.0.0/24", "nics": ["toswitch"],
        "neighbors": [{"address": "192.168.11.2", "asn": 64512}],
    });
    let subnet = |n: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 0)) + 16 * n);
    let l3vni = |n: u32| {
        let spec =
            json!({"asn": asn, "vni": 1000 + n, "localcidr": {"ipv4": format!("{}/28", subnet(n))}, "hostasn": 64515});
        object(Kind::L3VNI, &format!("v{n}"), spec)
    };
    Snapshot {
        node: NodeIdentity { name: "node".into(), index: 0, labels: [].into() },
        objects: (0..count).map(l3vni).chain([object(Kind::Underlay, "underlay", underlay)]).collect(),
        ..Snapshot::default()
    }
}

/// The input of the measurements at one size.
struct Input {
    snapshot: Snapshot,
    facts: NodeFacts,
    release: Release,
    text: String,
    plan: Plan,
    frr: Config,
    /// With another `hostasn` in one L3VNI.
    edited: Config,
    /// In another AS: everything is torn down and rebuilt.
    other: (Plan, Config),
}

impl Input {
    fn new(count: u32) -> Self {
        let addresses = ["192.168.11.3/24".parse().unwrap()].into();
        let nic = NicFacts { addresses, ..NicFacts::unused("toswitch".parse().unwrap(), 9000) };
        let facts =
            NodeFacts { nics: Some([(nic.name.clone(), nic)].into()), ..NodeFacts::unknown(VrfMode::Netns, FRR_8_4) };
        let planned = |snapshot: &Snapshot| {
            let plan = plan_with_last_accepted(snapshot, &facts, &mut LastAccepted::default());
            assert_eq!((plan.objects.len(), plan.rejected.len()), (snapshot.objects.len(), 0));
            let frr = render::render(&plan.frr, &FRR_8_4).unwrap();
            (plan, frr)
        };
        let snapshot_ = snapshot(count, 64514);
        let (plan, frr) = planned(&snapshot_);
        let mut edited = snapshot_.clone();
        let middle = edited.objects.values_mut().filter(|object| matches!(object.spec, Spec::L3VNI(_)));
        let Some(Spec::L3VNI(spec)) = middle.map(|object| &mut object.spec).nth(count as usize / 2) else { panic!() };
        Arc::make_mut(spec).hostasn = Some(64999);
        let (_, edited) = planned(&edited);
        let other = planned(&snapshot(count, 64999));
        let text = text(&plan.frr, &FRR_8_4).unwrap().into_values().collect();
        let release = FRR_8_4;
        Self { snapshot: snapshot_, facts, release, text, plan, frr, edited, other }
    }

    /// One sample of each step.
    fn sample(&self) -> [Duration; STEPS.len()] {
        let (empty, nothing) = (Config::default(), KernelState::default());
        let now = State { kernel: &self.plan.kernel, frr: &self.frr };
        let scheduled = |wanted, observed| schedule(wanted, observed, &BTreeSet::new(), self.release);
        [
            timed(|| plan_with_last_accepted(&self.snapshot, &self.facts, &mut LastAccepted::default())),
            timed(|| render::render(&self.plan.frr, &self.release).unwrap()),
            timed(|| Tree::parse(&self.text)),
            timed(|| {
                let change = diff::diff(&empty, &self.frr);
                assert_eq!(change.scopes.len(), self.plan.frr.vrfs.len() + 1);
                change
            }),
            timed(|| {
                let change = diff::diff(&self.frr, &self.frr);
                assert!(change.is_empty());
                change
            }),
            timed(|| {
                let change = diff::diff(&self.frr, &self.edited);
                assert!(change.scopes.len() == 1 && !change.scopes.contains_key(&Scope::Underlay));
                change
            }),
            timed(|| {
                let mut steps = kernel::diff(&self.plan.kernel, &nothing);
                steps.sort_by_cached_key(|step| (step.op.wave(), step.op.lane()));
                let schedule = scheduled(now, State { kernel: &nothing, frr: &empty });
                assert!(schedule.kernel_ops().eq(&steps));
                schedule
            }),
            timed(|| {
                let schedule = scheduled(now, now);
                assert!(schedule.is_empty());
                schedule
            }),
            timed(|| {
                let schedule = scheduled(State { kernel: &self.other.0.kernel, frr: &self.other.1 }, now);
                assert_eq!(schedule.torn_down.len(), self.plan.frr.vrfs.len() + 1);
                schedule
            }),
        ]
    }
}

/// The time of `work` and of dropping its result.
fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    drop(black_box(work()));
    start.elapsed()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> ExitCode {
    let inputs = SIZES.map(Input::new);
    let mut times: Vec<[Vec<f64>; 2]> = vec![[vec![], vec![]]; STEPS.len() + 1];
    // The first round is a warm-up.
    for round in 0..=SAMPLES {
        for (size, input) in inputs.iter().enumerate() {
            let sample = input.sample().map(|time| time.as_secs_f64() * 1e3);
            if round == 0 {
                continue;
            }
            for (step, time) in sample.iter().copied().chain([sample.iter().sum()]).enumerate() {
                times[step][size].push(time);
            }
        }
    }
    println!("L3VNIs, ms: median of {SAMPLES} (min to max)");
    println!("{:<26} {:>26} {:>26}  ratio (min to max)", "step", SIZES[0], SIZES[1]);
    let mut total = 0.0;
    for (name, [small, large]) in STEPS.into_iter().chain(["all"]).zip(&mut times) {
        let mut ratios: Vec<f64> = small.iter().zip(&*large).map(|(small, large)| large / small).collect();
        total = median(&mut ratios);
        let cell = |values: &mut [f64]| {
            let middle = median(values);
            format!("{middle:.2} ({:.2} to {:.2})", values[0], values[values.len() - 1])
        };
        let (small, large) = (cell(small), cell(large));
        println!("{name:<26} {small:>26} {large:>26}  {total:.2} ({:.2} to {:.2})", ratios[0], ratios[SAMPLES - 1]);
    }
    if total > MAX_RATIO {
        println!("FAILED: the ratio of all is {total:.2}, and {MAX_RATIO} is allowed");
        return ExitCode::FAILURE;
    }
    println!("ok: the ratio of all is {total:.2}, and {MAX_RATIO} is allowed");
    ExitCode::SUCCESS
}
