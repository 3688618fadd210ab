//! A service moves from one node to the other: what a request each millisecond notices of it.
//!
//! Both nodes have the service; the second one announces it with a longer AS path, so that all goes to the first and the
//! leaf has the other way at hand. What is measured is thus how soon the loss is noticed and the change has arrived.

use std::time::{Duration, Instant};

use perouter::frr::show::session::SessionPhase;
use perouter_lab::HostSide;
use perouter_lab::node::Node;

use super::fabric::served_by;
use super::fixture::{Fixture, NODES, RED, Setup, bfd_settings, echo, paced, until_true};
use super::place::leaf_next_hops;
use super::router::{BFD_PEERS, bfd_up};
use super::stream::Stream;

const EVERY: Duration = Duration::from_millis(1);
const FIRST: &str = "100.65.0.1";
const SECOND: &str = "100.65.0.2";
/// Of host session and underlay alike. The gap of a silent loss is the hold time, less what had passed of it.
const HOLD: Duration = Duration::from_secs(6);
const TIMERS: &str = "holdTimeSeconds: 6\n    keepaliveTimeSeconds: 2\n";

struct Move<'a> {
    fixture: &'a Fixture,
    bfd: bool,
}

impl Move<'_> {
    fn await_way(&self, vtep: &str) {
        until_true(&format!("{RED} by {vtep} alone"), || {
            leaf_next_hops(self.fixture.node("leafA"), "red", &format!("{RED}/32")).iter().eq([vtep])
        });
    }

    /// What the probe notices of an action that moves the service to the second node.
    fn gap(&self, way: &str, act: impl FnOnce()) -> Duration {
        self.await_way(FIRST);
        let from = self.fixture.node("hostA_red");
        assert!(served_by(from, RED, 1).keys().eq([NODES[0]]), "before {way}");
        let probe = Stream::probe(from, echo(RED), EVERY);
        let start = Instant::now();
        probe.await_answers(100);
        act();
        self.await_way(SECOND);
        probe.await_answers(100);
        let took = start.elapsed();
        let tally = probe.end();
        assert!(served_by(from, RED, 1).keys().eq([NODES[1]]), "after {way}");
        let interval = took.as_secs_f64() * 1000.0 / f64::from(u32::try_from(tally.sent).unwrap());
        let bfd = if self.bfd { "with" } else { "without" };
        println!(
            "gap: {way}, {bfd} BFD: {} ms ({} of {} requests lost, one each {interval:.1} ms)",
            tally.longest_outage.as_millis(),
            tally.lost,
            tally.sent
        );
        tally.longest_outage
    }

    /// The three ways to lose the first node's service, each mended again.
    fn all(&self) -> [Duration; 3] {
        let host = &self.fixture.hosts[0];
        let withdrawn = self.gap("clean withdraw", || host.withdraw("red").unwrap());
        host.announce("red").unwrap();
        self.await_way(FIRST);

        // Its processes are silent from now on, the service among them; sockets stay open.
        let killed = self.gap("host killed", || {
            signal(host, "-STOP");
            address(host.node(), "del");
        });
        signal(host, "-CONT");
        address(host.node(), "add");
        self.await_way(FIRST);

        let leaf = self.fixture.node("leafkind");
        // The other node keeps the leaf's bridge up, on which its session is.
        let unplugged = self.gap("node unplugged", || {
            leaf.check(&["ip", "link", "set", "node0", "down"]).unwrap();
        });
        leaf.check(&["ip", "link", "set", "node0", "up"]).unwrap();
        self.await_way(FIRST);
        [withdrawn, killed, unplugged]
    }
}

/// To all daemons of the host side.
fn signal(host: &HostSide, signal: &str) {
    let pids = ["zebra", "bgpd", "bfdd", "staticd"].map(|daemon| {
        let file = host.node().file(format!("/run/frr/host/{daemon}.pid"));
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    });
    let mut words = vec!["kill", signal];
    words.extend(pids.iter().map(String::as_str));
    host.node().check(&words).unwrap();
}

fn address(node: &Node, verb: &str) {
    node.check(&["ip", "address", verb, &format!("{RED}/32"), "dev", "lo"]).unwrap();
}

/// BFD where sessions of the first node end: the leaf and its host.
fn bfd_on(fixture: &Fixture) {
    let leaf = fixture.node("leafkind");
    leaf.check(&["vtysh", "-c", "configure terminal", "-c", "router bgp 64512", "-c", "neighbor nodes bfd"]).unwrap();
    for file in ["underlay.yaml", "red.yaml"] {
        let (from, indent) = if file == "red.yaml" { ("hostSession:\n", "    ") } else { ("asn: 64512\n", "      ") };
        fixture.edit(file, from, &format!("{from}{indent}{}\n", bfd_settings()));
    }
    for host in &fixture.hosts {
        host.vtysh(&["configure terminal", "router bgp 64515", "neighbor 192.169.10.1 bfd"]).unwrap();
    }
    until_true("BFD with both nodes at leafkind", || {
        leaf.check(&["vtysh", "-c", BFD_PEERS]).is_ok_and(|text| bfd_up(&text) == 2)
    });
    for host in &fixture.hosts {
        until_true("BFD with the router at the host", || host.vtysh(&[BFD_PEERS]).is_ok_and(|text| bfd_up(&text) == 1));
    }
    for router in &fixture.routers {
        until_true("all sessions after the change", || {
            let sessions = router.sessions();
            sessions.len() == 3 && sessions.iter().all(|session| session.phase == SessionPhase::Established)
        });
    }
}

#[test]
fn a_service_moves_from_one_node_to_the_other() {
    let setup = Setup::example().with("red.yaml", &format!("  hostSession:\n    {TIMERS}")).replacing(
        "underlay.yaml",
        "asn: 64512\n",
        &format!("asn: 64512\n      {}", TIMERS.replace("    ", "      ")),
    );
    let Some(fixture) = Fixture::start_with("moves", &[0, 1], &setup) else { return };
    // One AS more: the leaf takes the other way, and the second router tells of its own all the same.
    let longer = ["configure terminal", "route-map peerred-out permit 10", "set as-path prepend 64515"];
    fixture.hosts[1].vtysh(&longer).unwrap();

    let [withdrawn, killed, unplugged] = Move { fixture: &fixture, bfd: false }.all();
    assert!(withdrawn < paced(Duration::from_secs(1)), "clean withdraw: {withdrawn:?}");
    for (way, gap) in [("host killed", killed), ("node unplugged", unplugged)] {
        assert!(gap > Duration::from_secs(2), "{way}: noticed after {gap:?}, so it was not silent");
        assert!(gap < HOLD + paced(Duration::from_secs(3)), "{way}: {gap:?}");
    }

    bfd_on(&fixture);
    let [withdrawn, killed_bfd, unplugged_bfd] = Move { fixture: &fixture, bfd: true }.all();
    assert!(withdrawn < paced(Duration::from_secs(1)), "clean withdraw with BFD: {withdrawn:?}");
    for (way, gap, without) in [("host killed", killed_bfd, killed), ("node unplugged", unplugged_bfd, unplugged)] {
        assert!(gap < without, "{way}: {gap:?} with BFD, {without:?} without");
        assert!(gap < paced(Duration::from_secs(3)), "{way} with BFD: {gap:?}");
    }
}
