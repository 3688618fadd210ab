//! The facts of all checks, as they are now. In: the paths of the router. Out: [`Facts`]. What cannot be read is left out: its checks
//! say nothing, or that. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::SystemTime;

use ipnet::IpNet;

use super::frr_client::FrrQueries;
use super::{lock, namespace_facts};
use crate::diagnose::Finding;
use crate::diagnose::facts::{ControllerState, Facts, HostRoute};
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::route::Origin;
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::frr::show::vni::VniType;
use crate::kernel::netlink::contents::is_link_local;
use crate::kernel::segment_ports::{self, SegmentPort};
use crate::kernel::{host_routes, netns};
use crate::names::{OwnedName, Role};
use crate::runtime::Runtime;
use crate::status::{NodeStatus, publish};
use crate::types::{Family, Vni, VrfMode, VrfName};

/// A status that is older is not written any more: the controller writes it every 30 s at least.
pub(super) const STALE: u64 = 120;
/// Prefixes of a VRF whose return route is looked up.
const SAMPLES: usize = 3;

/// What was read.
pub struct FactsRead {
    /// The facts.
    pub facts: Facts,
    /// The node, as its controller calls it.
    pub node: Option<String>,
    /// How it isolates VRFs.
    pub vrf_mode: Option<VrfMode>,
    /// The findings that the controller has written.
    pub before: Vec<Finding>,
    /// FRR or a controller is or was there.
    pub has_router: bool,
    /// What could not be read, and is not checked.
    pub warnings: Vec<String>,
}

impl FactsRead {
    /// Logs what is not checked.
    pub fn warn(&self) {
        self.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    }
}

/// Reads them.
pub async fn read(runtime: &Runtime) -> anyhow::Result<FactsRead> {
    let mut status = publish::read(&runtime.status())?;
    let node = status.as_ref().map(|status| status.node.clone());
    let vrf_mode = status.as_ref().map(|status| status.vrf_mode);
    let before = status.as_ref().map(|status| status.findings.clone()).unwrap_or_default();
    let mut facts = status.as_mut().map(|status| status.with_facts(std::mem::take)).unwrap_or_default();
    facts.controller = controller(runtime, status.as_ref())?;
    facts.now = now();
    let mut frr = FrrQueries::of(runtime);
    facts.silent = frr.silent().await;
    let has_router = status.is_some() || frr.has_sockets();
    let mut warnings = Vec::new();
    // What the controller saw of a FRR that does not answer is no fact of now.
    (facts.vnis, facts.sessions) = (BTreeMap::new(), Vec::new());
    if !facts.silent.contains_key("zebra") {
        facts.links = Some(frr.interfaces().await?);
        facts.underlay = Some(frr.underlay().await?);
        match frr.duplicates().await {
            Ok(duplicates) => facts.duplicates = duplicates,
            Err(error) => warnings.push(format!("duplicate addresses of segments are not checked: {error:#}")),
        }
    }
    of_namespaces(runtime, &mut facts, &mut warnings).await;
    match segment_ports().await {
        Ok(ports) => facts.segment_ports = ports,
        Err(error) => warnings.push(format!("the bridges of the host are not checked: {error:#}")),
    }
    if !facts.silent.contains_key("bfdd") {
        facts.bfd = frr.bfd_peers().await?;
    }
    if !facts.is_routing_silent() {
        of_bgpd(&mut frr, &mut facts).await?;
        let l3vnis = facts.imported.keys().filter_map(|vrf| Some((vrf.clone(), facts.vni_of(vrf)?))).collect();
        let (forwarded, errors) = namespace_facts::forwarded(runtime, &l3vnis).await;
        facts.forwarded = forwarded;
        warnings.extend(errors.iter().map(|error| format!("the router MACs of VTEPs are not checked: {error:#}")));
        // Without it the rest is still true.
        match host(&mut frr, &facts).await {
            Ok(routes) => facts.host = routes,
            Err(error) => warnings.push(format!("the routes of the host are not checked: {error:#}")),
        }
    }
    Ok(FactsRead { facts, node, vrf_mode, before, has_router, warnings })
}

