//! Headers of every answer: those that protect the visitor, and those that tell an operator where it came from.

use actix_web::HttpMessage as _;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{
    ALLOW, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{ConnectionType, StatusCode};

use super::request_id::RequestId;
use crate::state::AppState;

/// Only from ourselves, nothing inline, no frames, and forms go nowhere else.
const PAGE_POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                           form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// A picture that somebody opens by itself can do nothing at all, whatever its bytes look like.
const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// The methods that are possible at an address, which a 405 has to name (RFC 9110, section 15.5.6).
#[derive(Clone, Copy)]
pub(crate) struct AllowedMethods(pub(crate) &'static str);

pub(super) fn set(response: &mut ServiceResponse, state: &AppState, id: RequestId) {
    let path = response.request().path();
    let of_pictures = path.starts_with("/media/") || path.starts_with("/thumb/");
    let status = response.status();
    // An error in place of a picture is one of our pages, which needs its style.
    let is_picture = of_pictures && !status.is_client_error() && !status.is_server_error();
    let policy = if is_picture { PICTURE_POLICY } else { PAGE_POLICY };
    if state.lifecycle.is_draining() {
        // Whoever keeps connections to us has to let go of them one by one, before all of them end at once.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let allowed = response.request().extensions().get::<AllowedMethods>().copied();
    let headers = response.headers_mut();
    if let Some(AllowedMethods(methods)) = allowed {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    if of_pictures && status == StatusCode::NOT_FOUND {
        // For nginx in front: to be kept in place of the picture, which then cannot come back, and asked about every
        // time, because the same picture may be posted again at any moment.
        headers.insert(const { HeaderName::from_static("x-accel-expires") }, HeaderValue::from_static("@1"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(
        const { HeaderName::from_static("cross-origin-opener-policy") },
        HeaderValue::from_static("same-origin"),
    );
    if let Some(id) = id.header() {
        headers.insert(const { HeaderName::from_static("x-request-id") }, id);
    }
    if let Ok(replica) = HeaderValue::from_str(&state.config.replica) {
        headers.insert(const { HeaderName::from_static("x-served-by") }, replica);
    }
}
