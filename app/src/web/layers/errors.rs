//! Errors as the one who asked can use them: a page, or problem JSON; and what the log is told of them.

use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};

use super::request_id::request_id;
use crate::domain::Refusal;
use crate::error::AppError;
use crate::media::MediaError;
use crate::state::AppState;
use crate::web::api::problem;
use crate::web::http::negotiation::wants_json;
use crate::web::pages;

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
