//! Where the index of the node comes from. In: the command line, and the addresses of the interface that it names. Out: the index,
//! or that the API server has it. Changes nothing.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ipnet::IpNet;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::node_index;
use crate::kernel::{host_nics, netns};
use crate::runtime::Runtime;
use crate::source::kube::IndexChoice;
use crate::types::IfName;

/// How often an interface without an address is read again.
const ADDRESS_POLL: Duration = Duration::from_millis(200);

/// Where the index of the node comes from.
#[derive(Debug, Clone, Args)]
pub struct IndexOptions {
    /// Index of this node from 0, unique in the fabric: VTEP, router id and session addresses are derived from it. Must be
    /// known where objects come from a directory alone. With an API server: the index to claim [default: the lowest free one]
    #[arg(id = "node_index", long = "node-index", env = "PEROUTER_NODE_INDEX", value_name = "N")]
    number: Option<u32>,
    /// The index is the number in this label: of --node-label, or else of the Node as it is when the process starts
    #[arg(
        id = "node_index_from_label",
        long = "node-index-from-label",
        env = "PEROUTER_NODE_INDEX_FROM_LABEL",
        value_name = "KEY",
        conflicts_with = "node_index"
    )]
    label: Option<String>,
    /// The index is the host part of an address of this interface: 3 for 192.168.11.3/24. CIDR selects one of several
    /// addresses, and its length counts then. Waits for the address
    #[arg(
        id = "node_index_from_interface", long = "node-index-from-interface",
        env = "PEROUTER_NODE_INDEX_FROM_INTERFACE", value_name = "NAME[,CIDR]",
        conflicts_with_all = ["node_index", "node_index_from_label"]
    )]
    interface: Option<InterfaceChoice>,
    /// Subtracted from the host part of the address, where the first node does not have 0
    #[arg(
        id = "node_index_offset",
        long = "node-index-offset",
        env = "PEROUTER_NODE_INDEX_OFFSET",
        value_name = "N",
        default_value_t = 0
    )]
    offset: u32,
}

/// An interface, and which of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InterfaceChoice {
    name: IfName,
    within: Option<IpNet>,
}

impl FromStr for InterfaceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, within) = text.split_once(',').map_or((text, None), |(name, within)| (name, Some(within)));
        let within = within.map(str::parse::<IpNet>).transpose().map_err(|error| format!("CIDR: {error}"))?;
        Ok(Self { name: name.parse().map_err(|error| format!("{error}"))?, within })
    }
}

/// Why there is no index.
#[derive(Debug, PartialEq, Eq, Error)]
enum IndexError {
    #[error("label {key} is not set: add --node-label {key}=N")]
    NoLabel { key: String },
    #[error("label {key}={value} is no node index: expected a number from 0")]
    Label { key: String, value: String },
    #[error("interface {name} has no address{}", within.map(|within| format!(" in {within}")).unwrap_or_default())]
    NoAddress { name: IfName, within: Option<IpNet> },
    #[error("{address} is no node index: its host part less the offset {offset} is not from 0 to {}", u32::MAX)]
    HostPart { address: IpNet, offset: u32 },
}

/// The index that an address stands for: its host part less an offset.
fn of_address(address: IpNet, offset: u32) -> Result<u32, IndexError> {
    let bits = |ip| match ip {
        std::net::IpAddr::V4(ip) => u128::from(u32::from(ip)),
        std::net::IpAddr::V6(ip) => u128::from(ip),
    };
    let host = bits(address.addr()) - bits(address.network());
    let has_host_part = address.prefix_len() < address.max_prefix_len();
    let index = host.checked_sub(offset.into()).filter(|_| has_host_part).and_then(|index| u32::try_from(index).ok());
    index.ok_or(IndexError::HostPart { address, offset })
}

