//! The checks that need the tables of FRR and of the host, at intervals: the controller does not read those, and conditions, metrics
//! and alerts are to show what they find. In: the paths of the router. Out: findings that two reads in a row have. Changes nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::facts;
use crate::diagnose::finding::{FindingKind, Place};
use crate::diagnose::{Finding, check};
use crate::runtime::Runtime;
use crate::status::{NodeStatus, publish};

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
        let runtime = runtime.clone();
        tokio::spawn(async move {
            stop.run_until_cancelled(repeat(&runtime, interval, sender)).await;
        });
    }
    receiver
}

async fn repeat(runtime: &Runtime, interval: Duration, sender: watch::Sender<Vec<Finding>>) {
    let mut was_large = false;
    let mut pause = interval;
    loop {
        tokio::time::sleep(pause).await;
        let status = publish::read(&runtime.status()).ok().flatten();
        let is_large = status.as_ref().is_some_and(is_large);
        if is_large && !was_large {
            tracing::info!(
                most_sessions = MOST_SESSIONS,
                most_prefixes = MOST_PREFIXES,
                "this router is too large for checks of routes in the background: `perouter check` has them"
            );
        }
        was_large = is_large;
        let begin = Instant::now();
        let found = if is_large || status.is_none() { Vec::new() } else { read(runtime).await };
        pause = interval.max(begin.elapsed() * PART);
        let known = keys(&sender.borrow());
        let found = if found.iter().all(|finding| known.contains(&key(finding))) {
            found
        } else {
            tokio::time::sleep(CONFIRM).await;
            let again = keys(&read(runtime).await);
            found.into_iter().filter(|finding| again.contains(&key(finding))).collect()
        };
        sender.send_if_modified(|sent| {
            let is_other = *sent != found;
            *sent = found;
            is_other
        });
    }
}

fn is_large(status: &NodeStatus) -> bool {
    let prefixes = |session: &crate::frr::show::session::SessionState| -> u64 {
        session.prefixes.values().map(|counts| counts.received).sum()
    };
    status.sessions.len() > MOST_SESSIONS || status.sessions.iter().map(prefixes).sum::<u64>() > MOST_PREFIXES
}

/// None where FRR does not answer: the controller says that.
async fn read(runtime: &Runtime) -> Vec<Finding> {
    match facts::read(runtime).await {
        Ok(read) if !read.facts.is_routing_silent() => {
            read.warnings.iter().for_each(|warning| tracing::debug!("{warning}"));
            check::of_tables(&read.facts)
        }
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::debug!("routes are not checked: {error:#}");
            Vec::new()
        }
    }
}

fn key(finding: &Finding) -> (FindingKind, Place) {
    (finding.kind, finding.place.clone())
}

fn keys(findings: &[Finding]) -> BTreeSet<(FindingKind, Place)> {
    findings.iter().map(key).collect()
}
