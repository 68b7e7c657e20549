//! The orderly end of a replica. One deadline is set when it begins, and every step gets what is left until then:
//! whatever hangs, the process is gone in time. What was given up is logged.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::listeners::Listener;
use crate::signals::Signals;
use crate::state::AppState;

/// What requests and posts leave to the steps after them, which take no time at all unless something hangs.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// Ends everything but the process. A second signal ends the drain delay.
pub(super) async fn end(state: &AppState, pages: &Listener, metrics: &Listener, signals: &mut Signals) {
    let now = Instant::now();
    let (drain_delay, shutdown_timeout) = (state.config.drain_delay, state.config.shutdown_timeout);
    let deadline = now + shutdown_timeout;
    let deadline_of_requests = deadline - LAST_STEPS;

    // First say so and go on serving: whoever balances the load needs a moment to notice, and every answer from now
    // on closes its connection.
    tracing::info!(drain_delay = drain_delay.as_secs(), shutdown_timeout = shutdown_timeout.as_secs(), "draining");
    state.lifecycle.drain();
    tokio::select! {
        () = sleep_until(now + drain_delay) => {}
        () = signals.next() => {}
    }

    if timeout_at(deadline_of_requests, pages.finish()).await.is_err() {
        let (connections, requests) = (state.metrics.client_connections.get(), state.metrics.in_flight.get());
        tracing::warn!(connections, requests, "given up: connections whose requests have not been answered");
    }
    pages.cut();
    // Posts whose sender went away are still being made.
    state.tasks.close();
    if timeout_at(deadline_of_requests, state.tasks.wait()).await.is_err() {
        tracing::warn!(posts = state.tasks.len(), "given up: posts that were still being made");
    }

    if timeout_at(deadline, state.lifecycle.stop()).await.is_err() {
        tracing::warn!(tasks = ?state.lifecycle.background_tasks(), "given up: background tasks that did not end");
    }
    metrics.cut();
    if timeout_at(deadline, state.pool.close()).await.is_err() {
        tracing::warn!(connections = state.pool.size(), "given up: connections to Postgres that did not close");
    }
}
