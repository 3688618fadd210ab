//! The fields of an L3VNI as typed values. In: a spec that is valid by its schema. Out: the values, or every violation of the
//! rules that need the node index, secrets or types. It must not know other objects. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::host::{host_session, source_addresses, veth_addresses};
use super::spec::{L3VNISpec, ReversePathFilter};
use crate::frr::model::{GracefulRestart, Neighbor, PrefixListEntry};
use crate::kernel::model::RpFilter;
use crate::kind::check::Check;
use crate::kind::ipam::VethAddresses;
use crate::kind::vni_fields;
use crate::kind::vtep::Vtep;
use crate::names;
use crate::types::{Asn, Community, Family, IfName, RouteTarget, Vni, VrfName};

/// A valid L3VNI of this node.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidL3vni {
    /// Name of the IP-VRF.
    pub vrf: VrfName,
    /// VNI.
    pub vni: Vni,
    /// The VTEP of this node.
    pub vtep: Vtep,
    /// UDP port of VXLAN.
    pub port: u16,
    /// AS number of the VRF.
    pub asn: Asn,
    /// Subnets and addresses of the veth pair.
    pub veth: BTreeMap<Family, (IpNet, VethAddresses)>,
    /// What subnets cost that static routes of the node cover.
    pub covered: BTreeMap<Family, String>,
    /// VRF device of the host that the host end of the veth pair is put into.
    pub host_vrf: Option<IfName>,
    /// Filter of IPv4 sources on the host end of the veth pair.
    pub host_rp_filter: RpFilter,
    /// The session with the host, without its address.
    pub session: Neighbor,
    /// A second TCP port on which the router accepts the session.
    pub listen_port: Option<u16>,
    /// Addresses of the host in its sessions, where they are not those of its veth end.
    pub source: BTreeMap<Family, IpAddr>,
    /// Graceful restart on the host sessions.
    pub graceful_restart: Option<GracefulRestart>,
    /// Import route targets.
    pub import: BTreeSet<RouteTarget>,
    /// Export route targets.
    pub export: BTreeSet<RouteTarget>,
    /// Prefixes accepted from the host; `None`: the default.
    pub from_host: Option<Vec<PrefixListEntry>>,
    /// Maximum number of prefixes accepted from the host, for each address family.
    pub max_prefixes: Option<u32>,
    /// Local preference of the host's routes.
    pub local_pref: Option<u32>,
    /// Prefixes advertised to the host; `None`: all.
    pub to_host: Option<Vec<PrefixListEntry>>,
    /// Replace the host's AS number by `asn` in AS paths advertised to the host.
    pub as_override: bool,
    /// Aggregates, and whether only they are advertised (`summary-only`).
    pub aggregates: BTreeMap<IpNet, bool>,
    /// Communities added to the routes of the VRF.
    pub communities: BTreeSet<Community>,
}

/// Converts the fields of an L3VNI to typed values.
pub(super) fn validate(spec: &L3VNISpec, check: &mut Check<'_>) -> Option<ValidL3vni> {
    let index = check.node.index;
    let asn = check.value("spec.asn", Asn::try_from(spec.asn));
    let vni = check.value("spec.vni", Vni::try_from(spec.vni));
    let vrf: Option<VrfName> = if let Some(name) = &spec.vrf {
        check.value("spec.vrf", name.parse())
    } else {
        let hint = |e| format!("without spec.vrf the name of the object is that of the VRF, but {e}: set spec.vrf");
        check.value("metadata.name", check.object.name.parse::<VrfName>().map_err(hint))
    };
    let field = if spec.vrf.is_some() { "spec.vrf" } else { "metadata.name" };
    let unreserved = |name: &VrfName| names::check_unreserved(name.as_str()).map_err(|why| format!("{name} {why}"));
    check.value(field, vrf.as_ref().map_or(Ok(()), unreserved));
    let vtep = vni_fields::vtep(check, spec.underlay_address_family);
    let (veth, covered) = veth_addresses(check, spec, index);
    let source = source_addresses(check, spec, &veth, index);
    let session = host_session(check, spec);
    let (import, export) = vni_fields::route_targets(check, spec.route_targets.as_ref());
    let from = spec.from_host.as_ref();
    let from_host = check.rules("spec.fromHost.allowedPrefixes", from.and_then(|f| f.allowed_prefixes.as_ref()));
    let to = spec.to_host.as_ref().and_then(|t| t.allowed_prefixes.as_ref());
    let to_host = check.rules("spec.toHost.allowedPrefixes", to);
    let (mut aggregates, mut communities) = (BTreeMap::new(), BTreeSet::new());
    if let Some(to) = &spec.to_fabric {
        for (i, aggregate) in to.aggregates.iter().enumerate() {
            let prefix = check.prefix(format_args!("spec.toFabric.aggregates[{i}].prefix"), &aggregate.prefix);
            aggregates.extend(prefix.map(|p| (p, aggregate.summary_only)));
        }
        for (i, raw) in to.communities.iter().enumerate() {
            communities.extend(check.value(format_args!("spec.toFabric.communities[{i}]"), raw.parse::<Community>()));
        }
    }
    let host = spec.host_session.as_ref();
    let host_vrf = host.and_then(|h| check.value("spec.hostSession.vrf", h.vrf.as_ref()?.parse::<IfName>()));
    Some(ValidL3vni {
        vrf: vrf?,
        vni: vni?,
        vtep: vtep?,
        port: spec.vxlanport,
        asn: asn?,
        veth,
        covered,
        host_vrf,
        host_rp_filter: match spec.host_reverse_path_filter {
            Some(ReversePathFilter::Strict) => RpFilter::Strict,
            Some(ReversePathFilter::Loose) | None => RpFilter::Loose,
        },
        session: session?,
        listen_port: host.and_then(|h| h.listen_port).filter(|port| *port != 179),
        source,
        graceful_restart: host.and_then(|h| h.graceful_restart.as_ref()).map(Into::into),
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
}
