//! `POST /{board}/delete`

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::edge::request_id;
use super::negotiate::wants_json;
use super::posting::PASSWORD_COOKIE;
use super::{form, fresh, origin};
use crate::domain::{PostNo, Refusal};
use crate::error::AppError;
use crate::service::deleting::{self, Deletion};
use crate::state::AppState;

/// What a program gets.
#[derive(Debug, Serialize)]
struct DeletedDocument<'a> {
    board: &'a str,
    no: &'a [PostNo],
    file_only: bool,
}

pub(super) async fn delete(
    request: HttpRequest,
    state: web::Data<AppState>,
    slug: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, AppError> {
    let mut form = form::read(&request, &state, payload).await;
    origin::check(&request, state.config.public_url.as_ref())?;
    if let Some(problem) = form.problem.take() {
        return Err(problem);
    }
    let (_, board, _) = fresh::board(&state, &slug).await?;
    let not_a_number = || Refusal::invalid("bad_post_number", "One of the posts to delete is not a number.");
    let posts: Vec<PostNo> = form
        .all("no")
        .map(|number| number.trim().parse().map(PostNo).map_err(|_| not_a_number()))
        .collect::<Result<_, _>>()?;
    let typed = form.field("pwd");
    let password = match request.cookie(PASSWORD_COOKIE) {
        Some(cookie) if typed.is_empty() => cookie.value().to_owned(),
        _ => typed.to_owned(),
    };
    let deletion = Deletion { board, posts, password, pictures_only: form.ticked("file_only") };
    let left = deleting::delete(&state.pool, &state.keyed, &deletion).await?;
    let (posts, pictures_only) = (&deletion.posts, deletion.pictures_only);
    tracing::info!(request_id = request_id(&request), board = *slug, ?posts, pictures_only, "deleted");

    let mut answer = if wants_json(&request) { HttpResponse::Ok() } else { HttpResponse::SeeOther() };
    answer.insert_header((CACHE_CONTROL, "no-store"));
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
