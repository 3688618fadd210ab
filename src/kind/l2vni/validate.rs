//! The fields of an L2VNI as typed values. In: a spec that is valid by its schema, and the IP-VRFs of accepted objects. Out: the
//! values, or every violation of the rules that need more than the schema. It must not know other objects. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::spec::{HostMasterType, L2VNISpec, Lifecycle};
use crate::kernel::model::HostNetwork;
use crate::kind::check::{Check, HostedVrf};
use crate::kind::ipam;
use crate::kind::object::{Kind, ObjectRef, Reason};
use crate::kind::vni_fields;
use crate::kind::vtep::Vtep;
use crate::names;
use crate::types::{Family, IfName, RouteTarget, Vni, VrfName};

/// A valid L2VNI of this node.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidL2vni {
    /// VNI.
    pub vni: Vni,
    /// The VTEP of this node.
    pub vtep: Vtep,
    /// UDP port of VXLAN.
    pub port: u16,
    /// MTU of all links in bytes.
    pub mtu: u32,
    /// The IP-VRF; `None`: the segment is not routed.
    pub vrf: Option<VrfName>,
    /// The addresses of the router. Only with an IP-VRF.
    pub gateways: BTreeMap<Family, IpNet>,
    /// Why the IP-VRF does not advertise the subnet of a gateway.
    pub not_advertised: BTreeMap<Family, String>,
    /// What the subnets lose to which the host has no route, since the object of the IP-VRF filters them.
    pub not_to_host: Option<(ObjectRef, String)>,
    /// The bridge of the host; `None`: the host end is left for others.
    pub host_bridge: Option<HostBridge>,
    /// Import route targets.
    pub import: BTreeSet<RouteTarget>,
    /// Export route targets.
    pub export: BTreeSet<RouteTarget>,
}

/// A bridge on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBridge {
    /// What kind of bridge.
    pub type_: HostMasterType,
    /// The bridge of the host; `None`: `br-hs-<VNI>` of the router.
    pub external: Option<IfName>,
}

impl HostBridge {
    /// The field that names it.
    pub fn name_field(&self) -> &'static str {
        match self.type_ {
            HostMasterType::LinuxBridge => "spec.hostMaster.linuxBridge.name",
            HostMasterType::OVSBridge => "spec.hostMaster.ovsBridge.name",
        }
    }
}

/// Converts the fields of an L2VNI to typed values.
pub(super) fn validate(spec: &L2VNISpec, check: &mut Check<'_>) -> Option<ValidL2vni> {
    let vni = check.value("spec.vni", Vni::try_from(spec.vni));
    let vtep = vni_fields::vtep(check, spec.underlay_address_family);
    let (import, export) = vni_fields::route_targets(check, spec.route_targets.as_ref());
    let domain = routing_domain(spec, check);
    let gateways = gateways(spec, check);
    let host_bridge = host_bridge(spec, check);
    let mtu = vtep.and_then(|vtep| mtu(spec.mtu, vtep, check));
    let domain = domain.ok()?;
    let networks = check.node.host_networks;
    let not_advertised = domain.map(|(_, domain)| parts_of_networks(&gateways, domain, networks)).unwrap_or_default();
    let advertised =
        || gateways.iter().filter(|(family, _)| !not_advertised.contains_key(family)).map(|(_, net)| net.trunc());
    let not_to_host = domain.and_then(|domain| filtered_to_host(advertised(), domain, check.object));
    Some(ValidL2vni {
        vni: vni?,
        vtep: vtep?,
        port: spec.vxlanport,
        mtu: mtu?,
        vrf: domain.map(|(_, domain)| domain.vrf.clone()),
        not_to_host,
        gateways,
        not_advertised,
        host_bridge: host_bridge.ok()?,
        import,
        export,
    })
}

/// A field is rejected; the [`Check`] has the reason.
struct RejectedField;

/// The object of the IP-VRF, and that; `None`: without one.
type Domain<'a> = Option<(&'a ObjectRef, &'a HostedVrf)>;

fn routing_domain<'a>(spec: &L2VNISpec, check: &mut Check<'a>) -> Result<Domain<'a>, RejectedField> {
    let Some(domain) = &spec.routing_domain else {
        if !spec.gateway_ips.is_empty() {
            let text =
                "requires routingDomain, the IP-VRF of the gateways: set spec.routingDomain or remove this field";
            check.reject(Reason::Invalid, "spec.gatewayIPs", text);
        }
        return Ok(None);
    };
    let Some(reference) = &domain.l3vni else {
        check.reject(Reason::Invalid, "spec.routingDomain.l3vni", "is missing: set l3vni.name");
        return Err(RejectedField);
    };
    let object = ObjectRef::new(Kind::L3VNI, &check.object.namespace, &reference.name);
    if let Some(domain) = check.node.routing_domains.get_key_value(&object) {
        return Ok(Some(domain));
    }
    let ObjectRef { kind, namespace, name } = &object;
    let text = format!(
        "{object} is not accepted for this node: create {kind} {name} in namespace {namespace}, fix it if it is rejected, or \
         select the same nodes with its nodeSelector"
    );
    check.reject(Reason::DependencyFailed, "spec.routingDomain.l3vni.name", text);
    Err(RejectedField)
}

