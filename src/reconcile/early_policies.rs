//! Policies that bgpd gets while other steps run: they need nothing else, and bgpd takes its time over them. In: batches.
//! Out: the answers, when all else is done. Decides nothing.

use std::pin::pin;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use crate::frr::client::port::{RejectedCommand, Routing, RoutingError};
use crate::frr::config::batch::CommandBatch;

/// A batch and its answer.
pub(super) type PolicyAnswer = (CommandBatch, Result<Vec<RejectedCommand>, RoutingError>);

/// Batches of policies in flight.
#[derive(Default)]
pub struct EarlyPolicies {
    begun: Vec<CommandBatch>,
    in_flight: FuturesUnordered<BoxFuture<'static, PolicyAnswer>>,
    answers: Vec<PolicyAnswer>,
}

impl EarlyPolicies {
    /// Begins to send a batch.
    pub(super) fn begin(&mut self, routing: &mut impl Routing, batch: CommandBatch) {
        self.begun.push(batch.clone());
        self.in_flight.push(routing.apply_concurrently(batch.clone()).map(|answer| (batch, answer)).boxed());
    }

    /// Whether a batch has been begun.
    pub(super) fn has(&self, batch: &CommandBatch) -> bool {
        self.begun.contains(batch)
    }

    /// Drives the batches in flight while something else is done.
    pub(super) async fn during<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                done = &mut other => return done,
                Some(answer) = self.in_flight.next() => self.answers.push(answer),
            }
        }
    }

    /// Waits for the answers that are outstanding and gives all.
    pub(super) async fn join(&mut self) -> Vec<PolicyAnswer> {
        while let Some(answer) = self.in_flight.next().await {
            self.answers.push(answer);
        }
        std::mem::take(&mut self.answers)
    }
}
