//! Where image-board clients look for files: by the digits of `tim`, in the folders of vichan and of 4chan. All of them
//! redirect to the one address that the file has here.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};

use super::cors;
use crate::db::blobs;
use crate::domain::Refusal;
use crate::error::AppError;
use crate::service::reading;
use crate::state::AppState;
use crate::web::http::caching::CachePolicy;
use crate::web::lookup;

type Answer = Result<HttpResponse, AppError>;

/// What stands in the path. Clients make up the extension, so it is not looked at.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct File {
    board: String,
    tim: String,
}

pub(crate) async fn original(state: web::Data<AppState>, file: web::Path<File>) -> Answer {
    let stored = find(&state, &file).await?;
    Ok(redirect(&format!("/media/{}.{}", stored.id, stored.original.kind.extension())))
}

pub(crate) async fn thumbnail(state: web::Data<AppState>, file: web::Path<File>) -> Answer {
    let stored = find(&state, &file).await?;
    Ok(redirect(&format!("/thumb/{}.{}", stored.id, stored.thumbnail.kind.extension())))
}

async fn find(state: &AppState, file: &File) -> Result<blobs::Stored, AppError> {
    let board = lookup::board(state, &file.board).await?;
    let tim = file.tim.parse().map_err(|_| Refusal::UnknownFile)?;
    Ok(reading::file(&state.pool, board.id, tim).await?.ok_or(Refusal::UnknownFile)?)
}

/// For a minute: the file may be deleted, and then the address has to be gone.
fn redirect(path: &str) -> HttpResponse {
    let mut answer = HttpResponse::Found();
    answer.insert_header((LOCATION, path)).insert_header(CachePolicy::ShortRedirect.header());
    cors::open(answer.finish())
}
