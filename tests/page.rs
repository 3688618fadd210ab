//! The page of `perouter ui` in a real Chromium, for a good and for broken routers: what a person sees in each view, the keyboard, dark
//! and light, a phone, and text of a peer that looks like HTML. Skipped with the reason where `hack/browser.sh` finds no browser; an
//! error where `CI=true`. `PEROUTER_UPDATE=1` writes the screenshots to `docs/ui/`.

#![allow(clippy::unwrap_used, reason = "a test file")]

mod page {
    pub mod facts;
    pub mod nodes;
}

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use page::facts::{Fault, NOW, facts, routes, trace};
use page::nodes::serve_nodes;
use perouter::diagnose::check;
use perouter::diagnose::finding::with_times;
use perouter::ui::report::{CommandTarget, ListDocument, RouterReport};
use perouter::ui::states::States;
use perouter::ui::{self, PageSource, Reading};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

fn reading(fault: Fault, time: u64) -> Reading {
    let facts = facts(fault);
    let mut found = check::findings(&facts);
    with_times(&mut found, &[], NOW);
    for finding in &mut found {
        finding.since = finding.since.map(|since| since.min(NOW - 151));
    }
    let target =
        CommandTarget { netns: "perouter".into(), vty_dir: "/run/perouter/frr".into(), ..CommandTarget::default() };
    let report = serde_json::to_string(&RouterReport::new(Some("pe-kind-a"), &facts, &found, &target)).unwrap();
    Reading { report, states: States::new(&facts, &found), time }
}

/// Serves a router that has these faults one after the other.
async fn serve(faults: &'static [Fault], stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let last = faults[faults.len() - 1];
    let reads = AtomicU64::new(0);
    let source = PageSource {
        report: Arc::new(move || {
            let number = reads.fetch_add(1, Ordering::Relaxed);
            let fault = usize::try_from(number).ok().and_then(|number| faults.get(number)).copied().unwrap_or(last);
            Box::pin(async move { Ok(reading(fault, NOW + 3 * number)) })
        }),
        pause: ui::ROUTER_PAUSE,
        routes: Arc::new(move |vrf| {
            let list = ListDocument::new("RouteList", routes(last, &vrf), 1000);
            Box::pin(async move { Ok(serde_json::to_string(&list).unwrap()) })
        }),
        trace: Arc::new(move |query| {
            let answer = match &query.vrf {
                Some(vrf) if vrf.as_str() != "red" => Err(format!("VRF {vrf} not found; VRFs of this router: red")),
                _ => Ok(serde_json::to_string(&ListDocument::new("TraceList", trace(last, &query), 1000)).unwrap()),
            };
            Box::pin(async move { answer })
        }),
    };
    tokio::spawn(ui::serve(listener, source, stop.clone()));
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
    let routers: [&[Fault]; 6] = [
        &[Fault::None],
        &[Fault::Sessions],
        &[Fault::Routes],
        &[Fault::Hostile],
        &[Fault::Silent],
        &[Fault::None, Fault::Sessions, Fault::Routes],
    ];
    let mut addresses = Vec::new();
    for faults in routers {
        addresses.push(format!("http://{}/", serve(faults, &stop).await));
    }
    for recovers in [false, true] {
        addresses.push(format!("http://{}/", serve_nodes(recovers, &stop).await));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let temporary = tempfile::tempdir().unwrap();
    let is_update = std::env::var_os("PEROUTER_UPDATE").is_some();
    let folder = if is_update { root.join("docs/ui") } else { temporary.path().to_owned() };
    let output = tokio::task::spawn_blocking(move || {
        let mut node = Command::new("node");
        node.arg(root.join("tests/page/browser.mjs")).arg(playwright).arg(chromium).arg(folder);
        node.args(addresses).output().unwrap()
    });
    let output = output.await.unwrap();
    stop.cancel();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
