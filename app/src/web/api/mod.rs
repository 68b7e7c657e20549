//! The read API that image-board clients speak: vichan's paths and 4chan's field names.
//!
//! Pages count from 0, as vichan's do. The bodies are the same for `res` and `thread` paths.

pub(crate) mod cors;
mod documents;
pub(crate) mod legacy_files;
pub(crate) mod problem;

use std::future::Future;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::lookup::{no_board, no_page, no_thread, thread_no};
use super::{answer, lookup};
use crate::db::versions::Version;
use crate::error::AppError;
use crate::live::PageKey;
use crate::representation::Representation;
use crate::service::reading::{self, Backlinks, Snapshot};
use crate::state::AppState;

type State = web::Data<AppState>;
type Answer = Result<HttpResponse, AppError>;

/// Replies that the catalogue shows of each thread.
const LAST_REPLIES: i64 = 5;

fn json(value: &impl Serialize) -> Result<Representation, AppError> {
    let body = serde_json::to_string(value).map_err(|error| AppError::Internal(format!("JSON: {error}")))?;
    Ok(Representation::new("application/json", body))
}

/// Answers with a document that is kept.
async fn document<T, F>(
    request: &HttpRequest,
    state: &AppState,
    key: PageKey,
    version: &Version,
    load: impl FnOnce() -> F,
    render: impl FnOnce(&Snapshot<T>) -> Result<Representation, AppError> + Send + 'static,
) -> Answer
where
    T: Send + 'static,
    F: Future<Output = Result<Snapshot<T>, AppError>> + Send + 'static,
{
    let load = || {
        let read = load();
        async move { read.await.map(|read| (read.version, read)) }
    };
    answer::kept(request, state, key, version, load, move |_, read| render(&read)).await.map(cors::open)
}

pub(crate) async fn boards(request: HttpRequest, state: State) -> Answer {
    let version = lookup::site(&state).await?;
    let (pool, for_page) = (state.pool.clone(), state.clone());
    let load = move || async move {
        reading::boards(&pool).await?.ok_or_else(|| AppError::Internal("the site has no version".to_owned()))
    };
    document(&request, &state, PageKey::BoardsJson, &version, load, move |read| {
        json(&documents::boards(&read.boards.list, &for_page.config))
    })
    .await
}

pub(crate) async fn threads(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    let slug = slug.into_inner();
    let (board, version) = lookup::board(&state, &slug).await?;
    let (pool, limits) = (state.pool.clone(), state.config.boards);
    let load =
        move || async move { reading::live_threads(&pool, board.id, 0, limits).await?.ok_or_else(|| no_board(&slug)) };
    document(&request, &state, PageKey::ThreadsJson(board.id), &version, load, move |read| {
        json(&documents::thread_pages(&read.content, limits.threads_per_page))
    })
    .await
}

pub(crate) async fn catalog(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    let slug = slug.into_inner();
    let (board, version) = lookup::board(&state, &slug).await?;
    let (pool, limits) = (state.pool.clone(), state.config.boards);
    let load = move || async move {
        reading::live_threads(&pool, board.id, LAST_REPLIES, limits).await?.ok_or_else(|| no_board(&slug))
    };
    let for_page = state.clone();
    document(&request, &state, PageKey::CatalogJson(board.id), &version, load, move |read| {
        json(&documents::catalog(&read.content, read.boards.find(&board.slug)?, &for_page.config))
    })
    .await
}

pub(crate) async fn archive(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    let slug = slug.into_inner();
    let (board, version) = lookup::board(&state, &slug).await?;
    let pool = state.pool.clone();
    let load = move || async move { reading::archive(&pool, board.id).await?.ok_or_else(|| no_board(&slug)) };
    document(&request, &state, PageKey::ArchiveJson(board.id), &version, load, move |read| json(&read.content)).await
}

pub(crate) async fn index(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (slug, page) = path.into_inner();
    let (board, version) = lookup::board(&state, &slug).await?;
    let (pool, limits) = (state.pool.clone(), state.config.boards);
    let number: u32 = page.parse().ok().filter(|number| *number < limits.pages).ok_or_else(|| no_page(&page))?;
    let load = move || async move {
        let read = reading::index(&pool, board.id, number, limits, Backlinks::Omitted).await?;
        read.filter(|read| number < read.content.pages).ok_or_else(|| no_page(page))
    };
    let for_page = state.clone();
    document(&request, &state, PageKey::IndexJson(board.id, number), &version, load, move |read| {
        json(&documents::index(&read.content.threads, read.boards.find(&board.slug)?, &for_page.config))
    })
    .await
}

pub(crate) async fn thread(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (slug, number) = path.into_inner();
    let no = thread_no(&number)?;
    let version = lookup::thread(&state, &slug, no).await?.ok_or_else(|| no_thread(no))?;
    let (pool, limits) = (state.pool.clone(), state.config.boards);
    let load = move || async move { reading::thread_content(&pool, no, limits).await?.ok_or_else(|| no_thread(no)) };
    let for_page = state.clone();
    document(&request, &state, PageKey::ThreadJson(no), &version, load, move |read| {
        json(&documents::thread(&read.content, read.boards.find(&slug)?, &for_page.config))
    })
    .await
}
