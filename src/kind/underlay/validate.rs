//! The fields of an Underlay as typed values. In: a spec that is valid by its schema. Out: the values, or every violation of the
//! rules that need the node index, secrets or types. It must not know other objects. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::spec::{NeighborSpec, NeighborType, UnderlaySpec, UpdateSource};
use super::{nics, vtep_pools};
use crate::frr::model::{GracefulRestart, Neighbor, Peer, RemoteAs};
use crate::kind::check::Check;
use crate::kind::ipam;
use crate::kind::object::Reason;
use crate::types::{Asn, Family, IfName};

/// A valid Underlay of this node.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidUnderlay {
    /// AS number.
    pub asn: Asn,
    /// Pools of VTEP addresses, with their fields.
    pub vtep_pools: BTreeMap<IpNet, &'static str>,
    /// VTEP addresses of this node, one at least.
    pub vteps: BTreeMap<Family, IpAddr>,
    /// Router ID of this node.
    pub router_id: Ipv4Addr,
    /// Fabric NICs, by their primary names.
    pub nics: BTreeSet<IfName>,
    /// Addresses of the NICs that exist, with the length of their subnets; none is link-local.
    pub nic_addresses: BTreeSet<IpNet>,
    /// The alternative names by which the object names some of them.
    pub nic_aliases: BTreeMap<IfName, IfName>,
    /// All names of these NICs, with the fields that name them.
    pub nic_names: BTreeMap<IfName, String>,
    /// The least MTU in bytes of those that exist.
    pub nic_mtu: Option<u32>,
    /// Fields, and what is to be known about them on this node.
    pub node_notes: Vec<(String, String)>,
    /// BGP neighbors.
    pub neighbors: BTreeMap<Peer, Neighbor>,
    /// Prefixes that no IP-VRF may have from a host or the fabric, in the order of the field.
    pub protected_prefixes: Vec<IpNet>,
    /// Graceful restart.
    pub graceful_restart: Option<GracefulRestart>,
}

/// Converts the fields of an Underlay to typed values.
pub(super) fn validate(spec: &UnderlaySpec, check: &mut Check<'_>) -> Option<ValidUnderlay> {
    let index = check.node.index;
    let asn = check.value("spec.asn", Asn::try_from(spec.asn));
    let (vtep_pools, vteps) = vteps(spec, check);
    let wrong = |_| format!("{:?} is not an IPv4 prefix: write A.B.C.D/LENGTH", spec.routeridcidr);
    let id_pool = check.value("spec.routeridcidr", spec.routeridcidr.parse::<Ipv4Net>().map_err(wrong));
    let router_id = id_pool.and_then(|pool| check.pool("spec.routeridcidr", ipam::router_id(&pool.trunc(), index)));
    let protected = spec.protected_prefixes.iter().enumerate();
    let protected: Vec<_> =
        protected.map(|(i, text)| check.prefix(format_args!("spec.protectedPrefixes[{i}]"), text)).collect();
    let mut neighbors = BTreeMap::new();
    for (i, neighbor) in spec.neighbors.iter().enumerate() {
        let field = format!("spec.neighbors[{i}]");
        let Some((peer, value)) = fabric_neighbor(check, &field, neighbor, (asn, &vteps)) else { continue };
        if neighbors.insert(peer.clone(), value).is_some() {
            check.reject(Reason::Invalid, &field, format_args!("{peer} is already a neighbor: remove one of the two"));
        }
    }
    let nics = nics::select(spec, &neighbors, check);
    let mut node_notes = nics.notes;
    node_notes.extend(vtep_pools::examine(spec, &vtep_pools, check));
    let of_taken = check.node.nics.into_iter().flatten().filter(|(_, nic)| nics.taken.contains(&nic.name));
    let addresses = of_taken.flat_map(|(_, nic)| &nic.addresses);
    let nic_addresses = addresses.filter(|address| !is_link_local(address)).copied().collect();
    Some(ValidUnderlay {
        asn: asn?,
        vtep_pools,
        vteps,
        router_id: router_id?,
        nics: nics.taken,
        nic_addresses,
        nic_aliases: nics.aliases,
        nic_names: nics.names,
        nic_mtu: nics.mtu,
        node_notes,
        neighbors,
        protected_prefixes: protected.into_iter().flatten().collect(),
        graceful_restart: spec.graceful_restart.as_ref().map(Into::into),
    })
}

