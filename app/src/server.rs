//! A running replica: two listeners, a schema that is waited for, and an orderly end.

use std::time::Duration;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::ServeConfig;
use crate::db;
use crate::db::versions::Subject;
use crate::error::AppError;
use crate::service::{configuring, reading};
use crate::state::AppState;
use crate::web::app;

/// Longer than any proxy in front keeps an idle connection (nginx: 60 s), so that it is always the proxy that closes
/// one, and never a request that meets a closed one.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// For a client to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For Postgres to say goodbye. Nothing is lost when it does not.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at a schema that is not there yet.
const SCHEMA_RETRY: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or SIGINT, then drains and ends.
///
/// # Errors
/// An address that cannot be listened on, or a listener that broke.
pub async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (listen, metrics_listen) = (config.listen, config.metrics_listen);
    let (drain_delay, shutdown_timeout) = (config.drain_delay, config.shutdown_timeout);
    let state = web::Data::new(AppState::new(config)?);

    let for_pages = state.clone();
    let pages = HttpServer::new(move || app(for_pages.clone()))
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(shutdown_timeout.as_secs())
        .disable_signals()
        .bind(listen)
        .with_context(|| format!("TRIPTYCH_LISTEN: cannot listen on {listen}"))?
        .run();
    let for_metrics = state.clone();
    let metrics = HttpServer::new(move || {
        App::new().app_data(for_metrics.clone()).route("/metrics", web::get().to(metrics_text))
    })
    .workers(1)
    .shutdown_timeout(1)
    .disable_signals()
    .bind(metrics_listen)
    .with_context(|| format!("TRIPTYCH_METRICS_LISTEN: cannot listen on {metrics_listen}"))?
    .run();

    let (stop_pages, stop_metrics) = (pages.handle(), metrics.handle());
    let mut pages = tokio::spawn(pages);
    let metrics = tokio::spawn(metrics);
    tokio::spawn(verify_schema(state.clone()));
    tracing::info!(replica = state.config.replica, %listen, %metrics_listen, "serving");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut pages => {
            ended??;
            anyhow::bail!("the server ended by itself");
        }
    }
    // First say so and go on serving: whoever balances the load needs a moment to notice, and every answer from now
    // on closes its connection. A second signal ends the waiting.
    tracing::info!(seconds = drain_delay.as_secs(), "draining");
    state.readiness.drain();
    tokio::select! {
        () = tokio::time::sleep(drain_delay) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop_pages.stop(true).await;
    pages.await??;
    // Posts whose sender went away are still being made.
    state.tasks.close();
    if tokio::time::timeout(shutdown_timeout, state.tasks.wait()).await.is_err() {
        tracing::warn!(posts = state.tasks.len(), "posts were still being made when the time was over");
    }
    stop_metrics.stop(false).await;
    metrics.await??;
    if tokio::time::timeout(CLOSE_TIMEOUT, state.pool.close()).await.is_err() {
        tracing::warn!("Postgres did not let go of every connection");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the database has the schema that this binary needs, and makes the replica ready.
async fn verify_schema(state: web::Data<AppState>) {
    let mut told = String::new();
    loop {
        let objection = match prepare(&state).await {
            Ok(true) => break,
            Ok(false) => "the schema is older than this binary; run `triptych migrate`".to_owned(),
            Err(error) => error.to_string(),
        };
        if objection != told {
            tracing::warn!("not ready: {objection}");
            told = objection;
        }
        tokio::time::sleep(SCHEMA_RETRY).await;
    }
    state.readiness.schema_is_verified();
    tracing::info!("ready");
}

/// Whether the schema is there; then also the boards are at hand, so that from the first moment a refused post can
/// come back in its form, whatever happens to the database.
async fn prepare(state: &AppState) -> Result<bool, AppError> {
    let mut connection = state.pool.acquire().await?;
    if !db::in_time(db::schema_is_current(&mut connection)).await? {
        return Ok(false);
    }
    drop(connection);
    configuring::show_face(&state.pool, &state.face).await?;
    if let Some(version) = state.versions.check(Subject::Site).await? {
        state.boards.at(version.site).await?;
    }
    Ok(true)
}

async fn metrics_text(state: web::Data<AppState>) -> HttpResponse {
    let pool = state.pool.clone();
    // On the runtime that ends last, like everything that opens a connection.
    match state.runtime.spawn(async move { reading::post_numbers(&pool).await }).await {
        Ok(Ok(numbers)) => state.metrics.set_post_numbers(numbers),
        // What was read before still is about right.
        Ok(Err(error)) => tracing::debug!(%error, "the post numbers cannot be measured"),
        Err(error) => tracing::error!(%error, "measuring the post numbers"),
    }
    match state.metrics.encode(&state.pool) {
        Ok(text) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8"))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(format!("{error}\n")),
    }
}
