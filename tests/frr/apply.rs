//! What a pass does with a change, without the kernel's part: a VRF whose namespace is there keeps its `vrf` stanza.

use std::collections::BTreeSet;

use perouter::frr::client::port::{RejectedCommand, Routing, RoutingError};
use perouter::frr::config::batch::merge;
use perouter::frr::config::diff::diff;
use perouter::frr::config::removal::removal;
use perouter::frr::config::tree::Config;
use perouter::frr::show::vrf::VrfState;
use perouter::scope::Scope;

/// Makes `routing` run `want`. VRFs are taken away before the underlay and built after it.
pub async fn converge(routing: &mut impl Routing, want: &Config) -> Result<Vec<RejectedCommand>, RoutingError> {
    let have = routing.running().await?.config.clone();
    let mut refused = Vec::new();
    let removed = removed(&have, want);
    for scope in removed.iter().rev() {
        let steps = removal(&have, scope);
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
    let change = diff(&have.without(&removed), want);
    for batch in merge(change.scopes.into_values().flatten()) {
        refused.extend(routing.apply(&batch).await?);
    }
    Ok(refused)
}

/// The scopes that are not wanted, or not with this AS number or VNI; all where that is so of the default instance.
fn removed(have: &Config, want: &Config) -> BTreeSet<Scope> {
    let goes = |scope: &Scope| !want.has(scope) || have.identity(scope).clashes(want.identity(scope));
    let present = have.scopes().into_iter();
    let all = have.has(&Scope::Underlay) && goes(&Scope::Underlay);
    present.filter(|scope| all || goes(scope)).cloned().collect()
}
