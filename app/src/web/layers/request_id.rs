//! The number of a request: in the answer, in the log, and on every error page.

use actix_web::{HttpMessage, HttpRequest};
use uuid::Uuid;

/// Ours, never one that the client made up: numbers in our log are ours.
#[derive(Clone)]
pub(super) struct RequestId(String);

impl RequestId {
    pub(super) fn new() -> Self {
        Self(Uuid::now_v7().simple().to_string())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The number of a request.
pub(crate) fn request_id(request: &HttpRequest) -> String {
    request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}
