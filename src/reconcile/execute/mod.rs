//! Walks a [`Schedule`]. In: its steps and the two ports. Out: what was done and what failed, by scope. A failure belongs
//! to its scope: the rest of that scope is left for the next pass, all other scopes continue. Decides neither what is done
//! nor in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::early_policies::EarlyPolicies;
use super::schedule::{Schedule, ScheduleStep};
use crate::frr::client::port::{RejectedCommand, Routing, RoutingError};
use crate::frr::client::vty::VtyError;
use crate::frr::config::batch::CommandBatch;
use crate::frr::config::command::Intent;
use crate::frr::show::vni::VniFault;
use crate::frr::show::vrf_binding::Unbound;
use crate::kernel::{Kernel, KernelError, KernelOp, Outcome, Step as KernelStep};
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::timing::{PassPhase, Stopwatch, Timing};
use crate::types::{Vni, VrfName};

/// zebra takes a namespace up within 11 ms and lets go of it as fast; beyond this it has lost it.
const VRF_LIMIT: Duration = Duration::from_secs(5);

/// bgpd has another router MAC within milliseconds.
const ROUTER_MAC_LIMIT: Duration = Duration::from_secs(3);

/// Why a part of a scope is not in place.
#[derive(Debug, Error)]
pub enum Failure {
    /// The kernel.
    #[error(transparent)]
    Kernel(KernelError),
    /// FRR, for every scope that was in the conversation.
    #[error(transparent)]
    Routing(Arc<RoutingError>),
    /// A daemon does not answer; the others are configured.
    #[error("{daemon} does not answer")]
    Silent {
        /// The daemon.
        daemon: Daemon,
        /// Why not.
        source: Arc<VtyError>,
    },
    /// FRR rejected a line.
    #[error("{0}")]
    Rejected(RejectedCommand),
    /// Without the default instance a VXLAN device would crash bgpd (frr#22851).
    #[error("the default BGP instance is not in place")]
    NoDefaultInstance,
    /// FRR has the configuration but no L3VNI in service, after every attempt.
    #[error("FRR did not bring the L3VNI of VRF {0} up")]
    NotUp(VrfName),
    /// FRR does not have the L2VNI in service, although all is in place.
    #[error("VNI {vni}")]
    SegmentNotUp {
        /// The VNI.
        vni: Vni,
        /// Why not.
        source: VniFault,
    },
    /// bgpd has a VRF that is gone: no rebuild of the IP-VRF helps, and who supervises bgpd restarts it.
    #[error("the BGP instance of VRF {vrf} is not bound to it")]
    Unbound {
        /// The VRF.
        vrf: VrfName,
        /// Why not.
        source: Unbound,
    },
}

impl Failure {
    /// Whether the rest of the scope does not depend on what failed.
    fn is_separate(&self) -> bool {
        matches!(self, Self::Kernel(KernelError::Op { op, .. }) if op.is_separate())
    }
}

/// What was done.
#[derive(Debug, Default)]
pub struct Executed {
    /// What failed.
    pub failures: BTreeMap<Scope, Vec<Failure>>,
    /// Kernel operations done.
    pub kernel_ops: usize,
    /// FRR lines accepted.
    pub frr_lines: usize,
    /// Where the time went.
    pub timing: Timing,
    /// The default BGP instance is not as it should be.
    no_default_instance: bool,
    /// The rest of these is left for the next pass.
    blocked: BTreeSet<Scope>,
}

impl Executed {
    /// Adds what another round did; the failures are those of the last round.
    pub(super) fn add(&mut self, round: Self) {
        self.kernel_ops += round.kernel_ops;
        self.frr_lines += round.frr_lines;
        self.timing.extend(&round.timing);
        self.failures = round.failures;
    }

    /// IP-VRFs that FRR did not bring up.
    pub(super) fn fail_not_up(&mut self, vrfs: BTreeSet<VrfName>) {
        for vrf in vrfs {
            self.fail(&Scope::Vrf(vrf.clone()), Failure::NotUp(vrf));
        }
    }

    /// L2VNIs that are not in service.
    pub(super) fn fail_segments(&mut self, faults: BTreeMap<Vni, VniFault>) {
        for (vni, source) in faults {
            self.fail(&Scope::Segment(vni), Failure::SegmentNotUp { vni, source });
        }
    }

    /// L2VNIs that cannot be read.
    pub(super) fn fail_unread(&mut self, vnis: &BTreeSet<Vni>, error: RoutingError) {
        let error = Arc::new(error);
        for vni in vnis {
            self.fail(&Scope::Segment(*vni), Failure::Routing(Arc::clone(&error)));
        }
    }

