//! One object's fields to typed values. In: a spec that fits its schema, the node. Out: the values, or every mistake
//! of the object at once. Knows no other object.

mod check;
mod host;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::ipam;
use crate::frr::model::{Bfd, GracefulRestart, Neighbor, Peer, PrefixListEntry, RemoteAs};
use crate::kind::{self, L3VNISpec, UnderlaySpec};
use crate::snapshot::{NodeIdentity, Object, ObjectRef, Reason, Rejection, Snapshot};
use crate::types::{Asn, Community, Family, IfName, RouteTarget, Vni, VrfName};
use check::Check;
use host::{host_session, route_targets, source_addresses, veth_addresses};

/// A valid Underlay of this node.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidUnderlay {
    /// The object.
    pub object: ObjectRef,
    /// AS number.
    pub asn: Asn,
    /// Pool of the VTEPs.
    pub vtep_pool: IpNet,
    /// This node's VTEP.
    pub vtep: IpAddr,
    /// This node's router id.
    pub router_id: Ipv4Addr,
    /// Fabric NICs.
    pub nics: BTreeSet<IfName>,
    /// Peers.
    pub neighbors: BTreeMap<Peer, Neighbor>,
    /// Graceful restart.
    pub graceful_restart: Option<GracefulRestart>,
}

/// A valid L3VNI of this node.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidL3vni {
    /// The object.
    pub object: ObjectRef,
    /// Name of the IP-VRF.
    pub vrf: VrfName,
    /// VNI.
    pub vni: Vni,
    /// UDP port of VXLAN.
    pub port: u16,
    /// AS number of the VRF.
    pub asn: Asn,
    /// Subnets and addresses of the veth pair.
    pub veth: BTreeMap<Family, (IpNet, ipam::VethAddresses)>,
    /// VRF device of the host for the host end.
    pub host_vrf: Option<IfName>,
    /// The host's session, without its address.
    pub session: Neighbor,
    /// A second TCP port on which the router answers the host.
    pub listen_port: Option<u16>,
    /// Addresses from which the host speaks where that is not its veth end's.
    pub source: BTreeMap<Family, IpAddr>,
    /// Graceful restart on the host sessions.
    pub graceful_restart: Option<GracefulRestart>,
    /// Import route targets.
    pub import: BTreeSet<RouteTarget>,
    /// Export route targets.
    pub export: BTreeSet<RouteTarget>,
    /// Allowed from the host; `None`: the default.
    pub from_host: Option<Vec<PrefixListEntry>>,
    /// Prefix limit.
    pub max_prefixes: Option<u32>,
    /// Local preference.
    pub local_pref: Option<u32>,
    /// Allowed to the host; `None`: all.
    pub to_host: Option<Vec<PrefixListEntry>>,
    /// Our AS number in place of the host's in AS paths to the host.
    pub as_override: bool,
    /// Aggregates.
    pub aggregates: BTreeMap<IpNet, bool>,
    /// Communities.
    pub communities: BTreeSet<Community>,
}

fn bfd(settings: &kind::BfdSettings) -> Bfd {
    Bfd {
        receive_interval: settings.receive_interval,
        transmit_interval: settings.transmit_interval,
        detect_multiplier: settings.detect_multiplier,
        passive: settings.passive,
        minimum_ttl: settings.minimum_ttl,
    }
}

fn graceful_restart(settings: &kind::GracefulRestart) -> GracefulRestart {
    GracefulRestart { restart_time: settings.restart_time_seconds, stale_path_time: settings.stale_path_time_seconds }
}

/// FRR 8.4 and 10.3 take 0.0.0.0 for such a VTEP and give it as next hop to its routes. frr#19721 came with 10.6.
const IPV6_VTEP: &str = "FRR before 10.6 has no EVPN over IPv6 VTEPs (frr#5885), and later ones are not supported yet: use \
                         an IPv4 pool, which sessions over IPv6 carry as well";

/// Checks an Underlay for `node`.
pub fn underlay(object: &Object<UnderlaySpec>, snapshot: &Snapshot) -> Result<ValidUnderlay, Vec<Rejection>> {
    let NodeIdentity { index, .. } = snapshot.node;
    let spec = &object.spec;
    let mut check = Check::new(&object.key, snapshot);
    let asn = check.take("spec.asn", Asn::try_from(spec.asn));
    let vtep_pool = check.prefix("spec.vtepcidr", &spec.vtepcidr);
    if matches!(vtep_pool, Some(IpNet::V6(_))) {
        check.refuse(Reason::Unsupported, "spec.vtepcidr", IPV6_VTEP);
    }
    let vtep = vtep_pool.and_then(|pool| check.pool("spec.vtepcidr", ipam::vtep(&pool, index)));
    let wrong = |_| format!("{:?} is not an IPv4 prefix: write A.B.C.D/LENGTH", spec.routeridcidr);
    let id_pool = check.take("spec.routeridcidr", spec.routeridcidr.parse::<Ipv4Net>().map_err(wrong));
    let router_id = id_pool.and_then(|pool| check.pool("spec.routeridcidr", ipam::router_id(&pool.trunc(), index)));
    let mut nics = BTreeSet::new();
    for (i, nic) in spec.nics.iter().enumerate() {
        nics.extend(check.take(format_args!("spec.nics[{i}]"), nic.parse::<IfName>()));
    }
    if spec.nics.is_empty() {
        check.refuse(Reason::Invalid, "spec.nics", "is empty: name at least one fabric NIC");
    }
    let mut neighbors = BTreeMap::new();
    for (i, neighbor) in spec.neighbors.iter().enumerate() {
        let field = format!("spec.neighbors[{i}]");
        let Some((peer, value)) = fabric_neighbor(&mut check, &field, neighbor, asn) else { continue };
        if neighbors.insert(peer.clone(), value).is_some() {
            check.refuse(Reason::Invalid, &field, format_args!("{peer} is a neighbor already: name it once"));
        }
    }
    let value = (|| {
        Some(ValidUnderlay {
            object: object.key.clone(),
            asn: asn?,
            vtep_pool: vtep_pool?,
            vtep: vtep?,
            router_id: router_id?,
            nics,
            neighbors,
            graceful_restart: spec.graceful_restart.as_ref().map(graceful_restart),
        })
    })();
    check.done(value)
}

