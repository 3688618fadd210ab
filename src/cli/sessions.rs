//! `perouter sessions`: BGP sessions as FRR has them now, and why one is not established. In: FRR and the status file. Out:
//! a table, JSON or YAML.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;

use super::completions;
use super::exit_status::ExitStatus;
use super::facts;
use super::frr_client::{FrrQueries, unknown_vrf};
use super::options::RuntimeOptions;
use super::show::{Items, Look, ShowOptions, Shown, WatchOptions};
use super::tone::Tone;
use crate::diagnose::cause::short_age;
use crate::diagnose::filtered::{FilterReason, Filtered};
use crate::diagnose::listed_session::ListedSession;
use crate::diagnose::session_checks;
use crate::frr::show::family;
use crate::frr::show::neighbor::Negotiation;
use crate::frr::show::session::{Prefixes, SessionPhase};
use crate::types::VrfName;

/// Arguments of `perouter sessions`.
#[derive(Debug, Args)]
#[command(
    after_help = "`-o wide` has, for each address family, the numbers of prefixes received and sent, what both sides are capable\n\
    of, and the last error with its age.\n\n\
    Exit status: 0 all sessions are established, 1 some are not, 2 there is no such VRF, or FRR does not answer.\n\n\
    Examples:\n  \
    perouter sessions\n  perouter sessions red -o wide\n  perouter sessions -o json | jq '.items[] | select(.cause)'"
)]
pub struct SessionsArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Show only the sessions of this VRF; `default`: those with the fabric
    #[arg(value_name = "VRF", add = completions::vrfs_of_sessions())]
    vrf: Option<String>,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Prints the sessions.
pub async fn execute(args: &SessionsArgs) -> anyhow::Result<ExitCode> {
    args.show.watch(&args.watch, async || read(args).await).await
}

async fn read(args: &SessionsArgs) -> anyhow::Result<Shown> {
    let runtime = args.runtime.paths();
    let mut frr = FrrQueries::of(&runtime);
    let mut sessions = Vec::new();
    let all = frr.sessions().await?;
    let facts = facts::of_sessions(&runtime, &mut frr, &all).await?;
    if let Some(vrf) = &args.vrf {
        // One without a session is no mistake.
        let l3vnis = frr.l3vnis().await?;
        let of_sessions = all.iter().map(|(state, _)| state.vrf_name());
        let known: BTreeSet<&str> = l3vnis.keys().map(VrfName::as_str).chain(of_sessions).chain(["default"]).collect();
        if !known.contains(vrf.as_str()) {
            return Err(unknown_vrf(vrf, &known));
        }
    }
    for (state, reset) in all {
        if args.vrf.as_ref().is_some_and(|vrf| vrf != state.vrf_name()) {
            continue;
        }
        let filtered = frr.filtered(&state).await?;
        let cause = session_checks::cause(&state, &facts);
        sessions.push(ListedSession { filtered, ..ListedSession::new(state, reset, cause, facts.now) });
    }
    let is_up = |session: &ListedSession| session.state == SessionPhase::Established;
    let status = ExitStatus::of_problem(!sessions.iter().all(is_up));
    let list = Items { items: sessions };
    let text = args.show.render("SessionList", &list, |look| text(&list.items, look))?;
    Ok(Shown { text, status })
}

/// Families of routes that only the peer offers.
fn not_carried(session: &ListedSession) -> String {
    let text = |family| {
        session.families.get(family).filter(|sides: &&Negotiation| sides.received && !sides.advertised)?;
        let (vrf, peer, name) = (session.vrf_name(), &session.peer, family::name(family));
        Some(format!("{vrf} {peer}: the peer offers {name}, which this session does not carry: see `perouter check`\n"))
    };
    [family::IPV4, family::IPV6].into_iter().filter_map(text).collect()
}

const HEADERS: [&str; 15] = [
    "VRF",
    "PEER",
    "HOST NAME",
    "AS",
    "STATE",
    "FOR",
    "ESTABLISHED",
    "RECEIVED",
    "FILTERED",
    "SENT",
    "FAMILIES",
    "LOCAL ADDRESS",
    "ROUTER ID",
    "CAPABILITIES",
    "LAST ERROR",
];
/// Those of the narrow table.
const NARROW: usize = 11;

fn row(session: &ListedSession, look: Look) -> Vec<String> {
    let carried = session.families.iter().filter(|(_, sides)| sides.is_done()).map(|(family, _)| family.as_str());
    let of_family = |family: &str| {
        let name = family::short_name(family);
        let Some(prefixes) = session.prefixes.get(family).filter(|_| look.is_wide) else { return name.to_owned() };
        format!("{name} {}/{}", prefixes.received, prefixes.sent)
    };
    let families: Vec<String> = carried.map(of_family).collect();
    let sum = |count: fn(&Prefixes) -> u64| session.prefixes.values().map(count).sum::<u64>().to_string();
    let tone = Tone::of(session.state == SessionPhase::Established);
    let mut row = vec![
        session.vrf_name().to_owned(),
        session.peer.clone(),
        session.hostname.clone().unwrap_or_default(),
        session.remote_as.map(|asn| asn.to_string()).unwrap_or_default(),
        tone.mark(&session.state.to_string()),
        session.age.map(short_age).unwrap_or_default(),
        session.established.to_string(),
        sum(|prefixes| prefixes.received),
        session.filtered.len().to_string(),
        sum(|prefixes| prefixes.sent),
        families.join(","),
    ];
    if look.is_wide {
        let capable = session.capabilities.iter().filter(|(_, sides)| sides.is_done()).map(|(name, _)| name.as_str());
        let error = session.last_error.as_ref().map(|error| {
            let ago = error.age.map(|age| format!(" {} ago", short_age(age))).unwrap_or_default();
            format!("{}{ago}: {}", error.kind, error.text)
        });
        row.extend([
            session.local_address.clone().unwrap_or_default(),
            session.remote_router_id.clone().unwrap_or_default(),
            capable.collect::<Vec<_>>().join(","),
            error.unwrap_or_default(),
        ]);
    }
    row
}

