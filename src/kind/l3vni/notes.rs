//! Accepted L3VNIs whose routes will be lost: to AS-path loop detection (RFC 4271 section 9.1.2) at the other end of a session,
//! which reports nothing, and to imports of another VNI. In: valid objects. Out: notes for `perouter validate` and the status.
//! It must not reject anything. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::session_subnet;
use super::validate::ValidL3vni;
use crate::frr::model::{PrefixListEntry, RemoteAs};
use crate::kind::definition::Fabric;
use crate::kind::note::{Loss, Note};
use crate::kind::object::ObjectRef;
use crate::types::{Asn, Family, RouteTarget};

/// The notes of all accepted L3VNIs, sorted.
pub(super) fn notes(accepted: &[AcceptedL3vni<'_>], fabric: &Fabric) -> Vec<Note> {
    let exporters = exporters(accepted);
    let of_one = |entry: &AcceptedL3vni<'_>| {
        let notes = as_loops(fabric, *entry).into_iter().chain(other_vnis(*entry, &exporters));
        let notes = notes.chain(link_local(*entry)).chain(never_accepted(fabric, *entry));
        notes.chain(no_source_filter(fabric, *entry)).chain(covered(*entry)).collect::<Vec<_>>()
    };
    accepted.iter().flat_map(of_one).collect()
}

/// IPv6 has no `rp_filter`, and the kernel no `fib` expression of nftables in its place.
fn no_source_filter(fabric: &Fabric, (object, l3vni): AcceptedL3vni<'_>) -> Option<Note> {
    let message = "the kernel of this node cannot filter IPv6 packets with a source of another VRF, which the host answers into \
                   that VRF (nftables has no fib expression): use a kernel with CONFIG_NFT_FIB_INET and CONFIG_NFT_FIB_IPV6";
    let unfiltered = !fabric.source_filters && l3vni.veth.contains_key(&Family::Ipv6);
    unfiltered.then(|| Note {
        loss: Loss::Isolation,
        object: object.clone(),
        field: "spec.localcidr.ipv6".to_owned(),
        message: message.to_owned(),
    })
}

/// An accepted L3VNI.
type AcceptedL3vni<'a> = (&'a ObjectRef, &'a ValidL3vni);

/// AS loop detection at the other end of a session.
fn as_loops(fabric: &Fabric, (object, l3vni): AcceptedL3vni<'_>) -> Vec<Note> {
    let RemoteAs::Asn(host) = l3vni.session.remote_as else { return vec![] };
    if l3vni.veth.is_empty() {
        return vec![];
    }
    let note = |loss, field: &str, message| Note { loss, object: object.clone(), field: field.to_owned(), message };
    let external = l3vni.session.external;
    let in_fabric: BTreeSet<Asn> = fabric
        .neighbors
        .values()
        .filter_map(|neighbor| match neighbor.remote_as {
            // To its own AS a router advertises the path unchanged: only an eBGP host has added to it.
            RemoteAs::Asn(asn) if neighbor.external || external => Some(asn),
            RemoteAs::Internal if external => Some(fabric.asn),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    if in_fabric.contains(&host) {
        let field = if external { "spec.hostasn" } else { "spec.asn" };
        let why = if external {
            "the AS-path loop checks of it and of the host reject each other's routes"
        } else {
            "the host's AS-path loop check rejects its routes"
        };
        found.push(note(
            Loss::Fabric,
            field,
            format!("the host is in AS {host}, as is a neighbor of {}: {why}; use another AS number", fabric.object),
        ));
    }
    if external && !l3vni.as_override {
        found.push(note(
            Loss::BetweenHosts,
            "spec.toHost.asOverride",
            format!("hosts of other nodes are in AS {host} too, so the AS-path loop check of each rejects the others' routes; set it if hosts need each other's routes"),
        ));
    }
    let fabric_is_external = fabric.neighbors.values().any(|neighbor| neighbor.external);
    let in_path = match (external, host == fabric.asn) {
        (false, true) if fabric_is_external => Some(format!("the nodes put AS {host} of {} into", fabric.object)),
        (false, false) if fabric.release.vrf_asn_in_path => Some(format!("FRR 10 puts AS {host} of the VRF into")),
        _ => None,
    };
    if let Some(who) = in_path {
        let text = "the AS path of routes to other nodes, and the AS-path loop checks of their hosts reject them; if hosts need each other's routes, set hostasn to another AS number and toHost.asOverride";
        found.push(note(Loss::BetweenHosts, "spec.asn", format!("{who} {text}")));
    }
    found
}

/// The L3VNIs that export a route target.
type Exporters<'a> = BTreeMap<String, Vec<AcceptedL3vni<'a>>>;

fn exporters<'a>(accepted: &[AcceptedL3vni<'a>]) -> Exporters<'a> {
    let mut exporters = Exporters::new();
    for entry in accepted {
        let (_, l3vni) = entry;
        for target in &l3vni.export {
            exporters.entry(target.to_string()).or_default().push(*entry);
        }
        if l3vni.export.is_empty() {
            exporters.entry(RouteTarget::derived(l3vni.asn, l3vni.vni)).or_default().push(*entry);
        }
    }
    exporters
}

