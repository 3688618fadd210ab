//! The typed configuration as FRR's own canonical text. In: [`RouterConfig`]. Out: text for each scope and daemon, and
//! the [`Config`] tree read from it. With FRR running, the running configuration after applying it is the same tree. What
//! equals a default of FRR is left out here, since FRR does not print it and frr#22953 resets sessions on it. Pure.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use tera::{Context, Tera};
use thiserror::Error;

use crate::frr::model::RouterConfig;

use crate::runtime::Daemon;

use super::view;
use crate::frr::config::tree::{Config, Tree};
use crate::scope::Scope;

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
    ("bgpd", include_str!("../templates/bgpd.tera")),
    ("bfdd", include_str!("../templates/bfdd.tera")),
    ("zebra", include_str!("../templates/zebra.tera")),
    ("staticd", include_str!("../templates/staticd.tera")),
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
    for scope in scopes(config) {
        texts.extend(text_of(config, &scope)?.into_iter().map(|(daemon, text)| ((scope.clone(), daemon), text)));
    }
    Ok(texts)
}

/// The configuration as a tree.
///
/// # Errors
/// As [`text`].
pub fn render(config: &RouterConfig) -> Result<Config, RenderError> {
    render_after(&RouterConfig::default(), &Config::default(), config)
}

/// The same, where `rendered` was made of `before`: what comes out the same is shared with it.
///
/// # Errors
/// As [`text`].
pub fn render_after(before: &RouterConfig, rendered: &Config, config: &RouterConfig) -> Result<Config, RenderError> {
    let mut tree = Config::default();
    let same_underlay = before.underlay == config.underlay;
    for scope in scopes(config) {
        // IP-VRFs name policies of the underlay.
        let same = same_underlay
            && match &scope {
                Scope::Underlay | Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => true,
                Scope::Vrf(vrf) => before.vrfs.get(vrf) == config.vrfs.get(vrf),
            };
        if same {
            tree.take_over(&scope, rendered);
            continue;
        }
        for (daemon, text) in text_of(config, &scope)? {
            let foreign = tree.absorb(daemon, Tree::parse(&text));
            debug_assert!(foreign.is_empty(), "{scope}: the names of this scope are not recognised: {foreign}");
        }
    }
    Ok(tree)
}

fn scopes(config: &RouterConfig) -> impl Iterator<Item = Scope> {
    let underlay = config.underlay.iter().map(|_| Scope::Underlay);
    underlay.chain(config.vrfs.keys().cloned().map(Scope::Vrf))
}

fn text_of(config: &RouterConfig, scope: &Scope) -> Result<BTreeMap<Daemon, String>, RenderError> {
    let underlay = config.underlay.as_ref();
    let view = match scope {
        Scope::Underlay => underlay.map(view::underlay),
        Scope::Vrf(name) => config.vrfs.get(name).map(|vrf| view::vrf(name, vrf, underlay)),
        Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => None,
    };
    let failed = |daemon| move |source| RenderError { scope: scope.clone(), daemon, source };
    let context = Context::from_serialize(&view).map_err(failed(Daemon::Bgpd))?;
    let mut texts = BTreeMap::new();
    for daemon in [Daemon::Bgpd, Daemon::Bfdd, Daemon::Zebra, Daemon::Staticd] {
        let tera = templates().map_err(|e| tera::Error::message(e.to_string())).map_err(failed(daemon))?;
        let text = tera.render(daemon.name(), &context).map_err(failed(daemon))?;
        if !text.trim().is_empty() {
            texts.insert(daemon, text);
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests;