    /// IP-VRFs that are not up, with why bgpd has a VRF that is gone where it does. Returns those that a rebuild may help.
    pub(super) fn fail_unbound(&mut self, vrfs: BTreeMap<VrfName, Option<Unbound>>) -> BTreeSet<VrfName> {
        let mut others = BTreeSet::new();
        for (vrf, unbound) in vrfs {
            match unbound {
                Some(source) => self.fail(&Scope::Vrf(vrf.clone()), Failure::Unbound { vrf, source }),
                None => drop(others.insert(vrf)),
            }
        }
        others
    }

    /// A part of these scopes is unknown.
    pub(super) fn fail_silent(&mut self, scopes: &BTreeSet<Scope>, daemon: Daemon, source: &Arc<VtyError>) {
        for scope in scopes {
            let mut known = self.failures.get(scope).into_iter().flatten();
            if !known.any(|failure| matches!(failure, Failure::Silent { daemon: of, .. } if *of == daemon)) {
                self.fail(scope, Failure::Silent { daemon, source: Arc::clone(source) });
            }
        }
    }

    fn fail(&mut self, scope: &Scope, failure: Failure) {
        // A NIC that is missing is a failure of the underlay too, but VRFs can be built without it.
        self.no_default_instance |= *scope == Scope::Underlay && !matches!(failure, Failure::Kernel(_));
        if !failure.is_separate() {
            self.blocked.insert(scope.clone());
        }
        self.failures.entry(scope.clone()).or_default().push(failure);
    }

    /// Whether the rest of a scope is left for the next pass.
    fn is_blocked(&self, scope: &Scope) -> bool {
        if *scope == Scope::Underlay { self.no_default_instance } else { self.blocked.contains(scope) }
    }

    /// The batch without the commands of scopes that failed.
    fn without_blocked(&self, batch: &CommandBatch) -> CommandBatch {
        let mut batch = batch.clone();
        batch.commands.retain(|command| !self.is_blocked(&command.scope));
        batch
    }

    /// Takes note of the answer to a batch.
    fn settle(&mut self, batch: &CommandBatch, answer: Result<Vec<RejectedCommand>, RoutingError>) {
        match answer {
            Ok(rejected) => self.note(batch, rejected),
            Err(error) => {
                let scopes: BTreeSet<&Scope> = batch.commands.iter().map(|command| &command.scope).collect();
                let error = Arc::new(error);
                for scope in scopes {
                    self.fail(scope, Failure::Routing(Arc::clone(&error)));
                }
            }
        }
    }

    fn note(&mut self, batch: &CommandBatch, rejected: Vec<RejectedCommand>) {
        // Rejections come in the order of the commands.
        let mut left = rejected.iter().peekable();
        for command in &batch.commands {
            let is_rejected = left.next_if(|rejected| rejected.command == *command).is_some();
            if command.intent == Intent::Set && !is_rejected {
                tracing::debug!(scope = %command.scope, daemon = %batch.daemon, line = %command.line, "frr");
                self.frr_lines += 1;
            }
        }
        for command in rejected {
            self.fail(&command.command.scope.clone(), Failure::Rejected(command));
        }
    }
}

/// Walks one schedule.
pub(super) struct Executor<'a, K, R> {
    kernel: &'a K,
    routing: &'a mut R,
    schedule: &'a Schedule,
    done: Executed,
}

impl<'a, K: Kernel, R: Routing> Executor<'a, K, R> {
    /// For a schedule, over the two ports. `done`: what failed already.
    pub(super) fn new(kernel: &'a K, routing: &'a mut R, schedule: &'a Schedule, done: Executed) -> Self {
        Self { kernel, routing, schedule, done }
    }

    /// Takes the steps in their order. `policies` may have been begun already.
    pub(super) async fn run(mut self, mut policies: EarlyPolicies) -> Executed {
        let mut watch = Stopwatch::start();
        for step in &self.schedule.steps {
            match step {
                ScheduleStep::BeginPolicies(batch) => self.begin(&mut policies, batch),
                ScheduleStep::AwaitPolicies => self.join(&mut policies).await,
                step => policies.during(self.take(step)).await,
            }
            watch.mark(phase(step));
            if *step == ScheduleStep::RequireDefaultInstance && self.done.no_default_instance {
                self.fail_others();
                break;
            }
        }
        self.join(&mut policies).await;
        watch.mark(PassPhase::Routing);
        self.done.timing = watch.timing();
        self.done
    }

