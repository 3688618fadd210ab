//! The diff of two random configurations, applied to FRR in memory, yields the wanted one.
#![allow(clippy::unwrap_used)] // clippy's exception for tests covers `#[test]` functions alone

#[path = "frr/apply.rs"]
mod apply;
#[path = "frr/configs.rs"]
mod configs;

use perouter::frr::client::fake::FakeRouting;
use perouter::frr::config::command::VtyCommand;
use perouter::frr::config::diff::diff;
use perouter::frr::config::render::{render, render_after};
use perouter::frr::release::FRR_8_4;
use perouter::frr::stanza::text::text;
use perouter::scope::Scope;
use proptest::prelude::*;

/// Runs a future that never waits for anything outside.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn applying_the_diff_yields_the_wanted_configuration(a in configs::router(), b in configs::router()) {
        let (a, b) = (render(&a, &FRR_8_4).unwrap(), render(&b, &FRR_8_4).unwrap());
        let mut frr = FakeRouting::running(&a);
        frr.active.clear();
        prop_assert_eq!(&frr.config().config, &a);
        let rejected = now(apply::converge(&mut frr, &b)).unwrap();
        prop_assert_eq!(rejected, vec![]);
        let got = frr.config().config;
        prop_assert!(got == b, "got:\n{got}\nwanted:\n{b}\nsent: {:#?}", frr.sent);
    }

    #[test]
    fn an_equal_configuration_has_no_diff(a in configs::router()) {
        let config = render(&a, &FRR_8_4).unwrap();
        prop_assert!(diff(&config, &config).is_empty());
    }

    #[test]
    /// But for the lists that all share, in which each has lines of its own.
    fn an_edit_of_one_vrf_touches_no_other(a in configs::router(), red in configs::ip_vrf(100)) {
        prop_assume!(a.underlay.is_some());
        let mut b = a.clone();
        b.vrfs.insert("red".parse().unwrap(), red);
        let change = diff(&render(&a, &FRR_8_4).unwrap(), &render(&b, &FRR_8_4).unwrap());
        let red = Scope::Vrf("red".parse().unwrap());
        prop_assert!(change.scopes.keys().all(|scope| [&red, &Scope::Underlay].contains(&scope)), "{change}");
        let shared = change.scopes.get(&Scope::Underlay).into_iter().flatten().flat_map(|batch| &batch.commands);
        let is_neighbor = |command: &VtyCommand| command.line.send().contains("neighbor");
        prop_assert!(!shared.into_iter().any(is_neighbor), "{change}");
    }

    #[test]
    fn incremental_rendering_equals_full_rendering(
        a in configs::router(),
        b in configs::router(),
        red in configs::ip_vrf(100),
    ) {
        let mut edited = a.clone();
        edited.vrfs.insert("red".parse().unwrap(), red);
        let rendered = render(&a, &FRR_8_4).unwrap();
        for config in [&a, &b, &edited] {
            prop_assert_eq!(render_after(&a, &rendered, config, &FRR_8_4).unwrap(), render(config, &FRR_8_4).unwrap());
        }
    }

    #[test]
    fn no_secret_is_printed(a in configs::router(), b in configs::router()) {
        let secrets: Vec<_> = [&a, &b].into_iter().flat_map(|config| {
            let fabric = config.underlay.iter().flat_map(|u| u.neighbors.values());
            let hosts = config.vrfs.values().flat_map(|vrf| vrf.sessions.values().map(|s| &s.neighbor));
            fabric.chain(hosts).filter_map(|n| n.password.clone()).collect::<Vec<_>>()
        }).collect();
        let (ta, tb) = (render(&a, &FRR_8_4).unwrap(), render(&b, &FRR_8_4).unwrap());
        let shown = format!("{ta} {ta:?} {} {:?}", diff(&ta, &tb), diff(&ta, &tb));
        for secret in secrets {
            let clear = format!("password {}", secret.expose());
            prop_assert!(!shown.contains(&clear));
        }
    }

    #[test]
    fn every_rendered_line_has_a_rule(a in configs::router()) {
        for text in text(&a, &FRR_8_4).unwrap().values() {
            for line in text.lines().map(perouter::frr::config::line::Line::new) {
                let silent = line.send().is_empty() || line.send() == "!" || line.send().starts_with("exit");
                prop_assert!(silent || perouter::frr::stanza::rules::identity(line.send()).is_some(), "{line}");
            }
        }
    }
}
