//! Neighbors with details in bgpd. In: the JSON of [`SHOW_NEIGHBORS`]. Out: why each session last went down. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::json::{ShowError, json, word};
use super::session::SessionKey;
use crate::types::VrfName;

/// bgpd: neighbors of all VRFs with details.
pub const SHOW_NEIGHBORS: &str = "show bgp vrf all neighbors json";

/// Why a session last went down, and settings of the neighbor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReset {
    /// Host name that the peer advertised.
    pub hostname: Option<String>,
    /// Our AS number towards it.
    pub local_as: Option<u64>,
    /// Its own AS number is replaced with ours in AS paths that are sent to it.
    pub as_override: bool,
    /// The reason as FRR prints it.
    pub due_to: Option<String>,
    /// Code and subcode of a NOTIFICATION (RFC 4271 section 4.5), as FRR prints them.
    pub notification: Option<String>,
}

/// Reads [`SHOW_NEIGHBORS`].
///
/// # Errors
/// If the text is not JSON.
pub fn resets(text: &str) -> Result<BTreeMap<SessionKey, SessionReset>, ShowError> {
    let Value::Object(vrfs) = json(SHOW_NEIGHBORS, text)? else { return Ok(BTreeMap::new()) };
    let of_vrf = |(name, peers): (String, Value)| -> Vec<(SessionKey, SessionReset)> {
        let vrf: Option<VrfName> = name.parse().ok();
        let Value::Object(peers) = peers else { return vec![] };
        let of_peer = |(peer, entry): (String, Value)| {
            let reset = SessionReset {
                hostname: word(&entry, "hostname"),
                local_as: entry.get("localAs").and_then(Value::as_u64),
                as_override: families(&entry).any(|family| family.get("overrideASNsInOutboundUpdates").is_some()),
                due_to: word(&entry, "lastResetDueTo"),
                notification: word(&entry, "lastNotificationReason"),
            };
            entry.is_object().then(|| ((vrf.clone(), peer), reset))
        };
        peers.into_iter().filter_map(of_peer).collect()
    };
    Ok(vrfs.into_iter().flat_map(of_vrf).collect())
}

fn families(entry: &Value) -> impl Iterator<Item = &Value> {
    entry["addressFamilyInfo"].as_object().into_iter().flat_map(|families| families.values())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::json::tests::with_unknown_keys;

    const NEIGHBORS: &str = r#"{"red":{"vrfId":2,"192.169.10.3":{"hostname":"h","localAs":64514,"lastResetDueTo":"BGP Notification received",
            "lastNotificationReason":"Cease/Administrative Shutdown"}},"default":{"vrfId":0,"192.168.11.2":{"localAs":64514}}}"#;

    #[test]
    fn resets_are_by_vrf_and_peer() {
        let found = resets(NEIGHBORS).unwrap();
        let expected = SessionReset {
            as_override: false,
            hostname: Some("h".into()),
            local_as: Some(64514),
            due_to: Some("BGP Notification received".into()),
            notification: Some("Cease/Administrative Shutdown".into()),
        };
        assert_eq!(found[&(Some("red".parse().unwrap()), "192.169.10.3".into())], expected);
        assert_eq!(found[&(None, "192.168.11.2".into())].due_to, None);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn unknown_keys_change_nothing() {
        let more = with_unknown_keys(NEIGHBORS);
        assert_eq!(resets(&more).unwrap(), resets(NEIGHBORS).unwrap());
    }
}
