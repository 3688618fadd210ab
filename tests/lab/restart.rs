//! perouter is stopped or killed, then restarted: FRR and forwarding are not interrupted.

use super::fixture::{Fixture, until_true};

const ALL: [Option<&str>; 3] = [None, Some("red"), Some("blue")];

fn assert_hitless(name: &str, stop: impl FnOnce(&mut super::router::Router)) {
    let Some(mut fixture) = Fixture::start(name, &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let (established, pids) = (fixture.router().established(&ALL), fixture.router().daemon_pids());
    assert_eq!(established.len(), 3, "{established:?}");
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    stop(fixture.router());
    // FRR works without perouter: a withdrawal of a service still reaches the fabric.
    fixture.hosts[0].withdraw("blue").unwrap();
    fixture.await_type5_from("172.30.0.16/32", 200, &[]);
    let router = fixture.router();
    assert_eq!(router.daemon_pids(), pids);
    router.remove_status();
    router.start();
    until_true("a status of the new process", || router.status().is_some());
    router.await_ready(&[100, 200]);
    assert_eq!(router.daemon_pids(), pids);
    assert!(router.status().unwrap().last_change.is_quiet());
    assert_eq!(router.established(&ALL), established);
    let [red, blue] = streams.map(super::traffic::Stream::finish);
    red.assert_lossless("red");
    assert!(blue.lost > 0, "blue was withdrawn in the meantime: {blue}");
}

#[test]
fn sigterm_keeps_forwarding_and_sessions_and_a_restart_adopts_them() {
    assert_hitless("sigterm", super::router::Router::terminate);
}

#[test]
fn sigkill_keeps_forwarding_and_sessions_and_a_restart_adopts_them() {
    assert_hitless("sigkill", super::router::Router::kill);
}
