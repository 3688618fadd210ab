//! The path of an address through the router: host session → VRF → kernel → Type-5 → fabric session, or back. In: what FRR
//! shows of it. Out: steps, and where the path is incomplete. Pure.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::filtered::Filtered;
use crate::frr::show::route::{Match, Origin, Path, Type5};
use crate::frr::show::session::SessionPhase;
use crate::frr::show::vni::VniState;
use crate::types::{Asn, Family, Vni, VrfName};

/// A session and, where it is not established, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracedSession {
    /// Address or interface.
    pub peer: String,
    /// Host name that it sent in its OPEN.
    pub hostname: Option<String>,
    /// Address families of unicast routes that it carries.
    pub families: Vec<Family>,
    /// AS number of the peer.
    pub remote_as: Option<Asn>,
    /// It gets our AS number in place of its own in AS paths.
    pub as_override: bool,
    /// State.
    pub state: SessionPhase,
    /// Why it is not established.
    pub cause: Option<String>,
}

/// What is known of an address in one VRF.
#[derive(Debug, Clone)]
pub struct TraceFacts {
    /// The VRF.
    pub vrf: VrfName,
    /// Its VNI.
    pub vni: Vni,
    /// The VNI in FRR.
    pub state: VniState,
    /// Longest match in bgpd.
    pub matched: Option<Match>,
    /// Where the kernel forwards to; empty if it has no such route.
    pub kernel: Vec<String>,
    /// Our Type-5 route for the matched prefix.
    pub type5: Option<Type5>,
    /// Host sessions of the VRF.
    pub hosts: Vec<TracedSession>,
    /// Fabric sessions.
    pub fabric: Vec<TracedSession>,
    /// Routes that cover the address and are filtered, each with the host that advertises it.
    pub filtered: Vec<(String, Filtered)>,
}

/// A step of the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceStep {
    /// Where.
    pub at: TracePoint,
    /// The path goes on.
    pub ok: bool,
    /// What is there, or why the path is incomplete here and the remedy.
    pub text: String,
}

/// Places of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TracePoint {
    /// The host session, in either direction.
    Host,
    /// The VRF's table in bgpd.
    Vrf,
    /// The VRF's table in the kernel.
    Kernel,
    /// The Type-5 route.
    Type5,
    /// The fabric sessions, in either direction.
    Fabric,
}

impl fmt::Display for TracePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Vrf => "VRF",
            Self::Kernel => "kernel",
            Self::Type5 => "Type-5",
            Self::Fabric => "fabric",
        })
    }
}

/// The path in one VRF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// The VRF.
    pub vrf: VrfName,
    /// Its VNI.
    pub vni: Vni,
    /// The prefix that covers the address; absent where the VRF has none.
    pub prefix: Option<IpNet>,
    /// From where the best path is.
    pub origin: Option<Origin>,
    /// All steps, the last of which may be where the path is incomplete.
    pub steps: Vec<TraceStep>,
}

impl Trace {
    /// The path reaches its end.
    pub fn is_complete(&self) -> bool {
        self.prefix.is_some() && self.steps.iter().all(|step| step.ok)
    }
}

/// Follows `address` through a VRF.
pub fn follow(address: IpAddr, facts: &TraceFacts) -> Trace {
    let Some(found) = &facts.matched else {
        return Trace { steps: vec![nothing(address, facts)], ..empty(facts) };
    };
    let best: Vec<&Path> = found.paths.iter().filter(|path| path.best).collect();
    let origin = best.first().map(|path| path.origin);
    let mut steps = match origin {
        None => vec![no_best(found)],
        Some(Origin::Fabric) => from_fabric(found, &best, facts),
        Some(Origin::Host | Origin::Router) => from_host(found, &best, facts),
    };
    let closer = |(_, route): &&(String, Filtered)| route.prefix.prefix_len() > found.prefix.prefix_len();
    if let Some(filtered) = facts.filtered.iter().find(closer) {
        steps.insert(0, step(TracePoint::Host, true, filtered_by_us(filtered)));
    }
    Trace { prefix: Some(found.prefix), origin, steps, ..empty(facts) }
}

fn empty(facts: &TraceFacts) -> Trace {
    Trace { vrf: facts.vrf.clone(), vni: facts.vni, prefix: None, origin: None, steps: vec![] }
}

