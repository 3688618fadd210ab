//! A crash of an FRR daemon.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use perouter::diagnose::finding::FindingKind;
use perouter::runtime::Daemon;
use perouter::types::VrfMode;

use super::fixture::{BLUE, Fixture, RED, Setup, bfd_settings, scaled, until_true};
use super::graceful_restart::graceful;
use super::kernel_state::vrf_next_hops;

/// Recovery time that is allowed for the control plane.
const RECOVERY_LIMIT: Duration = Duration::from_secs(5);

fn assert_recovers_from_crash(name: &str, daemon: Daemon, setup: &Setup) {
    let Some(mut fixture) = Fixture::start_with(name, &[0], setup) else { return };
    fixture.router().await_ready(&[100, 200]);
    let pids = fixture.router().daemon_pids();
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    let killed = Instant::now();
    fixture.router().kill_daemon(daemon);
    until_true("the restart of the daemon", || {
        let router = fixture.router();
        router.daemon_pids().get(&daemon).is_some_and(|pid| *pid != pids[&daemon])
    });
    // The session has been established at least once since the daemon restarted.
    for (vrf, peer) in [("red", "192.169.10.2"), ("blue", "192.169.11.2")] {
        fixture.router().await_session(vrf, peer);
    }
    fixture.await_services();
    let recovered = killed.elapsed();
    fixture.router().await_ready(&[100, 200]);
    println!("{name}: all Type-5 routes are back {recovered:.1?} after {daemon} was killed");
    for (stream, colour) in streams.into_iter().zip(["red", "blue"]) {
        let loss = stream.finish();
        println!("{name}: {colour}: {loss}");
        assert!(loss.longest_outage <= scaled(RECOVERY_LIMIT), "{colour}: {loss}");
    }
    assert!(recovered <= scaled(RECOVERY_LIMIT), "{recovered:?}");
    fixture.stream("red").finish();
    fixture.stream("blue").finish();
    let plan = fixture.router().plan();
    assert_eq!(plan.code, Some(0), "{}{}", plan.stdout, plan.stderr);
}

#[test]
fn the_control_plane_recovers_from_a_bgpd_crash() {
    assert_recovers_from_crash("bgpd", Daemon::Bgpd, &Setup::example());
}

#[test]
fn the_control_plane_recovers_from_a_bgpd_crash_with_graceful_restart() {
    assert_recovers_from_crash("bgpd-gr", Daemon::Bgpd, &graceful());
}

/// bgpd reconnects to a restarted zebra after 10 s with FRR 8, after 1 s with FRR 10.
const RECONNECT_LIMIT: Duration = Duration::from_secs(13);
const ALL: [Option<&str>; 3] = [None, Some("red"), Some("blue")];

/// Only zebra is affected: no session goes down and no packet is lost, also after bgpd has sent all its routes to the
/// new zebra.
fn assert_hitless_zebra_crash(name: &str, setup: &Setup) {
    let Some(mut fixture) = Fixture::start_with(name, &[0], setup) else { return };
    fixture.router().await_ready(&[100, 200]);
    let (established, pids) = (fixture.router().established(&ALL), fixture.router().daemon_pids());
    let [red, blue] = [fixture.stream("red"), fixture.stream("blue")];
    for crashes in 1..=2 {
        let killed = Instant::now();
        fixture.router().kill_daemon(Daemon::Zebra);
        let log = fixture.router().log();
        let reconnects =
            || std::fs::read_to_string(&log).unwrap().matches("bgpd is connected to the new zebra").count();
        let mut seen = BTreeSet::new();
        until_true("bgpd connected to the new zebra", || {
            let (_, findings) = fixture.router().checked();
            seen.extend(findings.iter().map(|finding| finding.kind));
            reconnects() == crashes
        });
        let reconnected = killed.elapsed();
        assert!(!seen.contains(&FindingKind::VniDown), "{seen:?}");
        // FRR 10 connects within a second.
        let is_slow = reconnected > Duration::from_secs(5);
        assert!(seen.contains(&FindingKind::ZebraRestarted) || !is_slow, "{seen:?}");
        println!("{name}: bgpd is connected to the new zebra {reconnected:.1?} after zebra was killed");
        assert!(reconnected <= scaled(RECONNECT_LIMIT), "{reconnected:?}");
        fixture.router().await_ready(&[100, 200]);
        assert_routes_from_bgpd(&fixture);
    }
    // A later change passes from the host to the leaf and into the kernel.
    fixture.hosts[0].withdraw("blue").unwrap();
    fixture.await_type5_from("172.30.0.16/32", 200, &[]);
    until_true("the kernel without the service", || vrf_next_hops(&fixture.routers[0].node, "blue", BLUE).is_empty());
    red.finish().assert_lossless("red");
    assert!(blue.finish().lost > 0, "blue was withdrawn in the meantime");
    fixture.hosts[0].announce("blue").unwrap();
    fixture.await_services();
    fixture.stream("blue").finish();
    assert_eq!(fixture.router().established(&ALL), established);
    assert_eq!(fixture.router().daemon_pids()[&Daemon::Bgpd], pids[&Daemon::Bgpd]);
    let plan = fixture.router().plan();
    assert_eq!(plan.code, Some(0), "{}{}", plan.stdout, plan.stderr);
}

