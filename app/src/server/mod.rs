//! A running replica: two listeners, a schema and a bucket that are waited for, and an orderly end.

mod budget;
mod counting;
mod ending;
mod forgetting;
mod listeners;
mod open_files;
mod verification;

use actix_web::web;

use crate::config::ServeConfig;
use crate::signals::Signals;
use crate::state::AppState;
use listeners::Listener;

/// Serves until SIGTERM or SIGINT, then drains and ends.
///
/// # Errors
/// An address that cannot be listened on. A listener or a background task that died, once the replica has ended in good
/// order: whoever started it has to start another.
pub async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    let signals = Signals::new()?;
    open_files::raise_limit(config.streams);
    let state = web::Data::new(AppState::new(config)?);
    let (pages, metrics) = (listeners::pages(&state)?, listeners::metrics(&state)?);
    run(state, Listener::start("pages", pages), Listener::start("metrics", metrics), signals).await
}

async fn run(
    state: web::Data<AppState>,
    mut pages: Listener,
    mut metrics: Listener,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let lifecycle = &state.lifecycle;
    lifecycle.supervise("verification", |stopping| verification::verify(state.clone(), stopping));
    lifecycle.supervise("forgetting", |stopping| forgetting::forget(state.clone(), stopping));
    lifecycle.supervise("counting traffic", |stopping| counting::hand_on(state.clone(), stopping));
    lifecycle.supervise("the budget of traffic", |stopping| budget::watch(state.clone(), stopping));
    let (listen, metrics_listen) = (state.config.listen, state.config.metrics_listen);
    tracing::info!(replica = state.config.replica, %listen, %metrics_listen, "serving");

    tokio::select! {
        () = signals.next() => {}
        () = lifecycle.failed() => {}
        how = pages.ended() => lifecycle.fail(how),
        how = metrics.ended() => lifecycle.fail(how),
    }
    ending::end(&state, &pages, &metrics, &mut signals).await;
    if let Some(failure) = lifecycle.failure() {
        anyhow::bail!("{failure}");
    }
    tracing::info!("stopped");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Fails instead of waiting for ever.
    async fn soon<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(30), work).await.unwrap()
    }

    /// The state of a replica that reaches no server and ends quickly.
    fn state() -> web::Data<AppState> {
        let variables = |name: &str| match name {
            "TRIPTYCH_LISTEN" | "TRIPTYCH_METRICS_LISTEN" => Some("127.0.0.1:0".to_owned()),
            "TRIPTYCH_DRAIN_DELAY" => Some("0s".to_owned()),
            other => crate::config::out_of_reach(other),
        };
        web::Data::new(AppState::new(ServeConfig::read(&variables).unwrap()).unwrap())
    }

    fn listen(state: &web::Data<AppState>) -> (Listener, Listener) {
        let (pages, metrics) = (listeners::pages(state).unwrap(), listeners::metrics(state).unwrap());
        (Listener::start("pages", pages), Listener::start("metrics", metrics))
    }

    #[tokio::test]
    async fn a_replica_whose_background_task_dies_ends_in_good_order_with_a_failure() {
        let state = state();
        let (pages, metrics) = listen(&state);
        state.lifecycle.supervise("unlucky", |_| async { panic!("a defect") });
        let post = state.tasks.spawn({
            let draining = state.lifecycle.draining().clone();
            async move { draining.cancelled().await }
        });
        let error = soon(run(state.clone(), pages, metrics, Signals::new().unwrap())).await.unwrap_err();
        assert_eq!(error.to_string(), "the background task \"unlucky\" panicked");
        assert!(post.is_finished(), "posts that are being made are finished first");
        assert!(state.lifecycle.background_tasks().is_empty());
        assert!(state.pool.is_closed());
    }

    #[tokio::test]
    async fn a_replica_whose_listener_dies_ends_with_a_failure() {
        for dying in ["pages", "metrics"] {
            let state = state();
            let (pages, metrics) = listen(&state);
            let died = if dying == "pages" { &pages } else { &metrics };
            died.cut();
            let error = soon(run(state, pages, metrics, Signals::new().unwrap())).await.unwrap_err().to_string();
            assert!(error.starts_with(&format!("the listener for {dying} ended: ")), "{error}");
        }
    }

    #[tokio::test]
    async fn a_replica_that_can_check_no_version_any_more_has_a_failure() {
        let state = state();
        let lifecycle = state.lifecycle.clone();
        // Nobody is left who could ask, so the task that answers ends.
        drop(state);
        soon(lifecycle.failed()).await;
        assert_eq!(lifecycle.failure(), Some("the background task \"version checks\" ended"));
    }
}
