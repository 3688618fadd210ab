//! The changes of a schedule by object. In: a plan, its schedule, and the sessions that are there. Out: for each object, or what an
//! object left behind, the kernel operations, the lines for FRR and the sessions that drop, with passwords masked.

use std::fmt;

use serde::Serialize;

use crate::diagnose::check::counted;
use crate::frr::config::command::Intent;
use crate::frr::show::session::SessionState;
use crate::plan::Plan;
use crate::reconcile::schedule::{Schedule, ScheduleStep};
use crate::reconcile::session_drops::session_drops;
use crate::scope::Scope;
use crate::snapshot::Kind;
use crate::status::model::{ObjectState, Resource};

/// What changes of an object.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// The object; of one that is not known any more what it made, such as `VRF red`.
    object: String,
    /// The object is removed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    /// All of it is removed first.
    torn_down: bool,
    kernel_ops: usize,
    frr_lines: usize,
    /// Sessions that are reset, each with what does it.
    session_drops: Vec<String>,
    /// By where they are done: the kernel, or a daemon.
    #[serde(skip)]
    parts: Vec<(String, Vec<String>)>,
}

/// The changes, the underlay first. `known`: the objects of the last status, which has those that are removed.
pub fn changes(plan: &Plan, schedule: &Schedule, sessions: &[SessionState], known: &[Resource]) -> Vec<ObjectChange> {
    let drops = session_drops(schedule, sessions);
    let change = |scope: &Scope| {
        let mut parts: Vec<(String, Vec<String>)> = Vec::new();
        for (place, lines) in schedule.steps.iter().filter_map(|step| part(step, scope)) {
            match parts.last_mut().filter(|(last, _)| *last == place) {
                Some((_, before)) => before.extend(lines),
                None => parts.push((place, lines)),
            }
        }
        let drop = drops.iter().filter(|(_, (of, _))| of == scope).map(|((vrf, peer), (_, why))| {
            let vrf = vrf.as_ref().map(|vrf| format!(" (VRF {vrf})")).unwrap_or_default();
            format!("{peer}{vrf}: {why}")
        });
        let batches = schedule.steps.iter().filter_map(ScheduleStep::batch).flat_map(|batch| &batch.commands);
        ObjectChange {
            object: plan.owner(scope).map_or_else(|| removed(scope, known), ToString::to_string),
            removed: plan.owner(scope).is_none(),
            torn_down: schedule.torn_down.contains(scope),
            kernel_ops: schedule.kernel_ops().filter(|step| step.scope == *scope).count(),
            frr_lines: batches.filter(|line| line.scope == *scope && line.intent == Intent::Set).count(),
            session_drops: drop.collect(),
            parts,
        }
    };
    schedule.scopes().into_iter().map(change).collect()
}

/// The object that a scope had; of an object that is not known what it made.
fn removed(scope: &Scope, known: &[Resource]) -> String {
    let had_scope = |resource: &&Resource| match scope {
        Scope::Underlay => resource.kind == Kind::Underlay,
        Scope::Vrf(vrf) => resource.kind == Kind::L3VNI && resource.vrf.as_ref() == Some(vrf),
        Scope::Segment(vni) => resource.kind == Kind::L2VNI && resource.vni == Some(*vni),
        Scope::Passthrough | Scope::Raw(_) => false,
    };
    let what = match scope {
        Scope::Underlay => "Underlay".to_owned(),
        Scope::Vrf(vrf) => format!("VRF {vrf}"),
        Scope::Segment(vni) => format!("segment {vni}"),
        Scope::Passthrough | Scope::Raw(_) => scope.to_string(),
    };
    let mut found = known.iter().filter(|resource| resource.state != ObjectState::Rejected).filter(had_scope);
    match (found.next(), found.next()) {
        (Some(only), None) => only.object().to_string(),
        _ => what,
    }
}

