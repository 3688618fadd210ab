//! What is seen of a running router from outside: its metrics, and its page.

use std::path::Path;
use std::process::Command;

use perouter::diagnose::finding::FindingKind;
use perouter_lab::node::{Background, CommandOutput, Node};
use serde_json::Value;

use super::fixture::{Fixture, SETTLE, Setup, bfd_settings, until, until_true};
use super::router::Router;
use perouter::runtime::Daemon;

const METRICS: &str = "http://127.0.0.1:9476/metrics";

fn get(node: &Node, url: &str, more: &[&str]) -> Option<String> {
    let words = [&["curl", "--silent", "--noproxy", "*"], more, &[url]].concat();
    let output = node.run(&words).ok()?;
    (!output.stdout.is_empty()).then_some(output.stdout)
}

/// The values of the series whose name and labels have all these texts.
fn series(text: &str, parts: &[&str]) -> Vec<f64> {
    let is_it = |line: &&str| {
        !line.starts_with('#') && line.starts_with(parts[0]) && parts.iter().all(|part| line.contains(part))
    };
    text.lines().filter(is_it).map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
}

fn await_series(node: &Node, parts: &[&str], wanted: &[f64]) -> String {
    let mut last = Vec::new();
    until(&format!("{parts:?}: {wanted:?}"), SETTLE, || {
        let text = get(node, METRICS, &[])?;
        let found = series(&text, parts);
        if found != last {
            println!("{parts:?}: {found:?}");
            last.clone_from(&found);
        }
        (found == wanted).then_some(text)
    })
}

fn spawn(router: &Router, subcommand: &str, address: &str) -> Background {
    let mut words = vec!["env".to_owned(), format!("PEROUTER_HTTP_ADDRESS={address}")];
    words.extend(router.command(subcommand, subcommand == "controller"));
    router.node.spawn(&words, &router.log()).unwrap()
}

#[test]
fn metrics_show_what_frr_and_the_kernel_have_and_nothing_of_a_frr_that_is_gone() {
    let bfd = format!("asn: 64512\n      {}", bfd_settings());
    let setup = Setup::example().replacing("underlay.yaml", "asn: 64512", &bfd);
    let Some(mut fixture) = Fixture::deploy("monitoring", &[0], &setup) else { return };
    let mut processes =
        [spawn(fixture.router(), "router", "127.0.0.1:9477"), spawn(fixture.router(), "controller", "127.0.0.1:9476")];
    until_true("a status", || fixture.router().status().is_some());
    fixture.start_hosts();
    fixture.await_services();
    fixture.router().await_ready(&[100, 200]);
    let node = &fixture.routers[0].node;
    await_series(node, &["perouter_session_up", "kind=\"host\""], &[1.0, 1.0]);
    let text = await_series(node, &["perouter_session_up", "kind=\"fabric\""], &[1.0]);
    for (parts, wanted) in [
        (&["perouter_session_up", "vrf=\"default\"", "asn=\"64512\"", "kind=\"fabric\""][..], &[1.0][..]),
        (&["perouter_sessions_configured", "fabric"], &[1.0]),
        (&["perouter_sessions_configured", "host"], &[2.0]),
        (&["perouter_session_family_negotiated", "l2VpnEvpn"], &[1.0]),
        (&["perouter_nic_carrier", "nic=\"toswitch\""], &[1.0]),
        (&["perouter_vni_up"], &[1.0, 1.0]),
        (&["perouter_source_up", "directory"], &[1.0]),
        (&["perouter_frr_up", "bgpd"], &[1.0]),
        (&["perouter_frr_restarts_total", "bgpd"], &[0.0]),
    ] {
        assert_eq!(series(&text, parts), wanted, "{parts:?}\n{text}");
    }
    // The leaf has no BFD session with the node.
    await_series(node, &["perouter_bfd_session_up", "vrf=\"default\""], &[0.0]);
    until("the finding that BFD is not up", SETTLE, || {
        let (_, found) = fixture.routers[0].checked();
        let words = "BFD with 192.168.11.2 is not up, while the session is";
        found.iter().any(|finding| finding.kind == FindingKind::BfdDown && finding.what.contains(words)).then_some(())
    });

    fixture.routers[0].kill_daemon(Daemon::Bgpd);
    await_series(node, &["perouter_frr_restarts_total", "bgpd"], &[1.0]);
    await_series(node, &["perouter_session_up", "kind=\"host\""], &[1.0, 1.0]);

    // Nobody starts them again.
    processes[0].kill().unwrap();
    for daemon in [Daemon::Bgpd, Daemon::Zebra] {
        fixture.routers[0].kill_daemon(daemon);
    }
    await_series(node, &["perouter_frr_up", "zebra"], &[0.0]);
    let text = await_series(node, &["perouter_session_up"], &[]);
    assert_eq!(series(&text, &["perouter_frr_up", "bgpd"]), [0.0]);
    // What zebra reports is read after what bgpd reports.
    await_series(node, &["perouter_vni_up"], &[]);
    let text = await_series(node, &["perouter_nic_carrier"], &[]);
    assert_eq!(series(&text, &["perouter_sessions_configured", "host"]), [2.0]);
    await_series(node, &["perouter_findings", "severity=\"error\"", "frr-silent"], &[1.0]);
    processes[1].terminate(SETTLE).unwrap();
}

