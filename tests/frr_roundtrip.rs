//! Real FRR: what is rendered and applied is what the daemons then run, edits included.

#[path = "frr/apply.rs"]
mod apply;
#[path = "frr/configs.rs"]
mod configs;
#[path = "frr/router.rs"]
mod router;

use std::time::Duration;

use perouter::frr::diff::{Batch, Mode, ScopeChange, diff, teardown};
use perouter::frr::model::{Daemon, RouterConfig, Scope};
use perouter::frr::port::{Presence, Routing};
use perouter::frr::render::render;
use perouter::frr::vty::Status;
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

async fn assert_runs(routing: &mut impl Routing, want: &perouter::frr::tree::Config, what: &str) {
    let running = routing.running().await.unwrap();
    assert_eq!(running.foreign, std::collections::BTreeMap::new(), "{what}");
    assert!(running.config == *want, "{what}: FRR runs\n{}\nbut wanted is\n{want}", running.config);
    assert!(diff(&running.config, want).is_empty());
}

/// Each configuration is applied over the one before: a build, edits, rebuilds and removals, all live.
fn walk(vrfs: &[&str], count: usize) {
    let mut router = Router::start();
    for vrf in vrfs {
        router.add_vrf(vrf);
    }
    block_on(async {
        let mut routing = router.routing();
        for vrf in vrfs {
            let wait = Duration::from_secs(5);
            routing.wait_vrf(&vrf.parse().unwrap(), Presence::Active, wait).await.unwrap();
        }
        for (n, config) in samples(count).iter().enumerate() {
            let want = render(config).unwrap();
            eprintln!("step {n}: {} lines", want.parts().map(|(_, _, tree)| tree.len()).sum::<usize>());
            let refused = apply::converge(&mut routing, &want).await.unwrap();
            // Here the namespace stays, so `no vrf` is refused.
            let refused: Vec<_> = refused
                .iter()
                .filter(|r| !r.command.line.send().starts_with("no vrf "))
                .map(ToString::to_string)
                .collect();
            assert_eq!(refused, Vec::<String>::new(), "step {n}");
            assert_runs(&mut routing, &want, &format!("step {n}")).await;
        }
    });
}

#[test]
fn what_is_applied_is_what_runs() {
    if router::can_run() {
        walk(&[], 300);
    }
}

#[test]
fn what_is_applied_is_what_runs_with_live_vrfs() {
    if router::can_run() {
        walk(&["red", "blue", "in-v4"], 300);
    }
}
