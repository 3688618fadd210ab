//! Links as zebra has them. In: the JSON of [`SHOW_INTERFACES`]. Out: [`Interface`]s by name. Pure.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;

use super::json::{ShowError, json, word};

/// zebra: links of all VRFs.
pub const SHOW_INTERFACES: &str = "show interface vrf all json";

/// zebra: links of the default VRF. What it costs does not depend on the number of VRFs.
pub const SHOW_DEFAULT_INTERFACES: &str = "show interface vrf default json";

/// A link of the router.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Its VRF, `default` for that of the underlay.
    pub vrf: String,
    /// It is set up.
    #[serde(rename = "adminUp")]
    pub is_admin_up: bool,
    /// It has a carrier.
    #[serde(rename = "carrier")]
    pub has_carrier: bool,
    /// MTU.
    pub mtu: Option<u32>,
    /// Addresses.
    pub addresses: Vec<IpNet>,
    /// zebra: the kind of device, `Other` for a NIC or a veth.
    #[serde(rename = "type")]
    pub zebra_type: String,
}

impl Interface {
    /// It forwards.
    pub fn is_up(&self) -> bool {
        self.is_admin_up && self.has_carrier
    }

    /// A NIC of the underlay: a link of the default VRF that perouter has not made.
    pub fn is_nic(&self, name: &str) -> bool {
        let is_ours = ["vni", "br-pe-", "pe-"].iter().any(|prefix| {
            name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
        });
        (self.vrf.is_empty() || self.vrf == "default") && name != "lo" && !is_ours && !self.is_vrf_device()
    }

    /// It is a VRF device.
    pub fn is_vrf_device(&self) -> bool {
        self.zebra_type == "VRF"
    }
}

/// Reads [`SHOW_INTERFACES`].
///
/// # Errors
/// If the text is not JSON.
pub fn interfaces(text: &str) -> Result<BTreeMap<String, Interface>, ShowError> {
    let shown = json(SHOW_INTERFACES, text)?;
    let of_link = |(name, entry): (&String, &Value)| {
        let addresses = entry["ipAddresses"].as_array().into_iter().flatten();
        let interface = Interface {
            vrf: word(entry, "vrfName").unwrap_or_default(),
            is_admin_up: entry["administrativeStatus"] == "up",
            has_carrier: entry["operationalStatus"] == "up",
            mtu: entry["mtu"].as_u64().and_then(|mtu| mtu.try_into().ok()),
            addresses: addresses.filter_map(|address| address["address"].as_str()?.parse().ok()).collect(),
            zebra_type: word(entry, "interfaceType").unwrap_or_default(),
        };
        // zebra keeps the former name of a link that was renamed, without a link.
        (entry.is_object() && entry["pseudoInterface"] != true).then(|| (name.clone(), interface))
    };
    Ok(shown.as_object().into_iter().flatten().filter_map(of_link).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_name_of_a_link_is_none() {
        let text = r#"{"renamed":{"administrativeStatus":"down","vrfName":"default","pseudoInterface":true},
            "toswitch":{"administrativeStatus":"up","operationalStatus":"up","vrfName":"default","pseudoInterface":false,"index":2,
            "mtu":1500,"interfaceType":"Other","ipAddresses":[{"address":"192.168.11.3/24"}]}}"#;
        let expected = Interface {
            vrf: "default".into(),
            is_admin_up: true,
            has_carrier: true,
            mtu: Some(1500),
            addresses: vec!["192.168.11.3/24".parse().unwrap()],
            zebra_type: "Other".into(),
        };
        assert_eq!(interfaces(text).unwrap(), [("toswitch".to_owned(), expected)].into());
    }
}
