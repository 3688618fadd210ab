//! Requests to read FRR now: between changes nobody reads it, and who queries the state expects a fresh one. In: requests,
//! and the end of each refresh. Out: the wait for it. Reads nothing itself.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// A status that is older is refreshed on request.
const MAX_AGE: Duration = Duration::from_secs(2);
/// Longer waits, during a long reconcile pass, end with the status that is known.
const LIMIT: Duration = Duration::from_secs(1);

/// The refreshes of one controller.
#[derive(Debug)]
pub struct Refresh {
    requests: Notify,
    last: watch::Sender<Option<Instant>>,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { requests: Notify::new(), last: watch::Sender::new(None) }
    }
}

impl Refresh {
    /// Returns when the status is fresh, or when a refresh was requested and takes too long. Before the first status there
    /// is nothing to refresh.
    pub async fn ensure_fresh(&self) {
        let mut last = self.last.subscribe();
        let is_old = last.borrow_and_update().is_some_and(|at| at.elapsed() >= MAX_AGE);
        if is_old {
            self.requests.notify_one();
            // Either way the known status is served.
            let _ = timeout(LIMIT, last.changed()).await;
        }
    }

    /// Waits for a request.
    pub async fn requested(&self) {
        self.requests.notified().await;
    }

    /// A refresh is complete.
    pub fn done(&self) {
        self.last.send_replace(Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_an_old_status_is_refreshed() {
        let refresh = Refresh::default();
        let start = Instant::now();
        refresh.ensure_fresh().await;
        refresh.done();
        refresh.ensure_fresh().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::time::advance(MAX_AGE).await;
        let (start, answer) = (Instant::now(), async {
            refresh.requested().await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            refresh.done();
        });
        tokio::join!(refresh.ensure_fresh(), answer);
        assert_eq!(start.elapsed(), Duration::from_millis(30));
        tokio::time::advance(MAX_AGE).await;
        let start = Instant::now();
        refresh.ensure_fresh().await;
        assert!(start.elapsed() >= LIMIT);
    }
}
