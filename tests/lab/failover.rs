//! Failover of a service from one node to the other, measured with one request each millisecond.
//!
//! Both nodes have the service; the second one advertises it with a longer AS path, so that all traffic goes to the
//! first and the leaf has the path to the second as an alternative. So the measured gap is the time of detection and
//! propagation.

use std::time::{Duration, Instant};

use perouter::frr::show::session::SessionPhase;
use perouter_lab::HostSide;
use perouter_lab::node::Node;

use super::fabric::served_by;
use super::fixture::{Fixture, NODES, RED, Setup, bfd_settings, echo, scaled, until_true};
use super::kernel_state::leaf_next_hops;
use super::router::{BFD_PEERS, bfd_up};
use super::traffic::Stream;

const PROBE_INTERVAL: Duration = Duration::from_millis(1);
const FIRST: &str = "100.65.0.1";
const SECOND: &str = "100.65.0.2";
/// Hold time of host and fabric sessions. The gap of a silent failure is at most the hold time.
const HOLD: Duration = Duration::from_secs(6);
const TIMERS: &str = "holdTimeSeconds: 6\n    keepaliveTimeSeconds: 2\n";

struct Failover<'a> {
    fixture: &'a Fixture,
    bfd: bool,
}

impl Failover<'_> {
    fn await_next_hop(&self, vtep: &str) {
        until_true(&format!("{RED} through {vtep} only"), || {
            leaf_next_hops(self.fixture.node("leafA"), "red", &format!("{RED}/32")).iter().eq([vtep])
        });
    }

    /// The longest outage during a failure that moves the traffic to the second node.
    fn gap(&self, failure: &str, trigger: impl FnOnce()) -> Duration {
        self.await_next_hop(FIRST);
        let from = self.fixture.node("hostA_red");
        assert!(served_by(from, RED, 1).keys().eq([NODES[0]]), "before {failure}");
        let probe = Stream::probe(from, echo(RED), PROBE_INTERVAL);
        let start = Instant::now();
        probe.await_replies(100);
        trigger();
        self.await_next_hop(SECOND);
        probe.await_replies(100);
        let elapsed = start.elapsed();
        let loss = probe.finish();
        assert!(served_by(from, RED, 1).keys().eq([NODES[1]]), "after {failure}");
        let interval = elapsed.as_secs_f64() * 1000.0 / f64::from(u32::try_from(loss.sent).unwrap());
        let bfd = if self.bfd { "with" } else { "without" };
        println!(
            "gap: {failure}, {bfd} BFD: {} ms ({} of {} requests lost, one each {interval:.1} ms)",
            loss.longest_outage.as_millis(),
            loss.lost,
            loss.sent
        );
        loss.longest_outage
    }

    /// Three failures of the first node's service, each followed by its recovery.
    fn all_gaps(&self) -> [Duration; 3] {
        let host = &self.fixture.hosts[0];
        let withdrawn = self.gap("clean withdraw", || host.withdraw("red").unwrap());
        host.announce("red").unwrap();
        self.await_next_hop(FIRST);

        // From now on its processes, the service included, send nothing; their sockets stay open.
        let killed = self.gap("host killed", || {
            signal(host, "-STOP");
            address(host.node(), "del");
        });
        signal(host, "-CONT");
        address(host.node(), "add");
        self.await_next_hop(FIRST);

        let leaf = self.fixture.node("leafkind");
        // The leaf's bridge, which carries the session, stays up because of the other node's port.
        let unplugged = self.gap("node unplugged", || {
            leaf.check(&["ip", "link", "set", "node0", "down"]).unwrap();
        });
        leaf.check(&["ip", "link", "set", "node0", "up"]).unwrap();
        self.await_next_hop(FIRST);
        [withdrawn, killed, unplugged]
    }
}

/// Sends a signal to all daemons of the host side.
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

/// Enables BFD on all sessions of the nodes, on both ends.
fn enable_bfd(fixture: &Fixture) {
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
        until_true("all sessions established after the change", || {
            let sessions = router.sessions();
            sessions.len() == 3 && sessions.iter().all(|session| session.phase == SessionPhase::Established)
        });
    }
}

#[test]
fn a_service_fails_over_to_the_other_node() {
    let setup = Setup::example().with("red.yaml", &format!("  hostSession:\n    {TIMERS}")).replacing(
        "underlay.yaml",
        "asn: 64512\n",
        &format!("asn: 64512\n      {}", TIMERS.replace("    ", "      ")),
    );
    let Some(fixture) = Fixture::start_with("failover", &[0, 1], &setup) else { return };
    // One AS more: the leaf prefers the other path, and the second router still advertises its own.
    let longer = ["configure terminal", "route-map peerred-out permit 10", "set as-path prepend 64515"];
    fixture.hosts[1].vtysh(&longer).unwrap();

    let [withdrawn, killed, unplugged] = Failover { fixture: &fixture, bfd: false }.all_gaps();
    assert!(withdrawn < scaled(Duration::from_secs(1)), "clean withdraw: {withdrawn:?}");
    for (failure, gap) in [("host killed", killed), ("node unplugged", unplugged)] {
        assert!(gap > Duration::from_secs(2), "{failure}: detected after {gap:?}, so it was not silent");
        assert!(gap < HOLD + scaled(Duration::from_secs(3)), "{failure}: {gap:?}");
    }

    enable_bfd(&fixture);
    let [withdrawn, killed_bfd, unplugged_bfd] = Failover { fixture: &fixture, bfd: true }.all_gaps();
    assert!(withdrawn < scaled(Duration::from_secs(1)), "clean withdraw with BFD: {withdrawn:?}");
    for (failure, gap, without) in [("host killed", killed_bfd, killed), ("node unplugged", unplugged_bfd, unplugged)] {
        assert!(gap < without, "{failure}: {gap:?} with BFD, {without:?} without");
        assert!(gap < scaled(Duration::from_secs(3)), "{failure} with BFD: {gap:?}");
    }
}
