//! Whether bgpd's instance of an IP-VRF has the VRF that zebra has. In: the texts of [`super::vrf::SHOW_VRF`] and [`SHOW_INSTANCES`]. Out:
//! VRF ids, and why an instance is not bound. Pure.
//!
//! bgpd ignores a VRF of zebra whose name it knows with another id (`vrf_get`), as of a VRF that was deleted while zebra was
//! restarted: it keeps the id for ever, and all that is configured in its instance refers to a VRF that no longer exists.

use std::collections::BTreeMap;

use serde::de::MapAccess;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::json::{Fields, JsonObject, JsonTable, Number, ShowError, read};

/// bgpd: the instances with their VRF ids.
pub const SHOW_INSTANCES: &str = "show bgp vrfs json";

/// VRFs and the ids by which FRR's daemons refer to them.
pub type VrfIds = BTreeMap<String, u64>;

/// The instances of bgpd, each with its VRF id: `None` where bgpd knows no VRF of that name.
pub type Instances = BTreeMap<String, Option<u64>>;

/// Why the instance of an IP-VRF is not bound to its VRF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "camelCase")]
pub enum Unbound {
    /// zebra has no VRF of that name.
    #[error("zebra does not have the VRF")]
    NotInZebra,
    /// bgpd has no instance of that name.
    #[error("bgpd has no instance of the VRF")]
    NoInstance,
    /// bgpd does not know the VRF.
    #[error("bgpd does not know the VRF of its instance")]
    NoVrf,
    /// bgpd has a VRF that is gone: only its restart helps.
    #[error("bgpd has the VRF with id {bgpd}, zebra with id {zebra}")]
    OtherId {
        /// In bgpd.
        bgpd: u64,
        /// In zebra.
        zebra: u64,
    },
}

/// Reads `vrf red id 5 table 1001` and `vrf red id 1 netns /run/netns/red`. A VRF that is inactive has no id.
pub fn vrf_ids(text: &str) -> VrfIds {
    let one = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["vrf", name, "id", id, ..] => Some((name.to_owned(), id.parse().ok()?)),
        _ => None,
    };
    text.lines().filter_map(one).collect()
}

/// Reads [`SHOW_INSTANCES`]: `{"vrfs": {NAME: {"vrfId": N}}}`, with -1 where bgpd does not know the VRF.
///
/// # Errors
/// If the text is not JSON.
pub fn instances(text: &str) -> Result<Instances, ShowError> {
    let found = read::<JsonObject<AllInstances>>(SHOW_INSTANCES, text)?.and_then(|all| all.0);
    Ok(found.map(|all| ids(all.0)).unwrap_or_default())
}

/// Why the instance of a VRF is not bound to it; `None` where it is.
pub fn unbound(vrf: &str, zebra: &VrfIds, bgpd: &Instances) -> Option<Unbound> {
    match (zebra.get(vrf), bgpd.get(vrf)) {
        (None, _) => Some(Unbound::NotInZebra),
        (_, None) => Some(Unbound::NoInstance),
        (_, Some(None)) => Some(Unbound::NoVrf),
        (Some(zebra), Some(Some(bgpd))) if zebra == bgpd => None,
        (Some(zebra), Some(Some(bgpd))) => Some(Unbound::OtherId { bgpd: *bgpd, zebra: *zebra }),
    }
}

fn ids(entries: Vec<(String, JsonObject<InstanceEntry>)>) -> Instances {
    entries.into_iter().filter_map(|(name, entry)| Some((name, entry.0?.id.0))).collect()
}

#[derive(Default)]
struct InstanceEntry {
    id: Number,
}

impl Fields for InstanceEntry {
    type Field = ();

    const KEYS: &'static [(&'static str, ())] = &[("vrfId", ())];

    fn set<'de, A: MapAccess<'de>>(&mut self, (): (), object: &mut A) -> Result<(), A::Error> {
        self.id = object.next_value()?;
        Ok(())
    }
}

#[derive(Default)]
struct AllInstances(Vec<(String, JsonObject<InstanceEntry>)>);

impl Fields for AllInstances {
    type Field = ();

    const KEYS: &'static [(&'static str, ())] = &[("vrfs", ())];

    fn set<'de, A: MapAccess<'de>>(&mut self, (): (), object: &mut A) -> Result<(), A::Error> {
        self.0 = object.next_value::<JsonTable<_>>()?.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::json::tests::with_unknown_keys;
    use rstest::rstest;

    const INSTANCES: &str = r#"{"vrfs":{"default":{"type":"DFLT","vrfId":0,"numConfiguredPeers":1,"l3vni":0,"interface":"unknown"},
        "red":{"type":"VRF","vrfId":5,"routerId":"10.0.0.2","l3vni":100,"interface":"br-pe-100"},
        "blue":{"type":"VRF","vrfId":-1,"routerId":"10.0.0.2","l3vni":0,"interface":"unknown"}},"totalVrfs":3}"#;

    #[test]
    fn the_ids_of_zebra_are_read() {
        let text =
            "netns-based vrfs\nvrf blue id 2 netns /run/x (configured)\nvrf red id 10 table 1\nvrf gone inactive\n";
        assert_eq!(vrf_ids(text), [("blue".to_owned(), 2), ("red".to_owned(), 10)].into());
    }

    #[test]
    fn an_instance_without_vrf_is_read_as_one() {
        let expected = [("default", Some(0)), ("red", Some(5)), ("blue", None)];
        let expected: Instances = expected.map(|(name, id)| (name.to_owned(), id)).into();
        assert_eq!(instances(INSTANCES).unwrap(), expected);
        assert_eq!(instances(&with_unknown_keys(INSTANCES)).unwrap(), expected);
        assert_eq!(instances("").unwrap(), Instances::new());
        assert!(instances("{\"vrfs\":").is_err());
    }

    #[rstest]
    #[case::bound(Some(5), &[Some(5)], None)]
    #[case::of_a_vrf_that_is_gone(Some(9), &[Some(5)], Some(Unbound::OtherId { bgpd: 5, zebra: 9 }))]
    #[case::vrf_unknown_to_bgpd(Some(9), &[None], Some(Unbound::NoVrf))]
    #[case::not_listed_by_bgpd(Some(9), &[], Some(Unbound::NoInstance))]
    #[case::not_listed_by_zebra(None, &[Some(5)], Some(Unbound::NotInZebra))]
    #[case::listed_by_neither(None, &[], Some(Unbound::NotInZebra))]
    fn an_instance_is_bound_only_where_both_daemons_list_the_same_id(
        #[case] zebra: Option<u64>,
        #[case] bgpd: &[Option<u64>],
        #[case] expected: Option<Unbound>,
    ) {
        let zebra = zebra.map(|id| ("red".to_owned(), id)).into_iter().collect();
        let bgpd = bgpd.iter().map(|id| ("red".to_owned(), *id)).collect();
        assert_eq!(unbound("red", &zebra, &bgpd), expected);
    }
}
