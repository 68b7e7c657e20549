//! Alive, and ready.

use actix_web::{HttpResponse, web};

use super::http::caching::CachePolicy;
use crate::state::AppState;

/// The process answers. Looks at nothing, so that no outage elsewhere restarts it.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().insert_header(CachePolicy::Never.header()).content_type("text/plain").body("alive\n")
}

/// Requests may be sent here.
pub(super) async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let mut answer = match state.lifecycle.objection() {
        None => HttpResponse::Ok(),
        Some(_) => HttpResponse::ServiceUnavailable(),
    };
    let text = state.lifecycle.objection().unwrap_or("ready");
    answer.insert_header(CachePolicy::Never.header()).content_type("text/plain").body(format!("{text}\n"))
}
