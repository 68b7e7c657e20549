//! Errors as the one who asked can use them: a page, or problem JSON (RFC 9457).

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, REFERER, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError, web};
use serde::Serialize;
use url::Url;
use uuid::Uuid;

use super::edge::request_id;
use super::negotiate::{header, wants_json};
use super::views::ErrorPage;
use super::{api, form, pages};
use crate::domain::{Draft, PostNo, Refusal, RefusalKind};
use crate::error::{AppError, RETRY_AFTER_SECONDS};
use crate::live::Boards;
use crate::state::AppState;

/// A problem document.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
}

impl ResponseError for AppError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Only seen when the edge could not render something better.
    fn error_response(&self) -> HttpResponse {
        problem(self, "")
    }
}

fn builder(error: &AppError) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(error.status_code());
    answer.insert_header((CACHE_CONTROL, "no-store"));
    if error.status() == 503 {
        answer.insert_header((RETRY_AFTER, RETRY_AFTER_SECONDS.to_string()));
    }
    answer
}

fn problem(error: &AppError, request_id: &str) -> HttpResponse {
    let problem = Problem {
        r#type: "about:blank",
        title: error.title(),
        status: error.status(),
        detail: &error.detail(),
        code: error.code(),
        request_id,
    };
    let body = serde_json::to_string(&problem).unwrap_or_default();
    api::open(builder(error).insert_header((CONTENT_TYPE, "application/problem+json")).body(body))
}

/// An error as it was asked for.
pub(super) fn render(request: &HttpRequest, state: &AppState, error: &AppError) -> HttpResponse {
    if wants_json(request) {
        return problem(error, &request_id(request));
    }
    page(request, state, error, None)
}

/// A post that was refused, as far as it can be shown in a form again.
#[derive(Debug)]
pub(super) struct RefusedPost<'a> {
    /// Board of the address.
    pub(super) slug: &'a str,
    /// The thread that it was to answer.
    pub(super) thread: Option<PostNo>,
    /// What was typed.
    pub(super) draft: &'a Draft,
    /// The key of the form that was sent: should the post have been made after all, sending the form again finds it.
    pub(super) key: Option<Uuid>,
}

/// The same form again, with everything that was typed into it.
pub(super) fn refused_post(
    request: &HttpRequest,
    state: &AppState,
    refused: &RefusedPost<'_>,
    error: &AppError,
) -> HttpResponse {
    log(request, error);
    page(request, state, error, Some(refused))
}

fn page(request: &HttpRequest, state: &AppState, error: &AppError, refused: Option<&RefusedPost<'_>>) -> HttpResponse {
    let boards = state.boards.last_known();
    let form = refused.and_then(|refused| {
        let board = boards.find(refused.slug).ok()?;
        let key = refused.key.unwrap_or_else(Uuid::new_v4);
        Some(pages::form(state, board, refused.thread, refused.draft, key, true))
    });
    let back = match &form {
        Some(form) => Some(match form.thread {
            Some(no) => format!("/{}/res/{no}.html", form.board.slug),
            None => format!("/{}/", form.board.slug),
        }),
        None => back(request, &boards),
    };
    let page = ErrorPage {
        layout: pages::layout(state, &boards),
        status: error.status(),
        title: error.title(),
        detail: &error.detail(),
        request_id: &request_id(request),
        typed: refused.map(|refused| refused.draft).filter(|draft| form.is_none() && !draft.is_empty()),
        form,
        back: back.as_deref(),
    };
    match askama::Template::render(&page) {
        Ok(body) => builder(error).content_type("text/html; charset=utf-8").body(body),
        Err(cause) => {
            tracing::error!(%cause, "the error page cannot be rendered");
            problem(error, &request_id(request))
        }
    }
}

/// The page that a form was sent from, if it is one of ours; else the board of the address.
fn back(request: &HttpRequest, boards: &Boards) -> Option<String> {
    let here = request.path();
    let sent_from = Url::parse(header(request, REFERER)).ok().filter(|_| request.method() == Method::POST);
    let ours = |url: &Url| {
        header(request, HOST).split(':').next() == url.host_str() && url.path() != here && !url.path().starts_with("//")
    };
    sent_from.filter(ours).map(|url| url.path().to_owned()).or_else(|| {
        let board = boards.find(here.split('/').nth(1)?).ok()?;
        Some(format!("/{}/", board.slug)).filter(|index| index != here)
    })
}

/// Logs what an operator has to know of, once.
pub(super) fn log(request: &HttpRequest, error: &AppError) {
    let request_id = request_id(request);
    match error {
        AppError::Refused(_) => {}
        AppError::Unavailable { .. } | AppError::OutcomeUnknown(_) => tracing::warn!(request_id, "{error}"),
        AppError::Internal(_) => tracing::error!(request_id, "{error}"),
    }
}

/// What actix refused by itself, in our words.
pub(super) fn of_status(status: StatusCode) -> AppError {
    let (kind, code, detail) = match status.as_u16() {
        404 => (RefusalKind::NotFound, "not_found", "There is nothing at this address."),
        405 => (RefusalKind::MethodNotAllowed, "method_not_allowed", "This is not possible at this address."),
        413 => (RefusalKind::TooLarge, "too_large", "The request is too large."),
        400..=499 => (RefusalKind::Malformed, "malformed_request", "The request cannot be read."),
        _ => return AppError::Internal(format!("answered with {status}")),
    };
    Refusal::new(kind, code, detail).into()
}

/// Where a proxy sends those whose post was too large for it: the page that they would have got from us.
pub(super) async fn too_large(state: web::Data<AppState>) -> Result<HttpResponse, AppError> {
    Err(form::too_large(&state).into())
}
