//! Real FRR: after applying a rendered configuration the daemons run exactly that, edits included.
#![allow(clippy::unwrap_used)] // clippy's exception for tests covers `#[test]` functions alone

#[path = "frr/apply.rs"]
mod apply;
#[path = "frr/configs.rs"]
mod configs;
#[allow(dead_code)]
#[path = "frr/router.rs"]
mod router;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use perouter::frr::client::port::{Presence, Routing};
use perouter::frr::client::vty::{ReplyStatus, Vty};
use perouter::frr::client::vty_routing::VtyRouting;
use perouter::frr::config::batch::{BatchStage, CommandBatch, CommandMode};
use perouter::frr::config::command::{Intent, VtyCommand};
use perouter::frr::config::diff::diff;
use perouter::frr::config::line::Line;
use perouter::frr::config::removal::removal;
use perouter::frr::config::render::render;
use perouter::frr::config::tree::Config as FrrConfig;
use perouter::frr::model::RouterConfig;
use perouter::frr::release::{FRR_8_4, FRR_10_7};
use perouter::frr::show::session::{SessionPhase, SessionState};
use perouter::frr::stanza::text::text;
use perouter::runtime::Daemon;
use perouter::scope::Scope;
use perouter::types::{RouteTarget, Vni, VrfName};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use router::Router;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The same configurations in every run.
fn samples(count: usize) -> Vec<RouterConfig> {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    (0..count).map(|_| configs::router().new_tree(&mut runner).unwrap().current()).collect()
}

async fn assert_runs(routing: &mut impl Routing, want: &FrrConfig, what: &str) {
    let running = routing.running().await.unwrap();
    assert_eq!(running.foreign, BTreeMap::new(), "{what}");
    assert!(running.config == *want, "{what}: FRR runs\n{}\nbut wanted is\n{want}", running.config);
    assert!(diff(&running.config, want).is_empty());
}

/// The running configuration of this release after applying a configuration.
fn wanted(router: &mut Router, config: &RouterConfig) -> FrrConfig {
    render(config, &router.release()).unwrap()
}

/// The lines of each `router bgp` stanza, in order.
fn instances(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut lines = text.lines().map(|line| line.trim_end().to_owned()).filter(|line| line.trim() != "!");
    while let Some(header) = lines.find(|line| line.starts_with("router bgp")) {
        let body = lines.by_ref().take_while(|line| line != "exit").collect();
        found.insert(header, in_order_of_vnis(body));
    }
    found
}

/// FRR prints L2VNIs in the order of its hash.
fn in_order_of_vnis(lines: Vec<String>) -> Vec<String> {
    let is_vni = |line: &String| line.starts_with("  vni ");
    let Some(first) = lines.iter().position(is_vni) else { return lines };
    let end = lines.iter().rposition(|line| line == "  exit-vni").map_or(lines.len(), |last| last + 1);
    let mut blocks: Vec<&[String]> = lines[first..end].chunk_by(|_, next| !is_vni(next)).collect();
    blocks.sort();
    [&lines[..first], &blocks.concat(), &lines[end..]].concat()
}

fn rendered_instances(router: &mut Router, config: &RouterConfig) -> BTreeMap<String, Vec<String>> {
    text(config, &router.release()).unwrap().values().flat_map(|text| instances(text)).collect()
}

async fn running_instances(router: &Router) -> BTreeMap<String, Vec<String>> {
    let limit = Duration::from_secs(10);
    let mut vty = Vty::connect(&router.socket("bgpd"), limit).await.unwrap();
    instances(&vty.run("show running-config", limit).await.unwrap().text)
}

async fn await_active(routing: &mut impl Routing, vrfs: &[&str]) {
    for vrf in vrfs {
        let wait = Duration::from_secs(5);
        routing.wait_vrf(&vrf.parse().unwrap(), Presence::Active, wait).await.unwrap();
    }
}

/// Applies each configuration over the one before: a build, edits, rebuilds and removals, all live.
fn apply_samples(vrfs: &[&str], count: usize) {
    let mut router = Router::start();
    for vrf in vrfs {
        router.add_vrf(vrf);
    }
    block_on(async {
        let mut routing = router.routing();
        await_active(&mut routing, vrfs).await;
        for (n, config) in samples(count).iter().enumerate() {
            let want = wanted(&mut router, config);
            assert_eq!(apply::converge(&mut routing, &want).await.unwrap(), vec![], "step {n}");
            assert_runs(&mut routing, &want, &format!("step {n}")).await;
            assert_eq!(running_instances(&router).await, rendered_instances(&mut router, config), "step {n}");
        }
    });
}

