//! The number of a request: in the answer, in the log, and on every error page.

use actix_web::http::header::HeaderValue;
use actix_web::{HttpMessage, HttpRequest};
use uuid::Uuid;
use uuid::fmt::Simple;

/// Ours, never one that the client made up: numbers in our log are ours.
#[derive(Clone, Copy)]
pub(super) struct RequestId(Simple);

/// Room for the number as text.
pub(super) type Text = [u8; Simple::LENGTH];

impl RequestId {
    pub(super) fn new() -> Self {
        Self(Uuid::now_v7().simple())
    }

    /// The number as it is written everywhere.
    pub(super) fn as_str(self, text: &mut Text) -> &str {
        self.0.encode_lower(text)
    }

    pub(super) fn text(self) -> String {
        self.0.to_string()
    }

    pub(super) fn header(self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.as_str(&mut Text::default())).ok()
    }
}

/// The number of a request.
pub(crate) fn request_id(request: &HttpRequest) -> String {
    request.extensions().get::<RequestId>().map(|id| id.text()).unwrap_or_default()
}
