//! Details of sessions, and what they depend on. In: which ones. Out: those of the fabric in one exchange, others one by one: bgpd
//! prints a lot for each. The routes that a session filters, BFD sessions, and the links of the default VRF.

use std::collections::{BTreeMap, BTreeSet};

use super::session_start::Exchange;
use crate::frr::client::port::RoutingError;
use crate::frr::show::ShowError;
use crate::frr::show::bfd::{self, BfdPeer};
use crate::frr::show::interface::{self, Interface};
use crate::frr::show::neighbor::{self, SessionReset};
use crate::frr::show::route::{self, ReceivedRoute};
use crate::frr::show::session::{SessionKey, SessionPhase, SessionState};
use crate::runtime::Daemon;

/// Those with the fabric, and those of `wanted` in IP-VRFs.
pub(super) async fn read(
    frr: &mut impl Exchange,
    wanted: &BTreeSet<SessionKey>,
) -> Result<BTreeMap<SessionKey, SessionReset>, RoutingError> {
    let shown = frr.ask(Daemon::Bgpd, neighbor::SHOW_FABRIC_NEIGHBORS).await?;
    let mut found = neighbor::fabric_resets(&shown).map_err(unreadable(Daemon::Bgpd))?;
    for (vrf, peer) in wanted {
        let Some(vrf) = vrf else { continue };
        let shown = frr.ask(Daemon::Bgpd, &neighbor::show_neighbor(vrf, peer)).await?;
        let reset = neighbor::neighbor_reset(peer, &shown).map_err(unreadable(Daemon::Bgpd))?;
        found.extend(reset.map(|reset| ((Some(vrf.clone()), peer.clone()), reset)));
    }
    Ok(found)
}

/// The routes of a session that are filtered.
pub(super) async fn filtered(
    frr: &mut impl Exchange,
    session: &SessionState,
) -> Result<Vec<ReceivedRoute>, RoutingError> {
    let mut found = Vec::new();
    if session.phase != SessionPhase::Established {
        return Ok(found);
    }
    for family in session.families() {
        let shown = frr.ask(Daemon::Bgpd, &route::show_filtered(session.vrf.as_ref(), family, &session.peer)).await?;
        found.extend(route::filtered(&shown).map_err(unreadable(Daemon::Bgpd))?);
    }
    Ok(found)
}

/// BFD sessions of all VRFs.
pub(super) async fn bfd_peers(frr: &mut impl Exchange) -> Result<Vec<BfdPeer>, RoutingError> {
    let shown = frr.ask(Daemon::Bfdd, bfd::SHOW_BFD_PEERS).await?;
    bfd::bfd_peers(&shown).map_err(unreadable(Daemon::Bfdd))
}

/// The links of the default VRF.
pub(super) async fn default_links(frr: &mut impl Exchange) -> Result<BTreeMap<String, Interface>, RoutingError> {
    let shown = frr.ask(Daemon::Zebra, interface::SHOW_DEFAULT_INTERFACES).await?;
    interface::interfaces(&shown).map_err(unreadable(Daemon::Zebra))
}

fn unreadable(daemon: Daemon) -> impl Fn(ShowError) -> RoutingError {
    move |source| RoutingError::Unreadable { daemon, source }
}