#[test]
fn the_page_has_what_perouter_check_finds() {
    let Some(mut fixture) = Fixture::start("page", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let router = &fixture.routers[0];
    let mut page = router.spawn("ui", false);
    until("a router that is well", SETTLE, || Some(router.perouter(&["check"])).filter(CommandOutput::success));
    let browser = browser();
    each_view_in_chromium(&router.node, browser.as_ref(), "good");
    let words = ["vtysh", "-c", "configure terminal", "-c", "router bgp 64512", "-c", "address-family l2vpn evpn"];
    fixture.node("leafkind").check(&[&words[..], &["-c", "no neighbor nodes activate"]].concat()).unwrap();
    let report = until("the finding on the page", SETTLE, || {
        let events = get(&router.node, "http://127.0.0.1:9478/events", &["--max-time", "10"])?;
        let data =
            events.lines().skip_while(|line| *line != "event: report").nth(1)?.strip_prefix("data: ")?.to_owned();
        let report = serde_json::from_str::<Value>(&data).unwrap()["report"].take();
        let findings = report["findings"].as_array()?;
        findings.iter().any(|finding| finding["kind"] == "family-not-negotiated").then_some(report)
    });
    let check: Value = serde_json::from_str(&router.perouter(&["check", "-o", "json"]).stdout).unwrap();
    let kinds = |report: &Value| -> Vec<String> {
        report["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].to_string()).collect()
    };
    assert_eq!(kinds(&report), kinds(&check));
    assert_eq!(report["node"], check["node"]);
    let html = get(&router.node, "http://127.0.0.1:9478/", &["--include"]).unwrap();
    assert!(
        html.contains("content-security-policy: default-src 'none'") && html.contains("<title>perouter</title>"),
        "{html}"
    );
    each_view_in_chromium(&router.node, browser.as_ref(), "broken");
    page.terminate(SETTLE).unwrap();
}

/// The paths of Chromium and playwright-core. A guest has none: the page does not depend on the VRF mode.
fn browser() -> Option<[String; 2]> {
    if std::env::var("PEROUTER_VRF_MODE").as_deref() != Ok("netns") {
        println!("left out: the page in Chromium; with PEROUTER_VRF_MODE=netns it runs");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/browser.sh");
    let output = Command::new(script).arg("--find").output().unwrap();
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
        eprintln!("skipped: the page in Chromium: {reason}");
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    Some([lines.next().unwrap(), lines.next().unwrap()])
}

/// What a person sees of this router, in the network namespace of the node. Its root file system may be that of another FRR, and has no
/// Chromium.
fn each_view_in_chromium(node: &Node, browser: Option<&[String; 2]>, state: &'static str) {
    let Some([chromium, playwright]) = browser.cloned() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/lab.mjs");
    let mut command = Command::new("node");
    command.arg(script).args([playwright, chromium, "http://127.0.0.1:9478/".to_owned(), state.to_owned()]);
    let output = node.within_netns(move || command.output().unwrap()).unwrap();
    assert!(output.status.success(), "{state}: {}", String::from_utf8_lossy(&output.stderr));
}
