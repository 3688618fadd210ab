//! What a path is followed by, and the path. In: FRR, the kernel, the routes of the host, an address. Out: the paths of each VRF. Changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::facts;
use super::frr_client::{FrrQueries, unknown_vrf};
use super::namespace_facts;
use super::trace_text::without_fabric_route;
use crate::diagnose::fabric_route_checks::may_import;
use crate::diagnose::facts::{Facts, PacketFilters};
use crate::diagnose::filtered::Filtered;
use crate::diagnose::trace::{
    DirectedTrace, TraceFacts, TracePoint, TraceQuery, TraceSource, TracedSession, Workload, follow_directed,
};
use crate::diagnose::{Finding, check};
use crate::frr::show::interface::Interface;
use crate::frr::show::mac::WorkloadPlace;
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::route::{InstalledHop, Match, Origin, Path, ReceivedRoute};
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::frr::show::type5::Type5Route;
use crate::frr::show::vni::{VniState, VniType};
use crate::kernel::segment_ports::SegmentPort;
use crate::names::{OwnedName, Role};
use crate::runtime::Runtime;
use crate::types::{Family, Vni, VrfName};

/// The paths in each VRF, or the one that is asked for: that to the address, then that of the replies. VRFs that have the address
/// come first.
///
/// # Errors
/// Of an address that no route leads to, of a VRF that does not exist, or where FRR does not answer.
pub async fn read(runtime: &Runtime, query: &TraceQuery) -> anyhow::Result<Vec<Vec<DirectedTrace>>> {
    query.check().map_err(anyhow::Error::msg)?;
    let mut reader = TraceReader::new(runtime, query.clone()).await?;
    let mut traces = Vec::new();
    let mut known = Vec::new();
    let l3vnis = reader.vnis.iter().filter(|(_, state)| state.vni_type == VniType::L3);
    let l3vnis: BTreeMap<VrfName, (Vni, VniState)> =
        l3vnis.filter_map(|(vni, state)| Some((state.vrf.parse().ok()?, (*vni, state.clone())))).collect();
    for (vrf, (vni, state)) in l3vnis {
        known.push(vrf.clone());
        if query.vrf.as_ref().is_none_or(|wanted| *wanted == vrf) {
            traces.push(reader.both(&vrf, (vni, &state)).await?);
        }
    }
    if traces.is_empty() {
        let Some(vrf) = query.vrf.as_ref().filter(|_| !known.is_empty()) else {
            anyhow::bail!("zebra has no L3VNI, or was restarted and has none yet: see `perouter check`");
        };
        return Err(unknown_vrf(vrf.as_str(), &known.iter().map(VrfName::as_str).collect()));
    }
    // Of those without a route the ones with a cause of their own first.
    let order = |there: &DirectedTrace| {
        let is_somewhere = there.trace.steps.iter().any(|step| !step.ok && step.at != TracePoint::Vrf);
        (there.trace.prefix.is_none(), !is_somewhere, there.trace.vrf.clone())
    };
    traces.sort_by_key(|of_vrf| of_vrf.first().map(order));
    Ok(traces)
}

/// Routes that are filtered, and those with an AS-path loop, each with the peer.
type Rejected = (Vec<(String, Filtered)>, Vec<(String, ReceivedRoute)>);

type Sessions = Vec<(SessionState, Option<SessionReset>)>;

/// What all traces read.
struct TraceReader {
    runtime: Runtime,
    query: TraceQuery,
    frr: FrrQueries,
    sessions: Sessions,
    links: BTreeMap<String, Interface>,
    underlay: BTreeMap<IpNet, Vec<InstalledHop>>,
    vnis: BTreeMap<Vni, VniState>,
    segment_ports: Vec<SegmentPort>,
    /// What the causes of the sessions need, whether a controller works, and the addresses of the underlay that nobody answers for.
    of_sessions: Facts,
    /// All Type-5 routes, once they are needed.
    type5: Option<Vec<Type5Route>>,
    /// Read when a VRF has no route for an address.
    all: Option<AllFacts>,
}

/// The facts of all checks, and the Type-5 routes apart: they are many, and few count for an address.
struct AllFacts {
    facts: Facts,
    type5: Vec<Type5Route>,
}