    async fn take(&mut self, step: &ScheduleStep) {
        match step {
            ScheduleStep::Kernel(ops) => self.apply(ops).await,
            ScheduleStep::Frr(batch) => self.send(batch).await,
            ScheduleStep::AwaitVrf { vrf, presence } => {
                let scope = Scope::Vrf(vrf.clone());
                if !self.done.is_blocked(&scope) {
                    let waited = self.routing.wait_vrf(vrf, *presence, VRF_LIMIT).await;
                    self.note_wait(&scope, waited);
                }
            }
            ScheduleStep::AwaitLinks { scope, vrf, links } => {
                if !self.done.is_blocked(scope) {
                    let waited = self.routing.wait_links(vrf, links, VRF_LIMIT).await;
                    self.note_wait(scope, waited);
                }
            }
            ScheduleStep::AwaitRouterMacs(macs) => {
                // What is not there at last is found by the end of the pass.
                if let Err(error) = self.routing.wait_router_macs(macs, ROUTER_MAC_LIMIT).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "router MACs are not verified");
                }
            }
            // Of `run`.
            ScheduleStep::BeginPolicies(_) | ScheduleStep::AwaitPolicies | ScheduleStep::RequireDefaultInstance => {}
        }
    }

    fn begin(&mut self, policies: &mut EarlyPolicies, batch: &CommandBatch) {
        let left = self.done.without_blocked(batch);
        if !policies.has(batch) && !left.commands.is_empty() {
            policies.begin(self.routing, left);
        }
    }

    async fn join(&mut self, policies: &mut EarlyPolicies) {
        for (batch, answer) in policies.join().await {
            self.done.settle(&batch, answer);
        }
    }

    async fn send(&mut self, batch: &CommandBatch) {
        let batch = self.done.without_blocked(batch);
        if !batch.commands.is_empty() {
            let answer = self.routing.apply(&batch).await;
            self.done.settle(&batch, answer);
        }
    }

    /// A segment that is built in an IP-VRF is left for the next pass with it. Segments that are there are changed all the same.
    fn block_segments(&mut self, steps: &[KernelStep]) {
        let is_in_blocked = |KernelStep { scope, op }: &&KernelStep| {
            let builds = matches!(op, KernelOp::CreateLink(_) | KernelOp::SetMaster { master: Some(_), .. });
            let vrf = Some(op).filter(|_| builds && matches!(scope, Scope::Segment(_))).and_then(KernelOp::vrf);
            vrf.is_some_and(|vrf| self.done.is_blocked(&Scope::Vrf(vrf.clone())))
        };
        let blocked: Vec<Scope> = steps.iter().filter(is_in_blocked).map(|step| step.scope.clone()).collect();
        self.done.blocked.extend(blocked);
    }

    async fn apply(&mut self, steps: &[KernelStep]) {
        self.block_segments(steps);
        let is_left = |step: &&KernelStep| step.scope == Scope::Underlay || !self.done.is_blocked(&step.scope);
        let left: Vec<KernelStep> = steps.iter().filter(is_left).cloned().collect();
        if left.is_empty() {
            return;
        }
        for (KernelStep { scope, op }, outcome) in left.iter().zip(self.kernel.apply_all(&left).await) {
            match outcome {
                Outcome::Done => {
                    if op.is_of_nic() {
                        tracing::info!(%scope, %op, "kernel");
                    } else {
                        tracing::debug!(%scope, %op, "kernel");
                    }
                    self.done.kernel_ops += 1;
                }
                Outcome::Failed(error) => self.done.fail(scope, Failure::Kernel(error)),
                Outcome::Skipped => {}
            }
        }
    }

    fn note_wait(&mut self, scope: &Scope, waited: Result<(), RoutingError>) {
        if let Err(error) = waited {
            self.done.fail(scope, Failure::Routing(Arc::new(error)));
        }
    }

    /// All else depends on the default instance.
    fn fail_others(&mut self) {
        for scope in self.schedule.scopes().into_iter().filter(|scope| **scope != Scope::Underlay) {
            self.done.fail(scope, Failure::NoDefaultInstance);
        }
    }
}

/// To which phase the time of a step counts.
fn phase(step: &ScheduleStep) -> PassPhase {
    match step {
        ScheduleStep::Kernel(_) => PassPhase::Kernel,
        ScheduleStep::AwaitVrf { .. } | ScheduleStep::AwaitLinks { .. } | ScheduleStep::AwaitRouterMacs(_) => {
            PassPhase::Await
        }
        ScheduleStep::Frr(_)
        | ScheduleStep::BeginPolicies(_)
        | ScheduleStep::AwaitPolicies
        | ScheduleStep::RequireDefaultInstance => PassPhase::Routing,
    }
}

#[cfg(test)]
mod tests;
