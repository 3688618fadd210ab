//! One object's fields to typed values. In: a spec that fits its schema, the node. Out: the values, or every mistake
//! of the object at once. Knows no other object.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::ipam;
use crate::api::{self, L3VNISpec, PrefixRule, SecretKeyRef, UnderlaySpec};
use crate::frr::model::{Bfd, GracefulRestart, Neighbor, Peer, PrefixListEntry, RemoteAs};
use crate::snapshot::{NodeIdentity, Object, ObjectRef, Reason, Rejection, SecretKey, Snapshot};
use crate::types::{Asn, Community, Family, IfName, RouteTarget, Secret, Vni, VrfName};

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

/// Collects the mistakes of one object.
struct Check<'a> {
    object: &'a ObjectRef,
    secrets: &'a BTreeMap<SecretKey, Result<Secret, String>>,
    found: Vec<Rejection>,
}

impl<'a> Check<'a> {
    fn new(object: &'a ObjectRef, snapshot: &'a Snapshot) -> Self {
        Self { object, secrets: &snapshot.secrets, found: Vec::new() }
    }

    fn refuse(&mut self, reason: Reason, field: impl Display, message: impl Display) {
        self.found.push(Rejection {
            object: self.object.clone(),
            reason,
            location: None,
            field: field.to_string(),
            message: message.to_string(),
        });
    }

    /// Keeps a value or notes why it is not one.
    fn take<T, E: Display>(&mut self, field: impl Display, value: Result<T, E>) -> Option<T> {
        value.map_err(|e| self.refuse(Reason::Invalid, field, e)).ok()
    }

    fn pool<T>(&mut self, field: &str, value: Result<T, ipam::PoolTooSmall>) -> Option<T> {
        value.map_err(|e| self.refuse(Reason::PoolTooSmall, field, e)).ok()
    }

    /// A prefix without host bits.
    fn prefix(&mut self, field: impl Display, text: &str) -> Option<IpNet> {
        let Ok(net) = text.parse::<IpNet>() else {
            self.refuse(Reason::Invalid, field, format_args!("{text:?} is not a prefix: write ADDRESS/LENGTH"));
            return None;
        };
        if net != net.trunc() {
            let right = net.trunc();
            self.refuse(Reason::Invalid, field, format_args!("{text} has bits set beyond its length: write {right}"));
            return None;
        }
        Some(net)
    }

    fn rules(&mut self, field: &str, rules: Option<&Vec<PrefixRule>>) -> Option<Vec<PrefixListEntry>> {
        let rules = rules?;
        let entries = rules.iter().enumerate().filter_map(|(i, rule)| {
            let prefix = self.prefix(format_args!("{field}[{i}].prefix"), &rule.prefix)?;
            self.take(format_args!("{field}[{i}]"), permit(prefix, rule.ge, rule.le))
        });
        Some(entries.collect())
    }

    fn secret(&mut self, field: &str, reference: Option<&SecretKeyRef>) -> Option<Secret> {
        let reference = reference?;
        let key = SecretKey {
            namespace: self.object.namespace.clone(),
            name: reference.name.clone(),
            key: reference.key.clone(),
        };
        match self.secrets.get(&key) {
            Some(Ok(secret)) => Some(secret.clone()),
            Some(Err(why)) => {
                let why = why.clone();
                self.refuse(Reason::SecretMissing, field, why);
                None
            }
            None => {
                let text = format!("Secret {}/{} has no key {}: create it", key.namespace, key.name, key.key);
                self.refuse(Reason::SecretMissing, field, text);
                None
            }
        }
    }

    fn timers(&mut self, field: &str, keepalive: Option<u16>, hold: Option<u16>) -> Option<(u16, u16)> {
        match (keepalive, hold) {
            (None, None) => None,
            // FRR uses and shows at most a third of the hold time (RFC 4271 section 10).
            (Some(k), Some(h)) if h >= 3 && k <= h => Some((k.min(h / 3), h)),
            (Some(0), Some(0)) => Some((0, 0)),
            (Some(_), Some(_)) => {
                let rule = "use a hold time of 0 or at least 3 and a keepalive time of at most the hold time";
                self.refuse(Reason::Invalid, format_args!("{field}holdTimeSeconds"), rule);
                None
            }
            _ => {
                let rule = "set both holdTimeSeconds and keepaliveTimeSeconds, or none";
                self.refuse(Reason::Invalid, format_args!("{field}holdTimeSeconds"), rule);
                None
            }
        }
    }

