//! Router and controller as separate processes, as the two `DaemonSets` run them.

use std::time::Duration;

use perouter_lab::node::Background;

use super::fixture::{Fixture, SETTLE, Setup, l3vni, until, until_true};
use super::router::{METRICS_ADDRESS, Router};

#[test]
fn a_killed_controller_process_does_not_affect_the_router_process() {
    let Some(mut fixture) = Fixture::deploy("processes", &[0], &Setup::example()) else { return };
    // The controller may start first: it waits for the router.
    let mut controller = fixture.router().spawn("controller", true);
    let mut router = fixture.router().spawn("router", false);
    until_true("a status", || fixture.router().status().is_some());
    fixture.start_hosts();
    fixture.await_services();
    fixture.router().await_ready(&[100, 200]);
    let all = [None, Some("red"), Some("blue")];
    let (established, pids) = (fixture.router().established(&all), fixture.router().daemon_pids());
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    controller.kill().unwrap();
    fixture.write("green.yaml", &l3vni("green", 300, "192.169.12.0/24"));
    controller = fixture.router().spawn("controller", true);
    fixture.router().await_ready(&[100, 200, 300]);
    fixture.await_type5("192.169.12.2/32", 300);
    assert_eq!(fixture.router().daemon_pids(), pids);
    assert_eq!(fixture.router().established(&all), established);
    for (stream, colour) in streams.into_iter().zip(["red", "blue"]) {
        stream.finish().assert_lossless(colour);
    }
    for process in [&mut controller, &mut router] {
        let status = process.terminate(Duration::from_secs(60)).unwrap();
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
    assert_eq!(fixture.router().daemon_pids(), pids);
}

/// What a rolling update of the routers waits for.
#[test]
fn a_router_is_ready_while_the_fabric_carries_evpn_or_there_is_no_underlay() {
    let Some(fixture) = Fixture::deploy("readiness", &[0], &Setup::example()) else { return };
    let mut router = spawn_router(&fixture);
    await_answer(&fixture, "ok\n");
    let mut controller = fixture.routers[0].spawn("controller", true);
    until_true("a status", || fixture.routers[0].status().is_some());
    await_answer(&fixture, "ok\n");

    // As an upgrade of a Pod: FRR goes with its container, /run/perouter stays.
    controller.kill().unwrap();
    router.kill().unwrap();
    for daemon in fixture.routers[0].daemon_pids().into_keys() {
        fixture.routers[0].kill_daemon(daemon);
    }
    leaf(&fixture, &["neighbor nodes shutdown"]);
    router = spawn_router(&fixture);
    await_answer(&fixture, "FRR is not configured yet\n");
    controller = fixture.routers[0].spawn("controller", true);
    await_answer(&fixture, "no session with the fabric is established\n");
    leaf(&fixture, &["address-family l2vpn evpn", "no neighbor nodes activate"]);
    leaf(&fixture, &["no neighbor nodes shutdown"]);
    await_answer(&fixture, "no session with the fabric carries L2VPN EVPN\n");
    leaf(&fixture, &["address-family l2vpn evpn", "neighbor nodes activate"]);
    await_answer(&fixture, "ok\n");

    one_process(&fixture, [&mut controller, &mut router]);
    router = spawn_router(&fixture);
    controller = fixture.routers[0].spawn("controller", true);
    await_answer(&fixture, "ok\n");

    for name in ["underlay.yaml", "red.yaml", "blue.yaml"] {
        fixture.remove(name);
    }
    fixture.routers[0].await_status("no VTEP", |status| status.vtep.is_none().then_some(()));
    await_answer(&fixture, "ok\n");
    for process in [&mut controller, &mut router] {
        process.terminate(SETTLE).unwrap();
    }
    let log = std::fs::read_to_string(fixture.routers[0].log()).unwrap();
    let of_files: Vec<&str> = log.lines().filter(|line| line.contains("configuration file")).collect();
    assert_eq!(of_files, Vec::<&str>::new(), "a warning of mgmtd about a missing file");
}

/// `perouter run` is ready where both are.
fn one_process(fixture: &Fixture, two: [&mut Background; 2]) {
    for process in two {
        process.terminate(SETTLE).unwrap();
    }
    let mut both = fixture.routers[0].spawn("run", true);
    await_answer_at(fixture, METRICS_ADDRESS, "ok\n");
    leaf(fixture, &["neighbor nodes shutdown"]);
    await_answer_at(fixture, METRICS_ADDRESS, "no session with the fabric is established\n");
    leaf(fixture, &["no neighbor nodes shutdown"]);
    await_answer_at(fixture, METRICS_ADDRESS, "ok\n");
    both.terminate(SETTLE).unwrap();
}

fn spawn_router(fixture: &Fixture) -> Background {
    let Router { node, .. } = &fixture.routers[0];
    let words = ["env", "PEROUTER_HTTP_ADDRESS=127.0.0.1:9477", env!("CARGO_BIN_EXE_perouter"), "router"];
    node.spawn(&words, &fixture.routers[0].log()).unwrap()
}

/// Waits until `/readyz` of the router answers this.
fn await_answer(fixture: &Fixture, wanted: &str) {
    await_answer_at(fixture, "127.0.0.1:9477", wanted);
}

fn await_answer_at(fixture: &Fixture, address: &str, wanted: &str) {
    let url = format!("http://{address}/readyz");
    let words = ["curl", "--silent", "--max-time", "5", "--noproxy", "*", url.as_str()];
    let mut last = None;
    let is_wanted = || {
        let answer = fixture.routers[0].node.check(&words).ok();
        if answer != last {
            println!("/readyz: {answer:?}");
            last.clone_from(&answer);
        }
        (answer.as_deref() == Some(wanted)).then_some(())
    };
    until(&format!("/readyz: {wanted}"), SETTLE, is_wanted);
}

/// Configures the sessions of leafkind with the nodes.
fn leaf(fixture: &Fixture, lines: &[&str]) {
    let words = ["vtysh", "-c", "configure terminal", "-c", "router bgp 64512"].into_iter();
    let all: Vec<&str> = words.chain(lines.iter().flat_map(|line| ["-c", *line])).collect();
    fixture.node("leafkind").check(&all).unwrap();
}
