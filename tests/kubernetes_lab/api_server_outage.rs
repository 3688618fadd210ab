//! An outage of the API server: running routers are not affected, a service moves, a controller restarts.

use std::time::{Duration, Instant};

use super::cluster_fixture::{ClusterFixture, green, step};
use crate::lab::fixture::{BLUE, NODES, RED, until_true};

const OUTAGE: Duration = Duration::from_secs(60);

pub fn api_server_outage(lab: &mut ClusterFixture) {
    let (red, blue) = (format!("{RED}/32"), format!("{BLUE}/32"));
    let before = lab.established(None);
    let pids: Vec<_> = lab.fixture.routers.iter().map(crate::lab::router::Router::daemon_pids).collect();
    let stream = lab.fixture.stream("blue");
    lab.cluster.control_plane().stop_api_server().unwrap();
    let stopped = Instant::now();
    let vteps: Vec<String> = lab.fixture.routers.iter().map(crate::lab::router::Router::vtep).collect();
    step("red moves to the second node, then to the first", || {
        lab.fixture.hosts[0].withdraw("red").unwrap();
        lab.fixture.await_type5_from(&red, 100, &vteps[1..]);
        lab.fixture.hosts[0].announce("red").unwrap();
        lab.fixture.hosts[1].withdraw("red").unwrap();
        lab.fixture.await_type5_from(&red, 100, &vteps[..1]);
    });
    step("a controller restarts without API server", || {
        let router = &lab.fixture.routers[0];
        router.remove_status();
        let node = router.node.name().to_string();
        lab.cluster.kubelet().restart("controller", &node).unwrap();
        router.await_ready(&[100, 200]);
        let status = router.status().unwrap();
        assert!(status.last_change.is_quiet(), "the last plan is already applied: {:?}", status.last_change);
        assert_eq!(status.vtep.map(|vtep| vtep.to_string()).as_ref(), vteps.first());
        // It started from the snapshot on disk, which survives a reboot of the node and contains passwords.
        let stat = ["stat", "--format=%a %U", "/var/lib/perouter/snapshot.json"];
        assert_eq!(router.node.check(&stat).unwrap().trim(), "600 root");
    });
    lab.fixture.hosts[1].announce("red").unwrap();
    lab.fixture.await_type5(&red, 100);
    std::thread::sleep(OUTAGE.saturating_sub(stopped.elapsed()));
    assert_eq!(lab.established(None), before, "a session was reset");
    step("start the API server", || lab.cluster.control_plane().start_api_server().unwrap());
    step("a change after the outage", || {
        lab.apply(&green());
        for router in &lab.fixture.routers {
            router.await_ready(&[100, 200, 300]);
        }
    });
    stream.finish().assert_lossless("blue, during the outage of the API server");
    lab.fixture.await_type5(&blue, 200);
    let after: Vec<_> = lab.fixture.routers.iter().map(crate::lab::router::Router::daemon_pids).collect();
    assert_eq!(after, pids, "FRR was restarted");
    lab.kubectl(&["--namespace", super::cluster_fixture::NAMESPACE, "delete", "l3vni", "green"]);
    until_true("green removed", || {
        lab.fixture.routers.iter().all(|router| router.status().is_some_and(|status| status.vnis.len() == NODES.len()))
    });
    assert_eq!(lab.established(None), before);
}
