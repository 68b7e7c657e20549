//! The read API that image-board clients speak: vichan's paths and 4chan's field names.
//!
//! Pages count from 0, as vichan's do. The bodies are the same for `res` and `thread` paths.

pub(crate) mod cors;
mod documents;
pub(crate) mod legacy_files;
pub(crate) mod problem;
pub(crate) mod traffic;

use std::future::Future;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::after::AfterQuery;
use super::lookup::{no_board, no_page, no_thread, thread_no};
use super::{answer, lookup};
use crate::error::AppError;
use crate::live::{Checked, PageKey};
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
    checked: &Checked,
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
    answer::page(request, state, Some(key), checked, load, move |_, read| render(&read)).await.map(cors::open)
}

pub(crate) async fn boards(request: HttpRequest, state: State) -> Answer {
    let checked = lookup::site(&state).await?;
    let (pool, for_page) = (state.pool.clone(), state.clone());
    let load = move || async move { reading::boards(&pool).await?.ok_or_else(lookup::no_site) };
    document(&request, &state, PageKey::BoardsJson, &checked, load, move |read| {
        json(&documents::boards(&read.boards.list, &for_page.config))
    })
    .await
}

pub(crate) async fn threads(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    let slug = slug.into_inner();
    let found = lookup::board(&state, &slug).await?;
    let (pool, limits, id) = (state.pool.clone(), state.config.boards, found.id);
    let load = move || async move { reading::live_threads(&pool, id, 0, limits).await?.ok_or_else(|| no_board(&slug)) };
    document(&request, &state, PageKey::ThreadsJson(id), &found.checked, load, move |read| {
        json(&documents::thread_pages(&read.content, limits.threads_per_page))
    })
    .await
}

pub(crate) async fn catalog(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    let slug = slug.into_inner();
    let found = lookup::board(&state, &slug).await?;
    let (pool, limits, id) = (state.pool.clone(), state.config.boards, found.id);
    let on_board = slug.clone();
    let load = move || async move {
        reading::live_threads(&pool, id, LAST_REPLIES, limits).await?.ok_or_else(|| no_board(&slug))
    };
    let for_page = state.clone();
    document(&request, &state, PageKey::CatalogJson(id), &found.checked, load, move |read| {
        json(&documents::catalog(&read.content, read.boards.find(&on_board)?, &for_page.config))
    })
    .await
}

pub(crate) async fn archive(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    let slug = slug.into_inner();
    let found = lookup::board(&state, &slug).await?;
    let (pool, id) = (state.pool.clone(), found.id);
    let load = move || async move { reading::archive(&pool, id).await?.ok_or_else(|| no_board(&slug)) };
    document(&request, &state, PageKey::ArchiveJson(id), &found.checked, load, move |read| json(&read.content)).await
}

pub(crate) async fn index(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (slug, page) = path.into_inner();
    let found = lookup::board(&state, &slug).await?;
    let (pool, limits, id) = (state.pool.clone(), state.config.boards, found.id);
    let number: u32 = page.parse().ok().filter(|number| *number < limits.pages).ok_or_else(|| no_page(&page))?;
    let load = move || async move {
        let read = reading::index(&pool, id, number, limits, Backlinks::Omitted).await?;
        read.filter(|read| number < read.content.pages).ok_or_else(|| no_page(page))
    };
    let for_page = state.clone();
    document(&request, &state, PageKey::IndexJson(id, number), &found.checked, load, move |read| {
        json(&documents::index(&read.content.threads, read.boards.find(&slug)?, &for_page.config))
    })
    .await
}

pub(crate) async fn thread(
    request: HttpRequest,
    state: State,
    path: web::Path<(String, String)>,
    query: web::Query<AfterQuery>,
) -> Answer {
    let (slug, number) = path.into_inner();
    let no = thread_no(&number)?;
    let checked = lookup::thread(&state, &slug, no).await?.ok_or_else(|| no_thread(no))?;
    let (pool, limits) = (state.pool.clone(), state.config.boards);
    if let Some(after) = query.post()? {
        let load = move || async move {
            reading::new_posts(&pool, no, after, limits, Backlinks::Omitted).await?.ok_or_else(|| no_thread(no))
        };
        let key = PageKey::NewPostsJson(no, after);
        return document(&request, &state, key, &checked, load, |read| json(&documents::new_posts(&read.content)))
            .await;
    }
    let load = move || async move { reading::thread_content(&pool, no, limits).await?.ok_or_else(|| no_thread(no)) };
    let for_page = state.clone();
    document(&request, &state, PageKey::ThreadJson(no), &checked, load, move |read| {
        json(&documents::thread(&read.content, read.boards.find(&slug)?, &for_page.config))
    })
    .await
}