fn text(sessions: &[ListedSession], look: Look) -> String {
    let headers = if look.is_wide { &HEADERS[..] } else { &HEADERS[..NARROW] };
    let mut out = look.table(headers, sessions.iter().map(|session| row(session, look)));
    let cause = |session: &ListedSession| {
        let cause = session.cause.as_ref()?;
        Some(format!("{} {}: {cause}\n", session.vrf_name(), session.peer))
    };
    // Routes that `spec.fromHost` filters are so by intent.
    let third_party = |session: &ListedSession| {
        let of_session = session.filtered.iter().filter(|route| route.reason == FilterReason::NextHop);
        let text = |route: &Filtered| format!("{} {} {route}\n", session.vrf_name(), session.peer);
        of_session.map(text).collect::<String>()
    };
    let notes = sessions.iter().map(third_party).chain(sessions.iter().map(not_carried));
    let causes: String = sessions.iter().filter_map(cause).chain(notes).collect();
    if !causes.is_empty() {
        out.push('\n');
    }
    out + &causes
}

#[cfg(test)]
mod tests {
    use super::super::tone::plain;
    use super::*;
    use crate::frr::show::neighbor::SessionReset;
    use crate::frr::show::session::SessionState;

    fn session(phase: &str, since: Option<u64>) -> SessionState {
        SessionState {
            vrf: Some("red".parse().unwrap()),
            peer: "192.169.10.3".to_owned(),
            remote_as: Some(64515.try_into().unwrap()),
            phase: phase.to_owned().into(),
            since,
            established: 1,
            messages: 0,
            prefixes: [(family::IPV4.to_owned(), Prefixes { received: 3, sent: 2 })].into(),
        }
    }

    fn reset(families: &[(&str, bool, bool)]) -> SessionReset {
        let sides = |advertised, received| Negotiation { advertised, received };
        let families = families.iter().map(|(family, ours, theirs)| ((*family).to_owned(), sides(*ours, *theirs)));
        SessionReset {
            families: families.collect(),
            capabilities: [("routeRefresh".to_owned(), sides(true, true))].into(),
            reset_age: Some(70),
            due_to: Some("BGP Notification received".into()),
            notification: Some("Cease/Administrative Shutdown".into()),
            ..SessionReset::default()
        }
    }

    #[test]
    fn a_family_that_only_the_peer_offers_is_named() {
        let families = [(family::IPV4, true, true), (family::IPV6, false, true), (family::EVPN, false, true)];
        let session = ListedSession::new(session("Established", None), Some(reset(&families)), None, 100);
        let expected =
            "red 192.169.10.3: the peer offers IPv6 unicast, which this session does not carry: see `perouter check`\n";
        assert_eq!(not_carried(&session), expected);
        assert!(text(&[session], Look::TABLE).ends_with(&format!("\n\n{expected}")));
    }

    #[test]
    fn an_established_session_has_its_age_and_its_last_error() {
        let families = [(family::IPV4, true, true)];
        let found = ListedSession::new(
            session("Established", Some(1_795_876_674)),
            Some(reset(&families)),
            None,
            1_795_876_744,
        );
        let error = "shut-down 1m10s ago: the peer is shut down by its administrator: Cease/Administrative Shutdown \
                     (received from 192.169.10.3)";
        let shown = row(&found, Look::WIDE).iter().map(|cell| plain(cell)).collect::<Vec<_>>();
        let expected = [
            "red",
            "192.169.10.3",
            "",
            "64515",
            "Established",
            "1m10s",
            "1",
            "3",
            "0",
            "2",
            "ipv4 3/2",
            "",
            "",
            "routeRefresh",
            error,
        ];
        assert_eq!(shown, expected);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!((&json["since"], &json["downSince"]), (&"2026-11-28T14:37:54Z".into(), &serde_json::Value::Null));
        assert_eq!(json["lastError"]["time"], "2026-11-28T14:37:54Z");
    }

    #[test]
    fn a_session_that_is_down_has_since_when() {
        let found = ListedSession::new(session("Active", None), Some(reset(&[])), Some("x".into()), 1_795_876_744);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!((json["downSince"].as_str(), found.age), (Some("2026-11-28T14:37:54Z"), Some(70)));
        assert_eq!(text(&[found], Look::TABLE).lines().last(), Some("red 192.169.10.3: x"));
    }
}
