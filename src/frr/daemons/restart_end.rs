//! The end of a graceful restart of bgpd. In: its vty socket. Out: sessions that it left without updates send them, and the
//! configuration is as before.
//!
//! While an instance still waits for End-of-RIB, bgpd builds no update for any peer. When the last instance is complete it builds
//! those of that instance; a session of another one whose updates are queued already waits for its next keepalive, 60 s by
//! default (`bgp_generate_updgrp_packets`, `bgp_process_gr_deferral_complete`).

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use tokio::time::{Instant, sleep};

use super::graceful;
use super::running::RunningDaemon;
use crate::frr::client::vty::{Reply, Vty, VtyError};
use crate::frr::config::line::Line;
use crate::frr::config::tree::Tree;
use crate::frr::show::neighbor::{Negotiation, neighbor_reset, show_neighbor};
use crate::frr::show::restart::{SHOW_ROUTER, is_in_progress};
use crate::frr::show::session::{SHOW_SESSIONS, SessionPhase, SessionState, sessions};
use crate::runtime::{Daemon, Runtime};

/// A peer loses packets for as long as that.
const POLL: Duration = Duration::from_millis(10);
/// Between two polls of a bgpd that waits for longer than a restart takes.
const SLOW_POLL: Duration = Duration::from_secs(1);
const RESTART: Duration = Duration::from_secs(30);
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
    let found = bgpd.run(SHOW_SESSIONS, LIMIT).await?.text;
    run(bgpd, &refreshes(&found)).await?;
    let mut waiting = waiting(&found);
    if waiting.is_empty() {
        return Ok(());
    }
    let shows: Vec<String> = waiting.iter().filter_map(show_details).collect();
    let details = run(bgpd, &shows).await?;
    let mut details = details.iter().map(|reply| reply.text.as_str());
    waiting.retain(|session| details.next().is_some_and(|text| can_refresh(&session.peer, text)));
    let running = bgpd.run("show running-config", LIMIT).await?.text;
    let requests = requests(&waiting, &running);
    for reply in run(bgpd, &requests).await?.iter().filter(|reply| !reply.status.is_ok()) {
        tracing::warn!(reply = reply.text, "bgpd rejects a line that requests routes again");
    }
    if !requests.is_empty() {
        let peers: Vec<String> = waiting.iter().map(|session| session.peer.clone()).collect();
        let peers = peers.join(" ");
        tracing::info!(peers, "bgpd had sent nothing after its restart: requested a route refresh");
    }
    Ok(())
}

async fn run(bgpd: &mut Vty, commands: &[String]) -> Result<Vec<Reply>, VtyError> {
    bgpd.run_all(&commands.iter().map(String::as_str).collect::<Vec<_>>(), LIMIT).await
}

fn show_details(session: &SessionState) -> Option<String> {
    Some(show_neighbor(session.vrf.as_ref()?, &session.peer))
}

/// A session with a peer that knows no route refresh would be closed instead. It waits for its keepalive.
fn can_refresh(peer: &str, details: &str) -> bool {
    let found = neighbor_reset(peer, details).ok().flatten();
    found.is_some_and(|found| found.capabilities.get("routeRefresh").copied().is_some_and(Negotiation::is_done))
}

/// Requests to the peers of the fabric: after each message that it sends to a peer, bgpd builds the updates that wait.
fn refreshes(found: &str) -> Vec<String> {
    let sessions = established(found).into_iter().filter(|session| session.vrf.is_none());
    sessions.map(|session| format!("clear bgp {} soft in", session.peer)).collect()
}

/// Sessions of hosts that are established and have sent nothing.
fn waiting(found: &str) -> Vec<SessionState> {
    let sent = |session: &SessionState| session.prefixes.values().any(|prefixes| prefixes.sent > 0);
    let waits = |session: &SessionState| session.vrf.is_some() && !session.prefixes.is_empty() && !sent(session);
    established(found).into_iter().filter(waits).collect()
}

