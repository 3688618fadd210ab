//! Check of the VTEP addresses of this node: whether somebody else advertises one of them in the underlay. In: [`Facts`]. Out:
//! [`Finding`]s, one for each VTEP and advertiser. Pure. EVPN routes do not show it: FRR drops those whose next hop is its own address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::Facts;
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use crate::frr::show::route::ReceivedRoute;

/// Who advertises a VTEP address besides this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Advertiser {
    /// A router of another AS.
    As(u64),
    /// A router with this address in the subnet of a NIC.
    OnLink(IpAddr),
}

/// All of them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut shown: BTreeMap<(IpAddr, Advertiser), Vec<String>> = BTreeMap::new();
    for (peer, route) in &facts.fabric_filtered {
        let vtep = facts.vteps.iter().find(|vtep| IpNet::from(**vtep) == route.prefix);
        if let Some((vtep, advertiser)) = vtep.zip(advertiser(peer, route, facts)) {
            shown.entry((*vtep, advertiser)).or_default().push(evidence(peer, route));
        }
    }
    shown.into_iter().map(|((vtep, advertiser), evidence)| finding(vtep, advertiser, &evidence, facts)).collect()
}

/// Who advertises a route to our VTEP; `None` where it may be that of this node, which the fabric returns. A leaf that runs FRR
/// returns it also on the session from which it has it, where other sessions have the same policies.
fn advertiser(peer: &str, route: &ReceivedRoute, facts: &Facts) -> Option<Advertiser> {
    let session = facts.fabric_sessions().find(|session| session.peer == peer)?;
    let own_as = facts.neighbors.get(&session.key())?.local_as?;
    let as_path: Vec<u64> = route.as_path.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let hop = route.next_hop?;
    if is_own(hop, facts) {
        return None;
    }
    if is_on_link(peer, hop, facts) {
        return Some(Advertiser::OnLink(hop));
    }
    match &as_path[..] {
        // By iBGP, a route reflector returns it as well.
        [] => None,
        [.., origin] if *origin == own_as => None,
        // `as-override` of the leaf replaces our AS number with its own.
        [first, .., origin] if first == origin => None,
        [.., origin] => Some(Advertiser::As(*origin)),
    }
}

/// The addresses of the NICs.
fn nic_addresses(facts: &Facts) -> impl Iterator<Item = &IpNet> {
    let nics = facts.links.iter().flatten().filter(|(name, link)| link.is_nic(name));
    nics.flat_map(|(_, link)| &link.addresses)
}

fn is_own(hop: IpAddr, facts: &Facts) -> bool {
    facts.vteps.contains(&hop) || nic_addresses(facts).any(|address| address.addr() == hop)
}

/// Whether it is an address in the subnet of the session that no neighbor has: a leaf keeps the next hop of the node in the subnet that
/// advertises the route to it (RFC 4271 section 5.1.3). Over an interface, or in another address family, the next hop is an address of the
/// leaf that no session has.
fn is_on_link(peer: &str, hop: IpAddr, facts: &Facts) -> bool {
    let Ok(peer) = peer.parse::<IpAddr>() else { return false };
    let is_neighbor = || facts.fabric_sessions().any(|session| session.peer.parse() == Ok(hop));
    nic_addresses(facts).any(|subnet| subnet.contains(&peer) && subnet.contains(&hop)) && !is_neighbor()
}

fn evidence(peer: &str, ReceivedRoute { prefix, next_hop, as_path }: &ReceivedRoute) -> String {
    let hop = next_hop.map(|hop| format!(" and next hop {hop}")).unwrap_or_default();
    format!("{peer} advertises {prefix} with AS path {as_path}{hop}")
}

