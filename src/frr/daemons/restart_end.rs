//! The end of a graceful restart of bgpd. In: its vty socket. Out: sessions that it left without updates send them. Configures
//! nothing.
//!
//! While an instance still waits for End-of-RIB, bgpd builds no update for any peer. When the last instance is complete it builds
//! those of that instance; a session of another one whose updates are queued already waits for its next keepalive, 60 s by
//! default (`bgp_generate_updgrp_packets`, `bgp_process_gr_deferral_complete`).

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use tokio::time::{Instant, sleep};

use super::graceful;
use super::running::RunningDaemon;
use crate::frr::client::vty::{Vty, VtyError};
use crate::frr::show::restart::{SHOW_ROUTER, is_in_progress};
use crate::frr::show::session::{SHOW_SESSIONS, SessionKey, SessionPhase, SessionState, sessions};
use crate::runtime::{Daemon, Runtime};

/// A peer loses packets for as long as that.
const POLL: Duration = Duration::from_millis(10);
/// Between two polls of a bgpd that waits for longer than a restart takes.
const SLOW_POLL: Duration = Duration::from_secs(1);
const RESTART: Duration = Duration::from_secs(30);
/// After a restart that is complete, bgpd sends within milliseconds what does not wait.
const SENT: Duration = Duration::from_millis(300);
/// Time limit of a vty exchange.
const LIMIT: Duration = Duration::from_secs(3);

/// Completes when the sessions of a bgpd that restarts gracefully have been made to send what they have. One that was complete
/// before has nothing to send.
pub(super) fn watch(runtime: &Runtime, running: &BTreeMap<Daemon, RunningDaemon>) -> BoxFuture<'static, ()> {
    match running.get(&Daemon::Bgpd) {
        Some(bgpd) if graceful::restarts(&bgpd.process.arguments) => finished(runtime.clone()).boxed(),
        _ => pending().boxed(),
    }
}

async fn finished(runtime: Runtime) {
    // A daemon that does not answer is restarted by others, and watched again.
    let Ok(mut bgpd) = Vty::connect(&runtime.vty_socket(Daemon::Bgpd), LIMIT).await else { return };
    let (begin, mut seen) = (Instant::now(), false);
    while let Ok(reply) = bgpd.run(SHOW_ROUTER, LIMIT).await {
        if is_in_progress(&reply.text) {
            seen = true;
            sleep(if begin.elapsed() < RESTART { POLL } else { SLOW_POLL }).await;
            continue;
        }
        if seen && let Err(error) = refresh(&mut bgpd).await {
            let error = &error as &dyn Error;
            tracing::warn!(error, "bgpd may send nothing to a peer until its next keepalive");
        }
        return;
    }
}

/// The sessions that may wait send at once.
async fn refresh(bgpd: &mut Vty) -> Result<(), VtyError> {
    let before = bgpd.run(SHOW_SESSIONS, LIMIT).await?.text;
    run(bgpd, &refreshes(&before)).await?;
    sleep(SENT).await;
    let now = bgpd.run(SHOW_SESSIONS, LIMIT).await?.text;
    let waiting = waiting(&before, &now);
    if waiting.is_empty() {
        return Ok(());
    }
    let running = bgpd.run("show running-config", LIMIT).await?.text;
    let resets = resets(&waiting, &running);
    run(bgpd, &resets).await?;
    if !resets.is_empty() {
        tracing::warn!(?resets, "bgpd has sent nothing to these peers after its restart");
    }
    Ok(())
}

async fn run(bgpd: &mut Vty, commands: &[String]) -> Result<(), VtyError> {
    bgpd.run_all(&commands.iter().map(String::as_str).collect::<Vec<_>>(), LIMIT).await.map(drop)
}

/// Requests to the peers of the fabric: after each message that it sends, bgpd builds the updates that wait.
fn refreshes(found: &str) -> Vec<String> {
    let sessions = established(found).into_iter().filter(|session| session.vrf.is_none());
    sessions.map(|session| format!("clear bgp {} soft in", session.peer)).collect()
}

