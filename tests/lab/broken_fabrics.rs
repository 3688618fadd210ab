//! Broken fabrics: one fault after the other in one fabric, and what `perouter check`, `trace` and the conditions say of each. After
//! each repair the check must be clean again: a finding that stays, or one too many, is wrong too.

use std::time::Instant;

use perouter::diagnose::finding::{Finding, FindingSeverity};
use perouter::status::router_state::router_state;
use perouter_lab::node::CommandOutput;
use serde_json::Value;

use super::alerts::Alerts;
use super::broken_fabrics_duplicates::duplicate_faults;
use super::broken_fabrics_faults::{
    DEFAULT_ROUTE_ALONE, Fault, HOST_A, SERVICE, Step, Trace, VTEPS_AGAIN, fabric_faults, packet_filter_faults,
};
use super::broken_fabrics_host_faults::host_faults;
use super::broken_fabrics_route_faults::evpn_route_faults;
use super::fixture::{Fixture, RED, SETTLE, Setup, until, until_true};
use super::kernel_state::{in_router, in_vrf, kernel_has_nftables, router_devices, vrf_next_hops};
use super::router::Router;

impl Router {
    /// `perouter check`, and its findings.
    pub fn checked(&self) -> (CommandOutput, Vec<Finding>) {
        let output = self.perouter(&["check", "-o", "json"]);
        let report: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        let findings = serde_json::from_value(report["findings"].clone());
        assert_eq!(findings.is_ok(), matches!(output.code, Some(0 | 1)), "{output:?}");
        (output, findings.unwrap_or_default())
    }
}

impl Fixture {
    fn take(&self, step: &Step) {
        match step {
            Step::Leaf(name, lines) => {
                let lines = ["configure terminal"].iter().chain(lines.iter());
                let words: Vec<&str> = std::iter::once("vtysh").chain(lines.flat_map(|line| ["-c", *line])).collect();
                self.node(name).check(&words).unwrap();
            }
            Step::Host(lines) => {
                let lines: Vec<&str> = ["configure terminal"].iter().chain(lines.iter()).copied().collect();
                self.hosts[0].vtysh(&lines).unwrap();
            }
            Step::Node(words) => drop(self.routers[0].node.check(words).unwrap()),
            Step::Router(words) => {
                drop(self.routers[0].node.check(&[&in_router()[..], *words].concat()).unwrap());
            }
            Step::Vrf(words) => drop(self.routers[0].node.check(&in_vrf(&self.routers[0].node, "red", words)).unwrap()),
            Step::Edit(file, from, to) => self.edit(file, from, to),
            Step::Write(file, text) => self.write(file, &text()),
            Step::Remove(file) => self.remove(file),
        }
    }

    fn take_all(&self, steps: &[Step]) {
        for step in steps {
            self.take(step);
        }
    }

    fn checked(&self) -> (CommandOutput, Vec<Finding>) {
        self.routers[0].checked()
    }

    fn await_clean(&self, after: &str) {
        let mut last = String::new();
        until(&format!("a clean check after `{after}`"), SETTLE, || {
            let (output, findings) = self.checked();
            let problems: Vec<&Finding> = findings.iter().filter(|finding| finding.is_problem()).collect();
            let shown = format!("{problems:#?}");
            if shown != last {
                eprintln!("after `{after}`: {shown}");
                last = shown;
            }
            (output.code == Some(0)).then_some(())
        });
    }

    /// Whether a condition of the status has this reason.
    pub fn has_condition(&self, (name, reason): (&str, &str)) -> bool {
        let now = k8s_time();
        let Some(status) = self.routers[0].status() else { return false };
        let state = serde_json::to_value(router_state(&status, None, &now)).unwrap();
        let conditions = state["conditions"].as_array().unwrap();
        conditions.iter().any(|condition| condition["type"] == name && condition["reason"] == reason)
    }

    /// Waits until these alerts fire on the metrics of the router, and no others.
    fn await_alerts(&self, alerts: &Alerts, what: &str, expected: &[&str]) {
        let mut last = None;
        until(&format!("the alerts {expected:?} of `{what}`"), SETTLE, || {
            let firing = alerts.firing(&self.routers[0].node);
            if firing != last {
                eprintln!("{what}: {firing:?}");
                last.clone_from(&firing);
            }
            firing?.iter().map(String::as_str).eq(expected.iter().copied()).then_some(())
        });
    }