/// What the causes of these sessions need. Links and routes are read only where one is down.
pub(super) async fn of_sessions(
    runtime: &Runtime,
    frr: &mut FrrQueries,
    sessions: &[(SessionState, Option<SessionReset>)],
) -> anyhow::Result<Facts> {
    let status = publish::read(&runtime.status())?;
    let controller = controller(runtime, status.as_ref())?;
    // TCP counters are meaningful only over time: the controller watches them.
    let tcp_causes = status.map(|status| status.session_causes).unwrap_or_default();
    let of_neighbor = |(state, reset): &(SessionState, Option<SessionReset>)| Some((state.key(), reset.clone()?));
    let neighbors = sessions.iter().filter_map(of_neighbor).collect();
    let sessions: Vec<SessionState> = sessions.iter().map(|(state, _)| state.clone()).collect();
    let is_down = sessions.iter().any(|session| session.phase != SessionPhase::Established);
    let mut facts = Facts { now: now(), controller, tcp_causes, neighbors, sessions, ..Facts::default() };
    if is_down {
        of_namespaces(runtime, &mut facts, &mut vec![]).await;
        // zebra may not answer.
        facts.links = frr.interfaces().await.ok();
        facts.underlay = frr.underlay().await.ok();
        facts.vnis = frr.vnis().await.unwrap_or_default();
    }
    Ok(facts)
}

/// Addresses that nobody answers for and packet filters; none where they cannot be read.
pub(super) async fn of_namespaces(runtime: &Runtime, facts: &mut Facts, warnings: &mut Vec<String>) {
    let (mut unresolved, errors) = namespace_facts::unresolved(runtime).await;
    facts.unresolved = unresolved.remove(&None).unwrap_or_default();
    let of_vrf = |(vrf, addresses): (Option<VrfName>, _)| Some((vrf?, addresses));
    facts.unresolved_in = unresolved.into_iter().filter_map(of_vrf).collect();
    warnings.extend(errors.iter().map(|error| format!("ARP and Neighbor Discovery are not checked: {error:#}")));
    let (filters, errors) = namespace_facts::packet_filters(runtime).await;
    facts.packet_filters = filters;
    warnings.extend(errors.iter().map(|error| format!("packet filters are not checked: {error:#}")));
}

/// Seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Whether the controller works that wrote this status.
fn controller(runtime: &Runtime, status: Option<&NodeStatus>) -> anyhow::Result<ControllerState> {
    let age = status.map(|status| now().saturating_sub(status.observed_time)).unwrap_or_default();
    Ok(match () {
        () if !lock::has_controller(runtime)? => ControllerState::Stopped,
        () if age > STALE => ControllerState::Stale(age),
        () => ControllerState::Running,
    })
}

async fn of_bgpd(frr: &mut FrrQueries, facts: &mut Facts) -> anyhow::Result<()> {
    facts.vnis = frr.vnis().await?;
    if facts.objects.is_none() {
        // Without a status, zebra has the VTEPs.
        facts.vteps = facts.vnis.values().filter_map(|state| state.vtep).collect();
    }
    for (session, reset) in frr.sessions().await? {
        let filtered = frr.filtered(&session).await?;
        facts.filtered.extend(filtered.into_iter().map(|route| (session.key(), route)));
        if session.vrf.is_none() {
            let routes = frr.filtered_routes(&session).await?;
            facts.fabric_filtered.extend(routes.into_iter().map(|route| (session.peer.clone(), route)));
        }
        facts.neighbors.extend(reset.map(|reset| (session.key(), reset)));
        facts.sessions.push(session);
    }
    let routes = frr.all_type5().await?;
    for vrf in frr.l3vnis().await?.into_keys() {
        let imported: &mut BTreeSet<(IpNet, IpAddr)> = facts.imported.entry(vrf.clone()).or_default();
        for family in [Family::Ipv4, Family::Ipv6] {
            for (prefix, paths) in frr.paths(&vrf, family).await? {
                let of_fabric = paths.into_iter().filter(|path| path.origin == Origin::Fabric && path.valid);
                imported.extend(of_fabric.flat_map(|path| path.next_hops).map(|vtep| (prefix, vtep)));
            }
        }
    }
    facts.type5 = Some(routes);
    Ok(())
}

/// The host ends of segments.
pub(super) async fn segment_ports() -> anyhow::Result<Vec<SegmentPort>> {
    Ok(segment_ports::read(netns::open_host()?).await?)
}

