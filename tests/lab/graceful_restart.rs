//! With graceful restart on fabric and host sessions no packet is lost while bgpd, or all of FRR, is restarted, where FRR's
//! graceful restart covers EVPN (10.6 and later on router and leaves). What is lost elsewhere is in [`super::daemon_crash`].

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use perouter::runtime::Daemon;

use super::fixture::{Fixture, RED, Setup, echo, lab_release, scaled, until, until_true};
use super::router::Router;
use super::traffic::{LossStats, Stream};

/// Between two requests.
const INTERVAL: Duration = Duration::from_millis(1);
/// So long after its start FRR has the restart bit in its OPEN, and nobody waits for its End-of-RIB (RFC 4724 section 4.1).
const STARTED: Duration = Duration::from_secs(120);
/// Outage that is allowed with graceful restart: nothing is lost on a machine that does nothing else (`docs/frr.md`), 10 ms were
/// lost beside other tests.
const BUSY: Duration = Duration::from_millis(100);
/// Outage that is allowed where a session has no graceful restart for EVPN: mostly below 2 s, 5 s were lost beside other tests.
const WITHOUT: Duration = Duration::from_secs(15);
/// Until the host has received all routes again. The keepalive for which bgpd would wait is sent after 60 s.
const RENEWED: Duration = Duration::from_secs(10);
/// Between two crashes, so that the second is none of a crash loop.
const BETWEEN: Duration = Duration::from_secs(5);
/// Measured once with 20: `docs/frr.md`.
const CRASHES: usize = 3;
const HOST_SESSION: &str = "  hostSession:\n    gracefulRestart: {}\n";

pub fn graceful() -> Setup {
    let example = Setup::example().with("underlay.yaml", "  gracefulRestart: {}\n");
    example.with("red.yaml", HOST_SESSION).with("blue.yaml", HOST_SESSION)
}

/// Whether graceful restart covers EVPN in the lab; else the reason is printed. Its matrix has another release, with which it
/// does.
fn covers_evpn() -> bool {
    let release = lab_release();
    if !release.restarts_gracefully() {
        println!("left out: graceful restart of FRR {} has no EVPN; with PEROUTER_LAB_FRR=10.7 it runs", release.name);
    }
    release.restarts_gracefully()
}

impl Router {
    /// Waits until a new bgpd has the routes of all peers.
    fn await_restarted(&self, pids: &BTreeMap<Daemon, u32>) {
        until_true("a bgpd that has completed its restart", || {
            let pid = self.daemon_pids().get(&Daemon::Bgpd).copied();
            let text = self.try_show(Daemon::Bgpd, "show bgp router json");
            pid.is_some_and(|pid| Some(&pid) != pids.get(&Daemon::Bgpd))
                && text.is_some_and(|text| !text.contains("\"grComplete\":false"))
        });
    }

    /// At once: a daemon that is killed later may have been restarted with the first one.
    fn kill_all_daemons(&self) {
        let pids: Vec<String> = self.daemon_pids().values().map(u32::to_string).collect();
        let words = ["kill", "-9"].into_iter().chain(pids.iter().map(String::as_str));
        self.node.check(&words.collect::<Vec<_>>()).unwrap();
    }
}

impl Fixture {
    /// Requests of a fabric host to the service in red, whose replies return through the router.
    fn probe(&self) -> Stream {
        Stream::probe(self.node("hostA_red"), echo(RED), INTERVAL)
    }

    /// What a restart loses that `act` causes.
    fn loss_of(&mut self, what: &str, act: impl FnOnce(&mut Self)) -> LossStats {
        let pids = self.router().daemon_pids();
        let probe = self.probe();
        act(self);
        self.router().await_restarted(&pids);
        for (vrf, peer) in [("red", "192.169.10.2"), ("blue", "192.169.11.2")] {
            self.router().await_session(vrf, peer);
        }
        self.await_services();
        self.router().await_ready(&[100, 200]);
        // Another restart would remove those that are stale (RFC 4724 section 4.2).
        until(&format!("{what}: routes of the host that are not stale"), RENEWED, || {
            let routes = self.hosts[0].vtysh(&["show bgp ipv4 unicast json"]).unwrap();
            (!routes.contains("\"stale\":true")).then_some(())
        });
        // What is removed late would be lost here.
        sleep(BETWEEN);
        probe.await_replies(100);
        let loss = probe.finish();
        println!("{what}: {loss}");
        assert!(loss.sent > 1000, "{what}: {loss}");
        loss
    }
}

