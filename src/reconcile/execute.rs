//! Does what is scheduled. In: a schedule and the two ports. Out: what was done and what failed, by scope. A failure
//! belongs to its scope: the rest of that scope is left for the next pass, every other scope goes on.
//!
//! The order between kernel and FRR is what FRR demands (facts measured on 8.4.4): a VRF leaves FRR before its links go;
//! the default BGP instance with EVPN stands before the first VXLAN device (frr#22851); zebra has taken up an empty VRF
//! namespace before links are born in it; the VNI is configured when its links are there.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use thiserror::Error;

use super::schedule::Schedule;
use crate::frr::client::port::{Presence, Refusal, Routing, RoutingError};
use crate::frr::config::command::Intent;
use crate::frr::config::diff::{self as frr, Batch, ScopeChange, merge};
use crate::kernel::model::Netns;
use crate::kernel::{Kernel, KernelError, KernelOp, OpStage, Outcome, Step};
use crate::scope::Scope;
use crate::timing::{Phase, Stopwatch, Timing};
use crate::types::{IfName, VrfName};

/// Zebra takes a namespace up within 11 ms and lets go of it as fast; beyond this it has lost it.
const VRF_LIMIT: Duration = Duration::from_secs(5);

/// Why a part of a scope is not in place.
#[derive(Debug, Error)]
pub enum Failure {
    /// The kernel.
    #[error(transparent)]
    Kernel(KernelError),
    /// FRR, for every scope that was in the conversation.
    #[error(transparent)]
    Routing(Arc<RoutingError>),
    /// FRR did not take a line.
    #[error("{0}")]
    Refused(Refusal),
    /// Without the default instance a VXLAN device would crash bgpd (frr#22851).
    #[error("the default BGP instance is not in place")]
    NoDefaultInstance,
    /// FRR has the configuration but no L3VNI in service, after every try.
    #[error("FRR did not bring the L3VNI of VRF {0} up")]
    NotUp(VrfName),
}

/// What was done.
#[derive(Debug, Default)]
pub struct Executed {
    /// What failed.
    pub failures: BTreeMap<Scope, Vec<Failure>>,
    /// Kernel ops done.
    pub kernel_ops: usize,
    /// FRR lines taken.
    pub frr_lines: usize,
    /// Where the time went.
    pub timing: Timing,
    /// The default BGP instance is not as it should be.
    no_default_instance: bool,
}

impl Executed {
    fn fail(&mut self, scope: &Scope, failure: Failure) {
        // A NIC that is missing is a failure of the underlay too, but VRFs can be built without it.
        self.no_default_instance |= *scope == Scope::Underlay && !matches!(failure, Failure::Kernel(_));
        self.failures.entry(scope.clone()).or_default().push(failure);
    }

    /// Whether the rest of a scope is left for the next pass.
    fn blocked(&self, scope: &Scope) -> bool {
        if *scope == Scope::Underlay { self.no_default_instance } else { self.failures.contains_key(scope) }
    }
}

/// Policies that bgpd is told while other things go on: they need nothing else, and it takes its time over them.
#[derive(Default)]
pub struct Ahead {
    scopes: BTreeSet<Scope>,
    telling: FuturesUnordered<BoxFuture<'static, Answered>>,
    answers: Vec<Answered>,
}

type Answered = (Batch, Result<Vec<Refusal>, RoutingError>);

impl Ahead {
    /// Begins to tell more.
    pub fn begin(&mut self, routing: &mut impl Routing, batches: Vec<Batch>) {
        for batch in batches {
            self.scopes.extend(batch.commands.iter().map(|command| command.scope.clone()));
            self.telling.push(routing.begin(batch.clone()).map(|answer| (batch, answer)).boxed());
        }
    }

    /// Goes on while something else is done.
    pub async fn during<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                done = &mut other => return done,
                Some(answer) = self.telling.next() => self.answers.push(answer),
            }
        }
    }

    /// Whether it has all of a batch.
    fn has(&self, batch: &Batch) -> bool {
        batch.commands.iter().all(|command| self.scopes.contains(&command.scope))
    }

    /// Waits for the rest and takes note of it all.
    async fn end(mut self, done: &mut Executed) {
        while let Some(answer) = self.telling.next().await {
            self.answers.push(answer);
        }
        for (batch, answer) in self.answers {
            settle(done, &batch, answer);
        }
    }
}