    /// What a trace says; where it has nothing to say, the path and that of the replies are complete.
    fn assert_traced(&self, what: &str, Trace { address, exit, words }: &Trace) {
        let mut last = String::new();
        let expected: &[&str] = if words.is_empty() { &["to the fabric", "to the host"] } else { words };
        until_true(&format!("{expected:?} in a trace of `{what}`"), || {
            let trace = self.routers[0].perouter(&["trace", address, "--vrf", "red"]);
            if trace.stdout != last {
                eprintln!("{what}: {}", trace.stdout);
                last.clone_from(&trace.stdout);
            }
            let fails = trace.stdout.contains("  FAIL  ");
            trace.code == Some(*exit)
                && fails == (*exit == 1)
                && expected.iter().all(|word| trace.stdout.contains(word))
        });
    }

    /// Faults of single routes, which trace alone finds: the checks do not read all that a host sends, and no route that is not from BGP.
    fn assert_traced_alone(&self) {
        let good = Trace { address: SERVICE, exit: 0, words: &[] };
        let faults = [
            (
                "the host prepends the AS number of the router",
                Step::Host(&["route-map peerred-out permit 10", "set as-path prepend 64514"]),
                Step::Host(&["route-map peerred-out permit 10", "no set as-path prepend 64514"]),
                &[
                    "FAIL  host    192.169.10.2 advertises 172.30.0.10/32 with AS path",
                    "bgpd rejects it as an AS-path loop",
                ][..],
            ),
            (
                "a route by hand discards the packets to a service",
                Step::Vrf(&["sh", "-c", DISCARD, "add"]),
                Step::Vrf(&["sh", "-c", DISCARD, "del"]),
                &["FAIL  kernel  packets to 172.30.0.10/32 are lost: the route that is used discards them"],
            ),
        ];
        for (what, breaks, repair, words) in faults {
            self.take(&breaks);
            self.assert_traced(what, &Trace { address: SERVICE, exit: 1, words });
            self.take(&repair);
            self.assert_traced(what, &good);
        }
    }

    fn assert_found(&self, Fault { what, breaks, repair, expected }: &Fault, alerts: Option<&Alerts>) {
        let begin = Instant::now();
        self.take_all(breaks);
        let mut last = String::new();
        let (code, matching) = until(&format!("{} of `{what}`", expected.kind), SETTLE, || {
            let (output, findings) = self.checked();
            let shown = format!("{findings:#?}");
            if shown != last {
                eprintln!("{what}: {shown}");
                last = shown;
            }
            let matching = findings.into_iter().find(|finding| {
                let json = serde_json::to_string(finding).unwrap();
                finding.kind.as_str() == expected.kind && expected.words.iter().all(|word| json.contains(word))
            })?;
            Some((output.code, matching))
        });
        let seen = begin.elapsed();
        assert!(!matching.remedy.is_empty(), "{what}: no remedy");
        let is_info = matching.severity == FindingSeverity::Info;
        assert!(is_info || code == Some(1), "{what}: check exits with {code:?}");
        if let Some(condition) = expected.condition {
            until_true(&format!("{condition:?} of `{what}`"), || self.has_condition(condition));
        }
        self.assert_traced(what, &expected.trace);
        if let Some(alerts) = alerts {
            self.await_alerts(alerts, what, expected.alerts);
        }
        for command in ["check", "sessions"] {
            println!("# perouter {command}\n{}", self.routers[0].perouter(&[command]).stdout);
        }
        self.take_all(repair);
        self.await_clean(what);
        if let Some(alerts) = alerts {
            self.await_alerts(alerts, &format!("after {what}"), &[]);
        }
        println!("{what}: {} after {seen:.1?}, clean after {:.1?}: {}", matching.kind, begin.elapsed(), matching.what);
    }
}

/// In `vrf` mode the route is in the table of the VRF device.
const DISCARD: &str = "vrf=; if ip link show type vrf dev red >/dev/null 2>&1; then vrf='vrf red'; fi; \
                       ip route $0 blackhole 172.30.0.10/32 metric 1 $vrf";

