//! The typed configuration as a [`Config`] tree. In: [`RouterConfig`] and the release. Out: the tree that FRR's running
//! configuration is after applying it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::line::Line;
use super::tree::{Config, Tree};
use crate::frr::model::RouterConfig;
use crate::frr::release::Release;
use crate::frr::stanza::text::{RenderError, ScopeRenderer, scopes};
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::types::VrfName;

/// The configuration as a tree.
///
/// # Errors
/// Only if a template is broken, which the tests exclude.
pub fn render(config: &RouterConfig, release: &Release) -> Result<Config, RenderError> {
    render_after(&RouterConfig::default(), &Config::default(), config, release)
}

/// The same, given that `rendered` is the tree of `before` for the same release: the scopes that did not change are taken
/// from it.
///
/// # Errors
/// As [`render`].
pub fn render_after(
    before: &RouterConfig,
    rendered: &Config,
    config: &RouterConfig,
    release: &Release,
) -> Result<Config, RenderError> {
    let mut tree = Config::default();
    let renderer = ScopeRenderer::new(config, release);
    let same_underlay = before.underlay == config.underlay;
    let same_sessions = before.host_sessions() == config.host_sessions();
    for scope in scopes(config) {
        // IP-VRFs name policies of the underlay.
        let same = same_underlay
            && match &scope {
                Scope::Underlay => same_sessions,
                Scope::Vrf(vrf) => before.vrfs.get(vrf) == config.vrfs.get(vrf),
                Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => false,
            };
        if same {
            tree.take_over(&scope, rendered);
            continue;
        }
        for (daemon, text) in renderer.text(&scope)? {
            let foreign = tree.absorb(daemon, Tree::parse(&text));
            debug_assert!(foreign.is_empty(), "{scope}: the names of this scope are not recognised: {foreign}");
        }
    }
    tree.hand_over(Daemon::Staticd, release.static_routes);
    if config.underlay.is_some() {
        tree.add(Scope::Underlay, Daemon::Zebra, release.zebra_settings);
    }
    Ok(tree)
}

/// What FRR has to run first, where a release must not replace an aggregate at once: `config`, of which `rendered` is the tree,
/// without the aggregates that `running` has with other options. `None` where there are none.
///
/// # Errors
/// As [`render`].
pub fn without_replaced_aggregates(
    config: &RouterConfig,
    rendered: &Config,
    running: &Config,
    release: &Release,
) -> Result<Option<Config>, RenderError> {
    if !release.keeps_replaced_type5 {
        return Ok(None);
    }
    let mut replaced: BTreeMap<&VrfName, BTreeSet<IpNet>> = BTreeMap::new();
    for (name, _) in config.vrfs.iter().filter(|(_, vrf)| !vrf.aggregates.is_empty()) {
        let scope = Scope::Vrf(name.clone());
        let (wanted, runs) = (aggregates(rendered, &scope), aggregates(running, &scope));
        let differ = wanted.into_iter().filter(|(prefix, line)| runs.get(prefix).is_some_and(|other| other != line));
        let prefixes: BTreeSet<IpNet> = differ.map(|(prefix, _)| prefix).collect();
        if !prefixes.is_empty() {
            replaced.insert(name, prefixes);
        }
    }
    if replaced.is_empty() {
        return Ok(None);
    }
    let mut without = config.clone();
    for (name, prefixes) in replaced {
        if let Some(vrf) = without.vrfs.get_mut(name) {
            vrf.aggregates.retain(|prefix, _| !prefixes.contains(prefix));
        }
    }
    render_after(config, rendered, &without, release).map(Some)
}

/// The lines of the aggregates of a scope, by prefix.
fn aggregates<'a>(config: &'a Config, scope: &Scope) -> BTreeMap<IpNet, &'a Line> {
    let instances = config.tree(scope, Daemon::Bgpd).into_iter().flat_map(|tree| tree.0.values());
    let lines = instances.flat_map(|instance| instance.0.values()).flat_map(|family| family.0.keys());
    let prefix = |line: &Line| line.after("aggregate-address")?.split(' ').next()?.parse().ok();
    lines.filter_map(|line| Some((prefix(line)?, line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::model::IpVrf;
    use crate::frr::release::{FRR_10_3, FRR_10_7};

    /// The configuration of FRR with these aggregates in red, and its tree.
    fn red(aggregates: &[(&str, bool)], release: &Release) -> (RouterConfig, Config) {
        let aggregates = aggregates.iter().map(|(prefix, alone)| (prefix.parse().unwrap(), *alone)).collect();
        let vrf = IpVrf {
            vni: 100.try_into().unwrap(),
            asn: 64514.try_into().unwrap(),
            router_id: "10.0.0.1".parse().unwrap(),
            import: [].into(),
            export: [].into(),
            sessions: [].into(),
            graceful_restart: None,
            networks: [].into(),
            aggregates,
            communities: [].into(),
            routes: [].into(),
        };
        let config = RouterConfig { underlay: None, vrfs: [("red".parse().unwrap(), vrf)].into() };
        let tree = render(&config, release).unwrap();
        (config, tree)
    }

    const BOTH: [(&str, bool); 2] = [("172.30.0.0/24", true), ("172.31.0.0/24", false)];

    #[test]
    fn only_an_aggregate_with_other_options_is_removed_first() {
        let (config, wanted) = red(&BOTH, &FRR_10_7);
        let first = |running: &[(&str, bool)]| {
            let (_, running) = red(running, &FRR_10_7);
            without_replaced_aggregates(&config, &wanted, &running, &FRR_10_7).unwrap()
        };
        assert_eq!(first(&[("172.30.0.0/24", false), ("172.31.0.0/24", false)]), Some(red(&BOTH[1..], &FRR_10_7).1));
        for running in [&BOTH[..], &BOTH[1..], &[]] {
            assert_eq!(first(running), None, "{running:?}");
        }
    }

    #[test]
    fn other_releases_replace_it_at_once() {
        let (config, wanted) = red(&BOTH, &FRR_10_3);
        let (_, running) = red(&[("172.30.0.0/24", false)], &FRR_10_3);
        assert_eq!(without_replaced_aggregates(&config, &wanted, &running, &FRR_10_3).unwrap(), None);
    }
}
