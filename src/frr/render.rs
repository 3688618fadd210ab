//! The typed configuration as FRR's own canonical text. In: [`RouterConfig`]. Out: text for each scope and daemon, and
//! the [`Config`] tree read from it. With FRR running, the running configuration after applying it is the same tree. What
//! equals a default of FRR is left out here, since FRR does not print it and frr#22953 resets sessions on it. Pure.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use tera::{Context, Tera};
use thiserror::Error;

use super::model::{Daemon, RouterConfig, Scope};
use super::tree::{Config, Tree};
use super::view;

/// A template of ours does not fit its values: a mistake in this program, not in what the user wrote.
#[derive(Debug, Error)]
#[error("rendering {daemon} for {scope}")]
pub struct RenderError {
    /// Whose configuration.
    pub scope: Scope,
    /// Which daemon's.
    pub daemon: Daemon,
    /// What the template engine says.
    #[source]
    pub source: tera::Error,
}

const TEMPLATES: [(&str, &str); 4] = [
    ("bgpd", include_str!("templates/bgpd.tera")),
    ("bfdd", include_str!("templates/bfdd.tera")),
    ("zebra", include_str!("templates/zebra.tera")),
    ("staticd", include_str!("templates/staticd.tera")),
];

fn templates() -> Result<&'static Tera, &'static tera::Error> {
    static LOADED: OnceLock<Result<Tera, tera::Error>> = OnceLock::new();
    let load = || {
        let mut tera = Tera::default();
        tera.autoescape_on(Vec::<String>::new());
        tera.add_raw_templates(TEMPLATES)?;
        Ok(tera)
    };
    LOADED.get_or_init(load).as_ref()
}

/// FRR text for each scope and daemon, in the order and with the indentation of `show running-config`. It holds
/// passwords in the clear.
///
/// # Errors
/// Only if a template is broken, which the tests exclude.
pub fn text(config: &RouterConfig) -> Result<BTreeMap<(Scope, Daemon), String>, RenderError> {
    let mut texts = BTreeMap::new();
    let mut views = BTreeMap::new();
    if let Some(underlay) = &config.underlay {
        views.insert(Scope::Underlay, view::underlay(underlay));
    }
    for (name, vrf) in &config.vrfs {
        views.insert(Scope::Vrf(name.clone()), view::vrf(name, vrf, config.underlay.as_ref()));
    }
    for (scope, view) in views {
        let context = Context::from_serialize(&view);
        let context = context.map_err(|source| RenderError { scope: scope.clone(), daemon: Daemon::Bgpd, source })?;
        for daemon in [Daemon::Bgpd, Daemon::Bfdd, Daemon::Zebra, Daemon::Staticd] {
            let failed = |source| RenderError { scope: scope.clone(), daemon, source };
            let tera = templates().map_err(|e| failed(tera::Error::message(e.to_string())))?;
            let text = tera.render(daemon.name(), &context).map_err(failed)?;
            if !text.trim().is_empty() {
                texts.insert((scope.clone(), daemon), text);
            }
        }
    }
    Ok(texts)
}

/// The configuration as a tree.
///
/// # Errors
/// As [`text`].
pub fn render(config: &RouterConfig) -> Result<Config, RenderError> {
    let mut tree = Config::default();
    for ((scope, daemon), text) in text(config)? {
        let foreign = tree.absorb(daemon, Tree::parse(&text));
        debug_assert!(foreign.is_empty(), "{scope}: the names of this scope are not recognised: {foreign}");
    }
    Ok(tree)
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