fn k8s_time() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH)
}

/// A fabric in which nothing is wrong, with sessions that are tried again at once.
fn deployed(name: &str) -> Option<Fixture> {
    let setup = Setup::example().replacing("underlay.yaml", "asn: 64512", "asn: 64512\n      connectTimeSeconds: 1");
    let mut fixture = Fixture::deploy(name, &[0], &setup)?;
    let secret = fixture.path("secrets/host/red");
    std::fs::create_dir_all(secret.parent().unwrap()).unwrap();
    std::fs::write(&secret, "of-the-router\n").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fixture.router().check_interval = Some(1);
    fixture.router().start();
    fixture.start_hosts();
    fixture.await_services();
    fixture.await_clean("nothing");
    Some(fixture)
}

#[test]
fn each_fault_of_the_fabric_is_found_and_named() {
    let Some(fixture) = deployed("broken-fabric") else { return };
    let alerts = Alerts::found();
    let of_filters = if kernel_has_nftables() {
        packet_filter_faults()
    } else {
        println!("this kernel has no nftables: packet filters are not tested");
        vec![]
    };
    for fault in fabric_faults().iter().chain(&of_filters).chain(&evpn_route_faults()).chain(&duplicate_faults()) {
        fixture.assert_found(fault, alerts.as_ref());
    }
}

/// A trace as the table has it.
fn trace_cell(Trace { address, words, .. }: &Trace) -> String {
    let shown: Vec<String> = words.iter().map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let shown = if shown.is_empty() { "complete".to_owned() } else { format!("`{}`", shown.join(" … ")) };
    format!("{address}: {shown}")
}

/// The table of `docs/operations/faults.md`: each fault, its finding, its trace, its condition and its alerts.
#[test]
fn the_book_has_what_is_found_of_each_fault() {
    let row = |Fault { what, expected, .. }: &Fault| {
        let link = |alert: &&str| format!("[{alert}](alerts.md#{})", alert.to_lowercase());
        let alerts: Vec<String> = expected.alerts.iter().map(link).collect();
        let alerts = if alerts.is_empty() { "none".to_owned() } else { alerts.join(", ") };
        let condition = expected.condition.map(|(name, reason)| format!("{name}: {reason}")).unwrap_or_default();
        format!("| {what} | `{}` | {} | {condition} | {alerts} |", expected.kind, trace_cell(&expected.trace))
    };
    let all: Vec<Fault> =
        [fabric_faults(), packet_filter_faults(), evpn_route_faults(), duplicate_faults(), host_faults()]
            .into_iter()
            .flatten()
            .collect();
    let rows: Vec<String> = all.iter().map(row).collect();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations/faults.md");
    let book = std::fs::read_to_string(&path).unwrap();
    let is_row = |line: &&str| line.starts_with("| ") && line.contains(" | `");
    let shown: Vec<&str> = book.lines().filter(is_row).collect();
    assert_eq!(shown, rows, "the table of {} is:\n{}", path.display(), rows.join("\n"));
}

/// A leaf that advertises nothing but a default route: next hops of Type-5 routes resolve by it, also after an upgrade from a
/// version that had not configured that.
#[test]
fn a_default_route_alone_carries_the_traffic() {
    let Some(mut fixture) = deployed("default-route") else { return };
    let stream = fixture.stream("red");
    fixture.take(&DEFAULT_ROUTE_ALONE);
    until_true("nothing but the default route", || {
        router_devices(&fixture.routers[0].node, "100.64.0.1").is_empty()
            && !router_devices(&fixture.routers[0].node, "default").is_empty()
    });
    stream.await_replies(100);
    println!("gap: a default route in place of the VTEPs: {}", stream.finish());
    fixture.await_clean("a default route in place of the VTEPs");
    let trace = fixture.routers[0].perouter(&["trace", HOST_A, "--vrf", "red"]);
    let words = "ok    route   VTEP 100.64.0.1 via 192.168.11.2";
    assert!(trace.success() && trace.stdout.contains(words), "{}", trace.stdout);

    let sessions = [None, Some("red"), Some("blue")];
    let before = fixture.routers[0].established(&sessions);
    fixture.router().kill();
    fixture.take(&Step::Node(&WITHOUT_THE_SETTING));
    until_true("next hops that do not resolve", || {
        vrf_next_hops(&fixture.routers[0].node, "red", "192.168.20.0/24").is_empty()
    });
    fixture.router().start();
    let stream = fixture.stream("red");
    stream.await_replies(100);
    stream.finish().assert_lossless("next hops by the default route, after an upgrade");
    assert_eq!(fixture.routers[0].established(&sessions), before, "the setting resets a session");
    fixture.await_clean("an upgrade");
    fixture.take(&VTEPS_AGAIN);
    fixture.stream("red").finish();
}

