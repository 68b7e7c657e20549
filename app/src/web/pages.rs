//! The pages that people read.

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::fresh;
use super::views::{CatalogPage, CatalogSort, HomePage, IndexPage, Layout, NewPicture, PostForm, ThreadPage, Totals};
use crate::db::versions::{Subject, Version};
use crate::domain::{Board, Draft, PostNo, Refusal, ThreadPosts};
use crate::error::AppError;
use crate::live::{Boards, Page, PageKey};
use crate::service::reading::{self, Backlinks};
use crate::state::AppState;

type State = web::Data<AppState>;
type Answer = Result<HttpResponse, AppError>;

/// The frame of every page.
pub(super) fn layout<'a>(state: &'a AppState, boards: &'a Boards) -> Layout<'a> {
    Layout { site: &state.config.title, boards: &boards.list, style: &state.assets.style, icon: &state.assets.icon }
}

/// The form on a board or in a thread, with what was typed into it.
pub(super) fn form<'a>(
    state: &'a AppState,
    board: &'a Board,
    thread: Option<PostNo>,
    draft: &'a Draft,
    key: Uuid,
    open: bool,
) -> PostForm<'a> {
    PostForm { board, thread, key, draft, limits: &state.config.posts, open }
}

fn form_key(state: &AppState, page: &str, version: &Version) -> Uuid {
    state.keyed.form_key(page, (version.site, version.number))
}

/// Renders a template to a page.
pub(super) fn html(template: &impl Template) -> Result<Page, AppError> {
    let body = template.render().map_err(|error| AppError::Internal(format!("rendering: {error}")))?;
    Ok(Page::new("text/html; charset=utf-8", body))
}

fn redirect(path: &str) -> HttpResponse {
    HttpResponse::MovedPermanently()
        .insert_header((LOCATION, path))
        .insert_header((CACHE_CONTROL, "public, max-age=3600"))
        .finish()
}

pub(super) async fn home(request: HttpRequest, state: State) -> Answer {
    let (boards, version) = fresh::check(&state, Subject::Site).await?;
    let version = version.ok_or_else(|| AppError::Internal("the site has no version".to_owned()))?;
    fresh::page(&request, &state, PageKey::Home, version, async || {
        let home = reading::home(&state.pool).await?;
        let newest: Vec<NewPicture<'_>> = home
            .newest
            .iter()
            .map(|(board, thread, no, attachment)| NewPicture { board, thread: *thread, no: *no, attachment })
            .collect();
        let (threads, posts, pictures) = home.totals;
        html(&HomePage {
            layout: layout(&state, &boards),
            newest: &newest,
            totals: Totals { threads, posts, pictures },
        })
    })
    .await
}

pub(super) async fn index(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    numbered_index(&request, &state, &slug, 1).await
}

pub(super) async fn index_page(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (slug, page) = path.into_inner();
    match page.parse() {
        Ok(1) => Ok(redirect(&format!("/{slug}/"))),
        Ok(page) => numbered_index(&request, &state, &slug, page).await,
        Err(_) => Err(no_page(&page)),
    }
}

async fn numbered_index(request: &HttpRequest, state: &AppState, slug: &str, page: u32) -> Answer {
    let (boards, board, version) = fresh::board(state, slug).await?;
    if page == 0 || page > state.config.boards.pages {
        return Err(no_page(&page.to_string()));
    }
    fresh::page(request, state, PageKey::Index(board.id, page), version, async || {
        let read = reading::index(&state.pool, board.id, page - 1, state.config.boards, Backlinks::Included).await?;
        if page > read.pages {
            return Err(no_page(&page.to_string()));
        }
        let key = form_key(state, &format!("{slug}/{page}"), &version);
        html(&IndexPage {
            layout: layout(state, &boards),
            board: &board,
            threads: &read.threads,
            page,
            pages: read.pages,
            form: form(state, &board, None, &Draft::default(), key, false),
        })
    })
    .await
}

pub(super) fn no_page(page: &str) -> AppError {
    Refusal::not_found("unknown_page", format!("There is no page {page} on this board.")).into()
}

pub(super) async fn to_index(slug: web::Path<String>) -> HttpResponse {
    redirect(&format!("/{slug}/"))
}

pub(super) async fn to_catalog(slug: web::Path<String>) -> HttpResponse {
    redirect(&format!("/{slug}/catalog.html"))
}

/// How a catalogue is to be shown.
#[derive(Debug, Deserialize)]
pub(super) struct CatalogQuery {
    #[serde(default)]
    sort: String,
    #[serde(default)]
    q: String,
}

pub(super) async fn catalog(
    request: HttpRequest,
    state: State,
    slug: web::Path<String>,
    query: web::Query<CatalogQuery>,
) -> Answer {
    let (boards, board, version) = fresh::board(&state, &slug).await?;
    let sort = CatalogSort::from_value(&query.sort).unwrap_or_default();
    let filter = query.q.trim().to_owned();
    let render = async || {
        let mut threads = reading::live_threads(&state.pool, board.id, 0).await?;
        arrange(&mut threads, sort, &filter);
        html(&CatalogPage { layout: layout(&state, &boards), board: &board, threads: &threads, sort, filter: &filter })
    };
    if filter.is_empty() {
        fresh::page(&request, &state, PageKey::Catalog(board.id, sort.value()), version, render).await
    } else {
        // What people search for is endless: keeping those pages would push the useful ones out.
        fresh::unkept(&request, &state, version, render).await
    }
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

pub(super) async fn thread(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (slug, number) = path.into_inner();
    let no = PostNo(number.parse().map_err(|_| fresh::no_thread(&number))?);
    let Some((boards, board, version)) = thread_version(&state, &slug, no).await? else {
        return elsewhere(&state, &slug, no).await;
    };
    fresh::page(&request, &state, PageKey::Thread(no), version, async || {
        let posts =
            reading::thread(&state.pool, no, Backlinks::Included).await?.ok_or_else(|| fresh::no_thread(&number))?;
        let closed = posts.thread.locked || posts.thread.archived || board.locked;
        let draft = Draft::default();
        let key = form_key(&state, &format!("{slug}/res/{no}"), &version);
        let form = (!closed).then(|| form(&state, &board, Some(no), &draft, key, true));
        html(&ThreadPage { layout: layout(&state, &boards), board: &board, posts: &posts, form })
    })
    .await
}

/// A thread's version, if there is such a thread on the board.
pub(super) async fn thread_version(
    state: &AppState,
    slug: &str,
    no: PostNo,
) -> Result<Option<(std::sync::Arc<Boards>, Board, Version)>, AppError> {
    let (boards, version) = fresh::check(state, Subject::Thread(no)).await?;
    let board = boards.find(slug)?.clone();
    Ok(version.filter(|version| version.board == Some(board.id)).map(|version| (boards, board, version)))
}

/// Somebody may have followed the number of a reply, or named the wrong board.
async fn elsewhere(state: &AppState, slug: &str, no: PostNo) -> Answer {
    match reading::locate(&state.pool, no).await? {
        Some(at) if at.board == slug => Ok(HttpResponse::Found()
            .insert_header((LOCATION, format!("/{slug}/res/{}.html#{no}", at.thread)))
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish()),
        _ => Err(fresh::no_thread(&no.to_string())),
    }
}

pub(super) async fn to_thread(path: web::Path<(String, String)>) -> HttpResponse {
    let (slug, no) = path.into_inner();
    redirect(&format!("/{slug}/res/{no}.html"))
}