impl TraceReader {
    async fn new(runtime: &Runtime, query: TraceQuery) -> anyhow::Result<Self> {
        let mut frr = FrrQueries::of(runtime);
        let vnis = frr.vnis().await?;
        let (sessions, links) = (frr.sessions().await?, frr.interfaces().await?);
        let underlay = frr.underlay().await?;
        let has_segments = vnis.values().any(|state| state.vni_type == VniType::L2);
        let segment_ports = if has_segments { segment_ports().await } else { vec![] };
        let mut of_sessions = facts::of_sessions(runtime, &mut frr, &sessions).await?;
        // Where a session is down, its cause has needed them.
        if sessions.iter().all(|(session, _)| session.phase == SessionPhase::Established) {
            facts::of_namespaces(runtime, &mut of_sessions, &mut vec![]).await;
        }
        Ok(Self {
            runtime: runtime.clone(),
            query,
            frr,
            sessions,
            links,
            underlay,
            vnis,
            segment_ports,
            of_sessions,
            type5: None,
            all: None,
        })
    }

    /// The path to the address, and that of the replies.
    async fn both(&mut self, vrf: &VrfName, vni: (Vni, &VniState)) -> anyhow::Result<Vec<DirectedTrace>> {
        let source = match self.query.from {
            Some(from) => self.source(from, vrf).await?,
            None => TraceSource::Unknown,
        };
        let there = self.path(vrf, vni, self.query.to, source).await?;
        let of_replies = self.source(self.query.to, vrf).await?;
        let back = match self.query.from {
            Some(from) => Some((from, false)),
            None => self.example(vrf, &there).await?.map(|address| (address, true)),
        };
        let is_example_missing = self.query.from.is_none() && back.is_none();
        let mut found = vec![there];
        if is_example_missing && found[0].complete && !self.has_fabric_route(vrf).await? {
            let is_new = !self.of_sessions.fabric_sessions().any(|session| self.of_sessions.has_settled(session));
            found[0].trace.steps.push(without_fabric_route(vrf, is_new));
        }
        if let Some((address, example)) = back {
            found.push(DirectedTrace { example, ..self.path(vrf, vni, address, of_replies).await? });
        }
        Ok(found)
    }

    /// What an address of this node is, as the source of packets.
    async fn source(&mut self, address: IpAddr, vrf: &VrfName) -> anyhow::Result<TraceSource> {
        if let Some(workload) = self.workload(address, vrf).await? {
            let is_here = matches!(workload.neighbor.place, WorkloadPlace::Local(_));
            return Ok(if is_here { TraceSource::Workload(workload.vni) } else { TraceSource::Unknown });
        }
        // The address of the host in its session, or of a service of it.
        let matched = self.frr.matched(vrf, address).await?;
        let is_single = |found: &Match| found.prefix.prefix_len() == found.prefix.max_prefix_len();
        let of_host = matched.filter(is_single).into_iter().flat_map(|found| found.paths);
        let is_host = of_host.into_iter().any(|path| path.best && matches!(path.origin, Origin::Host | Origin::Router));
        Ok(if is_host { TraceSource::Host } else { TraceSource::Unknown })
    }

    async fn path(
        &mut self,
        vrf: &VrfName,
        (vni, state): (Vni, &VniState),
        to: IpAddr,
        from: TraceSource,
    ) -> anyhow::Result<DirectedTrace> {
        let facts = TraceFacts { from, ..self.facts(vrf, (vni, state), to).await? };
        Ok(follow_directed(to, &facts))
    }

    /// An address at the other side of the router.
    async fn example(&mut self, vrf: &VrfName, there: &DirectedTrace) -> anyhow::Result<Option<IpAddr>> {
        let Some(origin) = there.trace.origin.filter(|_| there.complete) else { return Ok(None) };
        let wanted = if origin == Origin::Fabric { Origin::Host } else { Origin::Fabric };
        let paths = self.frr.paths(vrf, Family::of(&there.to.into())).await?;
        let of_other = paths.into_iter().filter(|(prefix, paths)| {
            prefix.prefix_len() > 0 && paths.iter().any(|path| path.best && path.origin == wanted)
        });
        Ok(of_other.map(|(prefix, _)| facts::inside(&prefix)).next())
    }

