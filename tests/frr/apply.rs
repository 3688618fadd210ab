//! The FRR part of a reconcile pass, without the kernel: a VRF whose namespace exists keeps its `vrf` stanza.

use std::collections::BTreeSet;

use perouter::frr::client::port::{RejectedCommand, Routing, RoutingError};
use perouter::frr::config::batch::merge;
use perouter::frr::config::diff::diff;
use perouter::frr::config::removal::removal;
use perouter::frr::config::tree::Config;
use perouter::frr::show::vrf::VrfState;
use perouter::scope::Scope;

/// Makes `routing` run `want`. VRFs are removed before the underlay and built after it.
pub async fn converge(routing: &mut impl Routing, want: &Config) -> Result<Vec<RejectedCommand>, RoutingError> {
    let have = routing.running().await?.config.clone();
    let mut rejected = Vec::new();
    let removed = removed(&have, want);
    for scope in removed.iter().rev() {
        let steps = removal(&have, scope);
        for batch in &steps.before {
            rejected.extend(routing.apply(batch).await?);
        }
        let is_active = match scope {
            Scope::Vrf(vrf) => routing.vrfs().await?.get(vrf) == Some(&VrfState::Active),
            Scope::Underlay | Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => false,
        };
        if !is_active {
            for batch in &steps.after {
                rejected.extend(routing.apply(batch).await?);
            }
        }
    }
    let change = diff(&have.without(&removed), want);
    for batch in merge(change.scopes.into_values().flatten()) {
        rejected.extend(routing.apply(&batch).await?);
    }
    Ok(rejected)
}

/// The scopes that are not wanted, or wanted with another AS number or VNI; all if the default instance is among them.
fn removed(have: &Config, want: &Config) -> BTreeSet<Scope> {
    let is_removed = |scope: &Scope| !want.has(scope) || have.identity(scope).clashes(want.identity(scope));
    let present = have.scopes().into_iter();
    let all = have.has(&Scope::Underlay) && is_removed(&Scope::Underlay);
    present.filter(|scope| all || is_removed(scope)).cloned().collect()
}
