//! The API server is away for a minute: what runs goes on, a service moves, a controller starts anew.

use std::time::{Duration, Instant};

use super::place::{Place, green, step};
use crate::lab::fixture::{BLUE, NODES, RED, until_true};

const AWAY: Duration = Duration::from_secs(60);

pub fn the_api_server_goes_away(place: &mut Place) {
    let (red, blue) = (format!("{RED}/32"), format!("{BLUE}/32"));
    let before = place.established(None);
    let pids: Vec<_> = place.fixture.routers.iter().map(crate::lab::router::Router::daemon_pids).collect();
    let stream = place.fixture.stream("blue");
    place.cluster.control_plane().stop_api_server().unwrap();
    let gone = Instant::now();
    let vteps: Vec<String> = place.fixture.routers.iter().map(crate::lab::router::Router::vtep).collect();
    step("red moves to the second node, then to the first", || {
        place.fixture.hosts[0].withdraw("red").unwrap();
        place.fixture.await_type5_from(&red, 100, &vteps[1..]);
        place.fixture.hosts[0].announce("red").unwrap();
        place.fixture.hosts[1].withdraw("red").unwrap();
        place.fixture.await_type5_from(&red, 100, &vteps[..1]);
    });
    step("a controller without API server", || {
        let router = &place.fixture.routers[0];
        router.forget_status();
        let node = router.node.name().to_string();
        place.cluster.kubelet().restart("controller", &node).unwrap();
        router.await_ready(&[100, 200]);
        let status = router.status().unwrap();
        assert!(status.last_change.is_quiet(), "the last plan is in force already: {:?}", status.last_change);
        assert_eq!(status.vtep.map(|vtep| vtep.to_string()).as_ref(), vteps.first());
        // What it started from outlives a reboot of the node, and holds passwords.
        let kept = ["stat", "--format=%a %U", "/var/lib/perouter/snapshot.json"];
        assert_eq!(router.node.check(&kept).unwrap().trim(), "600 root");
    });
    place.fixture.hosts[1].announce("red").unwrap();
    place.fixture.await_type5(&red, 100);
    std::thread::sleep(AWAY.saturating_sub(gone.elapsed()));
    assert_eq!(place.established(None), before, "no session was touched");
    step("API server back", || place.cluster.control_plane().start_api_server().unwrap());
    step("a change of after", || {
        place.apply(&green());
        for router in &place.fixture.routers {
            router.await_ready(&[100, 200, 300]);
        }
    });
    stream.end().assert_lossless("blue, with the API server away and back");
    place.fixture.await_type5(&blue, 200);
    let after: Vec<_> = place.fixture.routers.iter().map(crate::lab::router::Router::daemon_pids).collect();
    assert_eq!(after, pids, "FRR runs on");
    place.kubectl(&["--namespace", super::place::NAMESPACE, "delete", "l3vni", "green"]);
    until_true("green gone", || {
        place
            .fixture
            .routers
            .iter()
            .all(|router| router.status().is_some_and(|status| status.vnis.len() == NODES.len()))
    });
    assert_eq!(place.established(None), before);
}