/// Lines that request the routes of peers again, as [`refreshes`] does of the fabric: without `soft-reconfiguration inbound` bgpd
/// sends a route refresh, and with it again the configuration is as before (`peer_change_reset_in`). A peer to which
/// a prefix list lets nothing pass gets the request in vain.
fn requests(waiting: &[SessionState], running: &str) -> Vec<String> {
    let running = Tree::parse(running);
    let lines = |session: &SessionState| {
        let line = format!("neighbor {} soft-reconfiguration inbound", session.peer);
        let (instance, family) = family_of(session.vrf.as_ref()?.as_str(), &Line::new(&line), &running)?;
        let (instance, family) = (instance.send(), family.send());
        Some(["configure terminal", instance, family, &format!("no {line}"), &line, "end"].map(str::to_owned))
    };
    waiting.iter().filter_map(lines).flatten().collect()
}

/// The lines that lead to a line of an address family in the instance of a VRF.
fn family_of<'a>(vrf: &str, wanted: &Line, running: &'a Tree) -> Option<(&'a Line, &'a Line)> {
    let is_instance = |line: &Line| {
        line.after("router bgp").and_then(|rest| rest.split_once(" vrf ")).is_some_and(|(_, name)| name == vrf)
    };
    let (instance, of_instance) = running.0.iter().find(|(line, _)| is_instance(line))?;
    let has_line =
        |(line, below): &(&Line, &Tree)| line.after("address-family").is_some() && below.0.contains_key(wanted);
    let (family, _) = of_instance.0.iter().find(has_line)?;
    Some((instance, family))
}

fn established(found: &str) -> Vec<SessionState> {
    let mut found = sessions(found).unwrap_or_default();
    found.retain(|session| session.phase == SessionPhase::Established);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_of_the_fabric_and_hosts_that_received_nothing_get_a_route_refresh() {
        let peer = |state: &str, sent: u32| format!(r#"{{"state":"{state}","remoteAs":1,"pfxRcd":1,"pfxSnt":{sent}}}"#);
        let instance =
            |name: &str, family: &str, peers: &str| format!(r#""{name}":{{"{family}":{{"peers":{{{peers}}}}}}}"#);
        let text = [
            instance("default", "l2VpnEvpn", &format!(r#""192.0.2.1":{}"#, peer("Established", 0))),
            instance("red", "ipv4Unicast", &format!(r#""192.0.2.2":{}"#, peer("Established", 0))),
            instance("blue", "ipv4Unicast", &format!(r#""192.0.2.3":{}"#, peer("Established", 2))),
            instance("green", "ipv4Unicast", &format!(r#""192.0.2.4":{}"#, peer("Active", 0))),
        ];
        let found = format!("{{{}}}", text.join(","));
        let running = "router bgp 1\n bgp graceful-restart\nexit\n!\nrouter bgp 2 vrf redder\nexit\n!\nrouter bgp 3 vrf red\n \
            bgp router-id 1.1.1.1\n !\n address-family ipv4 unicast\n  neighbor 192.0.2.2 activate\n  neighbor 192.0.2.2 \
            soft-reconfiguration inbound\n exit-address-family\nexit\n!\n";
        assert_eq!(refreshes(&found), ["clear bgp 192.0.2.1 soft in"]);
        let lines = [
            "configure terminal",
            "router bgp 3 vrf red",
            "address-family ipv4 unicast",
            "no neighbor 192.0.2.2 soft-reconfiguration inbound",
            "neighbor 192.0.2.2 soft-reconfiguration inbound",
            "end",
        ];
        let waiting = waiting(&found);
        assert_eq!(requests(&waiting, running), lines);
        // A session without that line has been reconfigured in the meantime.
        assert_eq!(requests(&waiting, &running.replace("soft-reconfiguration", "route-map")), Vec::<String>::new());
    }

    #[test]
    fn a_peer_that_knows_no_route_refresh_gets_no_request() {
        let details = |capability: &str| {
            format!(
                r#"{{"vrfId":1,"vrfName":"red","192.0.2.2":{{"neighborCapabilities":{{"routeRefresh":"{capability}"}}}}}}"#
            )
        };
        assert!(can_refresh("192.0.2.2", &details("advertisedAndReceived")));
        assert!(!can_refresh("192.0.2.2", &details("advertised")));
        assert!(!can_refresh("192.0.2.2", "{}"));
    }
}