    fn done<T>(self, value: Option<T>) -> Result<T, Vec<Rejection>> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(self.found),
        }
    }
}

/// A permit entry in the only form that FRR prints back unchanged.
fn permit(prefix: IpNet, ge: Option<u8>, le: Option<u8>) -> Result<PrefixListEntry, String> {
    let (len, max) = (prefix.prefix_len(), prefix.max_prefix_len());
    let low = ge.unwrap_or(len);
    let high = le.unwrap_or(if ge.is_some() { max } else { len });
    if !(len <= low && low <= high && high <= max) {
        return Err(format!("lengths {low} to {high} do not fit {prefix}: use {len} <= ge <= le <= {max}"));
    }
    let le = if low == len { (high > len).then_some(high) } else { (high < max).then_some(high) };
    Ok(PrefixListEntry { permit: true, prefix, ge: (low > len).then_some(low), le })
}

fn bfd(settings: &api::BfdSettings) -> Bfd {
    Bfd {
        receive_interval: settings.receive_interval,
        transmit_interval: settings.transmit_interval,
        detect_multiplier: settings.detect_multiplier,
        passive: settings.passive,
        minimum_ttl: settings.minimum_ttl,
    }
}

fn graceful_restart(settings: &api::GracefulRestart) -> GracefulRestart {
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
    spec: &api::Neighbor,
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
        (None, Some(api::NeighborType::External)) => Some(RemoteAs::External),
        (None, Some(api::NeighborType::Internal)) => Some(RemoteAs::Internal),
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

fn veth_addresses(
    check: &mut Check<'_>,
    spec: &L3VNISpec,
    index: u32,
) -> BTreeMap<Family, (IpNet, ipam::VethAddresses)> {
    let mut veth = BTreeMap::new();
    let Some(local) = &spec.localcidr else { return veth };
    for (family, text) in [(Family::Ipv4, &local.ipv4), (Family::Ipv6, &local.ipv6)] {
        let Some(text) = text else { continue };
        let field = format!("spec.localcidr.{family}");
        let Some(net) = check.prefix(&field, text) else { continue };
        if Family::of(&net) != family {
            check.refuse(Reason::Invalid, &field, format_args!("{net} is not an {family} prefix"));
            continue;
        }
        veth.extend(check.pool(&field, ipam::veth(&net, index)).map(|addresses| (family, (net, addresses))));
    }
    veth
}

/// The host's own address of each session, where it is not that of its veth end.
fn source_addresses(
    check: &mut Check<'_>,
    spec: &L3VNISpec,
    veth: &BTreeMap<Family, (IpNet, ipam::VethAddresses)>,
    index: u32,
) -> BTreeMap<Family, IpAddr> {
    let mut found = BTreeMap::new();
    let Some(source) = spec.host_session.as_ref().and_then(|host| host.source_address.as_ref()) else { return found };
    for (family, text) in [(Family::Ipv4, &source.ipv4), (Family::Ipv6, &source.ipv6)] {
        let Some(text) = text else { continue };
        let field = format!("spec.hostSession.sourceAddress.{family}");
        let address = match text.parse::<IpAddr>() {
            Ok(address) => Some(address),
            Err(_) => check.prefix(&field, text).and_then(|pool| check.pool(&field, ipam::source(&pool, index))),
        };
        let Some(address) = address else { continue };
        if Family::of(&IpNet::from(address)) != family {
            check.refuse(Reason::Invalid, &field, format_args!("{address} is not an {family} address"));
            continue;
        }
        match veth.get(&family) {
            None => check.refuse(
                Reason::Invalid,
                &field,
                format_args!("needs localcidr.{family}, over which the session runs: set it or remove this field"),
            ),
            Some((_, addresses)) if addresses.pe.addr() == address => {
                let text = format_args!("{address} is the router's own address of localcidr: use another");
                check.refuse(Reason::Invalid, &field, text);
            }
            Some((_, addresses)) if addresses.host.addr() == address => {}
            Some(_) => {
                found.insert(family, address);
            }
        }
    }
    found
}

/// Seconds between attempts to connect to a host. FRR's own 120 are for a peer that is far away: a host that only listens,
/// and was not yet ready for the first attempt, would be without its routes for two minutes.
const HOST_CONNECT_TIME: u16 = 1;

fn host_session(check: &mut Check<'_>, spec: &L3VNISpec) -> Option<Neighbor> {
    let hostasn = check.take("spec.hostasn", Asn::try_from(spec.hostasn.unwrap_or(spec.asn)));
    let external = spec.hostasn.is_some_and(|asn| asn != spec.asn);
    let default = api::HostSession::default();
    let host = spec.host_session.as_ref().unwrap_or(&default);
    if host.multihop.is_some() && !external {
        check.refuse(Reason::Invalid, "spec.hostSession.multihop", "is for eBGP: remove it, or set spec.hostasn");
    }
    if host.listen_port.is_some_and(|port| port != 179) && host.password_secret.is_some() {
        let text = "does not go with passwordSecret, since TCP MD5 signs the port that the host dials: have the host dial \
                    179 and remove this field, or remove the password";
        check.refuse(Reason::Invalid, "spec.hostSession.listenPort", text);
    }
    if spec.to_host.as_ref().is_some_and(|to| to.as_override) && !external {
        check.refuse(Reason::Invalid, "spec.toHost.asOverride", "is for eBGP: remove it, or set spec.hostasn");
    }
    Some(Neighbor {
        timers: check.timers("spec.hostSession.", host.keepalive_time_seconds, host.hold_time_seconds),
        password: check.secret("spec.hostSession.passwordSecret", host.password_secret.as_ref()),
        remote_as: RemoteAs::Asn(hostasn?),
        external,
        port: host.port.filter(|port| *port != 179),
        connect: Some(host.connect_time_seconds.unwrap_or(HOST_CONNECT_TIME)),
        multihop: host.multihop.as_ref().map(|m| m.ttl),
        bfd: host.bfd.as_ref().map(bfd),
        passive: host.passive,
    })
}

fn route_targets(check: &mut Check<'_>, spec: &L3VNISpec) -> (BTreeSet<RouteTarget>, BTreeSet<RouteTarget>) {
    let default = api::RouteTargets::default();
    let targets = spec.route_targets.as_ref().unwrap_or(&default);
    let [import, export] = [("import", &targets.import), ("export", &targets.export)].map(|(direction, list)| {
        let parsed = list.iter().enumerate().filter_map(|(i, raw)| {
            check.take(format_args!("spec.routeTargets.{direction}[{i}]"), raw.parse::<RouteTarget>())
        });
        parsed.collect()
    });
    (import, export)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("10.0.0.0/8", None, None, Some((None, None)))]
    #[case("10.0.0.0/8", Some(8), None, Some((None, Some(32))))]
    #[case("10.0.0.0/8", Some(24), None, Some((Some(24), None)))]
    #[case("10.0.0.0/8", Some(24), Some(32), Some((Some(24), None)))]
    #[case("10.0.0.0/8", None, Some(8), Some((None, None)))]
    #[case("10.0.0.0/8", Some(16), Some(24), Some((Some(16), Some(24))))]
    #[case("10.0.0.0/8", Some(7), None, None)]
    #[case("10.0.0.0/8", Some(24), Some(16), None)]
    #[case("10.0.0.0/8", None, Some(33), None)]
    fn prefix_rules_become_the_form_that_frr_prints(
        #[case] prefix: &str,
        #[case] ge: Option<u8>,
        #[case] le: Option<u8>,
        #[case] want: Option<(Option<u8>, Option<u8>)>,
    ) {
        let got = permit(prefix.parse().unwrap(), ge, le).ok().map(|entry| (entry.ge, entry.le));
        assert_eq!(got, want);
    }
}
