//! What pages are made of. Each function sees one moment of the database, so that no page shows half of a change, and
//! gives up on a database that does not answer.

use std::time::Duration;

use uuid::Uuid;

use crate::config::BoardLimits;
use crate::db::post_numbers::{self, PostNumbers};
use crate::db::{self, PgPool, attachments, blobs, boards, posts, threads};
use crate::domain::{Attachment, BoardId, PostNo, ThreadPosts};
use crate::error::AppError;

/// Replies of a thread on an index page.
const PREVIEW_REPLIES: i64 = 5;
/// Pictures on the home page.
const NEWEST_PICTURES: i64 = 12;
/// How long a measurement may take.
const MEASURING: Duration = Duration::from_secs(1);
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
    let read = async {
        let mut connection = pool.acquire().await?;
        let mut snapshot = connection.snapshot().await?;
        let totals = boards::totals(&mut snapshot).await?;
        let newest = attachments::newest(&mut snapshot, NEWEST_PICTURES).await?;
        Ok(Home { totals, newest })
    };
    Ok(db::in_time(read).await?)
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
pub async fn index(pool: &PgPool, board: BoardId, page: u32, limits: BoardLimits) -> Result<IndexPage, AppError> {
    let per_page = i64::from(limits.threads_per_page);
    let read = async {
        let mut connection = pool.acquire().await?;
        let mut snapshot = connection.snapshot().await?;
        let count = threads::count(&mut snapshot, board).await?;
        // There may be a few more threads than pages: one that could not be archived because somebody replied to it,
        // or many, when the number of pages was lowered. They are archived with the next new thread.
        let pages = u32::try_from((count + per_page - 1) / per_page).unwrap_or(u32::MAX).clamp(1, limits.pages);
        let listed = threads::list(&mut snapshot, board, i64::from(page) * per_page, per_page).await?;
        let threads = posts::previews(&mut snapshot, listed, PREVIEW_REPLIES).await?;
        Ok(IndexPage { threads, pages })
    };
    Ok(db::in_time(read).await?)
}

/// Reads every live thread of a board in bump order, each with this many of its last replies.
pub async fn live_threads(pool: &PgPool, board: BoardId, replies: i64) -> Result<Vec<ThreadPosts>, AppError> {
    let read = async {
        let mut connection = pool.acquire().await?;
        let mut snapshot = connection.snapshot().await?;
        let listed = threads::list(&mut snapshot, board, 0, i64::MAX).await?;
        posts::previews(&mut snapshot, listed, replies).await
    };
    Ok(db::in_time(read).await?)
}

/// Reads a thread with every reply.
pub async fn thread(pool: &PgPool, no: PostNo) -> Result<Option<ThreadPosts>, AppError> {
    let read = async {
        let mut connection = pool.acquire().await?;
        let mut snapshot = connection.snapshot().await?;
        match threads::find(&mut snapshot, no).await? {
            Some(thread) => posts::whole_thread(&mut snapshot, thread).await,
            None => Ok(None),
        }
    };
    Ok(db::in_time(read).await?)
}

/// Where a post stands, if there is such a post.
pub async fn locate(pool: &PgPool, no: PostNo) -> Result<Option<posts::Location>, AppError> {
    let read = async { posts::locate(&mut *pool.acquire().await?, &[no]).await };
    Ok(db::in_time(read).await?.remove(&no))
}

/// The newest archived threads of a board, ascending.
pub async fn archive(pool: &PgPool, board: BoardId) -> Result<Vec<PostNo>, AppError> {
    let read = async { threads::archived(&mut *pool.acquire().await?, board, ARCHIVE_LISTED).await };
    Ok(db::in_time(read).await?)
}

/// How far the post numbers have got. Gives up soon: who measures should learn the rest whatever the database does.
pub async fn post_numbers(pool: &PgPool) -> Result<PostNumbers, AppError> {
    let read = async { post_numbers::read(&mut *pool.acquire().await?).await };
    Ok(db::within(MEASURING, read).await?)
}

/// A picture that hangs on at least one post.
pub async fn picture(pool: &PgPool, id: Uuid) -> Result<Option<blobs::Stored>, AppError> {
    let read = async { blobs::find_shown(&mut *pool.acquire().await?, id).await };
    Ok(db::in_time(read).await?)
}

/// The picture that clients know by its `tim`, if it hangs on a post of this board.
pub async fn file(pool: &PgPool, board: BoardId, tim: i64) -> Result<Option<blobs::Stored>, AppError> {
    let read = async { attachments::find_by_tim(&mut *pool.acquire().await?, board, tim).await };
    Ok(db::in_time(read).await?)
}
