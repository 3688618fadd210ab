//! The MAC addresses and neighbors of an L2VNI as zebra has them. In: the JSON of [`show_macs`] and [`show_neighbors`]. Out: one value
//! for each MAC address or IP address, or how many of them are at this node. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;
use serde::de::MapAccess;
use serde_json::Value;

use super::json::{Fields, JsonObject, JsonTable, List, ShowError, Word, json, read, word};
use crate::types::{MacAddr, Vni};

/// zebra: the MAC addresses of an L2VNI.
pub fn show_macs(vni: Vni) -> String {
    format!("show evpn mac vni {vni} json")
}

/// zebra: the neighbors of an L2VNI.
pub fn show_neighbors(vni: Vni) -> String {
    format!("show evpn arp-cache vni {vni} json")
}

/// zebra: the MAC addresses of all L2VNIs that it takes for duplicates.
pub const SHOW_DUPLICATE_MACS: &str = "show evpn mac vni all duplicate json";

/// zebra: the IP addresses of all L2VNIs that it takes for duplicates.
pub const SHOW_DUPLICATE_NEIGHBORS: &str = "show evpn arp-cache vni all duplicate json";

/// Where a workload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkloadPlace {
    /// Behind a port of this node; its name, where zebra prints it.
    Local(Option<String>),
    /// Behind this VTEP. A zebra that was restarted does not know it before bgpd has sent it.
    Remote(Option<IpAddr>),
}

/// A MAC address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MacState {
    /// Where it is.
    pub place: WorkloadPlace,
    /// Its mobility sequence number (RFC 7432 section 15): that of the node where it is.
    pub sequence: u64,
    /// It moves so often that zebra takes it for a duplicate.
    pub duplicate: bool,
}

/// A neighbor: the IP address of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NeighborState {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Where it is. zebra prints no port.
    pub place: WorkloadPlace,
    /// zebra advertises it, or forwards to it.
    pub active: bool,
    /// Its mobility sequence number.
    pub sequence: u64,
    /// Several MAC addresses claim it.
    pub duplicate: bool,
}

/// The neighbors of an L2VNI that are workloads of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalNeighbors {
    /// All of them with their MAC addresses, advertised or not.
    pub all: BTreeSet<(IpAddr, MacAddr)>,
    /// The MAC addresses of those that are not advertised because zebra does not have their MAC address as one of this node.
    pub unlearned: BTreeSet<MacAddr>,
}

/// Command of the errors of what reads [`show_macs`].
const SHOW_MACS: &str = "show evpn mac vni VNI json";
/// Command of the errors of what reads [`show_neighbors`].
const SHOW_NEIGHBORS: &str = "show evpn arp-cache vni VNI json";

/// Reads [`show_macs`]: `{"numMacs": 1, "macs": {MAC: {"type": "local", "intf": PORT, "localSequence": 0, …}}}`. Empty for a VNI
/// that zebra does not know.
///
/// # Errors
/// If the text is not JSON.
pub fn macs(text: &str) -> Result<BTreeMap<MacAddr, MacState>, ShowError> {
    Ok(macs_of(&json(SHOW_MACS, text)?))
}

/// Reads [`SHOW_DUPLICATE_MACS`]: what [`macs`] reads, by VNI. VNIs without any may be absent.
///
/// # Errors
/// If the text is not JSON.
pub fn duplicate_macs(text: &str) -> Result<BTreeMap<Vni, BTreeMap<MacAddr, MacState>>, ShowError> {
    Ok(by_vni(&json(SHOW_DUPLICATE_MACS, text)?, macs_of))
}

/// Reads [`SHOW_DUPLICATE_NEIGHBORS`]: what [`neighbors`] reads, by VNI.
///
/// # Errors
/// If the text is not JSON.
pub fn duplicate_neighbors(text: &str) -> Result<BTreeMap<Vni, BTreeMap<IpAddr, NeighborState>>, ShowError> {
    Ok(by_vni(&json(SHOW_DUPLICATE_NEIGHBORS, text)?, neighbors_of))
}

