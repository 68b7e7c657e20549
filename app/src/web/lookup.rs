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
    // A board that we have not heard of may have been made a moment ago.
    let known = state.boards.last_known();
    let id = match known.find(slug) {
        Ok(board) => board.id,
        Err(_) => state.boards.at(site(state).await?.site).await?.find(slug)?.id,
    };
    let (boards, version) = version(state, Scope::Board(id)).await?;
    let version = version.ok_or_else(|| AppError::Internal(format!("the board {slug} has no state")))?;
    Ok((boards.find(slug)?.clone(), version))
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
