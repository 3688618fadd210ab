//! Neighbors with details in bgpd. In: the JSON of [`SHOW_NEIGHBORS`]. Out: why each session last went down. In: the JSON of
//! [`SHOW_FABRIC_NEIGHBORS`]. Out: what the sessions with the fabric carry. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::family::EVPN;
use super::json::{ShowError, json, word};
use super::session::SessionKey;
use crate::types::VrfName;

/// bgpd: neighbors of all VRFs with details.
pub const SHOW_NEIGHBORS: &str = "show bgp vrf all neighbors json";

/// bgpd: neighbors of the default instance with details. What it costs does not depend on the number of VRFs.
pub const SHOW_FABRIC_NEIGHBORS: &str = "show bgp neighbors json";

/// Which side has advertised an address family in its OPEN (RFC 4760 section 8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Negotiation {
    /// This router.
    pub advertised: bool,
    /// The peer.
    pub received: bool,
}

impl Negotiation {
    /// Routes of the family are exchanged.
    pub fn is_done(self) -> bool {
        self.advertised && self.received
    }
}

/// Why a session last went down, and settings of the neighbor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReset {
    /// The address families of an established session, as FRR names them.
    pub families: BTreeMap<String, Negotiation>,
    /// Other capabilities that either side has advertised, as FRR names them (RFC 5492).
    pub capabilities: BTreeMap<String, Negotiation>,
    /// Our address on the connection; only while there is one.
    pub local_address: Option<String>,
    /// The address from which the session starts, where it is configured.
    pub update_source: Option<String>,
    /// BGP router id of the peer.
    pub remote_router_id: Option<String>,
    /// Seconds since the session went down, or since the neighbor was configured.
    pub reset_age: Option<u64>,
    /// Host name that the peer advertised.
    pub hostname: Option<String>,
    /// Our AS number towards it.
    pub local_as: Option<u64>,
    /// A TCP MD5 password is configured (RFC 2385).
    pub has_password: bool,
    /// Its own AS number is replaced with ours in AS paths that are sent to it.
    pub as_override: bool,
    /// Seconds since the peer sent something, of a session that is established.
    #[serde(skip)]
    pub silent_for: Option<u64>,
    /// The hold time that was negotiated, in seconds; 0: none (RFC 4271 section 4.2).
    #[serde(skip)]
    pub hold_time: Option<u64>,
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
    let of_vrf = |(name, peers): (String, Value)| {
        let vrf: Option<VrfName> = name.parse().ok();
        of_instance(vrf.as_ref(), peers)
    };
    Ok(vrfs.into_iter().flat_map(of_vrf).collect())
}

/// Reads [`SHOW_FABRIC_NEIGHBORS`] as [`resets`].
///
/// # Errors
/// If the text is not JSON.
pub fn fabric_resets(text: &str) -> Result<BTreeMap<SessionKey, SessionReset>, ShowError> {
    Ok(of_instance(None, json(SHOW_FABRIC_NEIGHBORS, text)?).into_iter().collect())
}

/// bgpd: one neighbor of a VRF with details, for [`neighbor_reset`].
pub fn show_neighbor(vrf: &VrfName, peer: &str) -> String {
    format!("show bgp vrf {vrf} neighbors {peer} json")
}

/// Reads [`show_neighbor`]; `None` of a neighbor that FRR does not know.
///
/// # Errors
/// If the text is not JSON.
pub fn neighbor_reset(peer: &str, text: &str) -> Result<Option<SessionReset>, ShowError> {
    let mut shown = json("show bgp vrf VRF neighbors PEER json", text)?;
    // By release beside or within an object of the VRF.
    let entry = shown
        .get(peer)
        .cloned()
        .or_else(|| shown.as_object_mut()?.values_mut().find_map(|vrf| vrf.get_mut(peer).map(Value::take)));
    Ok(entry.filter(Value::is_object).map(|entry| reset(&entry)))
}

fn of_instance(vrf: Option<&VrfName>, peers: Value) -> Vec<(SessionKey, SessionReset)> {
    let Value::Object(peers) = peers else { return vec![] };
    let of_peer = |(peer, entry): (String, Value)| entry.is_object().then(|| ((vrf.cloned(), peer), reset(&entry)));
    peers.into_iter().filter_map(of_peer).collect()
}