fn by_vni<T>(tables: &Value, of_table: fn(&Value) -> T) -> BTreeMap<Vni, T> {
    let of_vni = |(vni, table): (&String, &Value)| Some((vni.parse::<u32>().ok()?.try_into().ok()?, of_table(table)));
    tables.as_object().into_iter().flatten().filter_map(of_vni).collect()
}

fn macs_of(table: &Value) -> BTreeMap<MacAddr, MacState> {
    let mac = |(mac, entry): (&String, &Value)| {
        let place = place(entry)?;
        Some((mac.parse().ok()?, MacState { sequence: sequence(entry, &place), duplicate: is_duplicate(entry), place }))
    };
    table["macs"].as_object().into_iter().flatten().filter_map(mac).collect()
}

/// Reads [`show_neighbors`]: `{"numArpNd": 1, ADDRESS: {"type": "local", "state": "active", "mac": MAC, …}}`.
///
/// # Errors
/// If the text is not JSON.
pub fn neighbors(text: &str) -> Result<BTreeMap<IpAddr, NeighborState>, ShowError> {
    Ok(neighbors_of(&json(SHOW_NEIGHBORS, text)?))
}

fn neighbors_of(table: &Value) -> BTreeMap<IpAddr, NeighborState> {
    let neighbor = |(address, entry): (&String, &Value)| {
        let (place, mac) = (place(entry)?, entry["mac"].as_str()?.parse().ok()?);
        let active = entry["state"].as_str() == Some("active");
        let (sequence, duplicate) = (sequence(entry, &place), is_duplicate(entry));
        Some((address.parse().ok()?, NeighborState { mac, place, active, sequence, duplicate }))
    };
    table.as_object().into_iter().flatten().filter_map(neighbor).collect()
}

/// Reads [`show_neighbors`]: those of this node's workloads, with the MAC addresses of all that are not advertised; `None` for a VNI
/// that zebra does not have. Of the others it keeps nothing.
///
/// # Errors
/// If the text is not JSON.
pub fn local_neighbors(text: &str) -> Result<Option<LocalNeighbors>, ShowError> {
    // Of one without neighbors it prints nothing.
    if text.trim() == "{}" {
        return Ok(None);
    }
    let JsonTable::<JsonObject<PlacedEntry>>(entries) = read(SHOW_NEIGHBORS, text)?.unwrap_or(JsonTable(Vec::new()));
    let mut found = LocalNeighbors::default();
    for (address, entry) in entries {
        if let (Ok(address), Some(PlacedEntry { is_local: true, is_inactive, mac: Some(mac) })) =
            (address.parse(), entry.0)
        {
            found.all.insert((address, mac));
            found.unlearned.extend(is_inactive.then_some(mac));
        }
    }
    Ok(Some(found))
}

/// Reads [`show_macs`]: those behind ports of this node. Of the others it keeps nothing.
///
/// # Errors
/// If the text is not JSON.
pub fn local_macs(text: &str) -> Result<BTreeSet<MacAddr>, ShowError> {
    let table = macs(text)?.into_iter().filter(|(_, state)| matches!(state.place, WorkloadPlace::Local(_)));
    Ok(table.map(|(mac, _)| mac).collect())
}

/// Reads [`show_macs`]: how many are behind ports of this node. It keeps none of them.
///
/// # Errors
/// If the text is not JSON.
pub fn local_mac_count(text: &str) -> Result<u64, ShowError> {
    let table = read::<JsonObject<MacTable>>(SHOW_MACS, text)?.and_then(|table| table.0).unwrap_or_default();
    Ok(local_count(&table.macs))
}

/// Reads [`show_neighbors`]: how many are of workloads of this node. It keeps none of them.
///
/// # Errors
/// If the text is not JSON.
pub fn local_neighbor_count(text: &str) -> Result<u64, ShowError> {
    let List(entries) = read(SHOW_NEIGHBORS, text)?.unwrap_or(List(Vec::new()));
    Ok(local_count(&entries))
}

fn local_count(entries: &[JsonObject<PlacedEntry>]) -> u64 {
    let is_local = |entry: &&JsonObject<PlacedEntry>| entry.0.as_ref().is_some_and(|entry| entry.is_local);
    entries.iter().filter(is_local).count() as u64
}

/// What is read of the table of MAC addresses to count them.
#[derive(Default)]
struct MacTable {
    macs: Vec<JsonObject<PlacedEntry>>,
}