/// Imports of what another VNI of this node exports. FRR forwards along imported routes with the VNI of the importing IP-VRF,
/// and has one router MAC for each VTEP (frr#14259), which is wrong for VTEPs that are not ours and have one for each VNI.
fn other_vnis((object, l3vni): AcceptedL3vni<'_>, exporters: &Exporters<'_>) -> Vec<Note> {
    let of_target = |target: &RouteTarget| {
        let (exporter, other) = exporters.get(target.as_str())?.iter().find(|(_, other)| other.vni != l3vni.vni)?;
        let message = format!(
            "{target} is exported by {exporter} with VNI {}, and FRR cannot send with a VNI other than {} (frr#14259), so \
             these routes forward no traffic, nor do other routes of this VNI to a VTEP that has a router MAC for each \
             VNI; advertise the service in both VRFs instead",
            other.vni, l3vni.vni
        );
        let (object, field) = (object.clone(), "spec.routeTargets.import".to_owned());
        Some(Note { loss: Loss::Fabric, object, field, message })
    };
    l3vni.import.iter().filter_map(of_target).collect()
}

/// Subnets of link-local addresses.
fn link_local((object, l3vni): AcceptedL3vni<'_>) -> Vec<Note> {
    let of_family = |(family, (subnet, _)): (&Family, &(IpNet, _))| {
        let (object, field) = (object.clone(), format!("spec.localcidr.{family}"));
        session_subnet::note(subnet).map(|message| Note { loss: Loss::Fabric, object, field, message })
    };
    l3vni.veth.iter().filter_map(of_family).collect()
}

