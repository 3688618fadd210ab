//! The checks that need the tables of FRR and of the host, at intervals: the controller does not read those, and conditions, metrics
//! and alerts are to show what they find. In: the paths of the router. Out: findings that two reads in a row have. Changes nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::facts;
use crate::diagnose::finding::{FindingKind, Place};
use crate::diagnose::{Finding, check};
use crate::frr::show::session::SessionState;
use crate::runtime::Runtime;
use crate::status::publish;

/// Between the reads that must have the same finding: routes may be on their way.
const CONFIRM: Duration = Duration::from_secs(3);
/// FRR does nothing else while it prints its tables: the reads take at most this part of the time.
const PART: u32 = 20;
/// A router with more sessions, or with more prefixes of all its sessions, is checked by `perouter check` alone: its tables would cost
/// the controller more memory than all else.
const MOST_SESSIONS: usize = 100;
const MOST_PREFIXES: u64 = 5_000;

/// Starts them, until `stop`. Without an interval there are none.
pub fn start(runtime: &Runtime, interval: Duration, stop: CancellationToken) -> watch::Receiver<Vec<Finding>> {
    let (sender, receiver) = watch::channel(Vec::new());
    if !interval.is_zero() {
        let checks = BackgroundChecks { runtime: runtime.clone(), interval, sender, logged: String::new() };
        tokio::spawn(async move {
            stop.run_until_cancelled(checks.repeat()).await;
        });
    }
    receiver
}

struct BackgroundChecks {
    runtime: Runtime,
    interval: Duration,
    sender: watch::Sender<Vec<Finding>>,
    /// Why nothing is checked, as it was logged last.
    logged: String,
}

impl BackgroundChecks {
    async fn repeat(mut self) {
        let mut pause = self.interval;
        loop {
            tokio::time::sleep(pause).await;
            let begin = Instant::now();
            let mut waited = Duration::ZERO;
            let found = match self.read().await {
                Some(found) if has_news(&found, &self.sender.borrow()) => {
                    tokio::time::sleep(CONFIRM).await;
                    waited = CONFIRM;
                    self.read().await.map(|again| confirmed(found, &again))
                }
                found => found,
            };
            // What could not be read is not known to be well.
            if let Some(found) = found {
                self.sender.send_if_modified(|sent| {
                    let is_other = *sent != found;
                    *sent = found;
                    is_other
                });
            }
            pause = self.interval.max(begin.elapsed().saturating_sub(waited) * PART);
        }
    }

    /// `None` where it cannot be read. Why is logged once; that FRR does not answer is a finding of the controller.
    async fn read(&mut self) -> Option<Vec<Finding>> {
        let status = publish::read(&self.runtime.status()).ok().flatten()?;
        if is_large(&status.sessions) {
            self.log_once(format!(
                "this router has more than {MOST_SESSIONS} sessions or {MOST_PREFIXES} prefixes: only `perouter check` examines its \
                 routes"
            ));
            return Some(Vec::new());
        }
        match facts::read(&self.runtime).await {
            Ok(read) if read.facts.is_routing_silent() => None,
            Ok(read) => {
                self.log_once(read.warnings.join("; "));
                Some(check::of_tables(&read.facts))
            }
            Err(error) => {
                self.log_once(format!("routes are not checked: {error:#}"));
                None
            }
        }
    }

    fn log_once(&mut self, text: String) {
        if self.logged != text {
            if !text.is_empty() {
                tracing::warn!("{text}");
            }
            self.logged = text;
        }
    }
}

fn is_large(sessions: &[SessionState]) -> bool {
    let prefixes = sessions.iter().flat_map(|session| session.prefixes.values()).map(|counts| counts.received);
    sessions.len() > MOST_SESSIONS || prefixes.sum::<u64>() > MOST_PREFIXES
}

type FindingKey<'a> = (FindingKind, &'a Place, &'a str);

fn key(finding: &Finding) -> FindingKey<'_> {
    (finding.kind, &finding.place, &finding.what)
}

fn keys(findings: &[Finding]) -> BTreeSet<FindingKey<'_>> {
    findings.iter().map(key).collect()
}

/// Whether something is found that was not before.
fn has_news(found: &[Finding], before: &[Finding]) -> bool {
    let known = keys(before);
    found.iter().any(|finding| !known.contains(&key(finding)))
}

/// What both reads have, as the last one has it.
fn confirmed(found: Vec<Finding>, again: &[Finding]) -> Vec<Finding> {
    let again = keys(again);
    found.into_iter().filter(|finding| again.contains(&key(finding))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::finding::{Area, FindingSeverity};
    use crate::frr::show::session::{Prefixes, SessionPhase};

    fn finding(vtep: &str) -> Finding {
        let place = Place { vtep: vtep.parse().ok(), ..Place::default() };
        Finding::new(FindingSeverity::Error, Area::Evpn, FindingKind::VtepUnreachable, "no route").at(place)
    }

    fn session(received: u64) -> SessionState {
        SessionState {
            vrf: None,
            peer: "192.168.11.2".into(),
            remote_as: None,
            phase: SessionPhase::Established,
            since: None,
            established: 1,
            messages: 0,
            prefixes: [("l2VpnEvpn".to_owned(), Prefixes { received, sent: 0 })].into(),
        }
    }

    #[test]
    fn what_both_reads_have_counts() {
        let [first, second, third] = ["100.64.0.1", "100.64.0.2", "100.64.0.3"].map(finding);
        let found = vec![first.clone(), second.clone()];
        assert_eq!(confirmed(found.clone(), &[second.clone(), third]), std::slice::from_ref(&second));
        assert!(has_news(&found, std::slice::from_ref(&first)));
        assert!(!has_news(std::slice::from_ref(&second), &found));
        assert!(!has_news(&[], &found));
    }

    #[test]
    fn a_router_is_large_by_its_sessions_or_by_its_prefixes() {
        assert!(!is_large(&vec![session(50); MOST_SESSIONS]));
        assert!(is_large(&vec![session(0); MOST_SESSIONS + 1]));
        assert!(is_large(&[session(MOST_PREFIXES), session(1)]));
    }
}
