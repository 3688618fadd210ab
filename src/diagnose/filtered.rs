//! Routes that a host session filters, and why. In: the routes as FRR lists them, and the next hops that the host may use. Out:
//! the reason of each, and counts. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::frr::show::route::ReceivedRoute;
use crate::frr::show::session::{SessionKey, SessionPhase, SessionState};
use crate::types::VrfName;

/// Why a route of a host is filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterReason {
    /// `spec.fromHost` does not allow its prefix, or the prefix is protected.
    Prefix,
    /// Its next hop is no address of the host.
    NextHop,
}

impl FilterReason {
    /// As in metrics, tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::NextHop => "next-hop",
        }
    }

    /// The reason of a route of a host whose addresses are `own`.
    pub fn of(route: &ReceivedRoute, own: &BTreeSet<IpAddr>) -> Self {
        if route.next_hop.is_some_and(|next_hop| !own.contains(&next_hop)) { Self::NextHop } else { Self::Prefix }
    }
}

/// A route that is filtered, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filtered {
    /// Its prefix.
    pub prefix: IpNet,
    /// Its next hop.
    pub next_hop: Option<IpAddr>,
    /// The reason.
    pub reason: FilterReason,
}

impl Filtered {
    /// A route of a host whose addresses are `own`.
    pub fn new(route: &ReceivedRoute, own: &BTreeSet<IpAddr>) -> Self {
        Self { prefix: route.prefix, next_hop: route.next_hop, reason: FilterReason::of(route, own) }
    }
}

/// With the remedy: what follows the name of the host that advertises it.
impl fmt::Display for Filtered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, next_hop, .. } = self;
        match (self.reason, next_hop) {
            (FilterReason::NextHop, Some(next_hop)) => write!(
                f,
                "advertises {prefix} with the next hop {next_hop}, which is no address of the host, so that it is filtered: \
                 set next-hop-self on the host"
            ),
            _ => write!(
                f,
                "advertises {prefix}, which spec.fromHost filters: see its allowedPrefixes, and protectedPrefixes of the \
                 Underlay"
            ),
        }
    }
}

/// How many routes a host session filters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilteredCount {
    /// VRF of the session.
    pub vrf: VrfName,
    /// Peer of the session.
    pub peer: String,
    /// Routes by reason; a reason without routes is absent.
    pub routes: BTreeMap<FilterReason, u64>,
}

/// Sessions whose filtered routes are read each time, at most: there may be hundreds, and bgpd walks the table of each.
const AT_ONCE: usize = 32;

/// The counts of all sessions, each as it was last read. A session is read again when it has received a message since.
#[derive(Debug, Default)]
pub struct FilteredCounts {
    sessions: BTreeMap<SessionKey, CountRead>,
    /// The number of the next read.
    next: u64,
}

/// A session as it was read.
#[derive(Debug)]
struct CountRead {
    /// Higher for later reads.
    number: u64,
    established: u64,
    messages: u64,
    routes: BTreeMap<FilterReason, u64>,
}