/// What a step does of a scope, and where.
fn part(step: &ScheduleStep, scope: &Scope) -> Option<(String, Vec<String>)> {
    let (place, lines): (String, Vec<String>) = match step {
        ScheduleStep::Kernel(ops) => {
            let ops = ops.iter().filter(|op| op.scope == *scope);
            ("kernel".to_owned(), ops.map(ToString::to_string).collect())
        }
        ScheduleStep::Frr(batch) | ScheduleStep::BeginPolicies(batch) => {
            let lines = batch.commands.iter().filter(|command| command.scope == *scope);
            (batch.daemon.to_string(), lines.map(ToString::to_string).collect())
        }
        _ => return None,
    };
    (!lines.is_empty()).then_some((place, lines))
}

impl fmt::Display for ObjectChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let torn_down = if self.torn_down { ", torn down first" } else { "" };
        let Self { object, kernel_ops, frr_lines, .. } = self;
        let (ops, lines) = (counted(*kernel_ops, "kernel operation"), counted(*frr_lines, "FRR line"));
        let removed = if self.removed { " (removed)" } else { "" };
        writeln!(f, "{object}{removed}: {ops}, {lines}{torn_down}")?;
        self.session_drops.iter().try_for_each(|drop| writeln!(f, "  session drops: {drop}"))?;
        for (place, lines) in &self.parts {
            writeln!(f, "  {place}")?;
            lines.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::frr::release::FRR_10_7;
    use crate::reconcile::Preview;
    use crate::types::VrfMode;

    #[test]
    fn what_is_removed_has_the_name_of_its_object() {
        let known = |name: &str, vrf: Option<&str>| Resource {
            kind: if vrf.is_some() { Kind::L3VNI } else { Kind::Underlay },
            namespace: "ns".into(),
            name: name.into(),
            vrf: vrf.map(|vrf| vrf.parse().unwrap()),
            vni: None,
            generation: None,
            state: ObjectState::Ready,
            reason: String::new(),
            message: String::new(),
            location: None,
            last_accepted_in_force: false,
        };
        let known = [known("u", None), known("sky", Some("blue"))];
        let scopes = [Scope::Vrf("blue".parse().unwrap()), Scope::Vrf("red".parse().unwrap()), Scope::Underlay];
        let shown = scopes.map(|scope| removed(&scope, &known));
        assert_eq!(shown, ["L3VNI ns/sky", "VRF red", "Underlay ns/u"]);
        assert_eq!(removed(&Scope::Underlay, &[]), "Underlay");
        assert_eq!([counted(1, "FRR line"), counted(0, "FRR line")], ["1 FRR line", "0 FRR lines"]);
    }

    #[test]
    fn each_object_has_what_is_done_for_it() {
        let snapshot =
            Arc::new(crate::plan::tests::snapshot(vec![crate::plan::tests::l3vni("red", 100, "192.169.10.0/24")]));
        let Preview { plan, schedule } = Preview::without_router(&snapshot, VrfMode::Netns, FRR_10_7, None).unwrap();
        let found = changes(&plan, &schedule, &[], &[]);
        let objects: Vec<&str> = found.iter().map(|change| change.object.as_str()).collect();
        let expected: Vec<String> = schedule.scopes().into_iter().map(|s| plan.owner(s).unwrap().to_string()).collect();
        assert_eq!(objects, expected);
        assert!(objects[0].starts_with("Underlay ") && objects.len() > 1, "{objects:?}");
        let (ops, lines) = found.iter().fold((0, 0), |(ops, lines), c| (ops + c.kernel_ops, lines + c.frr_lines));
        assert_eq!((ops, lines), (schedule.kernel_ops().count(), schedule.frr_lines()));
        // Nothing is left out or repeated.
        let shown: usize = found.iter().flat_map(|change| &change.parts).map(|(_, lines)| lines.len()).sum();
        let commands = schedule.steps.iter().filter_map(ScheduleStep::batch).map(|batch| batch.commands.len());
        assert_eq!(shown, ops + commands.sum::<usize>());
    }
}