/// Without VRFs in the kernel. zebra of FRR 10.7 crashes at `no vni` of a VRF that never was there (`zvrf->zns` is null), which
/// perouter does not configure: it waits for the VRF first.
#[test]
fn frr_runs_what_was_applied() {
    if !router::can_run() {
        return;
    }
    if Router::start().release().name == FRR_10_7.name {
        println!("left out: zebra of FRR 10.7 crashes at `no vni` of a VRF that is not there; the next test has VRFs");
        return;
    }
    apply_samples(&[], 80);
}

#[test]
fn frr_runs_what_was_applied_with_live_vrfs() {
    if router::can_run() {
        apply_samples(&["red", "blue", "in-v4"], 80);
    }
}

fn batch(daemon: Daemon, lines: &[(&[&str], &str)]) -> CommandBatch {
    let commands = lines
        .iter()
        .map(|(context, line)| VtyCommand {
            scope: Scope::Underlay,
            context: context.iter().map(|header| Line::new(header)).collect(),
            line: Line::new(line),
            intent: Intent::Set,
        })
        .collect();
    CommandBatch { stage: BatchStage::Instance, daemon, mode: CommandMode::Configure, retry: false, commands }
}

#[test]
fn a_rejected_line_is_returned_with_its_stanza_and_the_others_are_in_force() {
    if !router::can_run() {
        return;
    }
    let router = Router::start();
    block_on(async {
        let mut routing = router.routing();
        let stanza: &[&str] = &["router bgp 64514"];
        let lines = [
            (&[][..], "router bgp 64514"),
            (stanza, "neighbor 10.0.0.2 remote-as 64512"),
            (stanza, "neighbor 10.0.0.2 password hunter2 and more"),
            (stanza, "neighbor 10.0.0.3 port 5"),
            (stanza, "bgp router-id 10.0.0.1"),
            (&[], "exit"),
        ];
        let rejected = routing.apply(&batch(Daemon::Bgpd, &lines)).await.unwrap();
        let messages: Vec<_> = rejected.iter().map(|line| (line.status, line.to_string())).collect();
        let expected = [
            (
                ReplyStatus::Unknown,
                "bgpd rejects `neighbor 10.0.0.2 password ********`, router bgp 64514: unknown command".to_owned(),
            ),
            (
                ReplyStatus::Rejected,
                "bgpd rejects `neighbor 10.0.0.3 port 5`, router bgp 64514: Specify remote-as or peer-group commands first".to_owned(),
            ),
        ];
        assert_eq!(messages, expected);
        let running = routing.running().await.unwrap().config.clone();
        assert_eq!(running.tree(&Scope::Underlay, Daemon::Bgpd).unwrap().len(), 3);
    });
}

/// A sampled configuration with these VRFs and something for every daemon.
fn node_with(vrfs: &[&str]) -> RouterConfig {
    let has = |config: &RouterConfig| {
        let texts = text(config, &FRR_8_4).unwrap();
        let busy = |daemon| texts.keys().any(|(_, of)| *of == daemon);
        config.vrfs.keys().map(ToString::to_string).eq(vrfs.iter().copied())
            && [Daemon::Bfdd, Daemon::Staticd].into_iter().all(busy)
    };
    samples(200).into_iter().find(has).unwrap()
}