/// A route that zebra read from the kernel and that bgpd has not sent again has the kernel's metric: zebra's sweep
/// would remove it.
fn assert_routes_from_bgpd(fixture: &Fixture) {
    for vrf in ["default", "red", "blue"] {
        let command = format!("show ip route vrf {vrf} bgp json");
        let words = ["vtysh", "--vty_socket", "/run/perouter/frr", "-c", &command];
        let routes = fixture.routers[0].node.check(&words).unwrap();
        assert!(routes.contains("\"metric\":0") && !routes.contains("\"metric\":20"), "{vrf}: {routes}");
    }
}

#[test]
fn a_zebra_crash_is_hitless() {
    assert_hitless_zebra_crash("zebra", &Setup::example());
}

#[test]
fn a_zebra_crash_with_graceful_restart_is_hitless() {
    assert_hitless_zebra_crash("zebra-gr", &graceful());
}

/// BFD sessions do not survive a zebra crash.
#[test]
fn the_control_plane_recovers_from_a_zebra_crash_with_bfd() {
    let bfd = format!("  hostSession:\n    {}\n", bfd_settings());
    assert_recovers_from_crash("zebra-bfd", Daemon::Zebra, &Setup::example().with("red.yaml", &bfd));
}

/// VRF ids other than 1, 2, 3: in `netns` mode a new zebra would assign other ids. Then all daemons are restarted.
#[test]
fn the_control_plane_recovers_from_a_zebra_crash_after_the_removal_of_a_vrf() {
    let Some(mut fixture) = Fixture::start("zebra-gap", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let (first, remaining, vni) = if fixture.router().zebra_vrf_id("red") == Some(1) {
        ("red.yaml", "blue", 200)
    } else {
        ("blue.yaml", "red", 100)
    };
    fixture.remove(first);
    fixture.router().await_ready(&[vni]);
    let bgpd = fixture.router().daemon_pids()[&Daemon::Bgpd];
    let bgpd_survives = fixture.router().keeps_netns() || fixture.router().status().unwrap().vrf_mode == VrfMode::Vrf;
    fixture.router().kill_daemon(Daemon::Zebra);
    let address = if remaining == "red" { RED } else { BLUE };
    until_true("the restart of the daemons", || {
        bgpd_survives || fixture.router().daemon_pids().get(&Daemon::Bgpd) != Some(&bgpd)
    });
    let peer = if remaining == "red" { "192.169.10.2" } else { "192.169.11.2" };
    fixture.router().await_session(remaining, peer);
    fixture.await_type5(&format!("{address}/32"), vni);
    fixture.router().await_ready(&[vni]);
    assert_eq!(fixture.router().daemon_pids()[&Daemon::Bgpd] == bgpd, bgpd_survives);
    fixture.stream(remaining).finish();
}
