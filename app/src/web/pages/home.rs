//! `GET /`

use actix_web::{HttpRequest, HttpResponse, web};

use super::{html, layout};
use crate::error::AppError;
use crate::live::PageKey;
use crate::service::reading;
use crate::state::AppState;
use crate::web::views::{HomePage, NewPicture, Totals};
use crate::web::{answer, lookup};

pub(crate) async fn home(request: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, AppError> {
    let checked = lookup::site(&state).await?;
    let pool = state.pool.clone();
    let load = move || async move {
        let read = reading::home(&pool).await?.ok_or_else(lookup::no_site)?;
        Ok((read.version, read))
    };
    let for_page = state.clone();
    answer::page(&request, &state, Some(PageKey::Home), &checked, load, move |_, read| {
        let newest = read.content.newest.iter();
        let newest: Vec<NewPicture<'_>> = newest
            .map(|(board, thread, no, attachment)| NewPicture { board, thread: *thread, no: *no, attachment })
            .collect();
        let (threads, posts, pictures) = read.content.totals;
        html(&HomePage {
            layout: layout(&for_page, &read.boards),
            newest: &newest,
            totals: Totals { threads, posts, pictures },
        })
    })
    .await
}