#[test]
fn an_l3vni_comes_up_and_is_removed_in_the_documented_order() {
    if !router::can_run() {
        return;
    }
    let mut router = Router::start();
    let mut config = node_with(&["red"]);
    // bgpd lists an L2VNI with targets of its own also where there is no device.
    config.underlay.as_mut().unwrap().l2vnis.clear();
    let vrf = "red".parse().unwrap();
    let vni = config.vrfs[&vrf].vni;
    let want = wanted(&mut router, &config);
    let scope = Scope::Vrf(vrf.clone());
    let wait = Duration::from_secs(10);
    block_on(async {
        let mut routing = router.routing();
        let version = router.run("/usr/lib/frr/zebra --version");
        assert!(version.contains(&routing.version().await.unwrap().text), "{version}");
        let underlay = want.without(&[scope.clone()].into());
        assert_eq!(apply::converge(&mut routing, &underlay).await.unwrap(), vec![]);
        for _ in 0..5 {
            router.add_vrf("red");
            routing.wait_vrf(&vrf, Presence::Active, wait).await.unwrap();
            router.add_vni("red", vni.get(), "100.65.0.1");
            assert_eq!(apply::converge(&mut routing, &want).await.unwrap(), vec![]);
            let end = std::time::Instant::now() + wait;
            while !routing.vnis().await.unwrap().get(&vni).is_some_and(perouter::frr::show::vni::VniState::is_ready) {
                assert!(std::time::Instant::now() < end, "{:?}", routing.vnis().await);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let all = routing.vnis().await.unwrap();
            assert_eq!(all[&vni].vrf, "red");
            assert_eq!(routing.vnis_of(&[vni, Vni::try_from(77).unwrap()].into()).await.unwrap(), all);
            assert_runs(&mut routing, &want, "up").await;

            let have = routing.running().await.unwrap().config.clone();
            assert!(diff(&have, &underlay).is_empty());
            let steps = removal(&have, &scope);
            for batch in &steps.before {
                assert_eq!(routing.apply(batch).await.unwrap(), vec![]);
            }
            router.remove_vrf("red", vni.get());
            routing.wait_vrf(&vrf, Presence::Gone, wait).await.unwrap();
            for batch in &steps.after {
                assert_eq!(routing.apply(batch).await.unwrap(), vec![]);
            }
            assert_eq!(routing.vrfs().await.unwrap(), BTreeMap::new());
            assert_runs(&mut routing, &underlay, "down").await;
        }
    });
}

/// As long as it is configured there, FRR rejects it in the IP-VRF.
#[test]
fn a_vni_of_the_default_vrf_is_removed() {
    if !router::can_run() {
        return;
    }
    let mut router = Router::start();
    let config = node_with(&["red"]);
    let vni = config.vrfs[&"red".parse::<VrfName>().unwrap()].vni;
    let want = wanted(&mut router, &config);
    let limit = Duration::from_secs(10);
    let daemon = router.release().zebra_config;
    let zebra = router.socket(daemon.name());
    block_on(async {
        let mut vty = Vty::connect(&zebra, limit).await.unwrap();
        for line in ["configure terminal", &format!("vni {vni}"), "end"] {
            assert!(vty.run(line, limit).await.unwrap().status.is_ok(), "{line}");
        }
        let mut routing = router.routing();
        apply::converge(&mut routing, &want).await.unwrap();
        assert_eq!(apply::converge(&mut routing, &want).await.unwrap(), vec![]);
        assert_runs(&mut routing, &want, "after the second time").await;
    });
}

#[test]
fn the_route_target_that_frr_derives_can_be_configured() {
    if !router::can_run() {
        return;
    }
    let mut router = Router::start();
    let mut config = node_with(&["red"]);
    let red: VrfName = "red".parse().unwrap();
    let (vni, asn) = (config.vrfs[&red].vni, config.vrfs[&red].asn);
    let auto = format!("{}:{vni}", u32::from(asn) & 0xffff);
    let wait = Duration::from_secs(10);
    block_on(async {
        let mut routing = router.routing();
        router.add_vrf("red");
        routing.wait_vrf(&red, Presence::Active, wait).await.unwrap();
        router.add_vni("red", vni.get(), "100.65.0.1");
        for targets in [
            &[][..],
            &[&*auto],
            &[],
            &[&*auto, "1:1", "64514:4294967"],
            &["1:1"],
            &[&*auto, "1:1"],
            &[&*auto],
            &["1:1"],
        ] {
            let targets: BTreeSet<RouteTarget> = targets.iter().map(|text| text.parse().unwrap()).collect();
            let vrf = config.vrfs.get_mut(&red).unwrap();
            (vrf.import, vrf.export) = (targets.clone(), targets.clone());
            let want = wanted(&mut router, &config);
            assert_eq!(apply::converge(&mut routing, &want).await.unwrap(), vec![]);
            assert_runs(&mut routing, &want, &format!("{targets:?}")).await;
            let end = std::time::Instant::now() + wait;
            while !routing.vnis().await.unwrap().get(&vni).is_some_and(perouter::frr::show::vni::VniState::is_ready) {
                assert!(std::time::Instant::now() < end, "{:?}", routing.vnis().await);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
}

#[test]
fn a_restarted_daemon_is_empty_and_is_configured_again() {
    if !router::can_run() {
        return;
    }
    let mut router = Router::start();
    let want = wanted(&mut router, &node_with(&["blue", "red"]));
    let vrfs = ["blue", "red"];
    for vrf in &vrfs {
        router.add_vrf(vrf);
    }
    block_on(async {
        let mut routing = router.routing();
        await_active(&mut routing, &vrfs).await;
        assert_eq!(routing.sessions().await.unwrap(), vec![]);
        assert_eq!(routing.vnis().await.unwrap(), BTreeMap::new());
        apply::converge(&mut routing, &want).await.unwrap();
        assert_runs(&mut routing, &want, "first").await;
        for daemon in [Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd, Daemon::Zebra] {
            router.restart(daemon);
            await_active(&mut routing, &vrfs).await;
            // What another daemon of this release stores comes back by itself.
            let lost = daemon != Daemon::Staticd || router.release().static_routes == daemon;
            assert_eq!(!diff(&routing.running().await.unwrap().config, &want).is_empty(), lost, "{daemon}");
            assert_eq!(apply::converge(&mut routing, &want).await.unwrap(), vec![], "{daemon}");
            assert_runs(&mut routing, &want, daemon.name()).await;
        }
        assert!(!routing.sessions().await.unwrap().is_empty());
    });
}

#[test]
fn policies_sent_after_idle_are_in_force_at_once() {
    if !router::can_run() {
        return;
    }
    let mut router = Router::start();
    block_on(async {
        let mut routing = router.routing();
        let send = async |routing: &mut VtyRouting, name: &str| {
            let deny = format!("ip prefix-list {name} seq 5 deny 10.64.1.0/28 le 32");
            let permit = format!("ip prefix-list {name} seq 10 permit any");
            let lines = [(&[][..], deny.as_str()), (&[], permit.as_str())];
            let policies = CommandBatch { stage: BatchStage::Policies, ..batch(Daemon::Bgpd, &lines) };
            assert_eq!(routing.apply_concurrently(policies).await.unwrap(), vec![]);
            let running = routing.show(Daemon::Bgpd, "show running-config").await.unwrap();
            running.lines().filter(|line| line.starts_with("ip prefix-list ")).count()
        };
        assert_eq!(send(&mut routing, "pe-a").await, 2);
        routing.idle(1000).await.unwrap();
        assert_eq!(send(&mut routing, "pe-b").await, 4);
        assert_eq!(send(&mut routing, "pe-c").await, 6);
        router.restart(Daemon::Bgpd);
        routing.running().await.unwrap();
        assert_eq!(send(&mut routing, "pe-d").await, 2);
        routing.idle(1000).await.unwrap();
        assert_eq!(send(&mut routing, "pe-e").await, 4);
    });
}

#[test]
fn a_client_that_crashed_during_a_bulk_commit_delays_no_session() {
    const LIMIT: Duration = Duration::from_secs(5);
    if !router::can_run() {
        return;
    }
    let mut router = Router::start();
    // FRR 10 leaves a session `Idle` that has no route to its peer or not the address that it starts from.
    router.run("ip address add 192.168.11.3/24 dev lo");
    let mut config = node_with(&["red"]);
    for neighbor in config.underlay.as_mut().unwrap().neighbors.values_mut() {
        neighbor.update_source = None;
    }
    let want = wanted(&mut router, &config);
    block_on(async {
        let mut crashed = Vty::connect(&router.socket("bgpd"), LIMIT).await.unwrap();
        crashed.run_all(&["configure terminal", "XFRR_start_configuration"], LIMIT).await.unwrap();
        drop(crashed);
        let mut routing = router.routing();
        apply::converge(&mut routing, &want).await.unwrap();
        routing.idle(1).await.unwrap();
        let end = Instant::now() + LIMIT;
        loop {
            let sessions = routing.sessions().await.unwrap();
            let starts = |session: &SessionState| {
                ["Active", "Connect"].map(|phase| SessionPhase::Down(phase.to_owned())).contains(&session.phase)
            };
            if sessions.iter().any(starts) {
                return;
            }
            assert!(Instant::now() < end, "{sessions:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}