/// The links over which the host reaches an address; `None` where its main table says nothing of them.
pub(super) async fn host_links(address: IpAddr, vni: Vni) -> Option<BTreeSet<String>> {
    let read = async { anyhow::Ok(host_routes::read(netns::open_host()?, &BTreeSet::from([address])).await?) };
    match read.await {
        Ok(found) if found.in_vrf.contains(&OwnedName::Vni(Role::HostVeth, vni).to_string()) => None,
        Ok(mut found) => found.links.remove(&address),
        Err(error) => {
            tracing::warn!("the routes of the host are not read: {error:#}");
            None
        }
    }
}

/// How the host reaches some of the prefixes that are advertised to it.
async fn host(frr: &mut FrrQueries, facts: &Facts) -> anyhow::Result<Vec<HostRoute>> {
    let mut routes = Vec::new();
    for (vrf, prefixes) in samples(facts) {
        for prefix in prefixes {
            routes.extend(advertised(frr, facts, &vrf, prefix).await?);
        }
    }
    let addresses: BTreeSet<IpAddr> = routes.iter().map(|route| inside(&route.prefix)).collect();
    if addresses.is_empty() {
        return Ok(routes);
    }
    let found = host_routes::read(netns::open_host()?, &addresses).await?;
    routes.retain(|route| !found.in_vrf.contains(&route.wanted));
    for route in &mut routes {
        let links = found.links.get(&inside(&route.prefix)).into_iter().flatten();
        // Of several paths the one to the VRF counts.
        route.link = links.clone().find(|link| **link == route.wanted).or_else(|| links.clone().next()).cloned();
    }
    Ok(routes)
}

/// Some prefixes of each VRF: of the fabric, and the subnets of its segments.
fn samples(facts: &Facts) -> BTreeMap<VrfName, BTreeSet<IpNet>> {
    let of_fabric = facts.imported.iter().map(|(vrf, imported)| {
        let prefixes: BTreeSet<IpNet> =
            imported.iter().map(|(prefix, _)| *prefix).filter(|prefix| prefix.prefix_len() > 0).collect();
        (vrf.clone(), prefixes.into_iter().take(SAMPLES).collect::<BTreeSet<_>>())
    });
    let mut samples: BTreeMap<VrfName, BTreeSet<IpNet>> = of_fabric.collect();
    for vni in facts.vnis.iter().filter(|(_, state)| state.vni_type == VniType::L2).map(|(vni, _)| *vni) {
        let bridge = facts.links.as_ref().and_then(|links| links.get(&OwnedName::Vni(Role::Bridge, vni).to_string()));
        let Some((bridge, Ok(vrf))) = bridge.map(|bridge| (bridge, bridge.vrf.parse())) else { continue };
        // A bridge that is down is in no VRF.
        if facts.vni_of(&vrf).is_none() {
            continue;
        }
        let gateways = bridge.addresses.iter().filter(|net| !is_link_local(net));
        samples.entry(vrf).or_default().extend(gateways.map(IpNet::trunc));
    }
    samples
}

/// The prefix as it is advertised to a session of the host, if it is.
async fn advertised(
    frr: &mut FrrQueries,
    facts: &Facts,
    vrf: &VrfName,
    prefix: IpNet,
) -> anyhow::Result<Option<HostRoute>> {
    let Some(found) = frr.matched_prefix(vrf, &prefix).await? else { return Ok(None) };
    let is_up = |peer: &&String| {
        let mut sessions = facts.sessions.iter();
        sessions.any(|s| s.vrf.as_ref() == Some(vrf) && s.peer == **peer && s.phase == SessionPhase::Established)
    };
    let best = found.paths.iter().find(|path| path.best && matches!(path.origin, Origin::Fabric | Origin::Router));
    let (Some(peer), Some(best), Some(vni)) = (found.advertised_to.iter().find(is_up), best, facts.vni_of(vrf)) else {
        return Ok(None);
    };
    let (vrf, as_path, wanted) = (vrf.clone(), best.as_path.clone(), OwnedName::Vni(Role::HostVeth, vni).to_string());
    let is_segment = best.origin == Origin::Router;
    Ok(Some(HostRoute { vrf, peer: peer.clone(), prefix, as_path, link: None, wanted, is_segment }))
}

/// An address of a prefix.
pub fn inside(prefix: &IpNet) -> IpAddr {
    prefix.hosts().next().unwrap_or_else(|| prefix.addr())
}
