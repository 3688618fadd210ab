//! The end of perouter, asked for or not: FRR and forwarding go on.

use super::fixture::{Fixture, until_true};

const ALL: [Option<&str>; 3] = [None, Some("red"), Some("blue")];

fn survives(name: &str, end: impl FnOnce(&mut super::router::Router)) {
    let Some(mut fixture) = Fixture::start(name, &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let (established, pids) = (fixture.router().established(&ALL), fixture.router().daemon_pids());
    assert_eq!(established.len(), 3, "{established:?}");
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    end(fixture.router());
    // Without a controller the router goes on: a service that goes and comes is still told to the fabric.
    fixture.hosts[0].withdraw("blue").unwrap();
    fixture.await_type5_from("172.30.0.16/32", 200, &[]);
    let router = fixture.router();
    assert_eq!(router.daemon_pids(), pids);
    router.forget_status();
    router.start();
    until_true("the status of the second life", || router.status().is_some());
    router.await_ready(&[100, 200]);
    assert_eq!(router.daemon_pids(), pids);
    assert!(router.status().unwrap().last_change.is_quiet());
    assert_eq!(router.established(&ALL), established);
    let [red, blue] = streams.map(super::stream::Stream::end);
    red.assert_lossless("red");
    assert!(blue.lost > 0, "blue was withdrawn meanwhile: {blue}");
}

#[test]
fn sigterm_leaves_forwarding_and_sessions_and_a_restart_adopts_them() {
    survives("sigterm", super::router::Router::terminate);
}

#[test]
fn sigkill_leaves_forwarding_and_sessions_and_a_restart_adopts_them() {
    survives("sigkill", super::router::Router::kill);
}