/// Does it all. `ahead` has been begun already.
pub async fn execute(schedule: &Schedule, ahead: Ahead, kernel: &impl Kernel, routing: &mut impl Routing) -> Executed {
    let mut watch = Stopwatch::start();
    let mut done = Executed::default();
    run(schedule, ahead, kernel, routing, &mut done, &mut watch).await;
    done.timing = watch.timing();
    done
}

async fn run(
    schedule: &Schedule,
    mut ahead: Ahead,
    kernel: &impl Kernel,
    routing: &mut impl Routing,
    done: &mut Executed,
    watch: &mut Stopwatch,
) {
    let before = schedule.teardowns.iter().flat_map(|(_, teardown)| teardown.before.iter().cloned());
    send(done, routing, &merge(before)).await;
    watch.mark(Phase::Routing);
    apply(done, kernel, &schedule.release, |_| true).await;
    watch.mark(Phase::Kernel);
    for (scope, _) in schedule.teardowns.iter().filter(|(_, teardown)| !teardown.after.is_empty()) {
        await_vrf(done, routing, scope, Presence::Gone).await;
    }
    watch.mark(Phase::Await);
    let after = schedule.teardowns.iter().flat_map(|(_, teardown)| teardown.after.iter().cloned());
    send(done, routing, &merge(after)).await;
    watch.mark(Phase::Routing);
    let of_vrfs = schedule.frr.scopes.iter().filter(|(scope, _)| **scope != Scope::Underlay);
    let of_vrfs = of_vrfs.flat_map(|(_, change)| change.batches()).cloned();
    let (policies, others): (Vec<Batch>, Vec<Batch>) = of_vrfs.partition(|batch| batch.stage == frr::Stage::Policies);
    let (first, last): (Vec<Batch>, Vec<Batch>) =
        others.into_iter().partition(|batch| batch.stage < frr::Stage::Policies);
    let underlay = schedule.frr.scopes.get(&Scope::Underlay).map(ScopeChange::batches).unwrap_or_default();
    let (underlay, leftovers): (Vec<Batch>, Vec<Batch>) =
        underlay.iter().cloned().partition(|batch| batch.stage < frr::Stage::Leftovers);
    let left = policies.into_iter().filter(|batch| !ahead.has(batch));
    let left = merge(left.map(|batch| without_blocked(done, &batch)));
    ahead.begin(routing, left);
    let first = merge(first);
    let stands = ahead.during(make_ground(schedule, kernel, routing, done, watch, (&underlay, &first))).await;
    ahead.end(done).await;
    if stands {
        // What the underlay had for IP-VRFs goes when they use it no more.
        send(done, routing, &merge(last.into_iter().chain(leftovers))).await;
    }
    watch.mark(Phase::Routing);
}

/// All that the BGP instances of IP-VRFs stand on. Tells whether the default instance does.
async fn make_ground(
    schedule: &Schedule,
    kernel: &impl Kernel,
    routing: &mut impl Routing,
    done: &mut Executed,
    watch: &mut Stopwatch,
    (underlay, first): (&[Batch], &[Batch]),
) -> bool {
    apply(done, kernel, &schedule.build, |op| op.stage() < OpStage::Build).await;
    watch.mark(Phase::Kernel);
    send(done, routing, underlay).await;
    watch.mark(Phase::Routing);
    if done.no_default_instance {
        for vrf in schedule.touched() {
            done.fail(&Scope::Vrf(vrf), Failure::NoDefaultInstance);
        }
        return false;
    }
    make_links(schedule, kernel, routing, done, watch, first).await;
    true
}

/// The links of IP-VRFs, and what FRR is told of them before the BGP instances.
async fn make_links(
    schedule: &Schedule,
    kernel: &impl Kernel,
    routing: &mut impl Routing,
    done: &mut Executed,
    watch: &mut Stopwatch,
    first: &[Batch],
) {
    for vrf in schedule.build.iter().filter_map(|step| made_netns(&step.op)) {
        await_vrf(done, routing, &Scope::Vrf(vrf.clone()), Presence::Active).await;
    }
    watch.mark(Phase::Await);
    apply(done, kernel, &schedule.build, |op| op.stage() == OpStage::Build).await;
    watch.mark(Phase::Kernel);
    for (vrf, links) in addressed(schedule) {
        await_links(done, routing, &vrf, &links).await;
    }
    watch.mark(Phase::Await);
    apply(done, kernel, &schedule.build, |op| op.stage() == OpStage::Address).await;
    watch.mark(Phase::Kernel);
    send(done, routing, first).await;
    watch.mark(Phase::Routing);
}