fn reset(entry: &Value) -> SessionReset {
    let offered = entry["neighborCapabilities"]["multiprotocolExtensions"].as_object().into_iter().flatten();
    let negotiation = |(family, sides): (&String, &Value)| {
        let side = |key: &str| sides[key] == true || sides["advertisedAndReceived"] == true;
        (family.clone(), Negotiation { advertised: side("advertised"), received: side("received") })
    };
    let words = entry["neighborCapabilities"].as_object().into_iter().flatten();
    let capability = |(name, sides): (&String, &Value)| {
        let sides = sides.as_str()?;
        let both = sides.starts_with("advertisedAndReceived");
        let negotiation = Negotiation {
            advertised: both || sides.starts_with("advertised"),
            received: both || sides.starts_with("received"),
        };
        (negotiation != Negotiation::default()).then(|| (name.clone(), negotiation))
    };
    // FRR's placeholder.
    let known = |key: &str| word(entry, key).filter(|word| word != "Unknown");
    let seconds = |key: &str| entry[key].as_u64().map(|milliseconds| milliseconds / 1000);
    SessionReset {
        families: offered.map(negotiation).collect(),
        capabilities: words.filter_map(capability).collect(),
        local_address: known("hostLocal"),
        update_source: word(entry, "updateSource"),
        remote_router_id: word(entry, "remoteRouterId"),
        reset_age: seconds("lastResetTimerMsecs"),
        hostname: known("hostname"),
        has_password: entry["authenticationEnabled"] == 1,
        local_as: entry.get("localAs").and_then(Value::as_u64),
        as_override: families(entry).any(|family| family.get("overrideASNsInOutboundUpdates").is_some()),
        silent_for: seconds("bgpTimerLastRead").filter(|_| entry["bgpState"] == "Established"),
        hold_time: seconds("bgpTimerHoldTimeMsecs"),
        due_to: word(entry, "lastResetDueTo"),
        notification: word(entry, "lastNotificationReason"),
    }
}

/// What a session with the fabric carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FabricSession {
    /// It is not established.
    Down,
    /// It is established, without L2VPN EVPN: one of the two sides has not advertised the family (RFC 4760 section 8).
    WithoutEvpn,
    /// L2VPN EVPN.
    Evpn,
}

/// Reads [`SHOW_FABRIC_NEIGHBORS`], by peer. Without a default instance there is none.
///
/// # Errors
/// If the text is not JSON.
pub fn fabric_sessions(text: &str) -> Result<BTreeMap<String, FabricSession>, ShowError> {
    let Value::Object(peers) = json(SHOW_FABRIC_NEIGHBORS, text)? else { return Ok(BTreeMap::new()) };
    let session = |entry: &Value| {
        let family = &entry["neighborCapabilities"]["multiprotocolExtensions"][EVPN];
        match entry["bgpState"].as_str() {
            Some("Established") if family["advertisedAndReceived"] == true => FabricSession::Evpn,
            Some("Established") => FabricSession::WithoutEvpn,
            _ => FabricSession::Down,
        }
    };
    let of_peer = |(peer, entry): (String, Value)| entry.is_object().then(|| (peer, session(&entry)));
    Ok(peers.into_iter().filter_map(of_peer).collect())
}

