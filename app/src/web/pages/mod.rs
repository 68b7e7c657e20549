//! The pages that people read: which data each shows, and where it comes from. How it looks is in `views`.

pub(crate) mod catalog;
pub(crate) mod error;
pub(crate) mod home;
pub(crate) mod index;
pub(crate) mod thread;
pub(crate) mod traffic;

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use uuid::Uuid;

use super::answer::AS_OF;
use super::cookies;
use super::http::caching::CachePolicy;
use super::views::{Layout, PostForm};
use crate::db::versions::Version;
use crate::domain::{Board, Draft, PostNo};
use crate::error::AppError;
use crate::live::Boards;
use crate::representation::Representation;
use crate::state::AppState;

/// The frame of every page.
fn layout<'a>(state: &'a AppState, boards: &'a Boards) -> Layout<'a> {
    Layout {
        site: &state.config.title,
        boards: &boards.list,
        style: &state.assets.style,
        icon: &state.assets.icon,
        has_traffic: state.config.traffic.is_public,
    }
}

/// The form on a board or in a thread, with what was typed into it.
fn form<'a>(
    state: &'a AppState,
    board: &'a Board,
    thread: Option<PostNo>,
    draft: &'a Draft,
    key: Uuid,
    open: bool,
) -> PostForm<'a> {
    PostForm { board, thread, key, draft, limits: &state.config.posts, replies_left: None, open }
}

/// The key of the form on a page at a version.
fn form_key(state: &AppState, page: &str, version: &Version) -> Uuid {
    state.hasher.form_key(page, &version.stamp().to_string())
}

/// Completes the answer with a page that has a form: whoever has not posted yet gets a token to post with.
fn with_token(request: &HttpRequest, state: &AppState, slug: &str, mut page: HttpResponse) -> HttpResponse {
    // A page that nobody may keep stays as it is.
    if !page.headers().contains_key(AS_OF) && state.boards.last_known().find(slug).is_ok_and(|board| !board.locked) {
        cookies::hand_out_token(request, &mut page, slug, state.config.public_url.as_ref());
    }
    page
}

/// Renders a template.
fn html(template: &impl Template) -> Result<Representation, AppError> {
    let body = template.render().map_err(|error| AppError::Internal(format!("rendering: {error}")))?;
    Ok(Representation::new("text/html; charset=utf-8", body))
}

/// To the one address of a page that has several.
fn redirect(path: &str) -> HttpResponse {
    HttpResponse::MovedPermanently()
        .insert_header((LOCATION, path))
        .insert_header(CachePolicy::LongRedirect.header())
        .finish()
}
