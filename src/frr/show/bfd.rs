//! BFD sessions in bfdd. In: the JSON of [`SHOW_BFD_PEERS`]. Out: [`BfdPeer`]s. Pure.

use serde_json::Value;

use super::json::{ShowError, json, word};

/// bfdd: the BFD sessions of all VRFs.
pub const SHOW_BFD_PEERS: &str = "show bfd peers json";

/// A BFD session (RFC 5880).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdPeer {
    /// Its VRF, `default` for that of the underlay.
    pub vrf: String,
    /// Address of the peer.
    pub peer: String,
    /// The interface that it is bound to; empty for one of several hops. Link-local addresses are unique on it only.
    pub interface: String,
    /// Its state is Up.
    pub is_up: bool,
}

/// Reads [`SHOW_BFD_PEERS`].
///
/// # Errors
/// If the text is not JSON.
pub fn bfd_peers(text: &str) -> Result<Vec<BfdPeer>, ShowError> {
    let shown = json(SHOW_BFD_PEERS, text)?;
    let peer = |entry: &Value| {
        let vrf = word(entry, "vrf").unwrap_or_else(|| "default".to_owned());
        let interface = word(entry, "interface").unwrap_or_default();
        Some(BfdPeer { vrf, peer: word(entry, "peer")?, interface, is_up: entry["status"] == "up" })
    };
    Ok(shown.as_array().into_iter().flatten().filter_map(peer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::json::tests::with_unknown_keys;

    const PEERS: &str = r#"[{"multihop":false,"peer":"192.168.11.2","local":"192.168.11.3","vrf":"default","interface":"toswitch",
        "id":5,"status":"up","uptime":3},{"peer":"192.169.10.2","vrf":"red","status":"down","downtime":9},{"status":"up"},7]"#;

    #[test]
    fn each_peer_is_read() {
        let peer = |vrf: &str, peer: &str, interface: &str, is_up| BfdPeer {
            vrf: vrf.into(),
            peer: peer.into(),
            interface: interface.into(),
            is_up,
        };
        let expected = [peer("default", "192.168.11.2", "toswitch", true), peer("red", "192.169.10.2", "", false)];
        assert_eq!(bfd_peers(PEERS).unwrap(), expected);
        assert_eq!(bfd_peers(&with_unknown_keys(PEERS)).unwrap(), expected);
        assert_eq!(bfd_peers("[]").unwrap(), []);
    }
}