fn step(at: TracePoint, ok: bool, text: impl Into<String>) -> TraceStep {
    TraceStep { at, ok, text: text.into() }
}

fn filtered_by_us((peer, route): &(String, Filtered)) -> String {
    format!("{peer} {route}")
}

fn nothing(address: IpAddr, facts: &TraceFacts) -> TraceStep {
    let down = not_up(&facts.hosts);
    if let Some(filtered) = facts.filtered.first() {
        return step(TracePoint::Host, false, filtered_by_us(filtered));
    }
    let text = match (facts.hosts.is_empty(), down.is_empty()) {
        (true, _) => {
            format!("no route covers {address}: the VRF has no host session, and no Type-5 route of the fabric matches")
        }
        (_, true) => format!(
            "no route covers {address}: neither {} nor the fabric advertises it",
            list(facts.hosts.iter().map(|session| session.peer.as_str()))
        ),
        (_, false) => format!("no route covers {address}: {down}"),
    };
    step(TracePoint::Vrf, false, text)
}

/// Sessions that are not established, with the cause of each.
fn not_up(sessions: &[TracedSession]) -> String {
    let down = sessions.iter().filter(|session| session.state != SessionPhase::Established);
    let texts = down.map(|session| {
        format!("session with {} is {}: {}", session.peer, session.state, session.cause.as_deref().unwrap_or("unknown"))
    });
    texts.collect::<Vec<_>>().join("; ")
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn as_path(path: &Path) -> String {
    if path.as_path.is_empty() { "empty AS path".to_owned() } else { format!("AS path {}", path.as_path) }
}

fn no_best(found: &Match) -> TraceStep {
    let peers = list(found.paths.iter().map(|path| path.peer.as_str()));
    step(
        TracePoint::Vrf,
        false,
        format!("no path for {} can be used: the next hop received from {peers} is unreachable", found.prefix),
    )
}

fn in_kernel(found: &Match, facts: &TraceFacts) -> TraceStep {
    if facts.kernel.is_empty() {
        return step(
            TracePoint::Kernel,
            false,
            format!("{} is not in the kernel's table of VRF {}", found.prefix, facts.vrf),
        );
    }
    step(TracePoint::Kernel, true, format!("{} via {}", found.prefix, facts.kernel.join(", ")))
}

fn from_host(found: &Match, best: &[&Path], facts: &TraceFacts) -> Vec<TraceStep> {
    let prefix = found.prefix;
    let mut steps = Vec::new();
    let of_router = best.iter().all(|path| path.origin == Origin::Router);
    if of_router {
        steps.push(step(
            TracePoint::Vrf,
            true,
            format!("{prefix} is the router's own: the host end of the session, or an aggregate"),
        ));
    } else {
        for path in best.iter().filter(|path| path.origin == Origin::Host) {
            steps.push(step(TracePoint::Host, true, format!("{} advertises {prefix}, {}", path.peer, as_path(path))));
        }
        steps.push(in_kernel(found, facts));
    }
    if !facts.state.is_ready() {
        steps.push(step(
            TracePoint::Type5,
            false,
            format!("VNI {} is not up in FRR: see `perouter status`", facts.vni),
        ));
        return steps;
    }
    let blocking = ["no-advertise", "no-export", "local-AS"];
    let blocked =
        best.iter().flat_map(|path| &path.communities).find(|community| blocking.contains(&community.as_str()));
    match (&facts.type5, blocked) {
        (_, Some(community)) => {
            steps.push(step(
                TracePoint::Type5,
                false,
                format!("none: the host advertises {prefix} with the community {community}"),
            ));
            return steps;
        }
        (None, None) => {
            steps.push(step(
                TracePoint::Type5,
                false,
                format!("none for {prefix}: spec.toFabric or a summary-only aggregate filters it"),
            ));
            return steps;
        }
        (Some(route), None) => {
            let words = [
                format!("RD {}", route.rd),
                format!("RT {}", route.route_targets.join(" ")),
                format!("VNI {}", facts.vni),
                route.router_mac.as_ref().map(|mac| format!("router MAC {mac}")).unwrap_or_default(),
                route.next_hop.map(|vtep| format!("next hop {vtep}")).unwrap_or_default(),
            ];
            let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
            steps.push(step(TracePoint::Type5, true, words.join(", ")));
            steps.push(to_fabric(route, facts));
        }
    }
    steps
}

fn to_fabric(route: &Type5, facts: &TraceFacts) -> TraceStep {
    if !route.advertised_to.is_empty() {
        let name = |peer: &String| {
            let known =
                facts.fabric.iter().find(|session| session.peer == *peer).and_then(|session| session.hostname.clone());
            known.map_or_else(|| peer.clone(), |name| format!("{peer} ({name})"))
        };
        return step(
            TracePoint::Fabric,
            true,
            format!("advertised to {}", route.advertised_to.iter().map(name).collect::<Vec<_>>().join(", ")),
        );
    }
    let down = not_up(&facts.fabric);
    let text = match (facts.fabric.is_empty(), down.is_empty()) {
        (true, _) => "the Underlay has no neighbors".to_owned(),
        (_, true) => "advertised to no peer although the sessions are established: check the AS numbers of the peers (a path that contains the AS of a peer is not advertised to it)".to_owned(),
        (_, false) => down,
    };
    step(TracePoint::Fabric, false, text)
}

fn from_fabric(found: &Match, best: &[&Path], facts: &TraceFacts) -> Vec<TraceStep> {
    let mut steps: Vec<TraceStep> = best
        .iter()
        .map(|path| {
            let vteps = path.next_hops.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            step(
                TracePoint::Fabric,
                true,
                format!("{} has {} behind VTEP {vteps}, {}", path.peer, found.prefix, as_path(path)),
            )
        })
        .collect();
    if let Some(mismatch) = other_family(best, facts) {
        steps.push(mismatch);
        return steps;
    }
    steps.push(in_kernel(found, facts));
    if facts.hosts.is_empty() {
        return steps;
    }
    let family = Family::of(&found.prefix);
    let down = not_up(&facts.hosts);
    let (ok, text) = match (found.advertised_to.is_empty(), down.is_empty()) {
        (false, _) => advertised(found, best, facts),
        (true, _) if !facts.hosts.iter().any(|session| session.families.contains(&family)) => {
            (false, format!("no host session carries {family}: spec.localcidr.{family} is not set"))
        }
        (true, false) => (false, down),
        (true, true) => (false, "advertised to no host session: spec.toHost filters it".to_owned()),
    };
    steps.push(step(TracePoint::Host, ok, text));
    steps
}

/// A VTEP of another address family than ours: the VXLAN device of the VNI sends with its own family only.
fn other_family(best: &[&Path], facts: &TraceFacts) -> Option<TraceStep> {
    let own = facts.state.vtep?;
    let other = best.iter().flat_map(|path| &path.next_hops).find(|vtep| vtep.is_ipv4() != own.is_ipv4())?;
    let text = format!(
        "VTEP {other} and that of this node for VNI {}, {own}, have different address families, so that no packet is \
         forwarded between them: set spec.underlayAddressFamily to the family that all VTEPs of the VNI have",
        facts.vni
    );
    Some(step(TracePoint::Fabric, false, text))
}

/// To which hosts it is advertised, and whether one rejects it as an AS-path loop (RFC 4271 section 9.1.2).
fn advertised(found: &Match, best: &[&Path], facts: &TraceFacts) -> (bool, String) {
    let to = list(found.advertised_to.iter().map(String::as_str));
    let in_path = |asn: Asn| {
        let asn = asn.to_string();
        best.iter().all(|path| path.as_path.split(|c: char| !c.is_ascii_digit()).any(|word| word == asn))
    };
    let looping = facts.hosts.iter().filter(|host| found.advertised_to.contains(&host.peer) && !host.as_override);
    match looping.filter_map(|host| host.remote_as).find(|asn| in_path(*asn)) {
        Some(asn) => {
            let remedy = "set spec.toHost.asOverride (eBGP), or allowas-in on the host";
            (
                false,
                format!("advertised to {to}, which rejects it as an AS-path loop, as AS {asn} is its own: {remedy}"),
            )
        }
        None => (true, format!("advertised to {to}")),
    }
}

#[cfg(test)]
mod tests;
