//! VRFs as zebra has them. In: the texts of [`SHOW_VRF`], [`SHOW_ZEBRA`] and [`show_links`]. Out: VRFs, the links in one,
//! and the VRF mode. Lines that are not of the known form are ignored. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::types::{IfName, VrfMode, VrfName};

/// zebra: VRFs.
pub const SHOW_VRF: &str = "show vrf";
/// zebra: how it was started, among others.
pub const SHOW_ZEBRA: &str = "show zebra";

/// Reads the VRF mode of [`SHOW_ZEBRA`]: ` VRF    Namespaces` or ` VRF    l3mdev Available`.
pub fn mode(text: &str) -> Option<VrfMode> {
    text.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["VRF", "Namespaces"] => Some(VrfMode::Netns),
        ["VRF", "l3mdev", _] => Some(VrfMode::Vrf),
        _ => None,
    })
}

/// Whether zebra has a VRF's device or namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VrfState {
    /// It is there.
    Active,
    /// Only its configuration is left.
    Inactive,
}

/// Reads `show vrf`: `vrf red id 5 table 1001`, `vrf red id 1 netns /run/netns/red (configured)`, `vrf red inactive`.
pub fn vrfs(text: &str) -> BTreeMap<VrfName, VrfState> {
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        let name = (words.next() == Some("vrf")).then(|| words.next()).flatten()?;
        let state = if words.next() == Some("id") { VrfState::Active } else { VrfState::Inactive };
        Some((name.parse().ok()?, state))
    };
    text.lines().filter_map(one).collect()
}

/// zebra: links of a VRF.
pub fn show_links(vrf: &VrfName) -> String {
    format!("show interface vrf {vrf} brief")
}

/// Reads [`show_links`]: a table with a head and a rule of dashes, the name in the first column.
pub fn links(text: &str) -> BTreeSet<IfName> {
    let rows = text.lines().skip_while(|line| !line.trim_start().starts_with("---")).skip(1);
    rows.filter_map(|row| row.split_whitespace().next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn show_vrf_tells_active_from_inactive() {
        let text = "netns-based vrfs\nvrf red id 1 netns /run/netns/red (configured)\nvrf blue inactive (configured)\n\
                vrf green id 7 table 1001\n\n";
        let expected = [("red", VrfState::Active), ("blue", VrfState::Inactive), ("green", VrfState::Active)];
        assert_eq!(vrfs(text), expected.map(|(name, state)| (name.parse().unwrap(), state)).into());
    }

    #[rstest]
    #[case(
        " MPLS                           Off\n VRF                            Namespaces               \n",
        Some(VrfMode::Netns)
    )]
    #[case(
        " VRF                            l3mdev Available         \n ASIC offload  Unavailable\n",
        Some(VrfMode::Vrf)
    )]
    #[case(" VRF                            l3mdev Unavailable       \n", Some(VrfMode::Vrf))]
    #[case(" EVPN                           Off\n", None)]
    fn show_zebra_tells_the_mode(#[case] text: &str, #[case] expected: Option<VrfMode>) {
        assert_eq!(mode(text), expected);
    }

    #[test]
    fn links_of_a_vrf_are_read_from_the_brief_table() {
        let text = "Interface       Status  VRF             Addresses\n---------       ------  ---             ---------\n\
                lo              up      red             \npe-100          up      red             192.169.10.1/24\n\n";
        assert_eq!(links(text), ["lo", "pe-100"].map(|name| name.parse().unwrap()).into());
    }

    proptest::proptest! {
        #[test]
        fn any_output_is_read_without_a_panic(text in "\\PC{0,80}") {
            let _ = (vrfs(&text), mode(&text), links(&text));
        }
    }
}
