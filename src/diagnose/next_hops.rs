//! Next hops that lose packets: nobody answers for their address, or the route discards. In: the installed next hops of a route, and the
//! addresses that nobody answers for. Out: a sentence, and the remedy. Pure.

use super::facts::{Unresolved, resolution};
use crate::frr::show::route::InstalledHop;

/// What to do where a route discards packets.
const DISCARDS: &str =
    "remove that route; `show ip route` or `show ipv6 route` of its VRF, in vtysh of this router, has its origin";

/// Next hops of a route of which one at least loses packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LostHops {
    /// What is lost, and why.
    pub what: String,
    /// No other next hop is left.
    pub are_all: bool,
    discards: bool,
}

impl LostHops {
    /// Those on the way to `destination`; `None` where none loses packets.
    pub fn of(destination: &str, hops: &[InstalledHop], unresolved: &Unresolved) -> Option<Self> {
        let lost: Vec<String> = hops.iter().filter_map(|hop| loss(hop, unresolved)).collect();
        if lost.is_empty() {
            return None;
        }
        let are_all = lost.len() == hops.len();
        let some = if are_all { "" } else { "some " };
        let what = format!("{some}packets to {destination} are lost: {}", lost.join(", "));
        Some(Self { what, are_all, discards: hops.iter().any(InstalledHop::discards) })
    }

    /// What to do; `unanswered` where a next hop does not answer.
    pub fn remedy(&self, unanswered: &'static str) -> &'static str {
        if self.discards { DISCARDS } else { unanswered }
    }
}

fn loss(hop: &InstalledHop, unresolved: &Unresolved) -> Option<String> {
    if hop.discards() {
        return Some("the route that is used discards them (blackhole, unreachable or prohibit)".to_owned());
    }
    let (address, link) = (hop.address?, hop.link.as_ref()?);
    let is_unanswered = unresolved.contains(&(address, link.clone()));
    is_unanswered.then(|| format!("the next hop {address} does not answer {} on {link}", resolution(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(address: &str, link: &str) -> InstalledHop {
        InstalledHop { address: address.parse().ok(), link: (!link.is_empty()).then(|| link.to_owned()) }
    }

    #[test]
    fn each_next_hop_that_loses_packets_is_named() {
        let unresolved: Unresolved =
            [("192.0.2.7", "eth1"), ("fe80::7", "eth2")].map(|(ip, link)| (ip.parse().unwrap(), link.into())).into();
        let lost = |hops: &[InstalledHop]| {
            let lost = LostHops::of("VTEP 100.64.0.1", hops, &unresolved)?;
            Some((lost.what.clone(), lost.are_all, lost.remedy("x") == "x"))
        };
        let (good, dead, dead6, discards) =
            (hop("192.0.2.1", "eth1"), hop("192.0.2.7", "eth1"), hop("fe80::7", "eth2"), hop("", ""));
        assert_eq!(lost(&[]), None);
        assert_eq!(lost(&[good.clone(), hop("", "pe-100")]), None);
        let text = "packets to VTEP 100.64.0.1 are lost: the next hop 192.0.2.7 does not answer ARP on eth1";
        assert_eq!(lost(std::slice::from_ref(&dead)), Some((text.to_owned(), true, true)));
        assert_eq!(lost(&[good, dead.clone()]), Some((format!("some {text}"), false, true)));
        assert_eq!(lost(&[hop("fe80::7", "eth1")]), None, "of another link");
        let text = format!("{text}, the next hop fe80::7 does not answer Neighbor Discovery on eth2");
        assert_eq!(lost(&[dead, dead6]), Some((text, true, true)));
        let text = "packets to VTEP 100.64.0.1 are lost: the route that is used discards them (blackhole, unreachable or prohibit)";
        assert_eq!(lost(&[discards]), Some((text.to_owned(), true, false)));
    }
}
