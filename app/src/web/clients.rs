//! Where image-board clients look for files: by the digits of `tim`, in the folders of vichan and of 4chan.

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpResponse, web};

use super::{api, fresh};
use crate::db::blobs;
use crate::domain::Refusal;
use crate::error::AppError;
use crate::service::reading;
use crate::state::AppState;

type Answer = Result<HttpResponse, AppError>;

/// What stands in the path. Clients make up the extension, so it is not looked at.
#[derive(Debug, serde::Deserialize)]
pub(super) struct File {
    board: String,
    tim: String,
}

pub(super) async fn original(state: web::Data<AppState>, file: web::Path<File>) -> Answer {
    let stored = find(&state, &file).await?;
    Ok(redirect(&format!("/media/{}.{}", stored.id, stored.original.kind.extension())))
}

pub(super) async fn thumbnail(state: web::Data<AppState>, file: web::Path<File>) -> Answer {
    let stored = find(&state, &file).await?;
    Ok(redirect(&format!("/thumb/{}.{}", stored.id, stored.thumbnail.kind.extension())))
}

async fn find(state: &AppState, file: &File) -> Result<blobs::Stored, AppError> {
    let (_, board, _) = fresh::board(state, &file.board).await?;
    let missing =
        || Refusal::not_found("unknown_file", "There is no such file on this board. It may have been deleted.");
    let tim = file.tim.parse().map_err(|_| missing())?;
    Ok(reading::file(&state.pool, board.id, tim).await?.ok_or_else(missing)?)
}

/// For a minute: the file may be deleted, and then the address has to be gone.
fn redirect(path: &str) -> HttpResponse {
    let mut answer = HttpResponse::Found();
    answer.insert_header((LOCATION, path)).insert_header((CACHE_CONTROL, "public, max-age=60"));
    api::open(answer.finish())
}
