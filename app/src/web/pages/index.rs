//! `GET /{board}/` and `/{board}/{page}.html`

use actix_web::{HttpRequest, HttpResponse, web};

use super::{form, form_key, html, layout, redirect, with_token};
use crate::domain::Draft;
use crate::error::AppError;
use crate::live::PageKey;
use crate::service::reading::{self, Backlinks};
use crate::state::AppState;
use crate::web::lookup::no_page;
use crate::web::views::IndexPage;
use crate::web::{answer, lookup};

type State = web::Data<AppState>;
type Answer = Result<HttpResponse, AppError>;

pub(crate) async fn first(request: HttpRequest, state: State, slug: web::Path<String>) -> Answer {
    numbered(&request, &state, slug.into_inner(), 1).await
}

pub(crate) async fn later(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (slug, page) = path.into_inner();
    match page.parse() {
        Ok(1) => Ok(redirect(&format!("/{slug}/"))),
        Ok(page) => numbered(&request, &state, slug, page).await,
        Err(_) => Err(no_page(page)),
    }
}

async fn numbered(request: &HttpRequest, state: &State, slug: String, page: u32) -> Answer {
    let found = lookup::board(state, &slug).await?;
    let limits = state.config.boards;
    if page == 0 || page > limits.pages {
        return Err(no_page(page));
    }
    let (pool, id) = (state.pool.clone(), found.id);
    let load = move || async move {
        let read = reading::index(&pool, id, page - 1, limits, Backlinks::Included).await?;
        let read = read.filter(|read| page <= read.content.pages).ok_or_else(|| no_page(page))?;
        Ok((read.version, read))
    };
    let (for_page, on_board) = (state.clone(), slug.clone());
    let key = Some(PageKey::Index(id, page));
    let answer = answer::page(request, state, key, &found.checked, load, move |version, read| {
        let board = read.boards.find(&on_board)?;
        let key = form_key(&for_page, &format!("{on_board}/{page}"), version);
        html(&IndexPage {
            layout: layout(&for_page, &read.boards),
            board,
            threads: &read.content.threads,
            page,
            pages: read.content.pages,
            form: form(&for_page, board, None, &Draft::default(), key, false),
        })
    });
    Ok(with_token(request, state, &slug, answer.await?))
}

pub(crate) async fn moved(slug: web::Path<String>) -> HttpResponse {
    redirect(&format!("/{slug}/"))
}
