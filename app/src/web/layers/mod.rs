//! What happens to every request on its way in and out, whatever it asks for: a number, an answer even after a panic,
//! errors in the form asked for, headers that protect, counting of requests and bytes, its trace, and a line in the log: at level debug,
//! or as a warning if it was slow.

pub(crate) mod errors;
mod headers;
mod measure;
pub(crate) mod panics;
pub(crate) mod request_id;
mod traffic;

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use tokio_util::context::TokioContext;
use tracing::Instrument as _;

pub(crate) use headers::AllowedMethods;
pub(crate) use traffic::BOARD;

use crate::metrics::Counted;
use crate::state::AppState;
use crate::trace::waits;
use crate::web::forms::close_if_unread;
use request_id::RequestId;
use traffic::Exchange;

/// Stands around everything else.
pub(super) async fn around(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let state = request.app_data::<web::Data<AppState>>().cloned();
    let Some(state) = state else { return next.call(request).await.map(ServiceResponse::map_into_boxed_body) };
    let id = RequestId::new();
    request.extensions_mut().insert(id);
    let exchange = Exchange::begin(&mut request, &state);
    let open = measure::Open::begin(&request, id, &state, started);
    let (span, is_recorded) = (open.span(), open.is_recorded());
    waits::of_request(started, is_recorded, async move {
        let in_flight = Counted::new(&state.metrics.in_flight);
        // Connections to Postgres and S3 belong to the runtime in whose context they were opened. Workers have a runtime
        // each, and one that has nothing left to do at the end takes its own with it, while others still use those
        // connections: so all are opened in the runtime that ends last.
        let response = TokioContext::new(next.call(request), state.runtime.clone()).await?;
        drop(in_flight);
        let response = errors::in_form_asked_for(response.map_into_boxed_body(), &state);
        let mut response = close_if_unread(response);
        headers::set(&mut response, &state, id);
        open.answered(&response);
        Ok(exchange.answered(response))
    })
    .instrument(span)
    .await
}

/// Whether nobody asks but who looks after the replica.
fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz")
}