fn made_netns(op: &KernelOp) -> Option<&VrfName> {
    if let KernelOp::CreateNetns(vrf) = op { Some(vrf) } else { None }
}

/// The links of IP-VRFs that get an address.
fn addressed(schedule: &Schedule) -> BTreeMap<VrfName, BTreeSet<IfName>> {
    let mut links: BTreeMap<VrfName, BTreeSet<IfName>> = BTreeMap::new();
    for Step { scope, op } in schedule.build.iter().filter(|step| step.op.stage() == OpStage::Address) {
        // Zebra does not look into the host's namespace.
        if let (Some(key), Scope::Vrf(vrf)) = (op.link().filter(|key| key.netns != Netns::Host), scope) {
            links.entry(vrf.clone()).or_default().insert(key.name.if_name());
        }
    }
    links
}

fn without_blocked(done: &Executed, batch: &Batch) -> Batch {
    let mut batch = batch.clone();
    batch.commands.retain(|command| !done.blocked(&command.scope));
    batch
}

/// Sends batches, without the commands of scopes that failed.
async fn send(done: &mut Executed, routing: &mut impl Routing, batches: &[Batch]) {
    for batch in batches {
        let batch = without_blocked(done, batch);
        if batch.commands.is_empty() {
            continue;
        }
        let answer = routing.apply(&batch).await;
        settle(done, &batch, answer);
    }
}

/// Takes note of what FRR said to a batch.
fn settle(done: &mut Executed, batch: &Batch, answer: Result<Vec<Refusal>, RoutingError>) {
    match answer {
        Ok(refused) => note(done, batch, refused),
        Err(error) => {
            let scopes: BTreeSet<Scope> = batch.commands.iter().map(|command| command.scope.clone()).collect();
            let error = Arc::new(error);
            for scope in scopes {
                done.fail(&scope, Failure::Routing(Arc::clone(&error)));
            }
        }
    }
}

fn note(done: &mut Executed, batch: &Batch, refused: Vec<Refusal>) {
    // Refusals come in the order of the commands.
    let mut left = refused.iter().peekable();
    for command in &batch.commands {
        let is_refused = left.next_if(|refusal| refusal.command == *command).is_some();
        if command.intent == Intent::Set && !is_refused {
            tracing::info!(scope = %command.scope, daemon = %batch.daemon, line = %command.line, "frr");
            done.frr_lines += 1;
        }
    }
    for refusal in refused {
        done.fail(&refusal.command.scope.clone(), Failure::Refused(refusal));
    }
}

async fn await_vrf(done: &mut Executed, routing: &mut impl Routing, scope: &Scope, wanted: Presence) {
    let Scope::Vrf(vrf) = scope else { return };
    if done.blocked(scope) {
        return;
    }
    if let Err(error) = routing.wait_vrf(vrf, wanted, VRF_LIMIT).await {
        done.fail(scope, Failure::Routing(Arc::new(error)));
    }
}

async fn await_links(done: &mut Executed, routing: &mut impl Routing, vrf: &VrfName, links: &BTreeSet<IfName>) {
    let scope = Scope::Vrf(vrf.clone());
    if done.blocked(&scope) {
        return;
    }
    if let Err(error) = routing.wait_links(vrf, links, VRF_LIMIT).await {
        done.fail(&scope, Failure::Routing(Arc::new(error)));
    }
}

async fn apply(done: &mut Executed, kernel: &impl Kernel, steps: &[Step], part: impl Fn(&KernelOp) -> bool) {
    let wanted = |Step { scope, op }: &&Step| part(op) && (*scope == Scope::Underlay || !done.blocked(scope));
    let steps: Vec<Step> = steps.iter().filter(wanted).cloned().collect();
    if steps.is_empty() {
        return;
    }
    for (Step { scope, op }, outcome) in steps.iter().zip(kernel.apply_all(&steps).await) {
        match outcome {
            Outcome::Done => {
                tracing::info!(%scope, %op, "kernel");
                done.kernel_ops += 1;
            }
            Outcome::Failed(error) => done.fail(scope, Failure::Kernel(error)),
            Outcome::Skipped => {}
        }
    }
}
