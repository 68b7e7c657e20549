//! Errors as the one who asked can use them: a page, or problem JSON; and what the log is told of them.

use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};

use super::request_id::request_id;
use crate::domain::{Refusal, RefusalKind};
use crate::error::AppError;
use crate::media::MediaError;
use crate::state::AppState;
use crate::web::api::problem;
use crate::web::http::caching::CachePolicy;
use crate::web::http::negotiation::wants_json;
use crate::web::pages;

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

    /// Only seen when [`in_form_asked_for`] could not render something better.
    fn error_response(&self) -> HttpResponse {
        problem::answer(self, "")
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

/// Replaces an error that has no page yet.
pub(super) fn in_form_asked_for(response: ServiceResponse, state: &AppState) -> ServiceResponse {
    let status = response.status();
    let error = match response.response().error() {
        Some(error) => error.as_error::<AppError>().cloned().unwrap_or_else(|| of_status(status)),
        None => return response,
    };
    log(&error);
    let answer = render(response.request(), state, &error);
    response.into_response(answer)
}

fn render(request: &HttpRequest, state: &AppState, error: &AppError) -> HttpResponse {
    if wants_json(request) {
        return problem::answer(error, &request_id(request));
    }
    pages::error::answer(request, state, error, None)
}

/// Logs what an operator has to know of, once. The span of the request says which one it was.
pub(crate) fn log(error: &AppError) {
    match error {
        AppError::Refused(_) => {}
        // What a decoder said helps to tell a broken picture from a broken decoder.
        AppError::PictureRefused {
            error: MediaError::DecoderPanicked { .. } | MediaError::ThumbnailFailed { .. },
            ..
        } => {
            tracing::error!("{error}");
        }
        AppError::PictureRefused { .. } => tracing::info!("{error}"),
        AppError::Unavailable { .. } | AppError::OutcomeUnknown(_) => tracing::warn!("{error}"),
        AppError::Internal(_) => tracing::error!("{error}"),
    }
}

/// What actix refused by itself, in our words.
fn of_status(status: StatusCode) -> AppError {
    match status.as_u16() {
        404 => Refusal::NothingHere.into(),
        413 => Refusal::RequestTooLarge.into(),
        400..=499 => Refusal::MalformedRequest.into(),
        _ => AppError::Internal(format!("answered with {status}")),
    }
}
