//! Which sessions a schedule resets. In: the schedule, and the sessions that are there. Out: those that go down for a moment. Pure.

use std::collections::BTreeMap;

use super::schedule::Schedule;
use crate::frr::config::command::VtyCommand;
use crate::frr::show::session::{SessionKey, SessionPhase, SessionState};
use crate::frr::stanza::rules;
use crate::scope::Scope;
use crate::types::VrfName;

/// What a command resets: the sessions of an instance, or one of them.
struct Reset<'a> {
    vrf: Option<VrfName>,
    peer: Option<&'a str>,
}

/// The established sessions that a schedule resets, each with the scope that does, and the line (without its password) or that
/// the scope is rebuilt.
pub fn session_drops(schedule: &Schedule, sessions: &[SessionState]) -> BTreeMap<SessionKey, (Scope, String)> {
    let established: Vec<&SessionState> =
        sessions.iter().filter(|session| session.phase == SessionPhase::Established).collect();
    let mut found: BTreeMap<SessionKey, (Scope, String)> = BTreeMap::new();
    for scope in &schedule.torn_down {
        for session in established.iter().filter(|session| in_scope(session, scope)) {
            found.entry(session.key()).or_insert_with(|| (scope.clone(), format!("{scope} is torn down")));
        }
    }
    for command in schedule.steps.iter().filter_map(|step| step.batch()).flat_map(|batch| &batch.commands) {
        let Some(Reset { vrf, peer }) = reset(command) else { continue };
        let of_reset = |session: &&&SessionState| session.vrf == vrf && peer.is_none_or(|peer| session.peer == peer);
        for session in established.iter().filter(of_reset) {
            found.entry(session.key()).or_insert_with(|| (command.scope.clone(), command.line.to_string()));
        }
    }
    found
}

/// Only IP-VRFs and the underlay have sessions of their own that can be torn down.
fn in_scope(session: &SessionState, scope: &Scope) -> bool {
    match scope {
        Scope::Underlay => session.vrf.is_none(),
        Scope::Vrf(vrf) => session.vrf.as_ref() == Some(vrf),
        Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => false,
    }
}

fn reset(command: &VtyCommand) -> Option<Reset<'_>> {
    let line = command.line.send();
    let of_instance = |words: &str| {
        let mut words = words.split(' ').skip_while(|word| *word != "vrf").skip(1);
        words.next().and_then(|vrf| vrf.parse().ok())
    };
    if line.starts_with("clear bgp ") || line.starts_with("no router bgp ") {
        return Some(Reset { vrf: of_instance(line), peer: None });
    }
    let instance = command.context.first()?.after("router bgp")?;
    let mut words = line.strip_prefix("no ").unwrap_or(line).split(' ');
    let peer = (words.next() == Some("neighbor")).then(|| words.next()).flatten();
    rules::resets_sessions(line).then(|| Reset { vrf: of_instance(instance), peer })
}

#[cfg(test)]
mod tests {
    use super::super::schedule::ScheduleStep;
    use super::*;
    use crate::frr::config::batch::{BatchStage, CommandBatch, CommandMode};
    use crate::frr::config::command::Intent;
    use crate::frr::config::line::Line;
    use crate::runtime::Daemon;
    use rstest::rstest;

    fn session(vrf: Option<&str>, peer: &str, phase: &str) -> SessionState {
        SessionState {
            vrf: vrf.map(|vrf| vrf.parse().unwrap()),
            peer: peer.into(),
            remote_as: None,
            phase: phase.to_owned().into(),
            since: None,
            established: 1,
            messages: 0,
            prefixes: [].into(),
        }
    }

    fn sending(context: &[&str], line: &str) -> Schedule {
        let command = VtyCommand {
            scope: Scope::Underlay,
            context: context.iter().map(|line| Line::new(line)).collect(),
            line: Line::new(line),
            intent: Intent::Set,
        };
        let batch = CommandBatch {
            stage: BatchStage::Instance,
            daemon: Daemon::Bgpd,
            mode: CommandMode::Configure,
            retry: false,
            commands: vec![command],
        };
        Schedule { steps: vec![ScheduleStep::Frr(batch)], ..Schedule::default() }
    }

    const RED: &str = "router bgp 64514 vrf red";

    #[rstest]
    #[case::password(&[RED], "neighbor 10.0.0.1 password hunter2", &["red 10.0.0.1: neighbor 10.0.0.1 password ********"])]
    #[case::no_password(&[RED], "no neighbor 10.0.0.1 password", &["red 10.0.0.1: no neighbor 10.0.0.1 password"])]
    #[case::source(&[RED], "neighbor 10.0.0.1 update-source 100.65.0.1", &["red 10.0.0.1: neighbor 10.0.0.1 update-source 100.65.0.1"])]
    #[case::no_source(&[RED], "no neighbor 10.0.0.2 update-source", &["red 10.0.0.2: no neighbor 10.0.0.2 update-source"])]
    #[case::no_timers(&[RED], "no neighbor 10.0.0.1 timers", &["red 10.0.0.1: no neighbor 10.0.0.1 timers"])]
    #[case::no_connect_time(&[RED], "no neighbor 10.0.0.1 timers connect", &[])]
    #[case::removed(&[RED], "no neighbor 10.0.0.2 remote-as 65000", &["red 10.0.0.2: no neighbor 10.0.0.2 remote-as 65000"])]
    #[case::family(&[RED, "address-family ipv6 unicast"], "neighbor 10.0.0.1 activate", &["red 10.0.0.1: neighbor 10.0.0.1 activate"])]
    #[case::policy(&[RED, "address-family ipv4 unicast"], "neighbor 10.0.0.1 route-map x in", &[])]
    #[case::idle(&[RED], "neighbor 10.0.0.3 password x", &[])]
    #[case::new(&[RED], "neighbor 10.0.0.9 remote-as 65000", &[])]
    #[case::router_id(&["router bgp 64514"], "bgp router-id 10.0.0.4", &["default 10.0.0.1: bgp router-id 10.0.0.4"])]
    #[case::instance(&[], "no router bgp 64514 vrf red",
        &["red 10.0.0.1: no router bgp 64514 vrf red", "red 10.0.0.2: no router bgp 64514 vrf red"])]
    #[case::clear(&[], "clear bgp *", &["default 10.0.0.1: clear bgp *"])]
    #[case::description(&["vrf red"], "ip route 10.0.0.0/8 10.0.0.1", &[])]
    fn what_resets_a_session_is_named(#[case] context: &[&str], #[case] line: &str, #[case] expected: &[&str]) {
        let sessions = [
            session(None, "10.0.0.1", "Established"),
            session(Some("red"), "10.0.0.1", "Established"),
            session(Some("red"), "10.0.0.2", "Established"),
            session(Some("red"), "10.0.0.3", "Idle"),
        ];
        let found = session_drops(&sending(context, line), &sessions);
        let shown = |((vrf, peer), (_, why)): (&SessionKey, &(Scope, String))| {
            format!("{} {peer}: {why}", vrf.as_ref().map_or("default", VrfName::as_str))
        };
        assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_scope_that_is_torn_down_drops_its_sessions() {
        let schedule = Schedule { torn_down: vec![Scope::Vrf("red".parse().unwrap())], ..Schedule::default() };
        let sessions = [session(None, "a", "Established"), session(Some("red"), "b", "Established")];
        let found = session_drops(&schedule, &sessions);
        let red = Scope::Vrf("red".parse().unwrap());
        assert_eq!(found, [(sessions[1].key(), (red, "vrf red is torn down".to_owned()))].into());
    }
}
