//! What happens to every request on its way in and out: a number, an answer even after a panic, errors as they were
//! asked for, headers that protect, counting, one line in the log.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ALLOW, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, web};
use futures_util::FutureExt as _;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::context::TokioContext;
use uuid::Uuid;

use super::errors;
use crate::error::AppError;
use crate::metrics::{Metrics, RequestLabels, RouteLabels};
use crate::state::AppState;

/// Only from ourselves, nothing inline, no frames, and forms go nowhere else.
const PAGE_POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                           form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// A picture that somebody opens by itself can do nothing at all, whatever its bytes look like.
const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// The methods that are possible at an address, which a 405 has to name (RFC 9110, section 15.5.6).
#[derive(Clone, Copy)]
pub(super) struct Allowed(pub(super) &'static str);

/// The number of a request, in the answer, the log, and on every error page.
#[derive(Clone)]
struct RequestId(String);

/// The number of a request.
pub(super) fn request_id(request: &HttpRequest) -> String {
    request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

pub(super) async fn edge(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let state = request.app_data::<web::Data<AppState>>().cloned();
    let Some(state) = state else { return next.call(request).await.map(ServiceResponse::map_into_boxed_body) };
    // Not one that the client made up: numbers in our log are ours.
    let id = Uuid::now_v7().simple().to_string();
    request.extensions_mut().insert(RequestId(id.clone()));

    let in_flight = InFlight::new(&state.metrics);
    // Connections to Postgres and S3 belong to the runtime in whose context they were opened. Workers have a runtime
    // each, and one that has nothing left to do at the end takes its own with it, while others still use those
    // connections: so all are opened in the runtime that ends last.
    let response = TokioContext::new(next.call(request), state.runtime.clone()).await?;
    drop(in_flight);
    let mut response = with_readable_error(response.map_into_boxed_body(), &state);
    set_headers(&mut response, &state, &id);
    report(&response, &state, &id, started);
    Ok(response)
}

/// Makes a panic an answer like any other error. Stands around the handlers and not around everything, because only
/// there a request can be kept for the answer.
pub(super) async fn survive_panics(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let kept = request.request().clone();
    if let Ok(response) = AssertUnwindSafe(next.call(request)).catch_unwind().await {
        return response.map(ServiceResponse::map_into_boxed_body);
    }
    let error = AppError::Internal("the handler panicked".to_owned());
    Ok(ServiceResponse::new(kept, HttpResponse::from_error(error)))
}

/// Counts a request for as long as it is being answered, also when its client goes away.
struct InFlight(Gauge);

impl InFlight {
    fn new(metrics: &Metrics) -> Self {
        metrics.in_flight.inc();
        Self(metrics.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Replaces an error that has no page yet.
fn with_readable_error(response: ServiceResponse, state: &AppState) -> ServiceResponse {
    let status = response.status();
    let error = match response.response().error() {
        Some(error) => error.as_error::<AppError>().cloned().unwrap_or_else(|| errors::of_status(status)),
        None => return response,
    };
    errors::log(response.request(), &error);
    let answer = errors::render(response.request(), state, &error);
    response.into_response(answer)
}

fn set_headers(response: &mut ServiceResponse, state: &AppState, id: &str) {
    let path = response.request().path();
    let of_pictures = path.starts_with("/media/") || path.starts_with("/thumb/");
    let status = response.status();
    // An error in place of a picture is one of our pages, which needs its style.
    let is_picture = of_pictures && !status.is_client_error() && !status.is_server_error();
    let policy = if is_picture { PICTURE_POLICY } else { PAGE_POLICY };
    if state.readiness.is_draining() {
        // Whoever keeps connections to us has to let go of them one by one, before all of them end at once.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let allowed = response.request().extensions().get::<Allowed>().copied();
    let headers = response.headers_mut();
    if let Some(Allowed(methods)) = allowed {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    if of_pictures && status == StatusCode::NOT_FOUND {
        // For nginx in front: to be kept in place of the picture, which then cannot come back, and asked about every
        // time, because the same picture may be posted again at any moment.
        headers.insert(HeaderName::from_static("x-accel-expires"), HeaderValue::from_static("@1"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    let mut insert = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    insert("x-request-id", id);
    insert("x-served-by", &state.config.replica);
}

fn report(response: &ServiceResponse, state: &AppState, id: &str, started: Instant) {
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let (method, status) = (request.method().as_str(), response.status().as_u16());
    let elapsed = started.elapsed();
    // Methods are whatever a client sends; a series for each would never end.
    let counted = if matches!(method, "GET" | "HEAD" | "POST" | "OPTIONS") { method } else { "other" };
    let labels = RequestLabels { route: route.clone(), method: counted.to_owned(), status };
    state.metrics.requests.get_or_create(&labels).inc();
    state.metrics.duration.get_or_create(&RouteLabels { route: route.clone() }).observe(elapsed.as_secs_f64());
    let milliseconds = elapsed.as_secs_f64() * 1000.0;
    // The route, not the path or the query: what a visitor looks at is nobody's business.
    tracing::debug!(
        request_id = id,
        replica = state.config.replica,
        method = counted,
        route,
        status,
        milliseconds,
        "request"
    );
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::http::header::{ACCEPT, CONTENT_TYPE};
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    use super::*;
    use crate::config::ServeConfig;

    async fn defective() -> &'static str {
        panic!("a defect")
    }

    #[actix_web::test]
    async fn a_panic_is_an_answer_like_any_other_error() {
        let state = web::Data::new(AppState::new(ServeConfig::read(&crate::config::out_of_reach).unwrap()).unwrap());
        let route = web::resource("/defect").route(web::get().to(defective)).wrap(from_fn(survive_panics));
        let app = init_service(App::new().app_data(state.clone()).service(route).wrap(from_fn(edge))).await;
        for (accept, content_type) in [("text/html", "text/html"), ("application/json", "application/problem+json")] {
            let request = TestRequest::with_uri("/defect").insert_header((ACCEPT, accept)).to_request();
            let response = call_service(&app, request).await;
            assert_eq!(response.status(), 500);
            assert!(response.headers().get(CONTENT_TYPE).unwrap().to_str().unwrap().starts_with(content_type));
            assert!(response.headers().contains_key(CONTENT_SECURITY_POLICY));
            let id = response.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned();
            let body = String::from_utf8(read_body(response).await.to_vec()).unwrap();
            assert!(body.contains(&id), "the number that is in the log is in the answer:\n{body}");
            assert!(!body.contains("a defect"), "what went wrong is not");
        }
        assert_eq!(state.metrics.in_flight.get(), 0);
    }
}
