//! The status of each error, and the head of its answer.

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};

use super::http::caching::CachePolicy;
use crate::domain::RefusalKind;
use crate::error::AppError;
use crate::media::MediaError;

/// After how many seconds a client is asked to come back.
pub(crate) const RETRY_AFTER_SECONDS: u32 = 2;

impl ResponseError for AppError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Refused(refusal) => match refusal.kind() {
                RefusalKind::Malformed => StatusCode::BAD_REQUEST,
                RefusalKind::Forbidden => StatusCode::FORBIDDEN,
                RefusalKind::NotFound => StatusCode::NOT_FOUND,
                RefusalKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
                RefusalKind::TooSlow => StatusCode::REQUEST_TIMEOUT,
                RefusalKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                RefusalKind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                RefusalKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
                RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                // Not 503, which asks to come back in a moment: nothing should be sent again by itself (RFC 4918,
                // section 11.5).
                RefusalKind::Exhausted => StatusCode::INSUFFICIENT_STORAGE,
            },
            Self::PictureRefused {
                error: MediaError::UnknownFormat | MediaError::UnsupportedFormat { .. }, ..
            } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::PictureRefused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable { .. } | Self::OutcomeUnknown(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Never sent: `layers::errors` renders something better.
    fn error_response(&self) -> HttpResponse {
        head(self).finish()
    }
}

/// The head of an answer with this error.
pub(crate) fn head(error: &AppError) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(error.status_code());
    answer.insert_header(CachePolicy::Never.header());
    if error.status_code() == StatusCode::SERVICE_UNAVAILABLE {
        answer.insert_header((RETRY_AFTER, RETRY_AFTER_SECONDS.to_string()));
    }
    answer
}