fn fabric_neighbor(
    check: &mut Check<'_>,
    field: &str,
    spec: &kind::Neighbor,
    own: Option<Asn>,
) -> Option<(Peer, Neighbor)> {
    let peer = match (&spec.address, &spec.interface) {
        (Some(ip), None) => {
            let wrong = |_| format!("{ip:?} is not an IP address");
            check.take(format_args!("{field}.address"), ip.parse().map(Peer::Address).map_err(wrong))
        }
        (None, Some(name)) => check.take(format_args!("{field}.interface"), name.parse().map(Peer::Interface)),
        _ => {
            check.refuse(Reason::Invalid, field, "set exactly one of address and interface");
            None
        }
    };
    let remote_as = match (spec.asn, spec.type_) {
        (Some(raw), None) => check.take(format_args!("{field}.asn"), Asn::try_from(raw).map(RemoteAs::Asn)),
        (None, Some(kind::NeighborType::External)) => Some(RemoteAs::External),
        (None, Some(kind::NeighborType::Internal)) => Some(RemoteAs::Internal),
        _ => {
            check.refuse(Reason::Invalid, field, "set exactly one of asn and type");
            None
        }
    };
    let external = match remote_as {
        Some(RemoteAs::Asn(asn)) => Some(asn) != own,
        Some(RemoteAs::External) => true,
        Some(RemoteAs::Internal) | None => false,
    };
    if spec.ebgp_multi_hop.is_some() && !external {
        check.refuse(Reason::Invalid, format_args!("{field}.ebgpMultiHop"), "is for eBGP: remove it");
    }
    let timers = check.timers(&format!("{field}."), spec.keepalive_time_seconds, spec.hold_time_seconds);
    let password = check.secret(&format!("{field}.passwordSecret"), spec.password_secret.as_ref());
    let neighbor = Neighbor {
        remote_as: remote_as?,
        external,
        port: spec.port.filter(|port| *port != 179),
        timers,
        connect: spec.connect_time_seconds,
        password,
        multihop: spec.ebgp_multi_hop.as_ref().map(|m| m.ttl),
        bfd: spec.bfd.as_ref().map(bfd),
        passive: spec.passive,
    };
    Some((peer?, neighbor))
}

/// Checks an L3VNI for `node`.
pub fn l3vni(object: &Object<L3VNISpec>, snapshot: &Snapshot) -> Result<ValidL3vni, Vec<Rejection>> {
    let spec = &object.spec;
    let mut check = Check::new(&object.key, snapshot);
    let asn = check.take("spec.asn", Asn::try_from(spec.asn));
    let vni = check.take("spec.vni", Vni::try_from(spec.vni));
    let vrf = if let Some(name) = &spec.vrf {
        check.take("spec.vrf", name.parse())
    } else {
        let hint = |e| format!("the object's name is the VRF's where spec.vrf is absent, but {e}: set spec.vrf");
        check.take("metadata.name", object.key.name.parse::<VrfName>().map_err(hint))
    };
    let veth = veth_addresses(&mut check, spec, snapshot.node.index);
    let source = source_addresses(&mut check, spec, &veth, snapshot.node.index);
    let session = host_session(&mut check, spec);
    let (import, export) = route_targets(&mut check, spec);
    let from = spec.from_host.as_ref();
    let from_host = check.rules("spec.fromHost.allowedPrefixes", from.and_then(|f| f.allowed_prefixes.as_ref()));
    let to = spec.to_host.as_ref().and_then(|t| t.allowed_prefixes.as_ref());
    let to_host = check.rules("spec.toHost.allowedPrefixes", to);
    let mut aggregates = BTreeMap::new();
    let mut communities = BTreeSet::new();
    if let Some(to) = &spec.to_fabric {
        for (i, aggregate) in to.aggregates.iter().enumerate() {
            let prefix = check.prefix(format_args!("spec.toFabric.aggregates[{i}].prefix"), &aggregate.prefix);
            aggregates.extend(prefix.map(|p| (p, aggregate.summary_only)));
        }
        for (i, raw) in to.communities.iter().enumerate() {
            communities.extend(check.take(format_args!("spec.toFabric.communities[{i}]"), raw.parse::<Community>()));
        }
    }
    let host = spec.host_session.as_ref();
    let named = host.and_then(|h| h.vrf.as_ref());
    let host_vrf = named.and_then(|name| check.take("spec.hostSession.vrf", name.parse::<IfName>()));
    let value = (|| {
        Some(ValidL3vni {
            object: object.key.clone(),
            vrf: vrf?,
            vni: vni?,
            port: spec.vxlanport,
            asn: asn?,
            veth,
            host_vrf,
            session: session?,
            listen_port: host.and_then(|h| h.listen_port).filter(|port| *port != 179),
            source,
            graceful_restart: host.and_then(|h| h.graceful_restart.as_ref()).map(graceful_restart),
            import,
            export,
            from_host,
            max_prefixes: from.and_then(|f| f.max_prefixes),
            local_pref: from.and_then(|f| f.local_pref),
            to_host,
            as_override: spec.to_host.as_ref().is_some_and(|t| t.as_override),
            aggregates,
            communities,
        })
    })();
    check.done(value)
}