/// Sessions of hosts that have sent nothing in all the time: at least the address of the host is always sent.
fn waiting(before: &str, now: &str) -> Vec<SessionKey> {
    let of = |found: &str| {
        let sent = |session: &SessionState| session.prefixes.values().any(|prefixes| prefixes.sent > 0);
        let waits = |session: &SessionState| session.vrf.is_some() && !session.prefixes.is_empty() && !sent(session);
        established(found).iter().filter(|session| waits(session)).map(SessionState::key).collect::<BTreeSet<_>>()
    };
    of(before).intersection(&of(now)).cloned().collect()
}

/// Their resets: bgpd has no request for them, as it keeps what it received of them. A peer with graceful restart keeps its routes for
/// longer than a keepalive.
fn resets(waiting: &[SessionKey], running: &str) -> Vec<String> {
    let reset = |(vrf, peer): &SessionKey| {
        let vrf = vrf.as_ref().filter(|vrf| !restarts_gracefully(vrf.as_str(), running))?;
        Some(format!("clear bgp vrf {vrf} {peer}"))
    };
    waiting.iter().filter_map(reset).collect()
}

fn established(found: &str) -> Vec<SessionState> {
    let mut found = sessions(found).unwrap_or_default();
    found.retain(|session| session.phase == SessionPhase::Established);
    found
}

/// Whether the instance of a VRF has graceful restart in the running configuration.
fn restarts_gracefully(vrf: &str, running: &str) -> bool {
    let is_instance = |line: &&str| {
        line.strip_prefix("router bgp ").and_then(|rest| rest.split_once(" vrf ")).is_some_and(|(_, name)| name == vrf)
    };
    let lines = running.lines().map(str::trim_end).skip_while(|line| !is_instance(line));
    lines.take_while(|line| *line != "exit").any(|line| line == " bgp graceful-restart")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_of_the_fabric_get_a_route_refresh_and_hosts_that_received_nothing_are_reset() {
        let peer = |state: &str, sent: u32| format!(r#"{{"state":"{state}","remoteAs":1,"pfxRcd":1,"pfxSnt":{sent}}}"#);
        let instance =
            |name: &str, family: &str, peers: &str| format!(r#""{name}":{{"{family}":{{"peers":{{{peers}}}}}}}"#);
        let text = [
            instance("default", "l2VpnEvpn", &format!(r#""192.0.2.1":{}"#, peer("Established", 0))),
            instance("red", "ipv4Unicast", &format!(r#""192.0.2.2":{}"#, peer("Established", 0))),
            instance("blue", "ipv4Unicast", &format!(r#""192.0.2.3":{}"#, peer("Established", 2))),
            instance("green", "ipv4Unicast", &format!(r#""192.0.2.4":{}"#, peer("Active", 0))),
            instance("grace", "ipv4Unicast", &format!(r#""192.0.2.5":{}"#, peer("Established", 0))),
        ];
        let found = format!("{{{}}}", text.join(","));
        let running = "router bgp 1\n bgp graceful-restart\nexit\n!\nrouter bgp 1 vrf red\n bgp router-id 1.1.1.1\nexit\n!\n\
            router bgp 1 vrf grace\n bgp graceful-restart\n bgp graceful-restart preserve-fw-state\nexit\n";
        assert_eq!(refreshes(&found), ["clear bgp 192.0.2.1 soft in"]);
        let before = found.replace(r#""pfxSnt":2"#, r#""pfxSnt":0"#);
        assert_eq!(resets(&waiting(&before, &found), running), ["clear bgp vrf red 192.0.2.2"]);
        // One that has been established in the meantime is about to send.
        let down = found.replace("Established", "Active");
        assert_eq!(waiting(&down, &found), []);
    }
}
