//! What a pass does with a change, without the kernel's part: a VRF whose namespace is there keeps its `vrf` stanza.

use perouter::frr::client::port::{RejectedCommand, Routing, RoutingError};
use perouter::frr::config::batch::merge;
use perouter::frr::config::diff::{ScopeChange, diff, teardown};
use perouter::frr::config::tree::Config;
use perouter::frr::show::vrf::VrfState;
use perouter::scope::Scope;

/// Makes `routing` run `want`. VRFs are taken away before the underlay and built after it.
pub async fn converge(routing: &mut impl Routing, want: &Config) -> Result<Vec<RejectedCommand>, RoutingError> {
    let have = routing.running().await?.config.clone();
    let change = diff(&have, want);
    let mut refused = Vec::new();
    let goes = |change: &ScopeChange| matches!(change, ScopeChange::Remove | ScopeChange::Rebuild(_));
    let gone: Vec<&Scope> = change.scopes.iter().filter(|(_, c)| goes(c)).map(|(scope, _)| scope).collect();
    for scope in gone.into_iter().rev() {
        let steps = teardown(&have, scope);
        for batch in &steps.before {
            refused.extend(routing.apply(batch).await?);
        }
        let is_active = match scope {
            Scope::Vrf(vrf) => routing.vrfs().await?.get(vrf) == Some(&VrfState::Active),
            Scope::Underlay | Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => false,
        };
        if !is_active {
            for batch in &steps.after {
                refused.extend(routing.apply(batch).await?);
            }
        }
    }
    for batch in merge(change.scopes.values().flat_map(|of_scope| of_scope.batches().to_vec())) {
        refused.extend(routing.apply(&batch).await?);
    }
    Ok(refused)
}
