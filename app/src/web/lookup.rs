//! Boards and threads by what stands in an address, each with its version as of the request.

use std::sync::Arc;

use crate::db::versions::Scope;
use crate::domain::{Board, BoardId, PostNo, Refusal};
use crate::error::AppError;
use crate::live::{Boards, Checked};
use crate::state::AppState;

/// A board of an address.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Its number.
    pub(crate) id: BoardId,
    /// Its version.
    pub(crate) checked: Checked,
    boards: Arc<Boards>,
}

impl Found {
    /// The board itself.
    pub(crate) fn board(&self) -> Result<&Board, AppError> {
        let board = self.boards.list.iter().find(|board| board.id == self.id);
        board.ok_or_else(|| AppError::Internal(format!("board {} is not in the list", self.id.0)))
    }
}

/// The list of boards, and the version of something; `None` when it does not exist.
async fn version(state: &AppState, scope: Scope) -> Result<(Arc<Boards>, Option<Checked>), AppError> {
    let checked = state.versions.check(scope).await?;
    let site = match checked {
        Some(checked) => checked.version.site,
        None => site(state).await?.version.site,
    };
    Ok((state.boards.at(site).await?, checked))
}

/// The version of the whole site.
pub(crate) async fn site(state: &AppState) -> Result<Checked, AppError> {
    state.versions.check(Scope::Site).await?.ok_or_else(no_site)
}

/// A board by the name in its address.
pub(crate) async fn board(state: &AppState, slug: &str) -> Result<Found, AppError> {
    // A good guess, which the answer proves: one question instead of two.
    if let Ok(&Board { id, .. }) = state.boards.last_known().find(slug)
        && let (boards, Some(checked)) = version(state, Scope::Board(id)).await?
        && boards.list.iter().any(|board| board.slug == slug && board.id == id)
    {
        return Ok(Found { id, checked, boards });
    }
    // It was made a moment ago, or has another id in a database that was restored.
    let boards = state.boards.at(site(state).await?.version.site).await?;
    let id = boards.find(slug)?.id;
    let (boards, checked) = version(state, Scope::Board(id)).await?;
    let checked = checked.ok_or_else(|| AppError::Internal(format!("the board {slug} has no state")))?;
    Ok(Found { id, checked, boards })
}

/// The version of a thread, if there is such a thread on the board.
pub(crate) async fn thread(state: &AppState, slug: &str, no: PostNo) -> Result<Option<Checked>, AppError> {
    let (boards, checked) = version(state, Scope::Thread(no)).await?;
    let board = boards.find(slug)?.id;
    Ok(checked.filter(|checked| checked.version.board == Some(board)))
}

/// The number in the address of a thread.
pub(crate) fn thread_no(number: &str) -> Result<PostNo, AppError> {
    number.parse().map(PostNo).map_err(|_| no_thread(number))
}

pub(crate) fn no_site() -> AppError {
    AppError::Internal("the site has no version".to_owned())
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
