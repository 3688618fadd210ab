//! The way of an address through the router: host session → VRF → kernel → Type-5 → fabric session, or back. In: what FRR
//! has of it. Out: steps, and where the way ends. Pure.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::frr::show::route::{Match, Origin, Path, Type5};
use crate::frr::show::session::SessionPhase;
use crate::frr::show::vni::VniState;
use crate::types::{Asn, Family, Vni, VrfName};

/// A session and, where it is not established, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Address or interface.
    pub peer: String,
    /// Host name that it told.
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
pub struct Facts {
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
    pub hosts: Vec<Session>,
    /// Fabric sessions.
    pub fabric: Vec<Session>,
    /// Prefixes that hold the address and that the filter of a host session refuses, each with the host.
    pub refused: Vec<(String, IpNet)>,
}

/// A step of the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Where.
    pub at: At,
    /// The way goes on.
    pub ok: bool,
    /// What is there, or why the way ends here and what to look at.
    pub text: String,
}

/// Places of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
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

impl fmt::Display for At {
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

/// The way in one VRF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// The VRF.
    pub vrf: VrfName,
    /// Its VNI.
    pub vni: Vni,
    /// The prefix that holds the address; absent where the VRF has none.
    pub prefix: Option<IpNet>,
    /// From where the best path is.
    pub origin: Option<Origin>,
    /// All steps, the last of which may be where the way ends.
    pub steps: Vec<Step>,
}

impl Trace {
    /// The way does not end before its end.
    pub fn is_whole(&self) -> bool {
        self.prefix.is_some() && self.steps.iter().all(|step| step.ok)
    }
}

/// Follows `address` through a VRF.
pub fn follow(address: IpAddr, facts: &Facts) -> Trace {
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
    let closer = |(_, prefix): &&(String, IpNet)| prefix.prefix_len() > found.prefix.prefix_len();
    if let Some(refused) = facts.refused.iter().find(closer) {
        steps.insert(0, step(At::Host, true, refusal(refused)));
    }
    Trace { prefix: Some(found.prefix), origin, steps, ..empty(facts) }
}

fn empty(facts: &Facts) -> Trace {
    Trace { vrf: facts.vrf.clone(), vni: facts.vni, prefix: None, origin: None, steps: vec![] }
}

fn step(at: At, ok: bool, text: impl Into<String>) -> Step {
    Step { at, ok, text: text.into() }
}

fn refusal((peer, prefix): &(String, IpNet)) -> String {
    format!("{peer} announces {prefix}, which spec.fromHost refuses: see its allowedPrefixes")
}

fn nothing(address: IpAddr, facts: &Facts) -> Step {
    let down = not_up(&facts.hosts);
    if let Some(refused) = facts.refused.first() {
        return step(At::Host, false, refusal(refused));
    }
    let text = match (facts.hosts.is_empty(), down.is_empty()) {
        (true, _) => {
            format!("no route holds {address}: the VRF has no host session, and no Type-5 route of the fabric matches")
        }
        (_, true) => format!(
            "no route holds {address}: neither {} nor the fabric announces it",
            list(facts.hosts.iter().map(|session| session.peer.as_str()))
        ),
        (_, false) => format!("no route holds {address}: {down}"),
    };
    step(At::Vrf, false, text)
}

/// Sessions that are not established, with the cause of each.
fn not_up(sessions: &[Session]) -> String {
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
    if path.as_path.is_empty() { "no AS path".to_owned() } else { format!("AS path {}", path.as_path) }
}

fn no_best(found: &Match) -> Step {
    let peers = list(found.paths.iter().map(|path| path.peer.as_str()));
    step(
        At::Vrf,
        false,
        format!("no path for {} can be used: the next hop given by {peers} cannot be reached", found.prefix),
    )
}

fn in_kernel(found: &Match, facts: &Facts) -> Step {
    if facts.kernel.is_empty() {
        return step(At::Kernel, false, format!("{} is not in the kernel's table of VRF {}", found.prefix, facts.vrf));
    }
    step(At::Kernel, true, format!("{} via {}", found.prefix, facts.kernel.join(", ")))
}

