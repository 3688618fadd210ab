//! Does what is scheduled. In: a schedule and the two ports. Out: what was done and what failed, by scope. A failure
//! belongs to its scope: the rest of that scope is left for the next pass, every other scope goes on.
//!
//! The order between kernel and FRR is what FRR demands (facts measured on 8.4.4): a VRF leaves FRR before its links go;
//! the default BGP instance with EVPN stands before the first VXLAN device (frr#22851); zebra has taken up an empty VRF
//! namespace before links are born in it; the VNI is configured when its links are there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thiserror::Error;

use super::schedule::Schedule;
use crate::frr::diff::Batch;
use crate::frr::model::Scope;
use crate::frr::{Routing, RoutingError};
use crate::kernel::{Kernel, KernelError, KernelOp, Outcome, Stage};
use crate::types::VrfName;

/// Zebra takes up a namespace within 11 ms; beyond this it has lost it.
const VRF_ACTIVE_LIMIT: Duration = Duration::from_secs(5);

/// Why a part of a scope is not in place.
#[derive(Debug, Error)]
pub enum Failure {
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// FRR.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// Zebra did not take up the namespace of an IP-VRF.
    #[error("zebra did not take up the network namespace of VRF {0} within {} s", VRF_ACTIVE_LIMIT.as_secs())]
    NotActive(VrfName),
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
}

impl Executed {
    fn fail(&mut self, scope: &Scope, failure: impl Into<Failure>) {
        self.failures.entry(scope.clone()).or_default().push(failure.into());
    }

    fn failed(&self, scope: &Scope) -> bool {
        self.failures.contains_key(scope)
    }
}

/// Does it all.
pub async fn execute(schedule: &Schedule, kernel: &impl Kernel, routing: &impl Routing) -> Executed {
    let mut done = Executed::default();
    for (scope, teardown) in &schedule.teardowns {
        send(&mut done, routing, scope, &teardown.before).await;
    }
    apply(&mut done, kernel, schedule, &schedule.release, |_| true).await;
    for (scope, teardown) in &schedule.teardowns {
        send(&mut done, routing, scope, &teardown.after).await;
    }
    apply(&mut done, kernel, schedule, &schedule.build, |op| op.stage() != Stage::Build).await;
    if let Some(change) = schedule.frr.scopes.get(&Scope::Underlay) {
        send(&mut done, routing, &Scope::Underlay, change.batches()).await;
    }
    await_vrfs(&mut done, routing, &schedule.build).await;
    apply(&mut done, kernel, schedule, &schedule.build, |op| op.stage() == Stage::Build).await;
    for (scope, change) in schedule.frr.scopes.iter().filter(|(scope, _)| **scope != Scope::Underlay) {
        send(&mut done, routing, scope, change.batches()).await;
    }
    done
}

async fn send(done: &mut Executed, routing: &impl Routing, scope: &Scope, batches: &[Batch]) {
    for batch in batches {
        if done.failed(scope) {
            return;
        }
        match routing.apply(batch).await {
            Ok(lines) => {
                for command in &batch.commands {
                    tracing::info!(scope = %scope, daemon = %batch.daemon, line = %command, "frr");
                }
                done.frr_lines += lines;
            }
            Err(error) => done.fail(scope, error),
        }
    }
}

async fn apply(
    done: &mut Executed,
    kernel: &impl Kernel,
    schedule: &Schedule,
    ops: &[KernelOp],
    part: impl Fn(&KernelOp) -> bool,
) {
    let wanted = |op: &&KernelOp| {
        let scope = schedule.scope(op);
        part(op) && (scope == Scope::Underlay || !done.failed(&scope))
    };
    let ops: Vec<KernelOp> = ops.iter().filter(wanted).cloned().collect();
    if ops.is_empty() {
        return;
    }
    for (op, outcome) in ops.iter().zip(kernel.apply_all(&ops).await) {
        match outcome {
            Outcome::Done => {
                tracing::info!(scope = %schedule.scope(op), op = %op, "kernel");
                done.kernel_ops += 1;
            }
            Outcome::Failed(error) => done.fail(&schedule.scope(op), error),
            Outcome::Skipped => {}
        }
    }
}

async fn await_vrfs(done: &mut Executed, routing: &impl Routing, ops: &[KernelOp]) {
    let made = ops.iter().filter_map(|op| if let KernelOp::CreateNetns(vrf) = op { Some(vrf.clone()) } else { None });
    let made: BTreeSet<VrfName> = made.filter(|vrf| !done.failed(&Scope::Vrf(vrf.clone()))).collect();
    if made.is_empty() {
        return;
    }
    match routing.await_active(&made, VRF_ACTIVE_LIMIT).await {
        Ok(missing) => {
            for vrf in missing {
                done.fail(&Scope::Vrf(vrf.clone()), Failure::NotActive(vrf));
            }
        }
        Err(error) => done.fail(&Scope::Underlay, error),
    }
}
