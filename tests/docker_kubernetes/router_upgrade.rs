//! Upgrades of the routers with graceful restart on all sessions, and to another release of FRR. Leaves and spine have the FRR whose
//! graceful restart covers EVPN, which keeps the routes of a node with an older one, too; the hosts have that of the machine.

use std::time::{Duration, Instant};

use perouter_lab::frr;
use perouter_lab::image::FrrRelease;
use perouter_lab::kubernetes::LabCluster;
use serde_json::{Value, json};

use super::losses::LossTable;
use super::pods::{self, DEPLOYED, OLDER_FRR, PREVIOUS};
use super::rollout::{install_previous, roll_out_image};
use crate::cluster_fixture::{ClusterFixture, step};
use crate::lab::fixture::{Setup, scaled};

const LEAF_IMAGE: &str = "quay.io/frrouting/frr:10.7.1";
/// So long after its start FRR has the restart bit in its OPEN, and nobody waits for its End-of-RIB (RFC 4724 section 4.1).
const STARTED: Duration = Duration::from_secs(120);
/// Outage that is allowed: nothing was lost in 24 of 24 restarts, and each loses some seconds without graceful restart.
const LONGEST: Duration = Duration::from_millis(500);

/// The example with graceful restart on all sessions.
fn graceful() -> Setup {
    let host_session = "  hostSession:\n    gracefulRestart: {}\n";
    let mut setup = Setup::example()
        .with("underlay.yaml", "  gracefulRestart: {}\n")
        .with("red.yaml", host_session)
        .with("blue.yaml", host_session);
    setup.switch_image = Some(LEAF_IMAGE);
    setup
}

/// Whether leaves can have [`LEAF_IMAGE`]; else the reason is printed.
fn has_leaves() -> bool {
    let root = frr::root_of(FrrRelease::V10_7);
    let installed = frr::installed(&root);
    if !installed {
        let reason = format!("there is no {}: hack/frr.sh 10.7 builds it", root.display());
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
        eprintln!("SKIPPED: {reason}");
    }
    installed
}

#[test]
fn routers_with_graceful_restart_are_upgraded() {
    if !has_leaves() {
        return;
    }
    let setup = graceful();
    let Some(mut lab) = pods::cluster("graceful", &setup, &[PREVIOUS, OLDER_FRR]) else { return };
    step("install with FRR 10.3", || install_previous(&mut lab, &setup, router_with_older_frr));
    assert_eq!(frr_releases(&lab), ["10.3", "10.3"]);
    step("wait until leaves and hosts have no restart bit", || wait(&mut lab, scaled(STARTED)));
    let mut table = LossTable::default();
    let newer = table.measure(&mut lab, "FRR 10.3 to 10.7", |lab| roll_out_image(lab, "router", PREVIOUS));
    assert_eq!(frr_releases(&lab), ["10.7", "10.7"]);
    let upgraded = table.measure(&mut lab, "upgraded", |lab| roll_out_image(lab, "router", DEPLOYED));
    let rolled_back = table.measure(&mut lab, "rolled back", |lab| roll_out_image(lab, "router", PREVIOUS));
    let older = table.measure(&mut lab, "FRR 10.7 to 10.3", |lab| roll_out_image(lab, "router", OLDER_FRR));
    assert_eq!(frr_releases(&lab), ["10.3", "10.3"]);
    eprintln!("routers with graceful restart\n{}", table.lines.join("\n"));
    for losses in [newer, upgraded, rolled_back, older] {
        losses.assert_outage_of_at_most(scaled(LONGEST));
    }
}

fn router_with_older_frr(object: &mut Value) {
    if object["kind"] == "DaemonSet" && object["metadata"]["name"] == "router" {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(OLDER_FRR);
    }
}

/// Major and minor version of the FRR of each router.
fn frr_releases(lab: &ClusterFixture) -> Vec<String> {
    let release = |text: String| text.split('.').take(2).collect::<Vec<_>>().join(".");
    lab.fixture.routers.iter().map(|router| release(router.version().to_string())).collect()
}

/// The kubelet goes on meanwhile.
fn wait(lab: &mut ClusterFixture, time: Duration) {
    let since = Instant::now();
    let is_over = |_: &mut LabCluster| since.elapsed() > time;
    lab.cluster.sync_until("some time to pass", is_over).unwrap();
}
