//! The sudden death of a daemon of FRR.

use std::time::{Duration, Instant};

use perouter::runtime::Daemon;
use perouter::types::VrfMode;

use super::fixture::{BLUE, Fixture, RED, Setup, bfd_settings, paced, until_true};
use super::place::vrf_next_hops;

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

/// bgpd of FRR 8 comes to a new zebra after 10 s, that of FRR 10 after 1 s.
const JOINED: Duration = Duration::from_secs(13);
const ALL: [Option<&str>; 3] = [None, Some("red"), Some("blue")];

/// Nobody but zebra notices: no session ends and no packet is lost, also when bgpd has told the new zebra all its routes.
fn zebra_dies(name: &str, setup: &Setup) {
    let Some(mut fixture) = Fixture::start_with(name, &[0], setup) else { return };
    fixture.router().await_ready(&[100, 200]);
    let (established, pids) = (fixture.router().established(&ALL), fixture.router().daemon_pids());
    let [red, blue] = [fixture.stream("red"), fixture.stream("blue")];
    for deaths in 1..=2 {
        let killed = Instant::now();
        fixture.router().kill_daemon(Daemon::Zebra);
        let log = fixture.router().log();
        let joins = || std::fs::read_to_string(&log).unwrap().matches("bgpd has outlived zebra").count();
        until_true("bgpd at the new zebra", || joins() == deaths);
        let joined = killed.elapsed();
        println!("{name}: bgpd is at the new zebra {joined:.1?} after the end of zebra");
        assert!(joined <= paced(JOINED), "{joined:?}");
        fixture.router().await_ready(&[100, 200]);
        assert_told(&fixture);
    }
    // What comes now takes the whole way.
    fixture.hosts[0].withdraw("blue").unwrap();
    fixture.await_type5_from("172.30.0.16/32", 200, &[]);
    until_true("the kernel without the service", || vrf_next_hops(&fixture.routers[0].node, "blue", BLUE).is_empty());
    red.end().assert_lossless("red");
    assert!(blue.end().lost > 0, "blue was withdrawn meanwhile");
    fixture.hosts[0].announce("blue").unwrap();
    fixture.await_services();
    fixture.stream("blue").end();
    assert_eq!(fixture.router().established(&ALL), established);
    assert_eq!(fixture.router().daemon_pids()[&Daemon::Bgpd], pids[&Daemon::Bgpd]);
    let plan = fixture.router().plan();
    assert_eq!(plan.code, Some(0), "{}{}", plan.stdout, plan.stderr);
}

/// What zebra found in the kernel, and bgpd did not tell it, has the kernel's metric: it would go with zebra's sweep.
fn assert_told(fixture: &Fixture) {
    for vrf in ["default", "red", "blue"] {
        let command = format!("show ip route vrf {vrf} bgp json");
        let words = ["vtysh", "--vty_socket", "/run/perouter/frr", "-c", &command];
        let routes = fixture.routers[0].node.check(&words).unwrap();
        assert!(routes.contains("\"metric\":0") && !routes.contains("\"metric\":20"), "{vrf}: {routes}");
    }
}

#[test]
fn nobody_notices_the_death_of_zebra() {
    zebra_dies("zebra", &Setup::example());
}

#[test]
fn nobody_notices_the_death_of_zebra_with_graceful_restart() {
    zebra_dies("zebra-gr", &graceful());
}

/// BFD does not outlive zebra.
#[test]
fn the_control_plane_is_back_after_the_death_of_zebra_with_bfd() {
    let bfd = format!("  hostSession:\n    {}\n", bfd_settings());
    dies("zebra-bfd", Daemon::Zebra, &Setup::example().with("red.yaml", &bfd));
}

/// Numbers of VRFs that are not 1, 2, 3: a new zebra would give others in `netns` mode. Then all is started anew.
#[test]
fn zebra_dies_after_the_removal_of_a_vrf() {
    let Some(mut fixture) = Fixture::start("zebra-gap", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let (first, rest, vni) = if fixture.router().vrf_number("red") == Some(1) {
        ("red.yaml", "blue", 200)
    } else {
        ("blue.yaml", "red", 100)
    };
    fixture.remove(first);
    fixture.router().await_ready(&[vni]);
    let bgpd = fixture.router().daemon_pids()[&Daemon::Bgpd];
    let keeps = fixture.router().keeps_netns() || fixture.router().status().unwrap().vrf_mode == VrfMode::Vrf;
    fixture.router().kill_daemon(Daemon::Zebra);
    let address = if rest == "red" { RED } else { BLUE };
    until_true("the daemons", || keeps || fixture.router().daemon_pids().get(&Daemon::Bgpd) != Some(&bgpd));
    let peer = if rest == "red" { "192.169.10.2" } else { "192.169.11.2" };
    fixture.router().await_session(rest, peer);
    fixture.await_type5(&format!("{address}/32"), vni);
    fixture.router().await_ready(&[vni]);
    assert_eq!(fixture.router().daemon_pids()[&Daemon::Bgpd] == bgpd, keeps);
    fixture.stream(rest).end();
}