/// Subnets that static routes of the node cover.
fn covered((object, l3vni): AcceptedL3vni<'_>) -> impl Iterator<Item = Note> + use<'_> {
    l3vni.covered.iter().map(|(family, message)| Note {
        loss: Loss::Node,
        object: object.clone(),
        field: format!("spec.localcidr.{family}"),
        message: message.clone(),
    })
}

/// Prefixes that `allowedPrefixes` names and that are filtered nevertheless.
fn never_accepted(fabric: &Fabric, (object, l3vni): AcceptedL3vni<'_>) -> Vec<Note> {
    let of_rule = |(i, rule): (usize, &PrefixListEntry)| {
        let (protected, by) = fabric.protected.iter().find(|(protected, _)| protected.contains(&rule.prefix))?;
        let message = format!(
            "{} is within {protected}, which {by} of {} protects, so that it is filtered nevertheless: remove it from one of \
             them",
            rule.prefix, fabric.object
        );
        let (object, field) = (object.clone(), format!("spec.fromHost.allowedPrefixes[{i}]"));
        Some(Note { loss: Loss::Fabric, object, field, message })
    };
    l3vni.from_host.iter().flatten().enumerate().filter_map(of_rule).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;
    use serde_json::json;

    use crate::kind::note::Loss;
    use crate::plan::tests::{edit_underlay, facts, l3vni, snapshot};
    use crate::plan::{NodeFacts, plan};

    #[rstest]
    #[case(&["64514:100"], &[], 0)]
    #[case(&["64514:100", "64514:200"], &[], 1)]
    #[case(&["64514:200"], &["64514:7"], 0)]
    #[case(&["64514:7", "1:2"], &["64514:7", "64514:200"], 1)]
    fn an_import_from_another_vni_is_named(#[case] import: &[&str], #[case] exported: &[&str], #[case] count: usize) {
        let (mut red, mut blue) = (l3vni("red", 100, "192.169.10.0/24"), l3vni("blue", 200, "192.169.11.0/24"));
        Arc::make_mut(&mut red.spec).route_targets = Some(serde_json::from_value(json!({"import": import})).unwrap());
        Arc::make_mut(&mut blue.spec).route_targets =
            Some(serde_json::from_value(json!({"export": exported})).unwrap());
        let plan = plan(&snapshot(vec![red, blue]), &facts());
        assert_eq!(plan.rejected, vec![]);
        let notes: Vec<_> = plan.notes.iter().filter(|note| note.field == "spec.routeTargets.import").collect();
        assert_eq!(notes.len(), count, "{notes:#?}");
        assert!(
            notes
                .iter()
                .all(|note| note.object.name == "red" && note.message.contains("L3VNI openperouter-system/blue"))
        );
    }

    #[rstest]
    #[case(true, &[])]
    #[case(false, &["spec.localcidr.ipv6"])]
    fn a_kernel_that_cannot_filter_ipv6_sources_is_named(#[case] source_filters: bool, #[case] fields: &[&str]) {
        let (mut red, blue) = (l3vni("red", 100, "192.169.10.0/24"), l3vni("blue", 200, "192.169.11.0/24"));
        Arc::make_mut(&mut red.spec).localcidr.as_mut().unwrap().ipv6 = Some("2001:db8:10::/64".to_owned());
        let plan = plan(&snapshot(vec![red, blue]), &NodeFacts { source_filters, ..facts() });
        let notes: Vec<_> = plan.notes.iter().filter(|note| note.loss == Loss::Isolation).collect();
        assert!(notes.iter().map(|note| note.field.as_str()).eq(fields.iter().copied()), "{notes:#?}");
        assert!(notes.iter().all(|note| note.object.name == "red"), "{notes:#?}");
        let filters = plan.kernel.source_filters.iter().map(|filter| filter.table.to_string()).collect::<Vec<_>>();
        assert_eq!(filters, if source_filters { vec!["perouter-100-source"] } else { vec![] });
    }

    const OVERRIDDEN: bool = true;

    /// Fabric neighbor, L3VNI's AS number, host's.
    #[rstest]
    #[case(json!({"asn": 64512}), 64514, Some(64515), !OVERRIDDEN, &["spec.toHost.asOverride: hosts of other nodes are in AS 64515 too"])]
    #[case(json!({"asn": 64512}), 64514, Some(64515), OVERRIDDEN, &[])]
    #[case(json!({"asn": 64512}), 64515, None, !OVERRIDDEN, &["spec.asn: FRR 10 puts AS 64515 of the VRF into"])]
    #[case(json!({"asn": 64512}), 64514, None, !OVERRIDDEN, &["spec.asn: the nodes put AS 64514 of Underlay"])]
    #[case(json!({"asn": 64514}), 64514, None, !OVERRIDDEN, &[])]
    #[case(json!({"type": "internal"}), 64999, Some(64514), OVERRIDDEN, &["spec.hostasn: the host is in AS 64514"])]
    #[case(json!({"asn": 64512}), 64514, Some(64512), OVERRIDDEN, &["spec.hostasn: the host is in AS 64512"])]
    #[case(json!({"asn": 64512}), 64512, None, !OVERRIDDEN, &["spec.asn: the host is in AS 64512", "spec.asn: FRR 10 puts AS 64512"])]
    #[case(json!({"type": "external"}), 64514, Some(64515), OVERRIDDEN, &[])]
    fn routes_that_loop_checks_reject_are_named(
        #[case] mut neighbor: serde_json::Value,
        #[case] asn: u32,
        #[case] hostasn: Option<u32>,
        #[case] as_override: bool,
        #[case] starts: &[&str],
    ) {
        neighbor["address"] = json!("192.168.11.2");
        let mut red = l3vni("red", 100, "192.169.10.0/24");
        (Arc::make_mut(&mut red.spec).asn, Arc::make_mut(&mut red.spec).hostasn) = (asn, hostasn);
        Arc::make_mut(&mut red.spec).to_host =
            as_override.then(|| serde_json::from_value(json!({"asOverride": true})).unwrap());
        let mut snapshot = snapshot(vec![red]);
        edit_underlay(&mut snapshot, |spec| spec.neighbors = vec![serde_json::from_value(neighbor).unwrap()]);
        let plan = plan(&snapshot, &facts());
        assert_eq!(plan.rejected, vec![]);
        let notes: Vec<String> = plan.notes.iter().map(|note| format!("{}: {}", note.field, note.message)).collect();
        assert!(
            notes.len() == starts.len() && notes.iter().zip(starts).all(|(note, start)| note.starts_with(start)),
            "{notes:#?}"
        );
    }
}
