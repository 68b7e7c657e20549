//! The read API that image-board clients speak: vichan's paths and 4chan's field names.
//!
//! Pages count from 0, as vichan's do. The bodies are the same for `res` and `thread` paths.

mod model;

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue,
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::{fresh, pages};
use crate::db::versions::Subject;
use crate::domain::PostNo;
use crate::error::AppError;
use crate::live::{Page, PageKey};
use crate::service::reading::{self, Backlinks};
use crate::state::AppState;

type State = web::Data<AppState>;
type Answer = Result<HttpResponse, AppError>;

/// Replies that the catalogue shows of each thread.
const LAST_REPLIES: i64 = 5;

/// What browsers ask before a page of another site may read from here.
pub(super) async fn preflight() -> HttpResponse {
    let mut answer = HttpResponse::NoContent();
    answer
        .insert_header((ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"))
        .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, "If-None-Match, If-Modified-Since"))
        .insert_header((ACCESS_CONTROL_MAX_AGE, "86400"));
    open(answer.finish())
}

/// Lets pages of other sites read an answer.
pub(super) fn open(mut answer: HttpResponse) -> HttpResponse {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag, Last-Modified"));
    answer
}

fn json(value: &impl Serialize) -> Result<Page, AppError> {
    let body = serde_json::to_string(value).map_err(|error| AppError::Internal(format!("JSON: {error}")))?;
    Ok(Page::new("application/json", body))
}

pub(super) async fn boards(request: HttpRequest, state: State) -> Answer {
    let (boards, version) = fresh::check(&state, Subject::Site).await?;
    let version = version.ok_or_else(|| AppError::Internal("the site has no version".to_owned()))?;
    let render = async || json(&model::boards(&boards.list, &state.config));
    fresh::page(&request, &state, PageKey::BoardsJson, version, render).await.map(open)
}

pub(super) async fn threads(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    let (_, board, version) = fresh::board(&state, &slug).await?;
    let render = async || {
        let threads = reading::live_threads(&state.pool, board.id, 0).await?;
        json(&model::thread_pages(&threads, state.config.boards.threads_per_page))
    };
    fresh::page(&request, &state, PageKey::ThreadsJson(board.id), version, render).await.map(open)
}

pub(super) async fn catalog(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    let (_, board, version) = fresh::board(&state, &slug).await?;
    let render = async || {
        let threads = reading::live_threads(&state.pool, board.id, LAST_REPLIES).await?;
        json(&model::catalog(&threads, &state.config.boards))
    };
    fresh::page(&request, &state, PageKey::CatalogJson(board.id), version, render).await.map(open)
}

pub(super) async fn archive(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    let (_, board, version) = fresh::board(&state, &slug).await?;
    let render = async || json(&reading::archive(&state.pool, board.id).await?);
    fresh::page(&request, &state, PageKey::ArchiveJson(board.id), version, render).await.map(open)
}

pub(super) async fn index(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (slug, page) = path.into_inner();
    let (_, board, version) = fresh::board(&state, &slug).await?;
    let limits = state.config.boards;
    let number: u32 = page.parse().ok().filter(|number| *number < limits.pages).ok_or_else(|| pages::no_page(&page))?;
    let render = async || {
        let read = reading::index(&state.pool, board.id, number, limits, Backlinks::Omitted).await?;
        if number >= read.pages {
            return Err(pages::no_page(&page));
        }
        json(&model::index(&read.threads, &limits))
    };
    fresh::page(&request, &state, PageKey::IndexJson(board.id, number), version, render).await.map(open)
}

pub(super) async fn thread(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (slug, number) = path.into_inner();
    let no = PostNo(number.parse().map_err(|_| fresh::no_thread(&number))?);
    let (_, _, version) = pages::thread_version(&state, &slug, no).await?.ok_or_else(|| fresh::no_thread(&number))?;
    let render = async || {
        let posts =
            reading::thread(&state.pool, no, Backlinks::Omitted).await?.ok_or_else(|| fresh::no_thread(&number))?;
        json(&model::thread(&posts, &state.config.boards))
    };
    fresh::page(&request, &state, PageKey::ThreadJson(no), version, render).await.map(open)
}
