//! `POST /{board}/delete`

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::reader;
use crate::domain::{PostNo, Refusal};
use crate::error::AppError;
use crate::service::deleting::{self, Deletion};
use crate::state::AppState;
use crate::web::cookies;
use crate::web::http::caching::CachePolicy;
use crate::web::http::negotiation::wants_json;
use crate::web::http::origin;
use crate::web::lookup;

/// What a program gets.
#[derive(Debug, Serialize)]
struct DeletedDocument<'a> {
    board: &'a str,
    no: &'a [PostNo],
    file_only: bool,
}

pub(crate) async fn delete(
    request: HttpRequest,
    state: web::Data<AppState>,
    slug: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, AppError> {
    let mut form = reader::read(&request, &state, payload).await;
    origin::check(&request, state.config.public_url.as_ref())?;
    if let Some(problem) = form.problem.take() {
        return Err(problem);
    }
    let board = lookup::board(&state, &slug).await?.board()?.clone();
    let posts: Vec<PostNo> = form
        .all("no")
        .map(|number| number.trim().parse().map(PostNo).map_err(|_| Refusal::BadPostNumber))
        .collect::<Result<_, _>>()?;
    let typed = form.field("pwd");
    let kept = if typed.is_empty() { cookies::password(&request) } else { None };
    let password = kept.unwrap_or(typed).to_owned();
    let deletion = Deletion { board, posts, password, pictures_only: form.ticked("file_only") };
    let left = deleting::delete(&state.pool, &state.hasher, state.commit_wait, &deletion).await?;
    let (posts, pictures_only) = (&deletion.posts, deletion.pictures_only);
    tracing::info!(board = *slug, ?posts, pictures_only, "deleted");

    let mut answer = if wants_json(&request) { HttpResponse::Ok() } else { HttpResponse::SeeOther() };
    answer.insert_header(CachePolicy::Never.header());
    if wants_json(&request) {
        return Ok(answer.json(DeletedDocument {
            board: &slug,
            no: &deletion.posts,
            file_only: deletion.pictures_only,
        }));
    }
    let to = match left {
        Some(thread) => format!("/{slug}/res/{thread}.html"),
        None => format!("/{slug}/"),
    };
    Ok(answer.insert_header((LOCATION, to)).finish())
}