#[test]
fn a_bgpd_that_stops_or_crashes_loses_no_packet_and_neither_do_all_daemons_at_once() {
    let Some(mut fixture) = Fixture::start_with("gr-crash", &[0], &graceful()) else { return };
    fixture.router().await_ready(&[100, 200]);
    let started = Instant::now();
    stops_for_less_than_the_hold_time(&mut fixture);
    if !covers_evpn() {
        return;
    }
    sleep(STARTED.saturating_sub(started.elapsed()));
    for crash in 1..=CRASHES {
        let what = format!("bgpd is killed, {crash}");
        let loss = fixture.loss_of(&what, |fixture| fixture.router().kill_daemon(Daemon::Bgpd));
        assert!(loss.longest_outage <= scaled(BUSY), "{what}: {loss}");
    }
    let what = "all daemons are killed";
    let loss = fixture.loss_of(what, |fixture| fixture.router().kill_all_daemons());
    assert!(loss.longest_outage <= scaled(BUSY), "{what}: {loss}");
    let what = "perouter and all daemons are killed";
    let loss = fixture.loss_of(what, |fixture| {
        fixture.router().kill();
        fixture.router().kill_all_daemons();
        fixture.router().remove_status();
        fixture.router().start();
    });
    assert!(loss.longest_outage <= scaled(BUSY), "{what}: {loss}");
    let plan = fixture.router().plan();
    assert_eq!(plan.code, Some(0), "{}{}", plan.stdout, plan.stderr);
    // Routes are withdrawn and advertised as ever.
    fixture.hosts[0].withdraw("blue").unwrap();
    fixture.await_type5_from("172.30.0.16/32", 200, &[]);
    fixture.hosts[0].announce("blue").unwrap();
    fixture.await_services();
    // The host removes its routes when a session without graceful restart goes down.
    for file in ["red.yaml", "blue.yaml"] {
        fixture.edit(file, HOST_SESSION, "");
    }
    until_true("host sessions without graceful restart", || {
        let text = fixture.routers[0].running_text(Daemon::Bgpd);
        text.matches(" bgp graceful-restart\n").count() == 1
    });
    fixture.await_services();
    for crash in 1..=2 {
        let what = format!("without graceful restart of the host, {crash}");
        let loss = fixture.loss_of(&what, |fixture| fixture.router().kill_daemon(Daemon::Bgpd));
        assert!(loss.longest_outage <= scaled(WITHOUT), "{what}: {loss}");
    }
}

/// The hold time of the leaves is 9 s: nothing is restarted, in every release.
fn stops_for_less_than_the_hold_time(fixture: &mut Fixture) {
    let pids = fixture.router().daemon_pids();
    let probe = fixture.probe();
    let bgpd = pids[&Daemon::Bgpd].to_string();
    fixture.router().node.check(&["kill", "-STOP", &bgpd]).unwrap();
    sleep(Duration::from_secs(5));
    fixture.router().node.check(&["kill", "-CONT", &bgpd]).unwrap();
    sleep(Duration::from_secs(5));
    probe.finish().assert_lossless("stopped for 5 s");
    assert_eq!(fixture.router().daemon_pids(), pids);
}

/// A peer that is away delays the others for no longer than the time that perouter configures, 15 s.
#[test]
fn a_host_that_is_away_delays_the_others_for_a_bounded_time() {
    if !covers_evpn() {
        return;
    }
    let Some(mut fixture) = Fixture::start_with("gr-away", &[0], &graceful()) else { return };
    fixture.router().await_ready(&[100, 200]);
    fixture.hosts[0].vtysh(&["configure terminal", "no router bgp 64515"]).unwrap();
    let pids = fixture.router().daemon_pids();
    let killed = Instant::now();
    fixture.router().kill_daemon(Daemon::Bgpd);
    fixture.router().await_restarted(&pids);
    let took = killed.elapsed();
    println!("complete {took:.1?} after the crash");
    assert!(took < scaled(Duration::from_secs(20)), "{took:?}");
    fixture.router().await_ready(&[100, 200]);
}

/// Graceful restart that is removed while bgpd is away: the new bgpd does not wait for the end of a restart.
#[test]
fn graceful_restart_that_is_removed_during_a_restart_holds_nothing_up() {
    let Some(mut fixture) = Fixture::start_with("gr-off", &[0], &graceful()) else { return };
    fixture.router().await_ready(&[100, 200]);
    let loss = fixture.loss_of("graceful restart is removed meanwhile", |fixture| {
        fixture.router().terminate();
        for (file, text) in &Setup::example().objects {
            fixture.write(file, text);
        }
        fixture.router().kill_all_daemons();
        fixture.router().remove_status();
        fixture.router().start();
    });
    assert!(!fixture.router().running_text(Daemon::Bgpd).contains("bgp graceful-restart"));
    assert!(loss.longest_outage <= scaled(WITHOUT), "{loss}");
}
