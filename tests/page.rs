//! The page of `perouter ui` in a real Chromium, for a good and a broken router: what a person sees, the keyboard, dark and light, a
//! phone, and text of a peer that looks like HTML. Skipped with the reason where `hack/browser.sh` finds no browser; an error where
//! `CI=true`. `PEROUTER_UPDATE=1` writes the screenshots to `docs/ui/`.

#![allow(clippy::unwrap_used, reason = "a test file")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use perouter::diagnose::check;
use perouter::diagnose::facts::Facts;
use perouter::diagnose::finding::with_times;
use perouter::frr::show::interface::Interface;
use perouter::frr::show::neighbor::{Negotiation, SessionReset};
use perouter::status::NodeStatus;
use perouter::ui::report::RouterReport;
use perouter::ui::{self, ReadReport};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const NOW: u64 = 1_795_876_674;

const STATUS: &str = "
node: pe-kind-a
index: 0
vtep: 100.65.0.1
routerId: 100.65.0.1
vrfMode: vrf
frrVersion: 10.7.1
observedTime: 1795876674
ready: true
resources:
- {kind: Underlay, namespace: openperouter-system, name: underlay, state: Ready, reason: Applied, message: ''}
- {kind: L3VNI, namespace: openperouter-system, name: red, vrf: red, state: Ready, reason: Applied, message: ''}
- {kind: L3VNI, namespace: openperouter-system, name: blue, vrf: blue, state: Ready, reason: Applied, message: ''}
vnis:
  100: {vrf: red, up: true, routerMac: '02:00:00:00:00:01', svi: br, inBgp: true, rd: '1:1', import: [], export: []}
  200: {vrf: blue, up: true, routerMac: '02:00:00:00:00:01', svi: br, inBgp: true, rd: '1:2', import: [], export: []}
sessions:
- {vrf: null, peer: 192.168.11.2, remoteAs: 64512, state: Established, since: 1795869241, established: 1, prefixes: {ipv4Unicast: {received: 3, sent: 1}, l2VpnEvpn: {received: 8, sent: 4}}}
- {vrf: red, peer: 192.169.10.2, remoteAs: 64515, state: Established, since: 1795869245, established: 1, prefixes: {ipv4Unicast: {received: 2, sent: 5}}}
- {vrf: blue, peer: 192.169.11.2, remoteAs: 64515, state: Established, since: 1795869246, established: 1, prefixes: {ipv4Unicast: {received: 2, sent: 5}}}
foreignLines: []
lastChange: {kernelOps: 0, frrLines: 0, rebuilt: [], durationMs: 0}
";

fn report(is_broken: bool) -> String {
    let text = if is_broken {
        let hostile = "- {vrf: red, peer: '<img src=x onerror=alert(1)>', remoteAs: 64515, state: Active, since: null, established: 0, prefixes: {}}";
        STATUS
            .replace(
                "blue, peer: 192.169.11.2, remoteAs: 64515, state: Established, since: 1795869246",
                "blue, peer: 192.169.11.2, remoteAs: 64515, state: Active, since: null",
            )
            .replace("foreignLines", &format!("{hostile}\nforeignLines"))
    } else {
        STATUS.to_owned()
    };
    let mut status: NodeStatus = serde_saphyr::from_str(&text).unwrap();
    let nic = |mtu| Interface {
        vrf: "default".into(),
        is_admin_up: true,
        has_carrier: true,
        mtu: Some(mtu),
        addresses: vec!["192.168.11.3/24".parse().unwrap()],
        zebra_type: "Other".into(),
    };
    let sides = |received| Negotiation { advertised: true, received };
    let fabric = SessionReset {
        families: [("ipv4Unicast".to_owned(), sides(true)), ("l2VpnEvpn".to_owned(), sides(!is_broken))].into(),
        local_address: Some("192.168.11.3".into()),
        ..SessionReset::default()
    };
    let host = SessionReset {
        reset_age: Some(4000),
        due_to: Some("BGP Notification received".into()),
        notification: Some("Cease/Administrative Shutdown".into()),
        ..SessionReset::default()
    };
    let mut neighbors = BTreeMap::from([((None, "192.168.11.2".to_owned()), fabric)]);
    if is_broken {
        neighbors.insert(("blue".parse().ok(), "192.169.11.2".to_owned()), host);
    }
    let links = Some([("toswitch".to_owned(), nic(if is_broken { 1500 } else { 9000 }))].into());
    let facts = Facts { now: NOW, neighbors, links, ..status.with_facts(std::mem::take) };
    let mut found = check::findings(&facts);
    with_times(&mut found, &[], NOW);
    for finding in &mut found {
        finding.since = finding.since.map(|since| since.min(NOW - 151));
    }
    serde_json::to_string(&RouterReport::new(Some("pe-kind-a"), &facts, &found)).unwrap()
}

async fn serve(is_broken: bool, stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, report) = (listener.local_addr().unwrap(), report(is_broken));
    let read: ReadReport = Arc::new(move || {
        let report = report.clone();
        Box::pin(async { Ok(report) })
    });
    tokio::spawn(ui::serve(listener, read, stop.clone()));
    address
}

/// The paths of Chromium and playwright-core.
fn browser() -> Option<(PathBuf, PathBuf)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/browser.sh");
    let output = Command::new(script).arg("--find").output().unwrap();
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
        eprintln!("skipped: {reason}");
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(PathBuf::from);
    Some((lines.next().unwrap(), lines.next().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_is_wrong() {
    let Some((chromium, playwright)) = browser() else { return };
    let stop = CancellationToken::new();
    let (good, broken) = (serve(false, &stop).await, serve(true, &stop).await);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let temporary = tempfile::tempdir().unwrap();
    let is_update = std::env::var_os("PEROUTER_UPDATE").is_some();
    let folder = if is_update { root.join("docs/ui") } else { temporary.path().to_owned() };
    let output = tokio::task::spawn_blocking(move || {
        let mut node = Command::new("node");
        node.arg(root.join("tests/page/browser.mjs")).arg(playwright).arg(chromium);
        node.args([format!("http://{good}/"), format!("http://{broken}/")]).arg(folder).output().unwrap()
    });
    let output = output.await.unwrap();
    stop.cancel();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
