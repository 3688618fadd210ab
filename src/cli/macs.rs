//! `perouter macs`: the MAC addresses of an L2VNI, their IP addresses, and where they are. In: FRR. Out: a table, JSON or YAML.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::completions;
use super::exit_status::ExitStatus;
use super::frr_client::FrrQueries;
use super::options::RuntimeOptions;
use super::show::{Items, Look, ShowOptions, Shown, WatchOptions};
use crate::frr::show::mac::{MacState, NeighborState, WorkloadPlace};
use crate::frr::show::vni::VniType;
use crate::types::{MacAddr, Vni};

/// Arguments of `perouter macs`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 printed, 2 there is no such L2VNI, or FRR does not answer.\n\nExamples:\n  perouter macs 110\n  \
    perouter macs 110 -o json | jq '.items[] | select(.place.remote).mac'"
)]
pub struct MacsArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// The L2VNI
    #[arg(value_name = "VNI", value_parser = vni, add = completions::l2vnis())]
    vni: Vni,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    watch: WatchOptions,
}

fn vni(text: &str) -> anyhow::Result<Vni> {
    Ok(text.parse::<u32>()?.try_into()?)
}

/// A MAC address.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedMac {
    mac: MacAddr,
    /// Absent where zebra knows it from neighbors only.
    #[serde(flatten)]
    state: Option<MacState>,
    /// Its IP addresses.
    addresses: BTreeMap<IpAddr, NeighborState>,
}

/// Prints them.
pub async fn execute(args: &MacsArgs) -> anyhow::Result<ExitCode> {
    args.show.watch(&args.watch, async || shown(args).await).await
}

async fn shown(args: &MacsArgs) -> anyhow::Result<Shown> {
    let mut frr = FrrQueries::of(&args.runtime.paths());
    let vnis = frr.vnis().await?;
    if vnis.get(&args.vni).is_none_or(|state| state.vni_type != VniType::L2) {
        let known: Vec<String> =
            vnis.iter().filter(|(_, state)| state.vni_type == VniType::L2).map(|(vni, _)| vni.to_string()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        anyhow::bail!("L2VNI {} not found; L2VNIs of this router: {known}", args.vni);
    }
    let list = Items { items: list(frr.macs(args.vni).await?, frr.mac_neighbors(args.vni).await?) };
    let text = args.show.render("MacList", &list, |look| text(&list.items, look))?;
    Ok(Shown { text, status: ExitStatus::Ok })
}

fn list(macs: BTreeMap<MacAddr, MacState>, neighbors: BTreeMap<IpAddr, NeighborState>) -> Vec<ListedMac> {
    let with_state = |(mac, state)| (mac, ListedMac { mac, state: Some(state), addresses: BTreeMap::new() });
    let mut listed: BTreeMap<_, _> = macs.into_iter().map(with_state).collect();
    for (address, state) in neighbors {
        let mac = state.mac;
        let without_state = || ListedMac { mac, state: None, addresses: BTreeMap::new() };
        listed.entry(mac).or_insert_with(without_state).addresses.insert(address, state);
    }
    listed.into_values().collect()
}

fn text(listed: &[ListedMac], look: Look) -> String {
    let rows = listed.iter().map(|entry| {
        let addresses: Vec<String> = entry.addresses.keys().map(ToString::to_string).collect();
        let (from, at) = match entry.state.as_ref().map(|state| &state.place) {
            Some(WorkloadPlace::Local(port)) => ("local", port.clone().unwrap_or_default()),
            Some(WorkloadPlace::Remote(vtep)) => ("remote", vtep.map(|vtep| vtep.to_string()).unwrap_or_default()),
            None => ("", String::new()),
        };
        let sequence = entry.state.as_ref().map(|state| state.sequence.to_string()).unwrap_or_default();
        vec![entry.mac.to_string(), from.to_owned(), at, addresses.join(","), sequence, flags(entry).join(",")]
    });
    look.table(&["MAC", "FROM", "AT", "ADDRESSES", "SEQUENCE", "FLAGS"], rows)
}

fn flags(entry: &ListedMac) -> Vec<&'static str> {
    let duplicate = entry.state.as_ref().is_some_and(|state| state.duplicate)
        || entry.addresses.values().any(|address| address.duplicate);
    let inactive = entry.addresses.values().any(|address| !address.active);
    let flags = [(duplicate, "duplicate"), (inactive, "inactive"), (entry.state.is_none(), "no MAC")];
    flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_beside_their_mac_and_flags_say_what_is_wrong() {
        let mac = |last| MacAddr([10, 88, 0, 0, 0, last]);
        let neighbor = |last, place: &WorkloadPlace, active| NeighborState {
            mac: mac(last),
            place: place.clone(),
            active,
            sequence: 0,
            duplicate: false,
        };
        let local = WorkloadPlace::Local(Some("pe-110".into()));
        let remote = WorkloadPlace::Remote("100.65.0.2".parse().ok());
        let macs = BTreeMap::from([
            (mac(0x11), MacState { place: local.clone(), sequence: 1, duplicate: false }),
            (mac(0x12), MacState { place: remote.clone(), sequence: 0, duplicate: true }),
        ]);
        let neighbors = BTreeMap::from([
            ("10.110.0.11".parse().unwrap(), neighbor(0x11, &local, true)),
            ("fd00:110::11".parse().unwrap(), neighbor(0x11, &local, true)),
            ("10.110.0.13".parse().unwrap(), neighbor(0x13, &local, false)),
        ]);
        let wanted = "\
MAC                FROM    AT          ADDRESSES                 SEQUENCE  FLAGS
0a:58:00:00:00:11  local   pe-110      10.110.0.11,fd00:110::11  1
0a:58:00:00:00:12  remote  100.65.0.2                            0         duplicate
0a:58:00:00:00:13                      10.110.0.13                         inactive,no MAC
";
        assert_eq!(text(&list(macs, neighbors), Look::TABLE), wanted);
    }
}
