//! What the meter tells Prometheus.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::domain::traffic::{Sum, Tier};
use crate::metrics::{OPENMETRICS, TrafficMetrics};

/// Counters. What passed is as of the last time that sums were made.
#[derive(Debug)]
pub(super) struct Metrics {
    traffic: TrafficMetrics,
    full: Counter,
    malformed: Counter,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("triptych");
        let (full, malformed) = (Counter::default(), Counter::default());
        registry.register("meter_full", "Times that no room was left for lines of nginx", full.clone());
        registry.register("meter_lines_malformed", "Lines that cannot be read", malformed.clone());
        Self { traffic: TrafficMetrics::registered(&mut registry), full, malformed, registry }
    }
}

impl Metrics {
    pub(super) fn add(&self, sums: &[Sum<String>]) {
        for sum in sums {
            self.traffic.add(Tier::Web, sum.kind, sum.amount);
        }
    }

    pub(super) fn full(&self) {
        self.full.inc();
    }

    pub(super) fn malformed(&self) {
        self.malformed.inc();
    }

    fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Serves them.
pub(super) fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> anyhow::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        let metrics = Arc::clone(&metrics);
        App::new().route("/metrics", web::get().to(move || std::future::ready(text(&metrics))))
    });
    let server = server.workers(1).disable_signals().bind(address);
    Ok(server.with_context(|| format!("TRIPTYCH_METER_METRICS_LISTEN: cannot listen on {address}"))?.run())
}

fn text(metrics: &Metrics) -> HttpResponse {
    match metrics.encode() {
        Ok(text) => HttpResponse::Ok().insert_header((CONTENT_TYPE, OPENMETRICS)).body(text),
        Err(error) => HttpResponse::InternalServerError().body(format!("{error}\n")),
    }
}
