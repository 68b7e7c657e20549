//! Boards and threads by what stands in an address, each with a version of a moment after the request began.

use std::sync::Arc;

use crate::db::versions::{Scope, Version};
use crate::domain::{Board, PostNo, Refusal};
use crate::error::AppError;
use crate::live::Boards;
use crate::state::AppState;

/// The list of boards, and the version of something; `None` when it does not exist.
pub(crate) async fn version(state: &AppState, scope: Scope) -> Result<(Arc<Boards>, Option<Version>), AppError> {
    let version = state.versions.check(scope).await?;
    let site = match version {
        Some(version) => version.site,
        None => site(state).await?.site,
    };
    Ok((state.boards.at(site).await?, version))
}

/// The version of the whole site.
pub(crate) async fn site(state: &AppState) -> Result<Version, AppError> {
    let version = state.versions.check(Scope::Site).await?;
    version.ok_or_else(|| AppError::Internal("the site has no version".to_owned()))
}

/// A board by the name in its address.
pub(crate) async fn board(state: &AppState, slug: &str) -> Result<(Board, Version), AppError> {
    // A good guess, which the answer proves: one question instead of two.
    if let Ok(known) = state.boards.last_known().find(slug)
        && let (boards, Some(version)) = version(state, Scope::Board(known.id)).await?
        && let Some(board) = boards.list.iter().find(|board| board.slug == slug && board.id == known.id)
    {
        return Ok((board.clone(), version));
    }
    // It was made a moment ago, or has another id in a database that was restored.
    let boards = state.boards.at(site(state).await?.site).await?;
    let board = boards.find(slug)?.clone();
    let (_, version) = version(state, Scope::Board(board.id)).await?;
    let version = version.ok_or_else(|| AppError::Internal(format!("the board {slug} has no state")))?;
    Ok((board, version))
}

/// The version of a thread, if there is such a thread on the board.
pub(crate) async fn thread(state: &AppState, slug: &str, no: PostNo) -> Result<Option<Version>, AppError> {
    let (boards, version) = version(state, Scope::Thread(no)).await?;
    let board = boards.find(slug)?.id;
    Ok(version.filter(|version| version.board == Some(board)))
}

/// The number in the address of a thread.
pub(crate) fn thread_no(number: &str) -> Result<PostNo, AppError> {
    number.parse().map(PostNo).map_err(|_| no_thread(number))
}

pub(crate) fn no_thread(no: impl std::fmt::Display) -> AppError {
    Refusal::UnknownThread { no: format!("{no}") }.into()
}

pub(crate) fn no_board(slug: &str) -> AppError {
    Refusal::UnknownBoard { slug: slug.to_owned() }.into()
}

pub(crate) fn no_page(page: impl std::fmt::Display) -> AppError {
    Refusal::UnknownPage { page: format!("{page}") }.into()
}
