//! The typed configuration as FRR's own canonical text. In: [`RouterConfig`] and the release. Out: text for each scope and
//! daemon, in the order and with the indentation of `show running-config`. What equals a default of FRR is left out, since
//! FRR does not print it and frr#22953 resets sessions on it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;

use serde::Serialize;
use tera::{Context, Tera};
use thiserror::Error;

use super::bfd::ProfileView;
use super::bgp::BgpView;
use super::evpn::EvpnView;
use super::policy::{PrefixListView, RouteMapView, SharedPolicies};
use super::static_routes::StaticRoutesView;
use super::zebra::ZebraView;
use super::{bfd, bgp, evpn, policy, static_routes, zebra};
use crate::frr::model::{HostSession, IpVrf, RouterConfig, UnderlayInstance};
use crate::frr::release::Release;
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::types::{Family, VrfName};

/// A template does not fit its values: a bug, not a mistake of the user.
#[derive(Debug, Error)]
#[error("render the configuration of {daemon} for {scope}")]
pub struct RenderError {
    /// The scope.
    pub scope: Scope,
    /// The daemon.
    pub daemon: Daemon,
    /// The template engine's error.
    #[source]
    pub source: tera::Error,
}

/// The templates of the stanzas, by name.
const TEMPLATES: [(&str, &str); 6] = [
    ("bgp", bgp::TEMPLATE),
    ("evpn", evpn::TEMPLATE),
    ("policy", policy::TEMPLATE),
    ("bfd", bfd::TEMPLATE),
    ("zebra", zebra::TEMPLATE),
    ("static_routes", static_routes::TEMPLATE),
];

/// The stanzas of each daemon in the order in which it prints them. `bgp` includes `evpn`.
const STANZAS: [(Daemon, &[&str]); 4] = [
    (Daemon::Bgpd, &["bgp", "policy"]),
    (Daemon::Bfdd, &["bfd"]),
    (Daemon::Zebra, &["zebra"]),
    (Daemon::Staticd, &["static_routes"]),
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

/// What the templates of one scope see. Contains passwords in the clear, and so has no `Debug`.
#[derive(Serialize)]
struct ScopeView {
    bgp: BgpView,
    evpn: EvpnView,
    prefix_lists: Vec<PrefixListView>,
    route_maps: Vec<RouteMapView>,
    profiles: Vec<ProfileView>,
    zebra: Option<ZebraView>,
    static_routes: Option<StaticRoutesView>,
}

/// FRR text for each scope and daemon. It contains passwords in the clear.
///
/// # Errors
/// Only if a template is broken, which the tests exclude.
pub fn text(config: &RouterConfig, release: &Release) -> Result<BTreeMap<(Scope, Daemon), String>, RenderError> {
    let mut texts = BTreeMap::new();
    let renderer = ScopeRenderer::new(config, release);
    for scope in scopes(config) {
        let of_scope = renderer.text(&scope)?;
        texts.extend(of_scope.into_iter().map(|(daemon, text)| ((scope.clone(), daemon), text)));
    }
    Ok(texts)
}

/// The scopes with configuration.
pub(crate) fn scopes(config: &RouterConfig) -> impl Iterator<Item = Scope> {
    let underlay = config.underlay.iter().map(|_| Scope::Underlay);
    underlay.chain(config.vrfs.keys().cloned().map(Scope::Vrf))
}

/// Renders the scopes of one configuration.
pub(crate) struct ScopeRenderer<'a> {
    config: &'a RouterConfig,
    release: &'a Release,
    shared: SharedPolicies,
}

impl<'a> ScopeRenderer<'a> {
    /// Of a configuration.
    pub(crate) fn new(config: &'a RouterConfig, release: &'a Release) -> Self {
        Self { config, release, shared: SharedPolicies::of(config) }
    }

    /// The text of one scope, for each daemon.
    ///
    /// # Errors
    /// As [`text`].
    pub(crate) fn text(&self, scope: &Scope) -> Result<BTreeMap<Daemon, String>, RenderError> {
        let mut texts = BTreeMap::new();
        let Some(view) = self.view(scope) else { return Ok(texts) };
        let failed = |daemon| move |source| RenderError { scope: scope.clone(), daemon, source };
        let context = Context::from_serialize(&view).map_err(failed(Daemon::Bgpd))?;
        for (daemon, stanzas) in STANZAS {
            let tera = templates().map_err(|error| tera::Error::message(error.to_string())).map_err(failed(daemon))?;
            let mut text = String::new();
            for stanza in stanzas {
                text += &tera.render(stanza, &context).map_err(failed(daemon))?;
            }
            if !text.trim().is_empty() {
                texts.insert(daemon, text);
            }
        }
        Ok(texts)
    }

    fn view(&self, scope: &Scope) -> Option<ScopeView> {
        let Self { config, release, shared } = self;
        match scope {
            Scope::Underlay => config.underlay.as_ref().map(|instance| underlay(instance, shared, release)),
            Scope::Vrf(name) => config.vrfs.get(name).map(|of_vrf| vrf(name, of_vrf, shared, release)),
            // The model has nothing for these.
            Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => None,
        }
    }
}

fn underlay(instance: &UnderlayInstance, shared: &SharedPolicies, release: &Release) -> ScopeView {
    let policies = policy::underlay(instance, shared, release);
    ScopeView {
        bgp: bgp::underlay(instance, &policies, release),
        evpn: evpn::underlay(instance, policies.evpn.as_ref()),
        prefix_lists: policies.prefix_lists,
        route_maps: policies.route_maps,
        profiles: bfd::underlay(instance, release.defaults),
        zebra: None,
        static_routes: None,
    }
}

fn vrf(name: &VrfName, vrf: &IpVrf, shared: &SharedPolicies, release: &Release) -> ScopeView {
    let scope = Scope::Vrf(name.clone());
    let host = |(family, session): (&Family, &Arc<HostSession>)| {
        Some((*family, policy::host(&scope, *family, session, shared)?))
    };
    let hosts: BTreeMap<Family, _> = vrf.sessions.iter().filter_map(host).collect();
    let fabric = policy::fabric(&scope, vrf, evpn::advertised(vrf), release);
    let bgp = bgp::vrf(name, vrf, &hosts, release);
    let evpn = evpn::vrf(vrf, &fabric);
    let (mut prefix_lists, mut route_maps) = (Vec::new(), Vec::new());
    for host in hosts.into_values() {
        prefix_lists.extend(host.prefix_lists);
        route_maps.extend(host.route_map);
    }
    prefix_lists.extend(fabric.prefix_lists);
    route_maps.extend(fabric.route_maps);
    ScopeView {
        bgp,
        evpn,
        prefix_lists,
        route_maps,
        profiles: bfd::vrf(name, vrf, release.defaults),
        zebra: Some(zebra::vrf(name, vrf)),
        static_routes: static_routes::vrf(name, vrf),
    }
}

#[cfg(test)]
mod tests;