/// The address that counts: the lowest one within the CIDR with the length of the CIDR; else the lowest IPv4 one, else the lowest
/// IPv6 one that is not link-local.
fn selected(addresses: impl Iterator<Item = IpNet>, within: Option<IpNet>) -> Option<IpNet> {
    let is_local = |ip| matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
    let counts = |address: &IpNet| within.map_or(!is_local(address.addr()), |within| within.contains(&address.addr()));
    let lowest = addresses.filter(counts).min()?;
    Some(within.map_or(lowest, |within| IpNet::new_assert(lowest.addr(), within.prefix_len())))
}

fn of_label(key: &str, labels: &BTreeMap<&str, &str>) -> Result<u32, IndexError> {
    let value = labels.get(key).ok_or_else(|| IndexError::NoLabel { key: key.to_owned() })?;
    value.parse().map_err(|_| IndexError::Label { key: key.to_owned(), value: (*value).to_owned() })
}

impl IndexOptions {
    /// The index, where no option says where it is from.
    pub fn set_default(&mut self, index: Option<u32>) {
        if self.label.is_none() && self.interface.is_none() {
            self.number = self.number.or(index);
        }
    }

    /// The index, by the labels of the command line and the interfaces of the host. An interface that the router has now counts
    /// with the index that the router was configured by.
    ///
    /// # Errors
    /// Where the index is not where the command line says.
    pub async fn choice(&self, labels: &[(String, String)], runtime: &Runtime) -> anyhow::Result<IndexChoice> {
        let labels = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        match (self.number, &self.label, &self.interface) {
            (Some(index), ..) => Ok(IndexChoice::Fixed(index)),
            (None, Some(key), _) => match of_label(key, &labels) {
                Ok(index) => Ok(IndexChoice::Fixed(index)),
                Err(IndexError::NoLabel { .. }) => Ok(IndexChoice::NodeLabel(key.clone())),
                Err(error) => Err(error.into()),
            },
            (None, None, Some(interface)) => {
                Ok(IndexChoice::Fixed(of_interface(interface, self.offset, runtime).await?))
            }
            (None, None, None) => Ok(IndexChoice::Free),
        }
    }

