//! SIGTERM and SIGINT. In: nothing. Out: a token that the first of them cancels.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The token; `then` is run before it is cancelled.
pub fn stop_signal(then: impl FnOnce() + Send + 'static) -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let token = stop.clone();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        then();
        token.cancel();
    });
    Ok(stop)
}
