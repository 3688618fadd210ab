//! The fields of an L3VNI about its host, as typed values: addresses and session. In: a spec. Out: the values; the
//! mistakes go to the [`Check`]. It must not know the fabric. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::session_subnet;
use super::spec::{HostSessionSpec, L3VNISpec};
use crate::frr::model::{Neighbor, RemoteAs};
use crate::kind::check::Check;
use crate::kind::ipam;
use crate::kind::object::Reason;
use crate::types::{Asn, Family};

/// Subnets with their addresses, and what subnets cost that static routes of the node cover.
pub(crate) fn veth_addresses(
    check: &mut Check<'_>,
    spec: &L3VNISpec,
    index: u32,
) -> (BTreeMap<Family, (IpNet, ipam::VethAddresses)>, BTreeMap<Family, String>) {
    let (mut veth, mut covered) = (BTreeMap::new(), BTreeMap::new());
    let Some(local) = &spec.localcidr else { return (veth, covered) };
    for (family, text) in [(Family::Ipv4, &local.ipv4), (Family::Ipv6, &local.ipv6)] {
        let Some(text) = text else { continue };
        let field = format!("spec.localcidr.{family}");
        let Some(net) = check.prefix(&field, text) else { continue };
        if Family::of(&net) != family {
            check.reject(Reason::Invalid, &field, format_args!("{net} is not an {family} prefix"));
            continue;
        }
        let ends = check.pool(&field, ipam::veth(&net, index));
        if let Some(why) = session_subnet::reserved(&net) {
            check.reject(Reason::Invalid, &field, why);
        } else if let Some(ends) = &ends {
            let host_vrf = spec.host_session.as_ref().and_then(|host| host.vrf.as_deref());
            if let Some(why) = session_subnet::in_use(&net, ends, host_vrf, check.node.host_networks) {
                check.reject(Reason::Conflict, &field, why);
            }
            let cost = session_subnet::part_of_route(&net, host_vrf, check.node.host_networks);
            covered.extend(cost.map(|cost| (family, cost)));
        }
        veth.extend(ends.map(|ends| (family, (net, ends))));
    }
    (veth, covered)
}

/// The address of the host in each session, where it is not that of its veth end.
pub(crate) fn source_addresses(
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
            check.reject(Reason::Invalid, &field, format_args!("{address} is not an {family} address"));
            continue;
        }
        match veth.get(&family) {
            None => check.reject(
                Reason::Invalid,
                &field,
                format_args!("requires localcidr.{family}, over which the session runs: set it or remove this field"),
            ),
            Some((_, addresses)) if addresses.pe.addr() == address => {
                let text = format_args!("{address} is the address of the router in localcidr: use another");
                check.reject(Reason::Invalid, &field, text);
            }
            Some((_, addresses)) if addresses.host.addr() == address => {}
            Some(_) => {
                found.insert(family, address);
            }
        }
    }
    found
}

/// Seconds between attempts to connect to a host. FRR's default is 120: a host that only listens, and was not yet ready for
/// the first attempt, would have no routes for two minutes.
const HOST_CONNECT_TIME: u16 = 1;

pub(crate) fn host_session(check: &mut Check<'_>, spec: &L3VNISpec) -> Option<Neighbor> {
    let hostasn = check.value("spec.hostasn", Asn::try_from(spec.hostasn.unwrap_or(spec.asn)));
    let external = spec.hostasn.is_some_and(|asn| asn != spec.asn);
    let default = HostSessionSpec::default();
    let host = spec.host_session.as_ref().unwrap_or(&default);
    if host.multihop.is_some() && !external {
        check.reject(
            Reason::Invalid,
            "spec.hostSession.multihop",
            "applies to eBGP only: remove it, or set spec.hostasn",
        );
    }
    if host.listen_port.is_some_and(|port| port != 179) && host.password_secret.is_some() {
        let text = "is not allowed with passwordSecret, since TCP MD5 authenticates the destination port: let the host \
                    connect to port 179 and remove this field, or remove the password";
        check.reject(Reason::Invalid, "spec.hostSession.listenPort", text);
    }
    if spec.to_host.as_ref().is_some_and(|to| to.as_override) && !external {
        check.reject(Reason::Invalid, "spec.toHost.asOverride", "applies to eBGP only: remove it, or set spec.hostasn");
    }
    Some(Neighbor {
        timers: check.timers("spec.hostSession.", host.keepalive_time_seconds, host.hold_time_seconds),
        password: check.secret("spec.hostSession.passwordSecret", host.password_secret.as_ref()),
        remote_as: RemoteAs::Asn(hostasn?),
        external,
        port: host.port.filter(|port| *port != 179),
        connect: Some(host.connect_time_seconds.unwrap_or(HOST_CONNECT_TIME)),
        multihop: host.multihop.as_ref().map(|m| m.ttl),
        bfd: host.bfd.as_ref().map(Into::into),
        passive: host.passive,
        update_source: None,
    })
}
