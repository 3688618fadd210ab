//! Looks at FRR that somebody asks for: between changes nobody looks, and who comes to see the state shall find it fresh.
//! In: who asks, and when a look was over. Out: the wait for it. Looks at nothing itself.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// What was seen so long ago is seen anew for who asks.
const FRESH: Duration = Duration::from_secs(2);
/// While a pass is long, what is known is told.
const LIMIT: Duration = Duration::from_secs(1);

/// The looks of one controller.
#[derive(Debug)]
pub struct Looks {
    wanted: Notify,
    last: watch::Sender<Option<Instant>>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { wanted: Notify::new(), last: watch::Sender::new(None) }
    }
}

impl Looks {
    /// Returns when the last look was a moment ago, or was asked for and does not come. Before the first look there is
    /// nothing to see.
    pub async fn fresh(&self) {
        let mut last = self.last.subscribe();
        let old = last.borrow_and_update().is_some_and(|at| at.elapsed() >= FRESH);
        if old {
            self.wanted.notify_one();
            // In vain or not: what is known is told.
            let _ = timeout(LIMIT, last.changed()).await;
        }
    }

    /// Waits until somebody asks.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// A look is over.
    pub fn done(&self) {
        self.last.send_replace(Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_is_old_is_looked_at_anew() {
        let looks = Looks::default();
        let start = Instant::now();
        looks.fresh().await;
        looks.done();
        looks.fresh().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::time::advance(FRESH).await;
        let (start, answer) = (Instant::now(), async {
            looks.wanted().await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            looks.done();
        });
        tokio::join!(looks.fresh(), answer);
        assert_eq!(start.elapsed(), Duration::from_millis(30));
        tokio::time::advance(FRESH).await;
        let start = Instant::now();
        looks.fresh().await;
        assert!(start.elapsed() >= LIMIT);
    }
}
