//! Whether the router of a node is ready. In: the sessions with the fabric as FRR has them, and whether the node has an Underlay.
//! Out: yes, or why not. Pure.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::frr::show::neighbor::FabricSession;

/// Why a router is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RouterNotReady {
    /// FRR was restarted, and has no configuration yet.
    #[error("FRR is not configured yet")]
    NotConfigured,
    /// No route is advertised or received.
    #[error("no session with the fabric is established")]
    NoSession,
    /// The same for the routes of IP-VRFs.
    #[error("no session with the fabric carries L2VPN EVPN")]
    NoEvpn,
}

/// One session with EVPN is enough: the others may be those of a leaf that is down. Without a session the node is ready where it
/// has no Underlay, so that a first installation does not wait for its objects.
pub fn router(sessions: &BTreeMap<String, FabricSession>, has_underlay: bool) -> Result<(), RouterNotReady> {
    let has = |wanted: FabricSession| sessions.values().any(|session| *session == wanted);
    match () {
        () if has(FabricSession::Evpn) => Ok(()),
        () if has(FabricSession::WithoutEvpn) => Err(RouterNotReady::NoEvpn),
        () if has(FabricSession::Down) => Err(RouterNotReady::NoSession),
        () if has_underlay => Err(RouterNotReady::NotConfigured),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FabricSession::{Down, Evpn, WithoutEvpn};
    use rstest::rstest;

    #[rstest]
    #[case::of_a_node_without_objects(&[], false, Ok(()))]
    #[case::of_a_node_whose_frr_was_restarted(&[], true, Err(RouterNotReady::NotConfigured))]
    #[case::whose_leaf_is_down(&[Down], true, Err(RouterNotReady::NoSession))]
    #[case::whose_controller_has_written_no_status_yet(&[Down], false, Err(RouterNotReady::NoSession))]
    #[case::whose_leaf_has_no_evpn(&[WithoutEvpn, Down], true, Err(RouterNotReady::NoEvpn))]
    #[case::with_one_of_two_leaves(&[Down, Evpn], true, Ok(()))]
    fn the_router(
        #[case] sessions: &[FabricSession],
        #[case] has_underlay: bool,
        #[case] expected: Result<(), RouterNotReady>,
    ) {
        let by_peer = sessions.iter().enumerate().map(|(n, session)| (n.to_string(), *session)).collect();
        assert_eq!(router(&by_peer, has_underlay), expected);
    }
}
