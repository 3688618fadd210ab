//! The sudden death of a daemon of FRR.

use std::time::{Duration, Instant};

use perouter::frr::model::Daemon;

use super::fixture::{Fixture, Setup, paced, until_true};

/// Budget of the design for the control plane.
const BACK: Duration = Duration::from_secs(5);

fn dies(name: &str, daemon: Daemon, setup: &Setup) {
    let Some(mut fixture) = Fixture::start_with(name, &[0], setup) else { return };
    fixture.router().await_ready(&[100, 200]);
    let pids = fixture.router().daemon_pids();
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    let killed = Instant::now();
    fixture.router().kill_daemon(daemon);
    until_true("the new life of the daemon", || {
        let router = fixture.router();
        router.daemon_pids().get(&daemon).is_some_and(|pid| *pid != pids[&daemon])
    });
    // A session that was established at least once since the daemon is new.
    for (vrf, peer) in [("red", "192.169.10.2"), ("blue", "192.169.11.2")] {
        fixture.router().await_session(vrf, peer);
    }
    fixture.await_services();
    let back = killed.elapsed();
    fixture.router().await_ready(&[100, 200]);
    println!("{name}: all Type-5 routes are back {back:.1?} after the end of {daemon}");
    for (stream, colour) in streams.into_iter().zip(["red", "blue"]) {
        let tally = stream.end();
        println!("{name}: {colour}: {tally}");
        assert!(tally.longest_outage <= paced(BACK), "{colour}: {tally}");
    }
    assert!(back <= paced(BACK), "{back:?}");
    fixture.stream("red").end();
    fixture.stream("blue").end();
    let plan = fixture.router().plan();
    assert_eq!(plan.code, Some(0), "{}{}", plan.stdout, plan.stderr);
}

fn graceful() -> Setup {
    let example = Setup::example().with("underlay.yaml", "  gracefulRestart: {}\n");
    example
        .with("red.yaml", "  hostSession:\n    gracefulRestart: {}\n")
        .with("blue.yaml", "  hostSession:\n    gracefulRestart: {}\n")
}

#[test]
fn the_control_plane_is_back_after_the_death_of_bgpd() {
    dies("bgpd", Daemon::Bgpd, &Setup::example());
}

#[test]
fn the_control_plane_is_back_after_the_death_of_bgpd_with_graceful_restart() {
    dies("bgpd-gr", Daemon::Bgpd, &graceful());
}

#[test]
fn the_control_plane_is_back_after_the_death_of_zebra() {
    dies("zebra", Daemon::Zebra, &Setup::example());
}
