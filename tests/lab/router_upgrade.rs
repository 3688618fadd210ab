//! `perouter router` is replaced by one with another release of FRR, and back: another Pod on the same node, with the same
//! run directory. The controller, leaves and hosts go on.

use std::time::{Duration, Instant};

use perouter::runtime::Daemon;
use perouter_lab::evpn::{FabricRoute, type5_routes};
use perouter_lab::node::Background;

use super::fixture::{BLUE, Fixture, RED, SETTLE, Setup, echo, lab_release, machine_release, scaled, until_true};
use super::graceful_restart::graceful;
use super::traffic::Stream;

/// Where the nodes have the system of the machine, whose FRR is the other one.
const MACHINE: [(&str, &str); 2] = [("/usr", "/machine/usr"), ("/etc", "/machine/etc")];
/// Runs a command as in a container of the machine's system: programs, libraries, and the user ids of FRR. /run is that of the
/// node, as in a Pod with `mountPropagation: Bidirectional`.
const IN_MACHINE: &str = "for path in usr etc/passwd etc/group etc/ld.so.cache; do mount --bind /machine/$path /$path; \
                          done; exec \"$@\"";
/// Between two requests.
const INTERVAL: Duration = Duration::from_millis(1);
/// Outage that is allowed without graceful restart: the leaf withdraws the Type-5 routes until bgpd advertises them again.
const WITHOUT: Duration = Duration::from_secs(5);
/// With graceful restart, where FRR 8.4 on one side of the upgrade has none for EVPN: measured were 0.1 s to 10.7, 0.8 s back.
const GRACEFUL: Duration = Duration::from_secs(2);
/// What is removed late would be lost then.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// Which FRR the router has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    /// That of the machine.
    Machine,
    /// That of all nodes of the lab.
    Lab,
}

impl System {
    fn command(self, words: Vec<String>) -> Vec<String> {
        let enter = ["unshare", "--mount", "--propagation", "unchanged", "sh", "-ec", IN_MACHINE, "sh"];
        let enter = if self == Self::Machine { &enter[..] } else { &[] };
        enter.iter().map(|word| (*word).to_owned()).chain(words).collect()
    }

    fn frr(self) -> &'static str {
        match self {
            Self::Machine => machine_release().name,
            Self::Lab => lab_release().name,
        }
    }
}

fn start_router(fixture: &Fixture, system: System) -> Background {
    let router = &fixture.routers[0];
    router.node.spawn(&system.command(router.command("router", false)), &router.log()).unwrap()
}

/// What the fabric has of the node. Without route distinguishers: new daemons number the VRFs as they come.
fn advertised(fixture: &Fixture) -> Vec<FabricRoute> {
    let routes = type5_routes(fixture.node("leafA")).unwrap();
    let mut routes: Vec<_> = routes.into_iter().filter(|route| route.vtep == fixture.routers[0].vtep()).collect();
    for route in &mut routes {
        route.rd.clear();
    }
    routes.sort();
    routes
}

/// Waits until FRR and the kernel are as the objects say.
fn await_configured(fixture: &Fixture, system: System) {
    let router = &fixture.routers[0];
    let mut last = String::new();
    until_true("a router that needs nothing", || {
        let plan = router.node.run_for(SETTLE, &system.command(router.command("plan", true))).unwrap();
        if plan.stdout != last {
            println!("plan with FRR {}: {:?} {}{}", system.frr(), plan.code, plan.stdout, plan.stderr);
            last.clone_from(&plan.stdout);
        }
        (plan.code, plan.stdout.as_str()) == (Some(0), "0 kernel operations, 0 FRR lines\n")
    });
    assert_eq!(router.release().name, system.frr());
}

/// Replaces the running router, which may interrupt forwarding for so long.
fn upgrade(fixture: &Fixture, old: &mut Background, system: System, (what, outage): (&str, Duration)) -> Background {
    let router = &fixture.routers[0];
    let (pids, routes) = (router.daemon_pids(), advertised(fixture));
    let from = router.release().name;
    let probe = |host, to| Stream::probe(fixture.node(host), echo(to), INTERVAL);
    let probes = [("red", probe("hostA_red", RED)), ("blue", probe("hostA_blue", BLUE))];
    let begin = Instant::now();
    assert!(old.terminate(SETTLE).unwrap().is_some_and(|status| status.success()));
    assert_eq!(router.daemon_pids(), pids, "FRR goes on until the new router is there");
    let new = start_router(fixture, system);
    until_true("daemons of the other release", || {
        let now = router.daemon_pids();
        now.contains_key(&Daemon::Bgpd) && now.iter().all(|(daemon, pid)| pids.get(daemon) != Some(pid))
    });
    for (vrf, peer) in [("red", "192.169.10.2"), ("blue", "192.169.11.2")] {
        router.await_session(vrf, peer);
    }
    until_true("the same routes at leafA", || advertised(fixture) == routes);
    let took = begin.elapsed();
    router.await_ready(&[100, 200]);
    await_configured(fixture, system);
    std::thread::sleep(AFTERWARDS);
    println!("{what}: FRR {from} to {}: all Type-5 routes are at the leaf after {took:.1?}", system.frr());
    for (vrf, probe) in probes {
        let loss = probe.finish();
        println!("{what}: FRR {from} to {}: {vrf}: {loss}", system.frr());
        assert!(loss.sent > 1000, "{vrf}: {loss}");
        assert!(loss.longest_outage <= scaled(outage), "{vrf}: {loss}");
    }
    assert_eq!(advertised(fixture), routes);
    new
}

fn assert_upgrades_and_back(name: &str, mut setup: Setup, outage: Duration) {
    if lab_release() == machine_release() {
        println!("left out: nodes and machine have FRR {}; with PEROUTER_LAB_FRR=10.7 it runs", lab_release().name);
        return;
    }
    setup.binds = MACHINE.to_vec();
    let Some(mut fixture) = Fixture::deploy(name, &[0], &setup) else { return };
    fixture.routers[0].node.check(&["mount", "--make-shared", "/run"]).unwrap();
    let mut router = start_router(&fixture, System::Machine);
    let mut controller = fixture.routers[0].spawn("controller", true);
    until_true("a status", || fixture.routers[0].status().is_some());
    fixture.start_hosts();
    fixture.await_services();
    fixture.routers[0].await_ready(&[100, 200]);
    await_configured(&fixture, System::Machine);
    let before = fixture.routers[0].running();
    for system in [System::Lab, System::Machine] {
        router = upgrade(&fixture, &mut router, system, (name, outage));
    }
    assert_eq!(fixture.routers[0].running(), before);
    let log = std::fs::read_to_string(fixture.routers[0].log()).unwrap();
    assert_eq!(log.matches("FRR was replaced: all daemons are started again").count(), 2, "{log}");
    for process in [&mut controller, &mut router] {
        assert!(process.terminate(SETTLE).unwrap().is_some_and(|status| status.success()));
    }
}

#[test]
fn a_router_with_another_frr_takes_over_and_back() {
    assert_upgrades_and_back("upgrade", Setup::example(), WITHOUT);
}

#[test]
fn a_router_with_another_frr_takes_over_and_back_with_graceful_restart() {
    assert_upgrades_and_back("upgrade-gr", graceful(), GRACEFUL);
}
