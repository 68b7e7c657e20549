//! What pages are made of. Each function sees one moment of the database, so that no page shows half of a change.

use crate::db::{self, PgPool, attachments, boards, posts, threads};
use crate::domain::{Attachment, BoardId, PostNo, ThreadPosts};
use crate::error::AppError;

/// Replies of a thread on an index page.
const PREVIEW_REPLIES: i64 = 5;
/// Pictures on the home page.
const NEWEST_PICTURES: i64 = 12;
/// Threads that the archive lists.
const ARCHIVE_LISTED: i64 = 3000;

/// The home page.
#[derive(Debug)]
pub struct Home {
    /// Threads, posts, pictures on all boards.
    pub totals: (i64, i64, i64),
    /// Board, thread, post, and what hangs there; newest first.
    pub newest: Vec<(String, PostNo, PostNo, Attachment)>,
}

/// Reads the home page.
pub async fn home(pool: &PgPool) -> Result<Home, AppError> {
    let mut snapshot = db::snapshot(pool).await?;
    let totals = boards::totals(&mut snapshot).await?;
    let newest = attachments::newest(&mut snapshot, NEWEST_PICTURES).await?;
    Ok(Home { totals, newest })
}

/// A page of the index.
#[derive(Debug)]
pub struct IndexPage {
    /// In bump order, each with its last replies.
    pub threads: Vec<ThreadPosts>,
    /// How many pages there are; at least one.
    pub pages: u32,
}

/// Reads a page of the index, the first being 0.
pub async fn index(pool: &PgPool, board: BoardId, page: u32, threads_per_page: u32) -> Result<IndexPage, AppError> {
    let mut snapshot = db::snapshot(pool).await?;
    let per_page = i64::from(threads_per_page);
    let count = threads::count(&mut snapshot, board).await?;
    let pages = u32::try_from((count + per_page - 1) / per_page).unwrap_or(u32::MAX).max(1);
    let listed = threads::list(&mut snapshot, board, i64::from(page) * per_page, per_page).await?;
    let threads = posts::previews(&mut snapshot, listed, PREVIEW_REPLIES).await?;
    Ok(IndexPage { threads, pages })
}

/// Reads every live thread of a board in bump order, each with this many of its last replies.
pub async fn live_threads(pool: &PgPool, board: BoardId, replies: i64) -> Result<Vec<ThreadPosts>, AppError> {
    let mut snapshot = db::snapshot(pool).await?;
    let listed = threads::list(&mut snapshot, board, 0, i64::MAX).await?;
    Ok(posts::previews(&mut snapshot, listed, replies).await?)
}

/// Reads a thread with every reply.
pub async fn thread(pool: &PgPool, no: PostNo) -> Result<Option<ThreadPosts>, AppError> {
    let mut snapshot = db::snapshot(pool).await?;
    match threads::find(&mut snapshot, no).await? {
        Some(thread) => Ok(posts::whole_thread(&mut snapshot, thread).await?),
        None => Ok(None),
    }
}

/// The newest archived threads of a board, ascending.
pub async fn archive(pool: &PgPool, board: BoardId) -> Result<Vec<PostNo>, AppError> {
    let mut connection = pool.acquire().await?;
    Ok(threads::archived(&mut connection, board, ARCHIVE_LISTED).await?)
}
