//! A reconcile pass changes nothing if everything is configured already.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use perouter::frr::client::vty::Vty;
use perouter::frr::model::RouterConfig;
use perouter::frr::release::Release;
use perouter::frr::stanza::text::text;
use perouter::kernel::model::NicFacts;
use perouter::plan::{NodeFacts, plan};
use perouter::runtime::Daemon;
use perouter::snapshot::NodeIdentity;
use perouter::source;

use super::fixture::{Fixture, until_true};
use super::router::Router;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn the_running_configuration_is_the_rendered_one_and_a_restarted_router_adopts_it() {
    let Some(mut fixture) = Fixture::start("second", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    runs_what_is_rendered(&mut fixture);
    adopts_everything(fixture.router());
}

/// It changes nothing.
fn adopts_everything(router: &mut Router) {
    let pids = router.daemon_pids();
    router.terminate();
    let plan = router.plan();
    assert_eq!((plan.code, plan.stdout.as_str()), (Some(0), "0 kernel operations, 0 FRR lines\n"), "{}", plan.stderr);
    router.remove_status();
    let log_before = fs::read_to_string(router.log()).unwrap().len();
    router.start();
    until_true("a status of the new process", || router.status().is_some());
    router.await_ready(&[100, 200]);
    let change = router.status().unwrap().last_change;
    assert!(change.is_quiet() && change.rebuilt.is_empty(), "{change:?}");
    assert_eq!(router.daemon_pids(), pids);
    let log = fs::read_to_string(router.log()).unwrap().split_off(log_before);
    assert_eq!(log.matches("daemon is up").count(), pids.len(), "{log}");
    assert!(!log.contains(" kernel ") && !log.contains(" ERROR "), "{log}");
}

fn runs_what_is_rendered(fixture: &mut Fixture) {
    let path = fixture.path(".");
    let router = fixture.router();
    let node = NodeIdentity { name: router.node.name().to_string(), index: router.index, labels: BTreeMap::new() };
    let snapshot = source::dir::read(&path, &path.join("secrets"), &node).unwrap();
    let release = Release::of(&router.version()).unwrap();
    let addresses = router.node.check(&["ip", "-n", "perouter", "-o", "address", "show", "dev", "toswitch"]).unwrap();
    let words: Vec<&str> = addresses.split_whitespace().collect();
    let addresses = words.windows(2).filter(|pair| pair[0].starts_with("inet")).map(|pair| pair[1].parse().unwrap());
    let nic = NicFacts { addresses: addresses.collect(), ..NicFacts::unused("toswitch".parse().unwrap(), 9500) };
    let facts = NodeFacts {
        nics: Some([(nic.name.clone(), nic)].into()),
        ..NodeFacts::unknown(router.status().unwrap().vrf_mode, release)
    };
    let planned = plan(&snapshot, &facts);
    assert_eq!(planned.rejected, []);
    assert_eq!(printed_by_all(router, release), rendered(&planned.frr, release));
}

/// A line of configuration after the headers of its stanzas.
type LinePath = Vec<String>;

/// Beginnings of lines that do not concern routing, and ends of stanzas.
const IGNORED: [&str; 10] =
    ["frr ", "hostname ", "log ", "service ", "exit", "end", "!", "Building ", "Current ", "netns "];

fn line_paths(text: &str) -> BTreeSet<LinePath> {
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut found: BTreeSet<LinePath> = BTreeSet::new();
    for raw in text.lines().filter(|line| !line.trim().is_empty()) {
        let (line, indent) = (raw.trim(), raw.len() - raw.trim_start().len());
        if IGNORED.iter().any(|beginning| line.starts_with(beginning)) {
            continue;
        }
        open.retain(|(above, _)| *above < indent);
        open.push((indent, line.to_owned()));
        found.insert(open.iter().map(|(_, line)| line.clone()).collect());
    }
    // FRR prints a bare `vrf X` for every VRF of the kernel.
    let bare = |path: &LinePath| {
        path[0].starts_with("vrf ") && !found.iter().any(|other| other.len() > 1 && other[0] == path[0])
    };
    found.iter().filter(|path| path.len() > 1 || !bare(path)).cloned().collect()
}

fn rendered(config: &RouterConfig, release: Release) -> BTreeMap<Daemon, BTreeSet<LinePath>> {
    let mut all: BTreeMap<Daemon, BTreeSet<LinePath>> = BTreeMap::new();
    for ((_, daemon), printed) in text(config, &release).unwrap() {
        all.entry(daemon).or_default().extend(line_paths(&printed));
    }
    for setting in release.zebra_settings {
        all.entry(Daemon::Zebra).or_default().extend(line_paths(setting));
    }
    all
}

fn printed_by_all(router: &Router, release: Release) -> BTreeMap<Daemon, BTreeSet<LinePath>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let show = async |daemon: Daemon| {
        let socket = router.node.file(format!("/run/perouter/frr/{daemon}.vty"));
        let mut vty = Vty::connect(&socket, LIMIT).await.unwrap();
        vty.run("show running-config", LIMIT).await.unwrap().text
    };
    let mut all: BTreeMap<Daemon, BTreeSet<LinePath>> = BTreeMap::new();
    for daemon in router.daemon_pids().into_keys() {
        let printed = line_paths(&runtime.block_on(show(daemon)));
        if !printed.is_empty() {
            all.entry(release.owner(daemon)).or_default().extend(printed);
        }
    }
    all
}
