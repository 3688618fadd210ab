//! Crashes of zebra while an IP-VRF is rebuilt: bgpd, which stays, must not keep the VRF that was deleted.

use std::thread::sleep;
use std::time::{Duration, Instant};

use perouter::frr::show::vni::VniState;
use perouter::runtime::Daemon;
use perouter::status::model::ObjectState;
use perouter::types::VrfMode;

use super::fixture::{Fixture, SETTLE, lab_release, scaled, until_true};
use super::kernel_state::in_vrf;

/// Until red works again.
const REPAIR_LIMIT: Duration = Duration::from_secs(15);
/// For so long the status may say that red is ready, and it has no session: it is read after each change, and a host connects
/// within a second or two.
const UNNOTICED: Duration = Duration::from_secs(6);
const HOST: &str = "192.169.10.2";

impl Fixture {
    fn mode(&mut self) -> VrfMode {
        self.router().status().unwrap().vrf_mode
    }

    /// Runs a line of a shell where the links of red are. What is gone already is no error.
    fn among_links_of_red(&self, line: &str) {
        let node = &self.routers[0].node;
        let words = in_vrf(node, "red", &["sh", "-c", line]);
        node.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }

    fn is_red_ready(&mut self) -> bool {
        let status = self.router().status().unwrap();
        let is_ready = |vni: u32| status.vnis.get(&vni.try_into().unwrap()).is_some_and(VniState::is_ready);
        let red = status.resources.iter().find(|resource| resource.name == "red");
        is_ready(100) && red.is_some_and(|red| red.state == ObjectState::Ready)
    }

    /// Waits until red works for a while; returns the time that it took. A status that is ready meanwhile is wrong.
    fn await_red(&mut self, what: &str, since: Instant) -> Duration {
        let (mut works, mut wrong) = (None, None);
        loop {
            let (is_up, now) = (self.router().is_established("red", HOST), Instant::now());
            works = if is_up { works.or(Some(now)) } else { None };
            wrong = if is_up || !self.is_red_ready() { None } else { wrong.or(Some(now)) };
            let unnoticed = wrong.map_or(Duration::ZERO, |wrong: Instant| now - wrong);
            assert!(unnoticed <= scaled(UNNOTICED), "{what}: red has no session and is ready for {unnoticed:.1?}");
            if let Some(works) = works.filter(|works| now - *works >= Duration::from_secs(3)) {
                return works - since;
            }
            assert!(now - since <= scaled(SETTLE), "{what}: red does not work, and its status says so");
            sleep(Duration::from_millis(100));
        }
    }
}

/// Whether bgpd is led to a new zebra; else the reason is printed. Before 10.6 it connects by itself, with 8.4 after 10 s, and an
/// IP-VRF that is rebuilt meanwhile may stay without its Type-5 routes (`docs/limits.md`). The matrix has another release.
fn leads_bgpd() -> bool {
    let release = lab_release();
    if !release.restarts_gracefully() {
        println!(
            "left out: bgpd of FRR {} connects to zebra by itself; with PEROUTER_LAB_FRR=10.7 it runs",
            release.name
        );
    }
    release.restarts_gracefully()
}

#[test]
fn an_ip_vrf_that_is_rebuilt_while_zebra_crashes_works_again() {
    if !leads_bgpd() {
        return;
    }
    let Some(mut fixture) = Fixture::start("rebuilt", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let pids = fixture.router().daemon_pids();
    // Without its bridge an IP-VRF is removed from FRR and built again. Milliseconds from the deletion to the crash, or from the
    // crash to the deletion.
    let mut rounds: Vec<(&str, u64, u64)> =
        [0, 30, 60, 100, 150, 250, 1000].map(|before| ("br-pe-100", before, 0)).into();
    rounds.extend([("br-pe-100", 0, 100), ("br-pe-100", 0, 500)]);
    if fixture.mode() == VrfMode::Vrf {
        rounds.extend([("red", 0, 0), ("red", 100, 0), ("red", 0, 100), ("red", 0, 500)]);
    }
    for (device, before, after) in rounds {
        let what = format!("{device}: crash {before} ms after its deletion or {after} ms before it");
        let begin = Instant::now();
        let delete = format!("ip link delete {device}");
        if after == 0 {
            fixture.among_links_of_red(&delete);
            sleep(Duration::from_millis(before));
        }
        fixture.router().kill_daemon(Daemon::Zebra);
        if after > 0 {
            sleep(Duration::from_millis(after));
            fixture.among_links_of_red(&delete);
        }
        let repaired = fixture.await_red(&what, begin);
        println!("rebuilt: {what}: red works after {repaired:.1?}");
        fixture.router().await_ready(&[100, 200]);
        fixture.await_services();
        fixture.stream("red").finish();
        assert!(repaired <= scaled(REPAIR_LIMIT), "{what}: {repaired:?}");
    }
    // A device has its id again, yet bgpd may have to be restarted where zebra exits while it removes the VRF.
    println!("rebuilt: bgpd is the same: {}", fixture.router().daemon_pids()[&Daemon::Bgpd] == pids[&Daemon::Bgpd]);
    fixture.stream("blue").finish();
    until_true("nothing left to do", || fixture.router().plan().code == Some(0));
}
