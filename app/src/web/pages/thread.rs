//! `GET /{board}/res/{no}.html`, and with `?after={no}` only what is newer.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};

use super::{form, form_key, html, layout, redirect, with_token};
use crate::domain::{Draft, PostNo};
use crate::error::AppError;
use crate::live::PageKey;
use crate::service::reading::{self, Backlinks};
use crate::state::AppState;
use crate::web::after::AfterQuery;
use crate::web::http::caching::CachePolicy;
use crate::web::lookup::{no_thread, thread_no};
use crate::web::views::{NewPosts, PostForm, ThreadPage};
use crate::web::{answer, lookup};

type Answer = Result<HttpResponse, AppError>;

pub(crate) async fn thread(
    request: HttpRequest,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
    query: web::Query<AfterQuery>,
) -> Answer {
    let (slug, number) = path.into_inner();
    let no = thread_no(&number)?;
    if let Some(after) = query.post()? {
        return new_posts(&request, &state, slug, no, after).await;
    }
    let Some(checked) = lookup::thread(&state, &slug, no).await? else {
        // In a box, because it is large and rare.
        return Box::pin(elsewhere(&state, &slug, no)).await;
    };
    let (pool, limits) = (state.pool.clone(), state.config.boards);
    let load = move || async move {
        let read = reading::thread(&pool, no, limits).await?.ok_or_else(|| no_thread(no))?;
        Ok((read.version, read))
    };
    let (for_page, on_board) = (state.clone(), slug.clone());
    let answer = answer::page(&request, &state, Some(PageKey::Thread(no)), &checked, load, move |version, read| {
        let (board, posts) = (read.boards.find(&on_board)?, &read.content);
        let closed = posts.thread.closed().is_some() || board.locked;
        let draft = Draft::default();
        let key = form_key(&for_page, &format!("{on_board}/res/{no}"), version);
        let form = (!closed).then(|| PostForm {
            replies_left: Some(posts.thread.reply_limit - posts.thread.replies),
            ..form(&for_page, board, Some(no), &draft, key, true)
        });
        html(&ThreadPage { layout: layout(&for_page, &read.boards), board, posts, form })
    });
    Ok(with_token(&request, &state, &slug, answer.await?))
}

/// Only the posts that are newer than one that the reader has, to be put below it.
async fn new_posts(
    request: &HttpRequest,
    state: &web::Data<AppState>,
    slug: String,
    no: PostNo,
    after: PostNo,
) -> Answer {
    let checked = lookup::thread(state, &slug, no).await?.ok_or_else(|| no_thread(no))?;
    let (pool, limits) = (state.pool.clone(), state.config.boards);
    let load = move || async move {
        let read = reading::new_posts(&pool, no, after, limits, Backlinks::Included).await?;
        let read = read.ok_or_else(|| no_thread(no))?;
        Ok((read.version, read))
    };
    answer::page(request, state, Some(PageKey::NewPosts(no, after)), &checked, load, move |_, read| {
        html(&NewPosts { board: read.boards.find(&slug)?, posts: &read.content })
    })
    .await
}

/// Somebody may have followed the number of a reply, or named the wrong board.
async fn elsewhere(state: &AppState, slug: &str, no: PostNo) -> Answer {
    match reading::locate(&state.pool, no).await? {
        Some(at) if at.board == slug => Ok(HttpResponse::Found()
            .insert_header((LOCATION, format!("/{slug}/res/{}.html#{no}", at.thread)))
            .insert_header(CachePolicy::Never.header())
            .finish()),
        _ => Err(no_thread(no)),
    }
}

pub(crate) async fn moved(path: web::Path<(String, String)>) -> HttpResponse {
    let (slug, no) = path.into_inner();
    redirect(&format!("/{slug}/res/{no}.html"))
}