/// zebra as an earlier version of perouter left it.
const WITHOUT_THE_SETTING: [&str; 7] =
    ["vtysh", "--vty_socket", "/run/perouter/frr", "-c", "configure terminal", "-c", "no ip nht resolve-via-default"];

#[test]
fn each_fault_of_host_and_objects_is_found_and_named() {
    let Some(fixture) = deployed("broken-host") else { return };
    let alerts = Alerts::found();
    for fault in host_faults() {
        fixture.assert_found(&fault, alerts.as_ref());
    }
    fixture.assert_traced_alone();
}

/// What happens to the processes of the node: the check says so in place of an empty table.
#[test]
fn without_controller_or_frr_every_command_says_so() {
    let Some(mut fixture) = deployed("broken-node") else { return };
    let before = fixture.routers[0].perouter(&["check"]);
    assert!(before.success() && before.stdout.contains("nothing is wrong"), "{before:?}");
    let pids = fixture.router().daemon_pids();
    fixture.router().kill();
    let (output, findings) = fixture.checked();
    let kinds: Vec<&str> = findings.iter().filter(|finding| finding.is_problem()).map(|f| f.kind.as_str()).collect();
    assert_eq!((output.code, kinds), (Some(1), vec!["controller-stopped"]), "{findings:#?}");
    // zebra knows the VTEP of this node, too.
    fixture.routers[0].remove_status();
    let (_, findings) = fixture.checked();
    let kinds: Vec<&str> = findings.iter().filter(|finding| finding.is_problem()).map(|f| f.kind.as_str()).collect();
    assert_eq!(kinds, ["controller-stopped"], "without a status: {findings:#?}");
    // Nobody starts them again.
    let mut words = vec!["kill".to_owned(), "-9".to_owned()];
    words.extend(pids.values().map(u32::to_string));
    fixture.routers[0].node.check(&words).unwrap();
    until_true("FRR not answering", || {
        let (output, findings) = fixture.checked();
        let silent = findings.iter().filter(|finding| finding.kind.as_str() == "frr-silent").count();
        output.code == Some(1) && silent >= 4
    });
    for words in [&["sessions"][..], &["routes", "red"], &["trace", RED], &["sessions", "-o", "json"]] {
        let output = fixture.routers[0].perouter(words);
        assert_eq!(output.code, Some(2), "{words:?}: {output:?}");
        assert!(output.stdout.is_empty() && output.stderr.contains("no answer from FRR"), "{words:?}: {output:?}");
    }
    fixture.router().start();
    fixture.await_clean("a restart of the node's processes");
    // What somebody enters by hand is shown, and no problem.
    let words = [
        "vtysh",
        "--vty_socket",
        "/run/perouter/frr",
        "-c",
        "configure terminal",
        "-c",
        "ip prefix-list MINE permit any",
    ];
    fixture.routers[0].node.check(&words).unwrap();
    until_true("the foreign line", || {
        let (output, findings) = fixture.checked();
        output.code == Some(0) && findings.iter().any(|finding| finding.kind.as_str() == "foreign-lines")
    });
    fixture.router().terminate();
    assert!(fixture.routers[0].perouter(&["cleanup"]).success());
    let gone = fixture.routers[0].perouter(&["check"]);
    assert_eq!(gone.code, Some(2), "{gone:?}");
    assert!(gone.stderr.contains("is `perouter run` running on this node?"), "{gone:?}");
}
