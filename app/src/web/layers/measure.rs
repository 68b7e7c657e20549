//! What is counted and logged of every request. Never its path, its query or an address: what a visitor looks at is
//! nobody's business.

use std::time::Instant;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use tracing::{Span, field};

use super::request_id::RequestId;
use crate::metrics::{RequestLabels, RouteLabels};
use crate::state::AppState;

/// The span that every line in the log about this request carries: which request, and what kind.
pub(super) fn span(request: &ServiceRequest, id: &RequestId, state: &AppState) -> Span {
    tracing::info_span!(
        "request",
        request_id = id.as_str(),
        replica = state.config.replica,
        method = counted(request.method()),
        route = field::Empty,
    )
}

pub(super) fn report(response: &ServiceResponse, state: &AppState, started: Instant) {
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let (method, status) = (counted(request.method()), response.status().as_u16());
    let elapsed = started.elapsed();
    let labels = RequestLabels { route: route.clone(), method: method.to_owned(), status };
    state.metrics.requests.get_or_create(&labels).inc();
    state.metrics.duration.get_or_create(&RouteLabels { route: route.clone() }).observe(elapsed.as_secs_f64());
    let milliseconds = elapsed.as_secs_f64() * 1000.0;
    Span::current().record("route", route);
    tracing::debug!(status, milliseconds, "answered");
}

/// Methods are whatever a client sends; a series for each would never end.
fn counted(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
