//! Faults that others cause on a node, under traffic: each line of docs/faults.md whose effect on packets matters has its
//! test here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use perouter::frr::release::FRR_10_3;
use perouter::runtime::Daemon;
use perouter::types::VrfMode;

use super::fixture::{Fixture, scaled, until, until_true};
use super::kernel_state::{in_router, in_vrf};

/// Recovery time that is allowed where zebra and bgpd crash one after the other.
const BOTH_CRASH: Duration = Duration::from_secs(4);
/// The same where all daemons crash at once.
const ALL_CRASH: Duration = Duration::from_secs(5);
/// The longest outage where bgpd connects to a zebra that has no VNIs yet.
const WITHOUT_VNIS: Duration = Duration::from_secs(2);

const SESSIONS: [(&str, &str); 2] = [("red", "192.169.10.2"), ("blue", "192.169.11.2")];

impl Fixture {
    /// Runs a command on the only node.
    fn on_node(&self, words: &[&str]) {
        self.routers[0].node.check(words).unwrap();
    }

    /// Runs a line of a shell in the namespace of red.
    fn in_red(&self, line: &str) {
        let node = &self.routers[0].node;
        let words = in_vrf(node, "red", &["sh", "-c", line]);
        node.check(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }

    fn inode(&self, path: &str) -> Option<u64> {
        let output = self.routers[0].node.run(&["stat", "-L", "-c", "%i", path]).unwrap();
        output.stdout.trim().parse().ok()
    }

    /// Waits until nothing is left to do; returns the time since the fault.
    fn await_repaired(&mut self, since: Instant) -> Duration {
        self.router().await_ready(&[100, 200]);
        self.await_services();
        since.elapsed()
    }

    /// Waits until sessions and Type-5 routes are back after daemons were killed.
    fn await_control_plane(&mut self, killed: Instant, pids: &BTreeMap<Daemon, u32>) -> Duration {
        until_true("the restart of the daemons", || {
            let now = self.router().daemon_pids();
            let is_new = |daemon| now.get(&daemon).is_some_and(|pid| pids.get(&daemon) != Some(pid));
            [Daemon::Zebra, Daemon::Bgpd].into_iter().all(is_new)
        });
        for (vrf, peer) in SESSIONS {
            self.router().await_session(vrf, peer);
        }
        self.await_services();
        killed.elapsed()
    }
}

#[test]
fn the_control_plane_recovers_each_time_when_zebra_and_bgpd_crash_one_after_the_other() {
    let Some(mut fixture) = Fixture::start("crash-both", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let pids = fixture.router().daemon_pids();
        let killed = Instant::now();
        fixture.router().kill_daemon(Daemon::Zebra);
        sleep(Duration::from_millis(200));
        fixture.router().kill_daemon(Daemon::Bgpd);
        rounds.push(fixture.await_control_plane(killed, &pids));
        fixture.router().await_ready(&[100, 200]);
    }
    println!("crash-both: sessions and Type-5 routes are back after {rounds:.1?}");
    for (stream, colour) in streams.into_iter().zip(["red", "blue"]) {
        println!("crash-both: {colour}: {}", stream.finish());
    }
    assert!(rounds.iter().all(|round| *round <= scaled(BOTH_CRASH)), "{rounds:?}");
    let pids = fixture.router().daemon_pids();
    let killed = Instant::now();
    let words: Vec<String> =
        ["kill".into(), "-9".into()].into_iter().chain(pids.values().map(u32::to_string)).collect();
    fixture.on_node(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let all = fixture.await_control_plane(killed, &pids);
    println!("crash-all: sessions and Type-5 routes are back after {all:.1?}");
    assert!(all <= scaled(ALL_CRASH), "{all:?}");
    fixture.router().await_ready(&[100, 200]);
}

/// bgpd of FRR 8 connects to a new zebra after 10 s, of FRR 10 after 1 s.
#[test]
fn zebra_may_crash_again_while_bgpd_connects_to_it() {
    let Some(mut fixture) = Fixture::start("crash-again", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let all = [None, Some("red"), Some("blue")];
    let (established, pids) = (fixture.router().established(&all), fixture.router().daemon_pids());
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    // bgpd of FRR 10 connects one second after it has lost zebra.
    let connects_early = fixture.router().release().since >= FRR_10_3.since;
    let delays: &[u64] = if connects_early {
        &[0, 100, 300, 600, 900, 1000, 1100, 1500]
    } else {
        &[0, 100, 300, 600, 1000, 1500, 3000, 6000, 9000, 9600, 10_000, 10_400]
    };
    for delay in delays.iter().copied() {
        let zebra = fixture.router().daemon_pids().get(&Daemon::Zebra).copied();
        fixture.router().kill_daemon(Daemon::Zebra);
        until_true("a new zebra", || {
            let now = fixture.router().daemon_pids().get(&Daemon::Zebra).copied();
            now.is_some() && now != zebra
        });
        sleep(Duration::from_millis(delay));
        assert_eq!(fixture.router().daemon_pids()[&Daemon::Bgpd], pids[&Daemon::Bgpd], "{delay} ms");
    }
    let log = fixture.router().log();
    until_true("bgpd connected to the last zebra", || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.rfind("bgpd is connected to the new zebra") > text.rfind("daemon exited")
    });
    fixture.router().await_ready(&[100, 200]);
    fixture.await_services();
    // Where zebra has crashed again in the meantime, the new one may have no VNI yet, and removes the routes to VTEPs until bgpd is
    // made to send them again.
    for (stream, colour) in streams.into_iter().zip(["red", "blue"]) {
        let loss = stream.finish();
        if connects_early {
            println!("crash-again: {colour}: {loss}");
            assert!(loss.longest_outage <= scaled(WITHOUT_VNIS), "{colour}: {loss}");
        } else {
            loss.assert_lossless(colour);
        }
    }
    assert_eq!(fixture.router().established(&all), established);
    assert_eq!(fixture.router().daemon_pids()[&Daemon::Bgpd], pids[&Daemon::Bgpd]);
}

#[test]
fn names_and_files_that_others_remove_cost_no_packet() {
    let Some(mut fixture) = Fixture::start("unbound", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let all = [None, Some("red"), Some("blue")];
    let (established, pids) = (fixture.router().established(&all), fixture.router().daemon_pids());
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    let mut paths = vec![("/run/netns/perouter", vec!["ip", "netns", "del", "perouter"])];
    if fixture.router().status().unwrap().vrf_mode == VrfMode::Netns {
        paths.push(("/run/perouter/ns/red", vec!["umount", "-l", "/run/perouter/ns/red"]));
    }
    for (path, fault) in paths {
        let before = fixture.inode(path);
        assert!(before.is_some());
        let begin = Instant::now();
        fixture.on_node(&fault);
        until(&format!("{path} bound again"), Duration::from_secs(40), || {
            (fixture.inode(path) == before).then_some(())
        });
        println!("unbound: {path} is bound again after {:.1?}", begin.elapsed());
    }
    fixture.on_node(&["rm", "/run/perouter/frr/bgpd.pid", "/run/perouter/frr/staticd.pid"]);
    fixture.router().terminate();
    fixture.router().start();
    fixture.router().await_ready(&[100, 200]);
    assert_eq!(fixture.router().established(&all), established);
    for (stream, colour) in streams.into_iter().zip(["red", "blue"]) {
        stream.finish().assert_lossless(colour);
    }
    // The supervisor of the new process knows the bgpd without a pid file.
    let bgpd = pids[&Daemon::Bgpd].to_string();
    fixture.on_node(&["kill", "-9", &bgpd]);
    until_true("a new bgpd", || fixture.router().daemon_pids().contains_key(&Daemon::Bgpd));
    fixture.router().await_session("red", "192.169.10.2");
    fixture.await_repaired(Instant::now());
}

#[test]
fn what_others_change_in_red_is_repaired_and_blue_loses_nothing() {
    let Some(mut fixture) = Fixture::start("tamper", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let blue = fixture.stream("blue");
    let faults: [(&str, &[&str], u64); 5] = [
        ("VXLAN device without group", &["ip link set vni100 group default"], 40),
        ("VXLAN device renamed", &["ip link set vni100 down", "ip link set vni100 name other"], 15),
        ("bridge renamed", &["ip link set br-pe-100 down", "ip link set br-pe-100 name other"], 15),
        ("L3VNI down in FRR", &["ip link set vni100 protodown on"], 50),
        ("FDB flushed", &["bridge fdb flush dev vni100"], 60),
    ];
    for (what, commands, limit) in faults {
        let red = fixture.stream("red");
        let begin = Instant::now();
        // At once: perouter sets a link up again, and zebra of FRR 10.7 exits in `vrf` mode where a link that is up is renamed.
        fixture.in_red(&commands.join(" && "));
        // It works again, or still: what is repaired on its own is repaired by the next pass at the latest.
        let again = fixture.stream("red");
        again.await_replies(100);
        again.finish();
        let loss = red.finish();
        println!("tamper: {what}: {:.1?}, {loss}", begin.elapsed());
        assert!(loss.longest_outage <= scaled(Duration::from_secs(limit)), "{what}: {loss}");
        let repaired = fixture.await_repaired(begin);
        assert!(repaired <= scaled(Duration::from_secs(limit)), "{what}: {repaired:?}");
        until_true("nothing left to do", || fixture.router().plan().code == Some(0));
    }
    blue.finish().assert_lossless("blue");
}

type Fault<'a> = &'a dyn Fn(&mut Fixture);

#[test]
fn a_daemon_that_hangs_is_restarted() {
    let Some(mut fixture) = Fixture::start("hangs", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let socket: PathBuf = fixture.router().node.file("/run/perouter/frr/bgpd.vty");
    let stopped = |fixture: &mut Fixture| {
        let bgpd = fixture.router().daemon_pids()[&Daemon::Bgpd].to_string();
        fixture.on_node(&["kill", "-STOP", &bgpd]);
    };
    let without_socket = |_: &mut Fixture| std::fs::remove_file(&socket).unwrap();
    let faults: [(&str, Fault); 2] = [("stopped", &stopped), ("without vty socket", &without_socket)];
    for (what, fault) in faults {
        let bgpd = fixture.router().daemon_pids()[&Daemon::Bgpd];
        let begin = Instant::now();
        fault(&mut fixture);
        until_true("a new bgpd", || fixture.router().daemon_pids().get(&Daemon::Bgpd).is_some_and(|pid| *pid != bgpd));
        let restarted = begin.elapsed();
        for (vrf, peer) in SESSIONS {
            fixture.router().await_session(vrf, peer);
        }
        let repaired = fixture.await_repaired(begin);
        println!("hangs: bgpd {what}: restarted after {restarted:.1?}, repaired after {repaired:.1?}");
        assert!(repaired <= scaled(Duration::from_secs(20)), "{repaired:?}");
    }
    let nics = in_router();
    fixture.on_node(&[&nics[..], &["ip", "link", "show", "toswitch"]].concat());
}
