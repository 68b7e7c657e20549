//! `GET /{board}/catalog.html`

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::{html, layout, redirect};
use crate::domain::{Refusal, ThreadPosts};
use crate::error::AppError;
use crate::live::PageKey;
use crate::service::reading;
use crate::state::AppState;
use crate::web::views::{CatalogPage, CatalogSort};
use crate::web::{answer, lookup};

/// Characters of a filter; the form says so too. Every word is looked for in every thread.
const FILTER_CHARS: usize = 200;

/// How a catalogue is to be shown.
#[derive(Debug, Deserialize)]
pub(crate) struct CatalogQuery {
    #[serde(default)]
    sort: String,
    #[serde(default)]
    q: String,
}

pub(crate) async fn catalog(
    request: HttpRequest,
    state: web::Data<AppState>,
    slug: web::Path<String>,
    query: web::Query<CatalogQuery>,
) -> Result<HttpResponse, AppError> {
    let slug = slug.into_inner();
    let found = lookup::board(&state, &slug).await?;
    let sort = CatalogSort::from_value(&query.sort).unwrap_or_default();
    let filter = query.q.trim().to_owned();
    if filter.chars().nth(FILTER_CHARS).is_some() {
        return Err(Refusal::FilterTooLong { most: FILTER_CHARS }.into());
    }
    // What people search for is endless: keeping those pages would push the useful ones out.
    let key = filter.is_empty().then(|| PageKey::Catalog(found.id, sort.value()));
    let (pool, limits, id) = (state.pool.clone(), state.config.boards, found.id);
    let load = move || async move {
        let read = reading::live_threads(&pool, id, 0, limits).await?.ok_or_else(|| lookup::no_board(&slug))?;
        Ok((read.version, (slug, read)))
    };
    let for_page = state.clone();
    let render = move |_: &_, (slug, mut read): (String, reading::Snapshot<Vec<ThreadPosts>>)| {
        arrange(&mut read.content, sort, &filter);
        html(&CatalogPage {
            layout: layout(&for_page, &read.boards),
            board: read.boards.find(&slug)?,
            threads: &read.content,
            sort,
            filter: &filter,
        })
    };
    answer::page(&request, &state, key, &found.checked, load, render).await
}

fn arrange(threads: &mut Vec<ThreadPosts>, sort: CatalogSort, filter: &str) {
    let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
    threads.retain(|posts| {
        let opening = &posts.opening;
        let text = format!("{}\n{}", opening.subject.as_deref().unwrap_or_default(), opening.comment).to_lowercase();
        words.iter().all(|word| text.contains(word))
    });
    match sort {
        CatalogSort::Bump => {}
        CatalogSort::Newest => threads.sort_by_key(|posts| std::cmp::Reverse(posts.thread.no)),
        CatalogSort::Replies => threads.sort_by_key(|posts| std::cmp::Reverse(posts.thread.replies)),
    }
}

pub(crate) async fn moved(slug: web::Path<String>) -> HttpResponse {
    redirect(&format!("/{slug}/catalog.html"))
}
