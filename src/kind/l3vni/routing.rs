//! The FRR configuration of an L3VNI. In: a valid L3VNI and the connection to the fabric. Out: its IP-VRF as typed values. It must
//! not contain FRR syntax. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::validate::ValidL3vni;
use crate::frr::model::{HostSession, IpVrf, PrefixListEntry, RouterConfig, SessionSubnet};
use crate::kind::definition::Fabric;
use crate::types::Family;

/// TTL of a session with an eBGP host whose address is not on the veth subnet.
const INDIRECT_HOST_TTL: u8 = 2;

/// Adds the IP-VRF.
pub(super) fn routing(l3vni: &ValidL3vni, fabric: &Fabric, config: &mut RouterConfig) {
    config.vrfs.insert(l3vni.vrf.clone(), ip_vrf(l3vni, fabric));
}

fn ip_vrf(l3vni: &ValidL3vni, fabric: &Fabric) -> IpVrf {
    let mut routes = BTreeMap::new();
    let mut sessions = BTreeMap::new();
    for (family, (subnet, addresses)) in &l3vni.veth {
        let address = l3vni.source.get(family).copied().unwrap_or(addresses.host.addr());
        let mut neighbor = l3vni.session.clone();
        if !subnet.contains(&address) {
            routes.insert(IpNet::from(address), addresses.host.addr());
            // FRR requires an eBGP peer to be on a connected subnet unless multihop is configured.
            if neighbor.external {
                neighbor.multihop.get_or_insert(INDIRECT_HOST_TTL);
            }
        }
        let session = HostSession {
            address,
            subnet: SessionSubnet { subnet: *subnet, router: addresses.pe.addr() },
            neighbor,
            // RFC 4271 section 5.1.3 lets it advertise the address of any other node in the subnet, which has a veth of its
            // own: the router would deliver to nobody, or the two nodes to each other.
            next_hops: [address, addresses.host.addr()].into(),
            inbound: l3vni.from_host.as_ref().map(|rules| of_family(rules, *family)),
            outbound: l3vni.to_host.as_ref().map(|rules| of_family(rules, *family)),
            max_prefixes: l3vni.max_prefixes,
            local_pref: l3vni.local_pref,
            as_override: l3vni.as_override,
        };
        sessions.insert(*family, Arc::new(session));
    }
    IpVrf {
        vni: l3vni.vni,
        asn: l3vni.asn,
        router_id: fabric.router_id,
        import: l3vni.import.clone(),
        export: l3vni.export.clone(),
        sessions,
        routes,
        graceful_restart: l3vni.graceful_restart.clone(),
        networks: l3vni.veth.values().map(|(_, addresses)| IpNet::from(addresses.host.addr())).collect(),
        aggregates: l3vni.aggregates.clone(),
        communities: l3vni.communities.clone(),
    }
}

fn of_family(rules: &[PrefixListEntry], family: Family) -> Vec<PrefixListEntry> {
    rules.iter().filter(|rule| Family::of(&rule.prefix) == family).cloned().collect()
}