impl Fields for MacTable {
    type Field = ();
    const KEYS: &'static [(&'static str, ())] = &[("macs", ())];

    fn set<'de, A: MapAccess<'de>>(&mut self, (): (), object: &mut A) -> Result<(), A::Error> {
        List(self.macs) = object.next_value()?;
        Ok(())
    }
}

/// What is read of a MAC address or a neighbor of which there may be thousands.
#[derive(Default)]
struct PlacedEntry {
    is_local: bool,
    /// Of a neighbor.
    is_inactive: bool,
    /// That of a neighbor.
    mac: Option<MacAddr>,
}

#[derive(Clone, Copy)]
enum PlacedField {
    Type,
    State,
    Mac,
}

impl Fields for PlacedEntry {
    type Field = PlacedField;
    const KEYS: &'static [(&'static str, PlacedField)] =
        &[("type", PlacedField::Type), ("state", PlacedField::State), ("mac", PlacedField::Mac)];

    fn set<'de, A: MapAccess<'de>>(&mut self, field: PlacedField, object: &mut A) -> Result<(), A::Error> {
        let Word(word) = object.next_value()?;
        match field {
            PlacedField::Type => self.is_local = word.as_deref() == Some("local"),
            PlacedField::State => self.is_inactive = word.as_deref() == Some("inactive"),
            PlacedField::Mac => self.mac = word.and_then(|mac| mac.parse().ok()),
        }
        Ok(())
    }
}

fn place(entry: &Value) -> Option<WorkloadPlace> {
    match entry["type"].as_str()? {
        "local" => Some(WorkloadPlace::Local(word(entry, "intf"))),
        "remote" => Some(WorkloadPlace::Remote(entry["remoteVtep"].as_str().and_then(|vtep| vtep.parse().ok()))),
        _ => None,
    }
}

fn sequence(entry: &Value, place: &WorkloadPlace) -> u64 {
    let key = match place {
        WorkloadPlace::Local(_) => "localSequence",
        WorkloadPlace::Remote(_) => "remoteSequence",
    };
    entry[key].as_u64().unwrap_or_default()
}

