//! Router and controller as separate processes, as the two `DaemonSets` run them.

use std::time::Duration;

use super::fixture::{Fixture, Setup, l3vni, until_true};

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
