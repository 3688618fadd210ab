//! The typed configuration as a [`Config`] tree. In: [`RouterConfig`] and the release. Out: the tree that FRR's running
//! configuration is after applying it. Pure.

use super::tree::{Config, Tree};
use crate::frr::model::RouterConfig;
use crate::frr::release::Release;
use crate::frr::stanza::text::{RenderError, ScopeRenderer, scopes};
use crate::runtime::Daemon;
use crate::scope::Scope;

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