    async fn has_fabric_route(&mut self, vrf: &VrfName) -> anyhow::Result<bool> {
        for family in [Family::Ipv4, Family::Ipv6] {
            let paths = self.frr.paths(vrf, family).await?;
            if paths.values().flatten().any(|path| path.best && path.origin == Origin::Fabric) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn facts(
        &mut self,
        vrf: &VrfName,
        (vni, state): (Vni, &VniState),
        address: IpAddr,
    ) -> anyhow::Result<TraceFacts> {
        let of = |vrf: Option<&VrfName>| -> Vec<TracedSession> {
            let of_vrf = self.sessions.iter().filter(|(state, _)| state.vrf.as_ref() == vrf);
            of_vrf.map(|(state, reset)| TracedSession::new(state, reset.as_ref(), &self.of_sessions)).collect()
        };
        let (hosts, fabric) = (of(Some(vrf)), of(None));
        let matched = self.frr.matched(vrf, address).await?;
        let prefix = matched.as_ref().map(|found| found.prefix);
        let mut kernel = self.frr.kernel(vrf, Family::of(&address.into()), Some(address)).await?;
        let mut type5 = self.frr.type5(state).await?;
        let (filtered, looped) = self.rejected(vrf, address, matched.as_ref()).await?;
        let gateways = self.gateways(vrf);
        let best = matched.iter().flat_map(|found| &found.paths).filter(|path| path.best);
        // More specific than the subnet of a segment, which the router itself advertises.
        let subnet = prefix.filter(|prefix| gateways.values().flatten().any(|gateway| gateway.trunc() == *prefix));
        let of_fabric = best.clone().any(|path| path.origin == Origin::Fabric);
        let vteps: BTreeSet<IpAddr> = best.clone().flat_map(|path| path.next_hops.iter().copied()).collect();
        let workload = self.workload(address, vrf).await?;
        let is_local = workload.as_ref().is_some_and(|found| matches!(found.neighbor.place, WorkloadPlace::Local(_)));
        let is_routed = best.count() > 0 && subnet.is_none();
        let unused = if is_routed || workload.is_some() {
            vec![]
        } else {
            let longer_than = subnet.map(|subnet| subnet.prefix_len());
            self.not_in_use(vrf, address, longer_than).await?
        };
        Ok(TraceFacts {
            vrf: vrf.clone(),
            vni,
            state: state.clone(),
            controller: self.of_sessions.controller,
            kernel: prefix.and_then(|prefix| kernel.remove(&prefix)).unwrap_or_default(),
            type5: prefix.and_then(|prefix| type5.remove(&prefix)),
            matched,
            hosts,
            fabric,
            filtered,
            looped,
            unused,
            workload,
            gateways,
            segment_ports: self.segment_ports.clone(),
            in_underlay: self.covering(address).map(|(prefix, _)| *prefix).filter(|prefix| prefix.prefix_len() > 0),
            from: TraceSource::Unknown,
            links: Some(self.links.clone()),
            forwarded: if of_fabric { self.forwarded(vrf, vni).await } else { None },
            packet_filters: self.packet_filters(vrf),
            unresolved: self.of_sessions.unresolved.clone(),
            unresolved_in_vrf: self.of_sessions.unresolved_of(vrf).clone(),
            default_routed: vteps.iter().filter(|vtep| self.is_default_routed(**vtep)).copied().collect(),
            sent_vnis: if of_fabric { self.sent_vnis(prefix, &state.import).await? } else { BTreeMap::new() },
            underlay: of_fabric.then(|| vteps.into_iter().map(|vtep| (vtep, self.to_vtep(vtep))).collect()),
            host_links: if of_fabric || is_local { facts::host_links(address, vni).await } else { None },
        })
    }

    /// The workload of an L2 segment of the VRF that has the address.
    async fn workload(&mut self, address: IpAddr, vrf: &VrfName) -> anyhow::Result<Option<Workload>> {
        let is_segment = |state: &VniState| state.vni_type == VniType::L2 && state.vrf == vrf.as_str();
        for (vni, state) in self.vnis.iter().filter(|(_, state)| is_segment(state)) {
            if let Some(neighbor) = self.frr.mac_neighbors(*vni).await?.remove(&address) {
                let type2 = self.frr.type2(state).await?.remove(&address).filter(|route| route.mac == neighbor.mac);
                return Ok(Some(Workload { vni: *vni, neighbor, type2 }));
            }
        }
        Ok(None)
    }

    /// The addresses of the bridges of the L2 segments of the VRF.
    fn gateways(&self, vrf: &VrfName) -> BTreeMap<Vni, Vec<IpNet>> {
        let segments = self.vnis.iter().filter(|(_, state)| state.vni_type == VniType::L2);
        // zebra has the VRF of a segment only while its bridge is up.
        let addresses = |vni: Vni| {
            let bridge = self.links.get(&OwnedName::Vni(Role::Bridge, vni).to_string())?;
            (bridge.vrf == vrf.as_str()).then(|| bridge.addresses.clone())
        };
        segments.filter_map(|(vni, _)| Some((*vni, addresses(*vni)?))).collect()
    }

    /// Why routes of the fabric to the address are not in use in a VRF.
    async fn not_in_use(
        &mut self,
        vrf: &VrfName,
        address: IpAddr,
        longer_than: Option<u8>,
    ) -> anyhow::Result<Vec<Finding>> {
        let all = if let Some(all) = self.all.take() {
            all
        } else {
            let read = facts::read(&self.runtime).await?;
            read.warn();
            let mut facts = read.facts;
            let type5 = facts.type5.take().unwrap_or_default();
            AllFacts { facts, type5 }
        };
        let AllFacts { facts, type5 } = self.all.insert(all);
        let covers = |route: &&Type5Route| {
            route.prefix.contains(&address) && longer_than.is_none_or(|length| route.prefix.prefix_len() > length)
        };
        let covering = type5.iter().filter(covers).cloned().collect();
        let facts = Facts { type5: Some(covering), ..facts.clone() };
        let found = check::of_address(address, vrf, &facts);
        Ok(found.into_iter().filter(Finding::is_problem).collect())
    }

    fn is_default_routed(&self, vtep: IpAddr) -> bool {
        self.covering(vtep).is_some_and(|(prefix, _)| prefix.prefix_len() == 0)
    }

    /// The VNIs with which each VTEP advertises a prefix, of routes that a VRF with these route targets may import.
    async fn sent_vnis(
        &mut self,
        prefix: Option<IpNet>,
        import: &[String],
    ) -> anyhow::Result<BTreeMap<IpAddr, BTreeSet<u32>>> {
        let type5 = match self.type5.take() {
            Some(type5) => type5,
            None => self.frr.all_type5().await?,
        };
        let mut sent: BTreeMap<IpAddr, BTreeSet<u32>> = BTreeMap::new();
        let of_prefix = self.type5.insert(type5).iter().filter(|route| Some(route.prefix) == prefix);
        for path in of_prefix.flat_map(|route| &route.paths).filter(|path| may_import(import, path)) {
            if let Some(vtep) = path.next_hop {
                sent.entry(vtep).or_default().extend(path.vni);
            }
        }
        Ok(sent)
    }

    /// The routes of hosts to an address that are filtered, and those that bgpd rejects for their AS path: these are looked for, among all
    /// that a host sends, where no route of a host is in use.
    async fn rejected(&mut self, vrf: &VrfName, address: IpAddr, matched: Option<&Match>) -> anyhow::Result<Rejected> {
        let (mut filtered, mut looped) = (Vec::new(), Vec::new());
        let of_host = |path: &Path| path.best && path.origin == Origin::Host;
        let is_of_host = matched.is_some_and(|found| found.paths.iter().any(of_host));
        for (session, reset) in self.sessions.iter().filter(|(session, _)| session.vrf.as_ref() == Some(vrf)) {
            let routes = self.frr.filtered(session).await?;
            let covering = routes.into_iter().filter(|route| route.prefix.contains(&address));
            filtered.extend(covering.map(|route| (session.peer.clone(), route)));
            if is_of_host {
                continue;
            }
            let routes = self.frr.looped((session, reset.as_ref()), address).await?;
            looped.extend(routes.into_iter().map(|route| (session.peer.clone(), route)));
        }
        Ok((filtered, looped))
    }

    /// Those of the namespaces that packets of a VRF cross.
    fn packet_filters(&self, vrf: &VrfName) -> BTreeMap<Option<VrfName>, PacketFilters> {
        let is_crossed = |of: &Option<VrfName>| of.as_ref().is_none_or(|of| of == vrf);
        let all = self.of_sessions.packet_filters.iter();
        all.filter(|(of, _)| is_crossed(of)).map(|(of, filters)| (of.clone(), filters.clone())).collect()
    }

    /// The VTEPs for which the kernel has a router MAC; `None` where they cannot be read.
    async fn forwarded(&self, vrf: &VrfName, vni: Vni) -> Option<BTreeSet<IpAddr>> {
        namespace_facts::forwarded(&self.runtime, &[(vrf.clone(), vni)].into()).await.0.remove(vrf)
    }

    /// The next hops of the longest match of the underlay.
    fn to_vtep(&self, vtep: IpAddr) -> Vec<InstalledHop> {
        self.covering(vtep).map(|(_, hops)| hops.clone()).unwrap_or_default()
    }

    fn covering(&self, address: IpAddr) -> Option<(&IpNet, &Vec<InstalledHop>)> {
        let covering = self.underlay.iter().filter(|(prefix, _)| prefix.contains(&address));
        covering.max_by_key(|(prefix, _)| prefix.prefix_len())
    }
}

/// The bridges of the host; none where they cannot be read.
async fn segment_ports() -> Vec<SegmentPort> {
    facts::segment_ports().await.unwrap_or_else(|error| {
        tracing::warn!("the bridges of the host are not read: {error:#}");
        vec![]
    })
}