fn is_duplicate(entry: &Value) -> bool {
    entry["isDuplicate"].as_bool() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::with_unknown_keys;
    use super::*;

    /// FRR 8.4.4; 10.7.1 prints the same, on fewer lines.
    const MACS: &str = r#"{"numMacs":3,"macs":{
        "0a:58:00:00:00:11":{"type":"local","intf":"pe-110","localSequence":1,"remoteSequence":0,"detectionCount":1,
            "isDuplicate":false},
        "0a:58:00:00:00:12":{"type":"remote","remoteVtep":"100.65.0.2","localSequence":0,"remoteSequence":3,
            "detectionCount":0,"isDuplicate":true},
        "0a:58:00:00:00:13":{"type":"auto"}}}"#;
    /// FRR 10.7.1 after its restart: the VTEP is empty until bgpd has sent it.
    const NEIGHBORS: &str = r#"{"numArpNd":4,
        "10.110.0.11":{"type":"local","state":"active","mac":"0a:58:00:00:00:11","localSequence":1,"remoteSequence":0,
            "detectionCount":0,"isDuplicate":false},
        "fd00:110::11":{"type":"local","state":"inactive","mac":"0a:58:00:00:00:11","localSequence":0,
            "remoteSequence":0,"detectionCount":0,"isDuplicate":false},
        "10.110.0.12":{"type":"remote","state":"active","mac":"0a:58:00:00:00:12","remoteVtep":"100.65.0.2",
            "localSequence":0,"remoteSequence":3,"detectionCount":0,"isDuplicate":false},
        "fd00:110::12":{"type":"remote","state":"active","mac":"0a:58:00:00:00:12","remoteVtep":"","localSequence":0,
            "remoteSequence":0,"detectionCount":0,"isDuplicate":false}}"#;

    fn mac(last: u8) -> MacAddr {
        MacAddr([0x0a, 0x58, 0, 0, 0, last])
    }

    #[test]
    fn macs_have_a_place_and_the_sequence_number_of_that_place() {
        let local = MacState { place: WorkloadPlace::Local(Some("pe-110".into())), sequence: 1, duplicate: false };
        let remote = MacState { place: WorkloadPlace::Remote("100.65.0.2".parse().ok()), sequence: 3, duplicate: true };
        let wanted = BTreeMap::from([(mac(0x11), local), (mac(0x12), remote)]);
        assert_eq!(macs(MACS).unwrap(), wanted);
        assert_eq!(macs(&with_unknown_keys(MACS)).unwrap(), wanted);
        for nothing in ["{}", "", "% Can't find VNI 999"] {
            assert_eq!(macs(nothing).unwrap(), BTreeMap::new(), "{nothing}");
        }
        assert!(macs("{").is_err());
    }

    #[test]
    fn duplicates_are_by_vni() {
        let by_vni = |table: &str| format!(r#"{{"110":{table},"120":{{"numMacs":0,"numArpNd":0}}}}"#);
        let (first, second) = (Vni::try_from(110).unwrap(), Vni::try_from(120).unwrap());
        let found = duplicate_macs(&by_vni(MACS)).unwrap();
        assert_eq!(found, [(first, macs(MACS).unwrap()), (second, BTreeMap::new())].into());
        let found = duplicate_neighbors(&by_vni(NEIGHBORS)).unwrap();
        assert_eq!(found, [(first, neighbors(NEIGHBORS).unwrap()), (second, BTreeMap::new())].into());
        assert!(duplicate_macs("{}").unwrap().is_empty() && duplicate_neighbors("").unwrap().is_empty());
    }

    #[test]
    fn those_of_this_node_are_counted() {
        for text in [MACS.to_owned(), with_unknown_keys(MACS)] {
            assert_eq!(local_mac_count(&text).unwrap(), 1);
        }
        for text in [NEIGHBORS.to_owned(), with_unknown_keys(NEIGHBORS)] {
            assert_eq!(local_neighbor_count(&text).unwrap(), 2, "advertised or not");
        }
        for nothing in ["{}", "", "% Can't find VNI 999", r#"{"numMacs":0,"macs":{}}"#, r#"{"numArpNd":0}"#] {
            let counts = [local_mac_count(nothing).unwrap(), local_neighbor_count(nothing).unwrap()];
            assert_eq!(counts, [0, 0], "{nothing}");
        }
        assert!(local_mac_count("{").is_err() && local_neighbor_count("{").is_err());
    }

    #[test]
    fn neighbors_have_a_mac_address_and_a_place() {
        let neighbor =
            |last, place, active, sequence| NeighborState { mac: mac(last), place, active, sequence, duplicate: false };
        let wanted = BTreeMap::from([
            ("10.110.0.11".parse().unwrap(), neighbor(0x11, WorkloadPlace::Local(None), true, 1)),
            ("fd00:110::11".parse().unwrap(), neighbor(0x11, WorkloadPlace::Local(None), false, 0)),
            ("10.110.0.12".parse().unwrap(), neighbor(0x12, WorkloadPlace::Remote("100.65.0.2".parse().ok()), true, 3)),
            ("fd00:110::12".parse().unwrap(), neighbor(0x12, WorkloadPlace::Remote(None), true, 0)),
        ]);
        assert_eq!(neighbors(NEIGHBORS).unwrap(), wanted);
        assert_eq!(neighbors(&with_unknown_keys(NEIGHBORS)).unwrap(), wanted);
    }

    #[test]
    fn neighbors_of_this_node_are_known_also_where_they_are_not_advertised() {
        let known = ["10.110.0.11", "fd00:110::11"].map(|address| (address.parse().unwrap(), mac(0x11)));
        for text in [NEIGHBORS.to_owned(), with_unknown_keys(NEIGHBORS)] {
            let wanted = LocalNeighbors { all: known.into(), unlearned: [mac(0x11)].into() };
            assert_eq!(local_neighbors(&text).unwrap(), Some(wanted));
        }
        assert_eq!(local_macs(MACS).unwrap(), [mac(0x11)].into());
        assert_eq!(local_neighbors("").unwrap(), Some(LocalNeighbors::default()), "a VNI without neighbors");
        assert_eq!(local_neighbors("{}\n").unwrap(), None, "no such VNI");
    }
}
