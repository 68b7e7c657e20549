//! What is counted and logged of every request. Never its path, its query or an address: what a visitor looks at is
//! nobody's business.

use std::time::Instant;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use tracing::{Level, Span, field};

use super::request_id::{RequestId, Text};
use crate::metrics::{RequestLabels, RouteLabels};
use crate::state::AppState;

/// The span that every line in the log about this request carries: which request, and what kind.
pub(super) fn span(request: &ServiceRequest, id: RequestId, state: &AppState) -> Span {
    tracing::info_span!(
        "request",
        request_id = id.as_str(&mut Text::default()),
        replica = state.config.replica,
        method = counted(request.method()),
        route = field::Empty,
    )
}

pub(super) fn report(response: &ServiceResponse, state: &AppState, started: Instant) {
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let (method, status, elapsed) = (counted(request.method()), response.status().as_u16(), started.elapsed());
    // Only this line tells the route, and to write it into the span takes longer than all of the counting.
    if tracing::enabled!(Level::DEBUG) {
        Span::current().record("route", route.as_str());
        tracing::debug!(status, milliseconds = elapsed.as_secs_f64() * 1000.0, "answered");
    }
    let labels = RequestLabels { route, method, status };
    state.metrics.requests.get_or_create(&labels).inc();
    state.metrics.duration.get_or_create(&RouteLabels { route: labels.route }).observe(elapsed.as_secs_f64());
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

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::web;

    use super::*;
    use crate::config::ServeConfig;
    use crate::web::app;

    #[actix_web::test]
    async fn a_request_is_counted_by_the_whole_pattern_of_its_route() {
        let state = web::Data::new(AppState::new(ServeConfig::read(&crate::config::out_of_reach).unwrap()).unwrap());
        let app = init_service(app(state.clone())).await;
        for (method, path, route, counted, status) in [
            (Method::GET, "/livez", "/livez", "GET", 200),
            (Method::HEAD, "/b/thread/17", "/{board:[a-z0-9]{1,16}}/thread/{no:[0-9]+}", "HEAD", 301),
            (Method::GET, "/b", "/{board:[a-z0-9]{1,16}}", "GET", 301),
            (Method::GET, "/b/post", "/{board:[a-z0-9]{1,16}}/post", "GET", 405),
            (Method::TRACE, "/livez", "/livez", "other", 405),
            (Method::GET, "/b/nothing/here", "none", "GET", 404),
            (Method::GET, "/B/", "none", "GET", 404),
        ] {
            let response = call_service(&app, TestRequest::with_uri(path).method(method).to_request()).await;
            assert_eq!(response.status(), status, "{path}");
            let labels = RequestLabels { route: route.to_owned(), method: counted, status };
            assert!(state.metrics.requests.get(&labels).is_some(), "{path} is not counted as {labels:?}");
            assert!(state.metrics.duration.get(&RouteLabels { route: route.to_owned() }).is_some(), "{path}");
        }
    }
}