fn from_host(found: &Match, best: &[&Path], facts: &Facts) -> Vec<Step> {
    let prefix = found.prefix;
    let mut steps = Vec::new();
    let of_router = best.iter().all(|path| path.origin == Origin::Router);
    if of_router {
        steps.push(step(
            At::Vrf,
            true,
            format!("{prefix} is the router's own: the host's end of the session, or an aggregate"),
        ));
    } else {
        for path in best.iter().filter(|path| path.origin == Origin::Host) {
            steps.push(step(At::Host, true, format!("{} announces {prefix}, {}", path.peer, as_path(path))));
        }
        steps.push(in_kernel(found, facts));
    }
    if !facts.state.is_ready() {
        steps.push(step(At::Type5, false, format!("VNI {} is not up in FRR: see `perouter status`", facts.vni)));
        return steps;
    }
    let stays = ["no-advertise", "no-export", "local-AS"];
    let held = best.iter().flat_map(|path| &path.communities).find(|community| stays.contains(&community.as_str()));
    match (&facts.type5, held) {
        (_, Some(community)) => {
            steps.push(step(At::Type5, false, format!("none: the host gave {prefix} the community {community}")));
            return steps;
        }
        (None, None) => {
            steps.push(step(
                At::Type5,
                false,
                format!("none for {prefix}: the filter of spec.toFabric or a summary-only aggregate keeps it"),
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
            steps.push(step(At::Type5, true, words.join(", ")));
            steps.push(to_fabric(route, facts));
        }
    }
    steps
}

fn to_fabric(route: &Type5, facts: &Facts) -> Step {
    if !route.advertised_to.is_empty() {
        let name = |peer: &String| {
            let known =
                facts.fabric.iter().find(|session| session.peer == *peer).and_then(|session| session.hostname.clone());
            known.map_or_else(|| peer.clone(), |name| format!("{peer} ({name})"))
        };
        return step(
            At::Fabric,
            true,
            format!("sent to {}", route.advertised_to.iter().map(name).collect::<Vec<_>>().join(", ")),
        );
    }
    let down = not_up(&facts.fabric);
    let text = match (facts.fabric.is_empty(), down.is_empty()) {
        (true, _) => "the Underlay has no neighbors".to_owned(),
        (_, true) => "sent to nobody, although the sessions are up: see the AS numbers of the peers (a path with theirs is not sent)".to_owned(),
        (_, false) => down,
    };
    step(At::Fabric, false, text)
}

fn from_fabric(found: &Match, best: &[&Path], facts: &Facts) -> Vec<Step> {
    let mut steps: Vec<Step> = best
        .iter()
        .map(|path| {
            let vteps = path.next_hops.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            step(At::Fabric, true, format!("{} has {} behind VTEP {vteps}, {}", path.peer, found.prefix, as_path(path)))
        })
        .collect();
    steps.push(in_kernel(found, facts));
    if facts.hosts.is_empty() {
        return steps;
    }
    let family = Family::of(&found.prefix);
    let down = not_up(&facts.hosts);
    let (ok, text) = match (found.advertised_to.is_empty(), down.is_empty()) {
        (false, _) => told(found, best, facts),
        (true, _) if !facts.hosts.iter().any(|session| session.families.contains(&family)) => {
            (false, format!("no host session carries {family}: spec.localcidr.{family} is not set"))
        }
        (true, false) => (false, down),
        (true, true) => (false, "told to no host session: the filter of spec.toHost refuses it".to_owned()),
    };
    steps.push(step(At::Host, ok, text));
    steps
}

/// Whom the hosts' sessions are told, and whether one drops it for the AS loop (RFC 4271 section 9.1.2).
fn told(found: &Match, best: &[&Path], facts: &Facts) -> (bool, String) {
    let to = list(found.advertised_to.iter().map(String::as_str));
    let in_path = |asn: Asn| {
        let asn = asn.to_string();
        best.iter().all(|path| path.as_path.split(|c: char| !c.is_ascii_digit()).any(|word| word == asn))
    };
    let drops = facts.hosts.iter().filter(|host| found.advertised_to.contains(&host.peer) && !host.as_override);
    match drops.filter_map(|host| host.remote_as).find(|asn| in_path(*asn)) {
        Some(asn) => {
            let remedy = "set spec.toHost.asOverride (eBGP), or let the host take it (allowas-in)";
            (false, format!("told to {to}, which drops it for the AS loop, as AS {asn} is its own: {remedy}"))
        }
        None => (true, format!("told to {to}")),
    }
}

#[cfg(test)]
mod tests;