fn finding(vtep: IpAddr, advertiser: Advertiser, evidence: &[String], facts: &Facts) -> Finding {
    let has_ipv4 = facts.vteps.iter().any(IpAddr::is_ipv4);
    let pool = if vtep.is_ipv6() && has_ipv4 { "vtepcidr6" } else { "vtepcidr" };
    let (who, first) = match advertiser {
        Advertiser::As(asn) => (format!("AS {asn}"), format!("have AS {asn} withdraw it")),
        Advertiser::OnLink(address) => {
            (format!("another router, {address},"), "give each node an index of its own".to_owned())
        }
    };
    let what = format!("{who} advertises the VTEP address {vtep} of this node");
    Finding::new(FindingSeverity::Error, Area::Evpn, FindingKind::DuplicateVtep, what)
        .at(Place { vtep: Some(vtep), ..Place::default() })
        .shown_by(evidence.join("; "))
        .remedied_by(format!("{first}, or this Underlay another {pool}"))
        .of(facts.object_of(None), &format!("spec.{pool}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::interface::Interface;
    use crate::frr::show::neighbor::SessionReset;
    use crate::frr::show::session::{SessionPhase, SessionState};
    use rstest::rstest;

    const VTEP: &str = "100.65.0.1";
    const VTEP6: &str = "2001:db8:65::1";
    const LEAF: &str = "192.168.11.2";
    const LEAF6: &str = "2001:db8:11::2";
    const OTHER_LEAF: &str = "192.168.12.2";
    const REFLECTOR: &str = "10.9.0.9";
    const INDEX: &str = "give each node an index of its own";

    /// Session, AS path and next hop.
    type Received = (&'static str, &'static str, &'static str);

    fn session(peer: &str) -> SessionState {
        SessionState {
            vrf: None,
            peer: peer.into(),
            remote_as: None,
            phase: SessionPhase::Established,
            since: None,
            established: 1,
            messages: 0,
            prefixes: BTreeMap::new(),
        }
    }

    /// A node of AS 64514 with two leaves of AS 64512 and 64513 and a route reflector of AS 64514. The fabric advertises an address of
    /// its link, and these paths to the VTEP.
    fn facts(vtep: &str, received: &[Received]) -> Facts {
        let addresses = ["192.168.11.3/24", "192.168.12.3/24", "2001:db8:11::3/64", "fe80::1/64"];
        let nic = Interface {
            vrf: "default".into(),
            addresses: addresses.map(|address| address.parse().unwrap()).to_vec(),
            ..Interface::default()
        };
        let sessions = [LEAF, LEAF6, OTHER_LEAF, "eth1", REFLECTOR].map(session);
        let reset = SessionReset { local_as: Some(64514), ..SessionReset::default() };
        let route = |address: &str, as_path: &str, hop: &str| ReceivedRoute {
            prefix: address.parse::<IpAddr>().unwrap().into(),
            next_hop: hop.parse().ok(),
            as_path: as_path.into(),
        };
        let of_link = (LEAF.to_owned(), route("192.168.11.3", "64512", LEAF));
        let received = received.iter().map(|(peer, as_path, hop)| ((*peer).to_owned(), route(vtep, as_path, hop)));
        Facts {
            vteps: [VTEP, vtep].map(|vtep| vtep.parse().unwrap()).into(),
            links: Some([("eth1".to_owned(), nic)].into()),
            neighbors: sessions.iter().map(|session| (session.key(), reset.clone())).collect(),
            sessions: sessions.to_vec(),
            fabric_filtered: received.chain([of_link]).collect(),
            ..Facts::default()
        }
    }

    #[rstest]
    #[case::of_the_leaf(VTEP, (LEAF, "64512", LEAF), "AS 64512 advertises", "have AS 64512 withdraw it", "vtepcidr")]
    #[case::of_a_leaf(VTEP, (LEAF, "64512 64612 64520", LEAF), "AS 64520 advertises", "have AS 64520 withdraw it", "vtepcidr")]
    #[case::by_an_interface(VTEP, ("eth1", "64512 64520", "fe80::2"), "AS 64520 advertises", "have AS 64520 withdraw it", "vtepcidr")]
    #[case::by_ibgp(VTEP, (REFLECTOR, "64520", "10.9.0.4"), "AS 64520 advertises", "have AS 64520 withdraw it", "vtepcidr")]
    #[case::of_a_node(VTEP, (LEAF, "64512 64514", "192.168.11.4"), "another router, 192.168.11.4, advertises", INDEX, "vtepcidr")]
    #[case::with_as_override(VTEP, (LEAF, "64512 64512", "192.168.11.4"), "another router, 192.168.11.4, advertises", INDEX, "vtepcidr")]
    #[case::of_a_node_by_ibgp(VTEP, (LEAF, "", "192.168.11.4"), "another router, 192.168.11.4, advertises", INDEX, "vtepcidr")]
    #[case::ipv6(VTEP6, (LEAF6, "64512 64514", "2001:db8:11::4"), "another router, 2001:db8:11::4, advertises", INDEX, "vtepcidr6")]
    fn what_another_router_advertises_is_found(
        #[case] vtep: &str,
        #[case] received: Received,
        #[case] who: &str,
        #[case] remedy: &str,
        #[case] pool: &str,
    ) {
        let found = findings(&facts(vtep, &[received]));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].what, format!("{who} the VTEP address {vtep} of this node"));
        assert_eq!(found[0].kind, FindingKind::DuplicateVtep);
        assert_eq!(found[0].remedy, format!("{remedy}, or this Underlay another {pool}"));
        let (peer, as_path, hop) = received;
        let prefix = IpNet::from(vtep.parse::<IpAddr>().unwrap());
        assert_eq!(found[0].evidence, format!("{peer} advertises {prefix} with AS path {as_path} and next hop {hop}"));
    }

    /// The route of this node as a fabric returns it.
    #[rstest]
    #[case::by_the_leaf_that_has_it((LEAF, "64512 64514", LEAF))]
    #[case::by_the_other_leaf((OTHER_LEAF, "64513 64612 64512 64514", OTHER_LEAF))]
    #[case::by_leaves_in_one_subnet((LEAF, "64512 64513 64514", OTHER_LEAF))]
    #[case::by_an_interface_peer(("eth1", "64512 64514", "fe80::2"))]
    #[case::by_an_interface_peer_with_an_address(("eth1", "64512 64514", "2001:db8:11::9"))]
    #[case::with_the_other_address_of_the_leaf((LEAF, "64512 64514", "2001:db8:11::9"))]
    #[case::with_its_next_hop((LEAF, "64512 64514", "192.168.11.3"))]
    #[case::with_as_override((LEAF, "64512 64512", LEAF))]
    #[case::with_as_override_of_the_other_leaf((OTHER_LEAF, "64513 64612 64512 64513", OTHER_LEAF))]
    #[case::by_a_route_reflector((REFLECTOR, "", REFLECTOR))]
    #[case::by_ibgp_through_another_as((REFLECTOR, "64520 64514", "10.9.0.1"))]
    #[case::by_a_leaf_with_a_static_route_to_it((LEAF, "64512", "192.168.11.3"))]
    #[case::with_an_as_set((LEAF, "64512 {64513,64514}", LEAF))]
    #[case::by_a_session_that_is_removed(("192.168.11.9", "64520", "192.168.11.9"))]
    fn what_may_be_the_route_of_this_node_is_no_finding(#[case] received: Received) {
        assert_eq!(findings(&facts(VTEP, &[received])), []);
    }

    #[test]
    fn routes_of_one_advertiser_are_one_finding() {
        let received = [(LEAF, "64512 64520", LEAF), (OTHER_LEAF, "64513 64520", OTHER_LEAF), (LEAF, "64512", LEAF)];
        let found = findings(&facts(VTEP, &received));
        let evidence = "192.168.11.2 advertises 100.65.0.1/32 with AS path 64512 64520 and next hop 192.168.11.2; \
                        192.168.12.2 advertises 100.65.0.1/32 with AS path 64513 64520 and next hop 192.168.12.2";
        assert_eq!(found.iter().map(|finding| finding.evidence.as_str()).collect::<Vec<_>>()[1], evidence);
        assert_eq!(found.len(), 2);
    }
}