/// The pools of VTEP addresses with their fields, and the addresses of this node in them.
fn vteps(spec: &UnderlaySpec, check: &mut Check<'_>) -> (BTreeMap<IpNet, &'static str>, BTreeMap<Family, IpAddr>) {
    let (mut pools, mut vteps) = (BTreeMap::new(), BTreeMap::new());
    let second = spec.vtepcidr6.iter().map(|text| ("spec.vtepcidr6", text));
    for (field, text) in [("spec.vtepcidr", &spec.vtepcidr)].into_iter().chain(second) {
        let Some(pool) = check.prefix(field, text) else { continue };
        if let (IpNet::V6(_), Err(why)) = (pool, check.node.release.ipv6_vtep) {
            check.reject(Reason::Unsupported, field, why);
        }
        let Some(vtep) = check.pool(field, ipam::vtep(&pool, check.node.index)) else { continue };
        pools.insert(pool, field);
        if vteps.insert(Family::of(&pool), vtep).is_some() {
            check.reject(Reason::Invalid, field, "is a second pool of one family: remove it");
        }
    }
    (pools, vteps)
}

/// Every link has that subnet (RFC 4291 section 2.5.6).
fn is_link_local(address: &IpNet) -> bool {
    matches!(address, IpNet::V6(address) if address.addr().is_unicast_link_local())
}

fn fabric_neighbor(
    check: &mut Check<'_>,
    field: &str,
    spec: &NeighborSpec,
    (own, vteps): (Option<Asn>, &BTreeMap<Family, IpAddr>),
) -> Option<(Peer, Neighbor)> {
    let peer = match (&spec.address, &spec.interface) {
        (Some(ip), None) => {
            let wrong = |_| format!("{ip:?} is not an IP address");
            check.value(format_args!("{field}.address"), ip.parse().map(Peer::Address).map_err(wrong))
        }
        (None, Some(name)) => {
            let name = check.value(format_args!("{field}.interface"), name.parse::<IfName>());
            name.map(|name| Peer::Interface(nics::primary(name, check.node.nics)))
        }
        _ => {
            check.reject(Reason::Invalid, field, "set exactly one of address and interface");
            None
        }
    };
    let remote_as = match (spec.asn, spec.type_) {
        (Some(raw), None) => check.value(format_args!("{field}.asn"), Asn::try_from(raw).map(RemoteAs::Asn)),
        (None, Some(NeighborType::External)) => Some(RemoteAs::External),
        (None, Some(NeighborType::Internal)) => Some(RemoteAs::Internal),
        _ => {
            check.reject(Reason::Invalid, field, "set exactly one of asn and type");
            None
        }
    };
    let external = match remote_as {
        Some(RemoteAs::Asn(asn)) => Some(asn) != own,
        Some(RemoteAs::External) => true,
        Some(RemoteAs::Internal) | None => false,
    };
    if spec.ebgp_multi_hop.is_some() && !external {
        check.reject(Reason::Invalid, format_args!("{field}.ebgpMultiHop"), "applies to eBGP only: remove it");
    }
    let timers = check.timers(&format!("{field}."), spec.keepalive_time_seconds, spec.hold_time_seconds);
    let password = check.secret(&format!("{field}.passwordSecret"), spec.password_secret.as_ref());
    let peer = peer?;
    let neighbor = Neighbor {
        remote_as: remote_as?,
        external,
        port: spec.port.filter(|port| *port != 179),
        timers,
        connect: spec.connect_time_seconds,
        password,
        multihop: spec.ebgp_multi_hop.as_ref().map(|m| m.ttl),
        bfd: spec.bfd.as_ref().map(Into::into),
        passive: spec.passive,
        update_source: update_source(check, field, spec, (&peer, vteps)),
    };
    Some((peer, neighbor))
}

/// The address of the router on a session, where it is a VTEP.
fn update_source(
    check: &mut Check<'_>,
    field: &str,
    spec: &NeighborSpec,
    (peer, vteps): (&Peer, &BTreeMap<Family, IpAddr>),
) -> Option<IpAddr> {
    let is_asked_for = spec.update_source == Some(UpdateSource::Vtep);
    if !is_asked_for && (spec.update_source.is_some() || spec.ebgp_multi_hop.is_none()) {
        return None;
    }
    let vtep = match peer {
        Peer::Address(address) => vteps.get(&Family::of(&(*address).into())).copied(),
        Peer::Interface(_) => None,
    };
    // Without any, the pool is what has to be corrected.
    if is_asked_for && vtep.is_none() && !vteps.is_empty() {
        let text = "needs a VTEP of the address family of the neighbor, and a neighbor with an address: add a pool of that family, \
                    or set NIC";
        check.reject(Reason::Invalid, format_args!("{field}.updateSource"), text);
    }
    vtep
}