fn gateways(spec: &L2VNISpec, check: &mut Check<'_>) -> BTreeMap<Family, IpNet> {
    let mut found = BTreeMap::new();
    for (i, text) in spec.gateway_ips.iter().enumerate() {
        let field = format!("spec.gatewayIPs[{i}]");
        let Ok(gateway) = text.parse::<IpNet>() else {
            let text = format_args!("{text:?} is not an address with a prefix length: write ADDRESS/LENGTH");
            check.reject(Reason::Invalid, field, text);
            continue;
        };
        let family = Family::of(&gateway);
        if !is_host(&gateway) {
            let text = format_args!(
                "{gateway} is the address of the network or its broadcast address: use one of a host in it"
            );
            check.reject(Reason::Invalid, field, text);
        } else if found.insert(family, gateway).is_some() {
            let text = format_args!("is the second gateway of {family}: an L2VNI has at most one of each family");
            check.reject(Reason::Invalid, field, text);
        }
    }
    found
}

/// Whether it is an address that one of several hosts of its subnet can have.
fn is_host(gateway: &IpNet) -> bool {
    let (address, has_room) = (gateway.addr(), gateway.max_prefix_len() - gateway.prefix_len() >= 2);
    has_room && address != gateway.network() && !ipam::is_reserved(address, gateway)
}

/// The subnets that are a part of a network of the node, or of the destination of a static route: the host would send what it has
/// for that part into the IP-VRF.
fn parts_of_networks(
    gateways: &BTreeMap<Family, IpNet>,
    domain: &HostedVrf,
    networks: &BTreeSet<HostNetwork>,
) -> BTreeMap<Family, String> {
    let part = |(family, gateway): (&Family, &IpNet)| {
        let subnet = gateway.trunc();
        let host_vrf = domain.host_vrf.as_ref().map(IfName::as_str);
        let is_around = |network: &&HostNetwork| network.is_around(&subnet, host_vrf);
        let around = networks.iter().filter(is_around).max_by_key(|network| network.address.prefix_len())?;
        let HostNetwork { address, is_route, link, .. } = around;
        let what = if *is_route { "to which the node has a static route over" } else { "a network of the node on" };
        let text = format!(
            "{subnet} is a part of {}, {what} {link}, so that neither the host nor the fabric gets a route to the subnet: use \
             another subnet if Pods need services of their own node, or are to be found before they have sent a packet",
            address.trunc()
        );
        Some((*family, text))
    };
    gateways.iter().filter(|(family, _)| domain.sessions.contains(*family)).filter_map(part).collect()
}

/// The subnets that the IP-VRF does not advertise to its host.
fn filtered_to_host(
    subnets: impl Iterator<Item = IpNet>,
    (object, domain): (&ObjectRef, &HostedVrf),
    l2vni: &ObjectRef,
) -> Option<(ObjectRef, String)> {
    let filtered: Vec<String> = subnets.filter(|subnet| domain.filters(subnet)).map(|net| net.to_string()).collect();
    let text = format!(
        "leaves out {}, so that the host has no route to the workloads of {l2vni}, nor do Pods that reach the VRF over the host: add it \
         if they need one",
        filtered.join(" and ")
    );
    (!filtered.is_empty()).then(|| (object.clone(), text))
}

/// `None`: without a bridge.
fn host_bridge(spec: &L2VNISpec, check: &mut Check<'_>) -> Result<Option<HostBridge>, RejectedField> {
    let Some(master) = &spec.host_master else { return Ok(None) };
    let (type_, object) = (master.type_, "spec.hostMaster");
    let (object, bridge) = match type_ {
        HostMasterType::LinuxBridge => (
            format!("{object}.linuxBridge"),
            master.linux_bridge.as_ref().map(|bridge| (bridge.lifecycle, &bridge.name)),
        ),
        HostMasterType::OVSBridge => {
            (format!("{object}.ovsBridge"), master.ovs_bridge.as_ref().map(|bridge| (bridge.lifecycle, &bridge.name)))
        }
    };
    match bridge {
        Some((Lifecycle::Managed, None)) => Ok(Some(HostBridge { type_, external: None })),
        Some((Lifecycle::External, Some(name))) => {
            let field = &format!("{object}.name");
            let unreserved = names::check_unreserved(name).map_err(|why| format!("{name} {why}"));
            check.value(field, unreserved).ok_or(RejectedField)?;
            let name = check.value(field, name.parse::<IfName>()).ok_or(RejectedField)?;
            Ok(Some(HostBridge { type_, external: Some(name) }))
        }
        Some(_) | None => {
            let text = "set lifecycle to Managed without a name, or to External with the name of a bridge of the host";
            check.reject(Reason::Invalid, object, text);
            Err(RejectedField)
        }
    }
}

fn mtu(wanted: Option<u32>, vtep: Vtep, check: &mut Check<'_>) -> Option<u32> {
    let Some(mtu) = wanted.filter(|mtu| *mtu > vtep.mtu) else { return Some(wanted.unwrap_or(vtep.mtu)) };
    let text = format_args!(
        "{mtu} is more than the NICs of the node carry with VXLAN, {}: use at most that, or raise the MTU of the NICs",
        vtep.mtu
    );
    check.reject(Reason::Invalid, "spec.mtu", text);
    None
}