fn families(entry: &Value) -> impl Iterator<Item = &Value> {
    entry["addressFamilyInfo"].as_object().into_iter().flat_map(|families| families.values())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::json::tests::with_unknown_keys;

    #[test]
    fn a_session_that_is_established_has_times() {
        let entry = |state: &str| {
            let text = format!(r#"{{"bgpState":"{state}","bgpTimerLastRead":109999,"bgpTimerHoldTimeMsecs":9000}}"#);
            reset(&serde_json::from_str(&text).unwrap())
        };
        assert_eq!((entry("Established").silent_for, entry("Established").hold_time), (Some(109), Some(9)));
        assert_eq!(entry("Active").silent_for, None);
    }

    const NEIGHBORS: &str = r#"{"red":{"vrfId":2,"192.169.10.3":{"hostname":"h","localAs":64514,"lastResetDueTo":"BGP Notification received",
            "lastNotificationReason":"Cease/Administrative Shutdown"}},"default":{"vrfId":0,"192.168.11.2":{"localAs":64514,"hostname":"Unknown",
            "hostLocal":"Unknown","authenticationEnabled":1}}}"#;

    #[test]
    fn resets_are_by_vrf_and_peer() {
        let found = resets(NEIGHBORS).unwrap();
        let expected = SessionReset {
            hostname: Some("h".into()),
            local_as: Some(64514),
            due_to: Some("BGP Notification received".into()),
            notification: Some("Cease/Administrative Shutdown".into()),
            ..SessionReset::default()
        };
        assert_eq!(found[&(Some("red".parse().unwrap()), "192.169.10.3".into())], expected);
        let of_fabric = SessionReset { has_password: true, local_as: Some(64514), ..SessionReset::default() };
        assert_eq!(found[&(None, "192.168.11.2".into())], of_fabric, "without FRR's placeholders");
        assert_eq!(found.len(), 2);
    }

    #[rstest::rstest]
    #[case::frr_8_4("fuzz/corpus/show/frr-8.4-neighbors", &["192.168.11.2"])]
    #[case::frr_10_3("fuzz/corpus/show/frr-10.3-neighbors", &["192.168.11.2"])]
    #[case::frr_10_7("fuzz/corpus/show/frr-10.7-neighbors", &["192.168.11.2", "2001:db8:11::2"])]
    fn sessions_with_the_fabric_carry_evpn(#[case] file: &str, #[case] peers: &[&str]) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let mut recorded: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let of_default = |recorded: &Value| fabric_sessions(&recorded["default"].to_string()).unwrap();
        let all = |session| peers.iter().map(|peer| ((*peer).to_owned(), session)).collect::<BTreeMap<_, _>>();
        assert_eq!(of_default(&recorded), all(FabricSession::Evpn));
        for peer in peers {
            let evpn = &mut recorded["default"][peer]["neighborCapabilities"]["multiprotocolExtensions"]["l2VpnEvpn"];
            *evpn = serde_json::json!({"advertised": true});
        }
        assert_eq!(of_default(&recorded), all(FabricSession::WithoutEvpn));
        for peer in peers {
            recorded["default"][peer]["bgpState"] = "Active".into();
        }
        assert_eq!(of_default(&recorded), all(FabricSession::Down));
    }

    #[test]
    fn families_are_those_that_either_side_offers() {
        let text = r#"{"red":{"192.169.10.3":{"hostLocal":"192.169.10.1","lastResetTimerMsecs":8900,"neighborCapabilities":{
            "multiprotocolExtensions":{"ipv4Unicast":{"advertisedAndReceived":true},"ipv6Unicast":{"received":true},
            "l2VpnEvpn":{"advertised":true}}}}}}"#;
        let key = (Some("red".parse().unwrap()), "192.169.10.3".to_owned());
        let found = resets(text).unwrap().remove(&key).unwrap();
        let sides = |advertised, received| Negotiation { advertised, received };
        let expected = [
            ("ipv4Unicast", sides(true, true)),
            ("ipv6Unicast", sides(false, true)),
            ("l2VpnEvpn", sides(true, false)),
        ];
        assert_eq!(found.families, expected.map(|(family, sides)| (family.to_owned(), sides)).into());
        assert_eq!((found.local_address.as_deref(), found.reset_age), (Some("192.169.10.1"), Some(8)));
        let one: Value = serde_json::from_str(text).unwrap();
        for shown in [text.to_owned(), one["red"].to_string()] {
            assert_eq!(neighbor_reset("192.169.10.3", &shown).unwrap().as_ref(), Some(&found));
        }
        assert_eq!(neighbor_reset("192.169.10.4", text).unwrap(), None);
    }

    #[rstest::rstest]
    #[case("fuzz/corpus/show/frr-8.4-neighbors")]
    #[case("fuzz/corpus/show/frr-10.7-neighbors")]
    fn capabilities_are_those_that_a_side_has_advertised(#[case] file: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let found = resets(&std::fs::read_to_string(path).unwrap()).unwrap();
        let capabilities = &found[&(None, "192.168.11.2".to_owned())].capabilities;
        let done: Vec<&str> =
            capabilities.iter().filter(|(_, sides)| sides.is_done()).map(|(name, _)| name.as_str()).collect();
        let expected = [
            "4byteAs",
            "enhancedRouteRefresh",
            "extendedMessage",
            "gracefulRestart",
            "longLivedGracefulRestart",
            "routeRefresh",
        ];
        assert_eq!(done, expected);
    }

    #[test]
    fn without_a_default_instance_there_is_no_session_with_the_fabric() {
        assert_eq!(fabric_sessions("{}").unwrap(), BTreeMap::new());
    }

    #[test]
    fn unknown_keys_change_nothing() {
        let more = with_unknown_keys(NEIGHBORS);
        assert_eq!(resets(&more).unwrap(), resets(NEIGHBORS).unwrap());
    }
}
