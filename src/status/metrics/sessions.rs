//! The metrics of sessions, BFD and VNIs. In: a status, and what was observed with it. Out: samples. A session that FRR does not list
//! has no series.

use std::collections::BTreeMap;

use super::exposition::Exposition;
use super::observed::Observed;
use super::table;
use crate::frr::model::RouterConfig;
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::status::model::NodeStatus;
use crate::types::VrfName;

/// As in the label `kind`.
const FABRIC: &str = "fabric";
const HOST: &str = "host";

/// The labels of a session.
struct Labels<'a> {
    vrf: &'a str,
    peer: &'a str,
    asn: String,
    kind: &'static str,
}

impl<'a> Labels<'a> {
    fn of(session: &'a SessionState) -> Self {
        let asn = session.remote_as.map(|asn| asn.to_string()).unwrap_or_default();
        let kind = if session.vrf.is_none() { FABRIC } else { HOST };
        Self { vrf: session.vrf_name(), peer: &session.peer, asn, kind }
    }

    fn all(&self) -> [&str; 4] {
        [self.vrf, self.peer, &self.asn, self.kind]
    }
}

pub(super) fn render(status: &NodeStatus, observed: Option<&Observed>, text: &mut Exposition) {
    let sessions: Vec<(Labels<'_>, &SessionState)> =
        status.sessions.iter().map(|session| (Labels::of(session), session)).collect();
    configured(observed, text);
    states(status, &sessions, text);
    families(observed, &sessions, text);
    prefixes(&sessions, text);
    filtered(status, &sessions, text);
    limits(observed, &sessions, text);
    let mut bfd = text.metric(table::BFD_UP);
    for peer in observed.iter().flat_map(|observed| &observed.bfd) {
        bfd.add([&peer.vrf, &peer.peer, &peer.interface], u8::from(peer.is_up));
    }
    let mut vnis = text.metric(table::VNI_UP);
    for (vni, state) in status.l3vnis() {
        vnis.add([&vni.to_string(), &state.vrf], u8::from(state.is_ready()));
    }
}

fn configured(observed: Option<&Observed>, text: &mut Exposition) {
    let Some(RouterConfig { underlay, vrfs }) = observed.map(|observed| &observed.plan.frr) else { return };
    let mut metric = text.metric(table::SESSIONS_CONFIGURED);
    metric.add([FABRIC], underlay.as_ref().map_or(0, |underlay| underlay.neighbors.len()));
    metric.add([HOST], vrfs.values().map(|ip_vrf| ip_vrf.sessions.len()).sum::<usize>());
}

fn states(status: &NodeStatus, sessions: &[(Labels<'_>, &SessionState)], text: &mut Exposition) {
    let mut up = text.metric(table::SESSION_UP);
    for (labels, session) in sessions {
        up.add(labels.all(), u8::from(session.phase == SessionPhase::Established));
    }
    let mut established = text.metric(table::SESSION_ESTABLISHED);
    for (labels, session) in sessions {
        established.add(labels.all(), session.established);
    }
    let down = down_since(status);
    let mut since = text.metric(table::SESSION_SINCE);
    for (labels, session) in sessions {
        let time = match session.phase {
            SessionPhase::Established => session.since,
            SessionPhase::Down(_) => down.get(&(session.vrf.as_ref(), session.peer.as_str())).copied(),
        };
        if let Some(time) = time {
            since.add(labels.all(), time);
        }
    }
}

/// Since when sessions are down: the oldest of what is found of each.
fn down_since(status: &NodeStatus) -> BTreeMap<(Option<&VrfName>, &str), u64> {
    let mut down = BTreeMap::new();
    for finding in &status.findings {
        if let (Some(peer), Some(since)) = (&finding.place.peer, finding.since) {
            let oldest = down.entry((finding.place.vrf.as_ref(), peer.as_str())).or_insert(since);
            *oldest = since.min(*oldest);
        }
    }
    down
}

/// Of sessions with the fabric: bgpd prints a lot about each, and there may be hundreds with the host.
fn families(observed: Option<&Observed>, sessions: &[(Labels<'_>, &SessionState)], text: &mut Exposition) {
    let mut metric = text.metric(table::FAMILY_NEGOTIATED);
    let is_up = |session: &SessionState| session.vrf.is_none() && session.phase == SessionPhase::Established;
    for (labels, session) in sessions.iter().filter(|(_, session)| is_up(session)) {
        let details = observed.and_then(|observed| observed.neighbors.get(&session.key()));
        for (family, sides) in details.iter().flat_map(|details| &details.families) {
            metric.add([labels.peer, &labels.asn, family], u8::from(sides.is_done()));
        }
    }
}

fn prefixes(sessions: &[(Labels<'_>, &SessionState)], text: &mut Exposition) {
    let mut metric = text.metric(table::PREFIXES);
    let up = sessions.iter().filter(|(_, session)| session.phase == SessionPhase::Established);
    for (labels, session) in up {
        let Labels { vrf, peer, asn, kind } = labels;
        for (family, count) in &session.prefixes {
            metric.add([vrf, peer, asn, kind, family, "accepted"], count.received);
            metric.add([vrf, peer, asn, kind, family, "advertised"], count.sent);
        }
    }
}

fn filtered(status: &NodeStatus, sessions: &[(Labels<'_>, &SessionState)], text: &mut Exposition) {
    let mut metric = text.metric(table::PREFIXES_FILTERED);
    if status.filtered.is_empty() {
        return;
    }
    let asns: BTreeMap<(&str, &str), &str> =
        sessions.iter().map(|(labels, _)| ((labels.vrf, labels.peer), labels.asn.as_str())).collect();
    for found in &status.filtered {
        let (vrf, peer) = (found.vrf.as_str(), found.peer.as_str());
        let asn = asns.get(&(vrf, peer)).copied().unwrap_or_default();
        for (reason, count) in &found.routes {
            metric.add([vrf, peer, asn, reason.as_str()], count);
        }
    }
}

fn limits(observed: Option<&Observed>, sessions: &[(Labels<'_>, &SessionState)], text: &mut Exposition) {
    let mut metric = text.metric(table::PREFIXES_LIMIT);
    let Some(observed) = observed else { return };
    for (labels, session) in sessions {
        let ip_vrf = session.vrf.as_ref().and_then(|vrf| observed.plan.frr.vrfs.get(vrf));
        let configured = ip_vrf.into_iter().flat_map(|ip_vrf| ip_vrf.sessions.values());
        let mut limits = configured.filter_map(|host| Some((host.address, host.max_prefixes?)));
        let peer = session.peer.parse().ok();
        if let Some((_, limit)) = limits.find(|(address, _)| Some(*address) == peer) {
            metric.add([labels.vrf, labels.peer, &labels.asn], limit);
        }
    }
}
