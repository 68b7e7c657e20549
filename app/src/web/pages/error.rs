//! An error as a page, with what was typed into the form that was refused.

use actix_web::http::Method;
use actix_web::http::header::{HOST, REFERER};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use url::Url;
use uuid::Uuid;

use crate::domain::{Draft, PostNo, Refusal};
use crate::error::AppError;
use crate::live::Boards;
use crate::state::AppState;
use crate::web::api::problem;
use crate::web::http::negotiation::header;
use crate::web::layers::request_id::request_id;
use crate::web::status;
use crate::web::views::ErrorPage;
use crate::web::words;

/// A post that was refused, as far as it can be shown in a form again.
#[derive(Debug)]
pub(crate) struct RefusedPost<'a> {
    /// Board of the address.
    pub(crate) slug: &'a str,
    /// The thread that it was to answer.
    pub(crate) thread: Option<PostNo>,
    /// What was typed.
    pub(crate) draft: &'a Draft,
    /// The key of the form that was sent: should the post have been made after all, sending the form again finds it.
    pub(crate) key: Option<Uuid>,
}

pub(crate) fn answer(
    request: &HttpRequest,
    state: &AppState,
    error: &AppError,
    refused: Option<&RefusedPost<'_>>,
) -> HttpResponse {
    let boards = state.boards.last_known();
    let form = refused.and_then(|refused| {
        let board = boards.find(refused.slug).ok()?;
        let key = refused.key.unwrap_or_else(Uuid::new_v4);
        Some(super::form(state, board, refused.thread, refused.draft, key, true))
    });
    let back = match &form {
        Some(form) => Some(match form.thread {
            Some(no) => format!("/{}/res/{no}.html", form.board.slug),
            None => format!("/{}/", form.board.slug),
        }),
        None => back(request, &boards),
    };
    let status = error.status_code().as_u16();
    let page = ErrorPage {
        layout: super::layout(state, &boards),
        status,
        title: words::title(error, status),
        detail: &words::detail(error),
        request_id: &request_id(request),
        typed: refused.map(|refused| refused.draft).filter(|draft| form.is_none() && !draft.is_empty()),
        form,
        back: back.as_deref(),
    };
    match askama::Template::render(&page) {
        Ok(mut body) => {
            // It has grown by doubling, and may have to wait for a slow reader.
            body.shrink_to_fit();
            status::head(error).content_type("text/html; charset=utf-8").body(body)
        }
        Err(cause) => {
            tracing::error!(%cause, "the error page cannot be rendered");
            problem::answer(error, &request_id(request))
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

/// Where a proxy sends those whose post was too large for it: the page that they would have got from us.
pub(crate) async fn too_large(state: web::Data<AppState>) -> Result<HttpResponse, AppError> {
    let limits = &state.config.posts;
    Err(Refusal::PostTooLarge { files: limits.files, file_bytes: limits.file_bytes }.into())
}