    /// The same, once the interface has an address; `None` where `stop` comes first.
    ///
    /// # Errors
    /// Where waiting does not help.
    pub async fn wait(
        &self,
        labels: &[(String, String)],
        runtime: &Runtime,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<IndexChoice>> {
        let mut is_logged = false;
        loop {
            let found = self.choice(labels, runtime).await;
            let is_awaited = |error: &anyhow::Error| {
                matches!(error.downcast_ref::<IndexError>(), Some(IndexError::NoAddress { .. }))
            };
            match found {
                Err(error) if is_awaited(&error) => {
                    if !is_logged {
                        tracing::info!(%error, "waiting for the address that gives the node index");
                    }
                    is_logged = true;
                }
                found => return found.map(Some),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(ADDRESS_POLL) => {}
            }
        }
    }
}

async fn of_interface(interface: &InterfaceChoice, offset: u32, runtime: &Runtime) -> anyhow::Result<u32> {
    let InterfaceChoice { name, within } = interface;
    let asked = [name.clone()].into();
    let found = host_nics::observe(netns::open_host()?, &asked, &[].into()).await;
    let found = found.with_context(|| format!("read the addresses of {name}"))?;
    let addresses = found.values().flat_map(|nic| nic.addresses.iter().copied());
    match selected(addresses, *within) {
        Some(address) => Ok(of_address(address, offset)?),
        None => node_index::recorded(runtime)
            .ok_or_else(|| IndexError::NoAddress { name: name.clone(), within: *within }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::ipv4("192.168.11.3/24", 0, Some(3))]
    #[case::from_one("192.168.11.3/24", 1, Some(2))]
    #[case::wide("10.1.2.3/16", 0, Some(0x203))]
    #[case::point_to_point("10.0.0.1/31", 0, Some(1))]
    #[case::no_host_part("10.0.0.1/32", 0, None)]
    #[case::ipv6("fd00::1:2/64", 0, Some(0x1_0002))]
    #[case::below_the_offset("192.168.11.3/24", 4, None)]
    #[case::interface_identifier("fd00::200:ff:fe00:1/64", 0, None)]
    fn the_host_part_is_the_index(#[case] address: IpNet, #[case] offset: u32, #[case] wanted: Option<u32>) {
        assert_eq!(of_address(address, offset), wanted.ok_or(IndexError::HostPart { address, offset }));
    }

    #[rstest]
    #[case::none(&[], None, None)]
    #[case::ipv4_first(&["fd00::1/64", "10.0.0.9/24", "10.0.0.2/24"], None, Some("10.0.0.2/24"))]
    #[case::ipv6_only(&["fe80::1/64", "fd00::1/64"], None, Some("fd00::1/64"))]
    #[case::link_local_only(&["fe80::1/64"], None, None)]
    #[case::within(&["10.0.0.9/24", "100.65.0.4/32"], Some("100.65.0.0/24"), Some("100.65.0.4/24"))]
    #[case::of_the_family(&["10.0.0.9/24", "fd00::7/128"], Some("fd00::/64"), Some("fd00::7/64"))]
    #[case::none_within(&["10.0.0.9/24"], Some("100.65.0.0/24"), None)]
    fn one_address_counts(#[case] addresses: &[&str], #[case] within: Option<&str>, #[case] wanted: Option<&str>) {
        let parse = |text: &str| text.parse::<IpNet>().unwrap();
        let found = selected(addresses.iter().copied().map(parse), within.map(parse));
        assert_eq!(found, wanted.map(parse));
    }

    #[rstest]
    #[case::number("7", Ok(7))]
    #[case::text("seven", Err(IndexError::Label { key: "index".into(), value: "seven".into() }))]
    #[case::negative("-1", Err(IndexError::Label { key: "index".into(), value: "-1".into() }))]
    fn a_label_is_a_number(#[case] value: &str, #[case] wanted: Result<u32, IndexError>) {
        assert_eq!(of_label("index", &[("index", value)].into()), wanted);
        assert_eq!(of_label("other", &[("index", value)].into()), Err(IndexError::NoLabel { key: "other".into() }));
    }

    #[rstest]
    #[case::name("eth0", Some(("eth0", None)))]
    #[case::with_a_subnet("eth0,10.0.0.0/8", Some(("eth0", Some("10.0.0.0/8"))))]
    #[case::no_subnet("eth0,10.0.0.0", None)]
    #[case::no_name(",10.0.0.0/8", None)]
    fn an_interface_may_have_a_subnet(#[case] text: &str, #[case] wanted: Option<(&str, Option<&str>)>) {
        let wanted = wanted.map(|(name, within)| InterfaceChoice {
            name: name.parse().unwrap(),
            within: within.map(|within| within.parse().unwrap()),
        });
        assert_eq!(text.parse().ok(), wanted);
    }

    #[rstest]
    #[case::number(&["--node-index", "3"], true)]
    #[case::label(&["--node-index-from-label", "a/b"], true)]
    #[case::interface(&["--node-index-from-interface", "eth0,10.0.0.0/8", "--node-index-offset", "1"], true)]
    #[case::two(&["--node-index", "3", "--node-index-from-label", "a/b"], false)]
    #[case::two_more(&["--node-index-from-label", "a/b", "--node-index-from-interface", "eth0"], false)]
    fn one_origin_can_be_chosen(#[case] args: &[&str], #[case] accepted: bool) {
        let command = IndexOptions::augment_args(clap::Command::new("perouter").no_binary_name(true));
        assert_eq!(command.try_get_matches_from(args).is_ok(), accepted);
    }

    #[tokio::test]
    async fn the_index_of_the_router_counts_where_it_has_the_interface() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), dir.path().join("netns"));
        let interface = InterfaceChoice { name: "no-such-nic".parse().unwrap(), within: None };
        let error = of_interface(&interface, 0, &runtime).await.unwrap_err();
        assert_eq!(error.to_string(), "interface no-such-nic has no address");
        std::fs::write(runtime.node_index(), "5\n").unwrap();
        assert_eq!(of_interface(&interface, 0, &runtime).await.unwrap(), 5);
    }
}
