//! What is counted and logged of every request, and what of its trace is sent. Never its path, its query or an address: what
//! a visitor looks at is nobody's business.

use std::time::{Duration, Instant};

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::web::Data;
use tracing::{Level, Span, field};

use super::request_id::{RequestId, Text};
use crate::metrics::{RequestLabels, RouteLabels, WaitLabels};
use crate::state::AppState;
use crate::trace::context::{self, Context, Parent};
use crate::trace::waits::{self, Wait};
use crate::trace::{Finished, time_of};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A line about a request, with everything that it has waited for.
macro_rules! log_line {
    ($level:ident, $status:expr, $took:expr, $message:literal) => {{
        let waits = waits::so_far();
        let ms = |wait| waits.as_ref().and_then(|waits| waits.milliseconds(wait));
        tracing::$level!(
            status = $status,
            milliseconds = $took.as_secs_f64() * 1000.0,
            body_ms = ms(Wait::Body),
            memory_ms = ms(Wait::Memory),
            feed_ms = ms(Wait::Feed),
            version_ms = ms(Wait::Version),
            page_ms = ms(Wait::Page),
            pool_ms = ms(Wait::Pool),
            database_ms = ms(Wait::Database),
            writer_ms = ms(Wait::Writer),
            turn_ms = ms(Wait::Turn),
            inspection_ms = ms(Wait::Inspection),
            decoder_queue_ms = ms(Wait::DecoderQueue),
            decoding_ms = ms(Wait::Decoding),
            bucket_ms = ms(Wait::Bucket),
            s3_put_ms = ms(Wait::StorePut),
            s3_get_ms = ms(Wait::StoreGet),
            s3_delete_ms = ms(Wait::StoreDelete),
            commit_wait_ms = ms(Wait::CommitWait),
            $message
        );
    }};
}

/// A request that is being answered. Whoever asked may go away before it is: then it is told when this is dropped.
pub(super) struct Open {
    state: Data<AppState>,
    id: RequestId,
    context: Context,
    method: &'static str,
    started: Instant,
    is_answered: bool,
}

impl Open {
    /// Of a request that has just come.
    pub(super) fn begin(request: &ServiceRequest, id: RequestId, state: &Data<AppState>, started: Instant) -> Self {
        let context = state.traces.begin(parent(request.headers()), super::is_probe(request.path()));
        let method = counted(request.method());
        Self { state: state.clone(), id, context, method, started, is_answered: false }
    }

    /// The span that every line in the log about this request carries: which request, of which trace, and what kind.
    pub(super) fn span(&self) -> Span {
        // Of this level, so that it is there whatever is logged: a warning without it says nothing.
        tracing::error_span!(
            "request",
            request_id = self.id.as_str(&mut Text::default()),
            trace_id = self.context.trace.as_str(&mut context::Text::default()),
            span_id = self.context.span.as_str(&mut context::Text::default()),
            replica = self.state.config.replica,
            method = self.method,
            route = field::Empty,
        )
    }

    /// Whether all that it waits for is kept.
    pub(super) fn is_recorded(&self) -> bool {
        self.context.sampled && self.state.traces.is_exporting()
    }

    /// Counts it, logs it, and hands it on.
    pub(super) fn answered(mut self, response: &ServiceResponse) {
        self.is_answered = true;
        let request = response.request();
        let route = request.match_pattern();
        let (status, took) = (response.status().as_u16(), self.started.elapsed());
        let is_slow = took >= self.state.traces.slow;
        // Only these lines tell the route, and to write it into the span takes longer than all of the counting.
        if is_slow || tracing::enabled!(Level::DEBUG) {
            Span::current().record("route", route.as_deref().unwrap_or(NO_ROUTE));
            if is_slow {
                log_line!(warn, status, took, "slow request");
            } else {
                log_line!(debug, status, took, "answered");
            }
        }
        if self.is_recorded() {
            self.hand_on(route.clone(), Some(status), took);
        }
        let route = route.unwrap_or_else(|| NO_ROUTE.to_owned());
        let labels = RequestLabels { route, method: self.method, status };
        let metrics = &self.state.metrics;
        for (wait, waited) in waits::so_far().map(|waits| waits.ended()).unwrap_or_default() {
            metrics.waits.get_or_create(&WaitLabels { wait: wait.name() }).observe(waited.as_secs_f64());
        }
        metrics.requests.get_or_create(&labels).inc();
        metrics.duration.get_or_create(&RouteLabels { route: labels.route }).observe(took.as_secs_f64());
    }

    fn hand_on(&self, route: Option<String>, status: Option<u16>, took: Duration) {
        self.state.traces.hand_on(Finished {
            context: self.context,
            request_id: self.id.text(),
            method: self.method,
            route,
            status,
            begun: time_of(self.started),
            took,
            steps: waits::so_far().map(|waits| waits.take_steps()).unwrap_or_default(),
        });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let took = self.started.elapsed();
        if took >= self.state.traces.slow {
            log_line!(warn, field::Empty, took, "slow request, given up by whoever asked");
        }
        if self.is_recorded() {
            self.hand_on(None, None, took);
        }
    }
}

/// What is said of a request that is for no route.
const NO_ROUTE: &str = "none";

/// The trace that a request says it belongs to. One that says so twice says nothing.
fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT);
    let value = values.next()?;
    if values.next().is_some() { None } else { Parent::parse(value.as_bytes()) }
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

    use super::*;
    use crate::config::ServeConfig;
    use crate::web::app;

    #[actix_web::test]
    async fn a_request_is_counted_by_the_whole_pattern_of_its_route() {
        let state = Data::new(AppState::new(ServeConfig::read(&crate::config::out_of_reach).unwrap()).unwrap());
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
