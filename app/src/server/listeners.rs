//! The two addresses on which a replica answers: pages, and, for nobody but those who run it, metrics and what meters have counted.

use std::io;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use tokio::task::JoinHandle;

use crate::metrics::{Counted, OPENMETRICS};
use crate::service::reading;
use crate::state::AppState;
use crate::web::{app, sums};

/// Longer than any proxy in front keeps an idle connection (nginx: 60 s), so that it is always the proxy that closes
/// one, and never a request that meets a closed one.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// For a client to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The server of pages, which is not started yet.
pub(super) fn pages(state: &web::Data<AppState>) -> anyhow::Result<Server> {
    let (address, timeout) = (state.config.listen, state.config.shutdown_timeout);
    let (state, connections) = (state.clone(), state.metrics.client_connections.clone());
    let server = HttpServer::new(move || app(state.clone()))
        .on_connect(move |_, extensions| {
            extensions.insert(Counted::new(&connections));
        })
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        // The server begins to count when it is told to finish, which is later than the deadline is set. So it never
        // cuts a connection before the deadline does.
        .shutdown_timeout(timeout.as_secs())
        .disable_signals()
        .bind(address)
        .with_context(|| format!("TRIPTYCH_LISTEN: cannot listen on {address}"))?;
    Ok(server.run())
}

/// The server of metrics, which is not started yet.
pub(super) fn metrics(state: &web::Data<AppState>) -> anyhow::Result<Server> {
    let (state, address) = (state.clone(), state.config.metrics_listen);
    let private = move || {
        App::new()
            .app_data(state.clone())
            .app_data(web::PayloadConfig::new(sums::MOST_BYTES))
            .route("/metrics", web::get().to(metrics_text))
            .route("/traffic", web::post().to(sums::take))
    };
    let server = HttpServer::new(private)
        .workers(1)
        .disable_signals()
        .bind(address)
        .with_context(|| format!("TRIPTYCH_METRICS_LISTEN: cannot listen on {address}"))?;
    Ok(server.run())
}

async fn metrics_text(state: web::Data<AppState>) -> HttpResponse {
    let pool = state.pool.clone();
    // On the runtime that ends last, like everything that opens a connection.
    match state.runtime.spawn(async move { reading::post_numbers(&pool).await }).await {
        Ok(Ok(numbers)) => state.metrics.set_post_numbers(numbers),
        // The values of before are still about right.
        Ok(Err(error)) => tracing::debug!(%error, "the post numbers cannot be measured"),
        Err(error) => tracing::error!(%error, "measuring the post numbers"),
    }
    match state.metrics.encode(&state.pool) {
        Ok(text) => HttpResponse::Ok().insert_header((CONTENT_TYPE, OPENMETRICS)).body(text),
        Err(error) => HttpResponse::InternalServerError().body(format!("{error}\n")),
    }
}

/// A running server.
pub(super) struct Listener {
    name: &'static str,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Listener {
    pub(super) fn start(name: &'static str, server: Server) -> Self {
        Self { name, handle: server.handle(), task: tokio::spawn(server) }
    }

    /// Waits until it ends without having been told to, and says how. Once it has, this must not be asked again.
    pub(super) async fn ended(&mut self) -> String {
        let how = match (&mut self.task).await {
            Ok(Ok(())) => "nobody told it to".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        format!("the listener for {} ended: {how}", self.name)
    }

    /// Takes no new connection, closes those that are idle, and waits until the requests on all others are answered.
    pub(super) async fn finish(&self) {
        self.handle.stop(true).await;
    }

    /// Closes every connection, whatever is on it.
    pub(super) fn cut(&self) {
        // The server cuts its connections when it is dropped.
        self.task.abort();
    }
}