impl FilteredCounts {
    /// The sessions to read now, those that were never read first, then in the order of their last reads. `sessions` are all
    /// host sessions: others are forgotten, and those that are not established have no routes.
    pub fn to_read<'a>(&mut self, sessions: impl IntoIterator<Item = &'a SessionState>) -> Vec<&'a SessionState> {
        let is_up = |session: &&SessionState| session.phase == SessionPhase::Established;
        let up: BTreeMap<SessionKey, &SessionState> =
            sessions.into_iter().filter(is_up).map(|session| (session.key(), session)).collect();
        self.sessions.retain(|key, _| up.contains_key(key));
        let last = |key: &SessionKey| self.sessions.get(key);
        let is_current = |(key, session): &(&SessionKey, &&SessionState)| {
            last(key).is_some_and(|read| (read.established, read.messages) == (session.established, session.messages))
        };
        let mut due: Vec<_> = up.iter().filter(|entry| !is_current(entry)).collect();
        due.sort_by_key(|(key, _)| last(key).map(|read| read.number));
        due.truncate(AT_ONCE);
        due.into_iter().map(|(_, session)| *session).collect()
    }

    /// Takes note of what a session filters, whose host has the addresses `own`.
    pub fn note(&mut self, session: &SessionState, own: &BTreeSet<IpAddr>, found: &[ReceivedRoute]) {
        let mut routes = BTreeMap::new();
        for route in found {
            *routes.entry(FilterReason::of(route, own)).or_default() += 1;
        }
        let SessionState { established, messages, .. } = *session;
        self.sessions.insert(session.key(), CountRead { number: self.next, established, messages, routes });
        self.next += 1;
    }

    /// The policies of some IP-VRFs have changed: the sessions for which `concerns` holds are read again.
    pub fn forget(&mut self, concerns: impl Fn(&VrfName) -> bool) {
        self.sessions.retain(|(vrf, _), _| !vrf.as_ref().is_some_and(&concerns));
    }

    /// The counts of the sessions that filter something.
    pub fn counts(&self) -> Vec<FilteredCount> {
        let filters = self.sessions.iter().filter(|(_, read)| !read.routes.is_empty());
        let count = |((vrf, peer), read): (&SessionKey, &CountRead)| {
            Some(FilteredCount { vrf: vrf.clone()?, peer: peer.clone(), routes: read.routes.clone() })
        };
        filters.filter_map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(vrf: &str, established: u64, messages: u64) -> SessionState {
        SessionState {
            vrf: Some(vrf.parse().unwrap()),
            peer: "192.169.10.3".to_owned(),
            remote_as: None,
            phase: SessionPhase::Established,
            since: None,
            established,
            messages,
            prefixes: BTreeMap::new(),
        }
    }

    fn route(prefix: &str) -> ReceivedRoute {
        ReceivedRoute { prefix: prefix.parse().unwrap(), next_hop: None, as_path: String::new() }
    }

    /// The VRFs to read; each is read.
    fn read(counts: &mut FilteredCounts, sessions: &[SessionState]) -> Vec<String> {
        let due: Vec<_> = counts.to_read(sessions).into_iter().cloned().collect();
        for session in &due {
            counts.note(session, &BTreeSet::new(), &[]);
        }
        due.iter().map(|session| session.vrf_name().to_owned()).collect()
    }

    #[test]
    fn a_session_is_read_again_after_a_message_a_new_session_or_new_policies() {
        let mut counts = FilteredCounts::default();
        let mut sessions = ["blue", "red"].map(|vrf| session(vrf, 1, 5));
        assert_eq!(read(&mut counts, &sessions), ["blue", "red"]);
        assert_eq!(read(&mut counts, &sessions), [""; 0]);
        sessions[1].messages += 1;
        assert_eq!(read(&mut counts, &sessions), ["red"]);
        sessions[0].established += 1;
        assert_eq!(read(&mut counts, &sessions), ["blue"]);
        counts.forget(|vrf| vrf.as_str() == "red");
        assert_eq!(read(&mut counts, &sessions), ["red"]);
    }

    #[test]
    fn the_counts_of_a_session_stay_until_it_is_down() {
        let mut counts = FilteredCounts::default();
        let mut red = session("red", 1, 5);
        counts.note(&red, &BTreeSet::new(), &[route("10.0.0.0/8"), route("11.0.0.0/8")]);
        assert!(counts.to_read([&red]).is_empty());
        assert_eq!(
            counts.counts().iter().map(|count| &count.routes).collect::<Vec<_>>(),
            [&[(FilterReason::Prefix, 2)].into()]
        );
        red.phase = SessionPhase::Down("Active".to_owned());
        assert!(counts.to_read([&red]).is_empty());
        assert_eq!(counts.counts(), []);
    }

    #[test]
    fn hundreds_of_sessions_are_read_in_turn() {
        let sessions = |messages| (0..80).map(|n| session(&format!("v{n:02}"), 1, messages)).collect::<Vec<_>>();
        let mut counts = FilteredCounts::default();
        let mut seen = BTreeSet::new();
        // All receive messages all the time.
        for messages in 0..3 {
            let found = read(&mut counts, &sessions(messages));
            assert_eq!(found.len(), AT_ONCE);
            seen.extend(found);
        }
        assert_eq!(seen.len(), 80);
    }

    #[test]
    fn a_route_is_filtered_for_its_next_hop_only_if_that_is_not_the_hosts() {
        let own = ["192.169.10.3", "10.9.9.1"].map(|address| address.parse().unwrap()).into();
        let route = |next_hop: Option<&str>| ReceivedRoute {
            prefix: "10.244.7.0/26".parse().unwrap(),
            next_hop: next_hop.map(|address| address.parse().unwrap()),
            as_path: "64515".into(),
        };
        let routes = [Some("192.169.10.3"), Some("10.9.9.1"), Some("192.169.10.2"), None].map(route);
        let reasons = routes.clone().map(|route| FilterReason::of(&route, &own).as_str());
        assert_eq!(reasons, ["prefix", "prefix", "next-hop", "prefix"]);
        let mut counts = FilteredCounts::default();
        counts.note(&session("red", 1, 5), &own, &routes);
        let wanted = [(FilterReason::Prefix, 3), (FilterReason::NextHop, 1)].into();
        assert_eq!(counts.counts().iter().map(|count| &count.routes).collect::<Vec<_>>(), [&wanted]);
        assert_eq!(
            Filtered::new(&routes[2], &own).to_string(),
            "advertises 10.244.7.0/26 with the next hop 192.169.10.2, which is no address of the host, so that it is \
             filtered: set next-hop-self on the host"
        );
    }
}
