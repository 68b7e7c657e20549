//! What pages are made of. Each function sees one moment of the database, so that no page shows half of a change, and
//! gives up on a database that does not answer.

use std::time::Duration;

use uuid::Uuid;

use crate::config::BoardLimits;
use crate::db::post_numbers::{self, PostNumbers};
pub use crate::db::posts::Backlinks;
use crate::db::posts::Newest;
use crate::db::versions::{Scope, Version};
use crate::db::{self, PgConnection, PgPool, attachments, blobs, boards, posts, threads, versions};
use crate::domain::{Attachment, BoardId, MOST_REPLIES_SHOWN, PostNo, ThreadPosts};
use crate::error::AppError;
use crate::live::Boards;

/// What a thread's own page and document show. A thread may hold more: it may have got its replies under a higher limit, or
/// before there was one. Their text is bounded too, because a comment of a few thousand characters can be a hundred
/// kilobytes of HTML; ordinary threads come nowhere near.
const WHOLE_THREAD: Newest = Newest { replies: MOST_REPLIES_SHOWN, bytes: 8 << 20, after: PostNo(0) };
/// Replies of a thread on an index page.
const PREVIEW_REPLIES: i64 = 5;
/// Bytes of HTML that the replies of one thread have on a page, or in a document, of many threads.
const PREVIEW_BYTES: i64 = 64 << 10;
/// Pictures on the home page.
const NEWEST_PICTURES: i64 = 12;
/// How long a measurement may take.
const MEASURING: Duration = Duration::from_secs(1);
/// Threads that the archive lists.
const ARCHIVE_LISTED: i64 = 3000;

/// What a page is made of, as of one moment.
#[derive(Debug)]
pub struct Snapshot<T> {
    /// The version of the page at that moment.
    pub version: Version,
    /// The boards at that moment.
    pub boards: Boards,
    /// What the page shows.
    pub content: T,
}

/// Reads the boards, the version of `scope` and whatever `read` reads, all of one moment. `None` when there is no such
/// thing.
async fn snapshot<T>(
    pool: &PgPool,
    scope: Scope,
    read: impl AsyncFnOnce(&mut PgConnection) -> Result<Option<T>, db::Error>,
) -> Result<Option<Snapshot<T>>, AppError> {
    let read = async {
        let mut connection = pool.acquire().await?;
        let mut snapshot = connection.snapshot().await?;
        let Some(version) = versions::current(&mut snapshot, &[scope]).await?.pop().flatten() else { return Ok(None) };
        let boards = boards::list(&mut snapshot).await?;
        let content = read(&mut snapshot).await?;
        Ok(content.map(|content| Snapshot { version, boards: Boards { version: boards.0, list: boards.1 }, content }))
    };
    Ok(db::in_time(read).await?)
}

/// The boards alone.
pub async fn boards(pool: &PgPool) -> Result<Option<Snapshot<()>>, AppError> {
    snapshot(pool, Scope::Site, async |_| Ok(Some(()))).await
}

/// The home page.
#[derive(Debug)]
pub struct Home {
    /// Threads, posts, pictures on all boards.
    pub totals: (i64, i64, i64),
    /// Board, thread, post, and what hangs there; newest first.
    pub newest: Vec<(String, PostNo, PostNo, Attachment)>,
}

/// Reads the home page.
pub async fn home(pool: &PgPool) -> Result<Option<Snapshot<Home>>, AppError> {
    snapshot(pool, Scope::Site, async |connection| {
        let totals = boards::totals(connection).await?;
        let newest = attachments::newest(connection, NEWEST_PICTURES).await?;
        Ok(Some(Home { totals, newest }))
    })
    .await
}

/// A page of the index.
#[derive(Debug)]
pub struct IndexThreads {
    /// In bump order, each with its last replies.
    pub threads: Vec<ThreadPosts>,
    /// How many pages there are; at least one.
    pub pages: u32,
}

/// Reads a page of the index, the first being 0.
pub async fn index(
    pool: &PgPool,
    board: BoardId,
    page: u32,
    limits: BoardLimits,
    backlinks: Backlinks,
) -> Result<Option<Snapshot<IndexThreads>>, AppError> {
    let per_page = i64::from(limits.threads_per_page);
    snapshot(pool, Scope::Board(board), async |connection| {
        let count = threads::count(connection, board).await?;
        // There may be a few more threads than pages: one that could not be archived because somebody replied to it,
        // or many, when the number of pages was lowered. They are archived with the next new thread.
        let pages = u32::try_from((count + per_page - 1) / per_page).unwrap_or(u32::MAX).clamp(1, limits.pages);
        let skip = i64::from(page) * per_page;
        let listed = threads::list(connection, board, skip, per_page, limits.reply_limit).await?;
        let newest = Newest { replies: PREVIEW_REPLIES, bytes: PREVIEW_BYTES, after: PostNo(0) };
        let threads = posts::of_threads(connection, listed, newest, backlinks).await?;
        Ok(Some(IndexThreads { threads, pages }))
    })
    .await
}

/// Reads the threads on all pages of a board in bump order, each with so many of its last replies at the most. Without
/// back-links, which neither the catalogue nor a program is shown.
pub async fn live_threads(
    pool: &PgPool,
    board: BoardId,
    replies: i64,
    limits: BoardLimits,
) -> Result<Option<Snapshot<Vec<ThreadPosts>>>, AppError> {
    snapshot(pool, Scope::Board(board), async |connection| {
        let listed = threads::list(connection, board, 0, limits.live_threads(), limits.reply_limit).await?;
        let newest = Newest { replies, bytes: PREVIEW_BYTES, after: PostNo(0) };
        posts::of_threads(connection, listed, newest, Backlinks::Omitted).await.map(Some)
    })
    .await
}

/// Reads a thread with its replies, or with the newest ones if there are more than a page can show.
pub async fn thread(pool: &PgPool, no: PostNo, limits: BoardLimits) -> Result<Option<Snapshot<ThreadPosts>>, AppError> {
    snapshot(pool, Scope::Thread(no), async |connection| {
        read_thread(connection, no, WHOLE_THREAD, limits, Backlinks::Included).await
    })
    .await
}

/// Reads a thread with those of its replies that have a greater number than a post, or with the newest of them if there are
/// more than a page can show.
pub async fn new_posts(
    pool: &PgPool,
    no: PostNo,
    after: PostNo,
    limits: BoardLimits,
    backlinks: Backlinks,
) -> Result<Option<Snapshot<ThreadPosts>>, AppError> {
    snapshot(pool, Scope::Thread(no), async |connection| {
        read_thread(connection, no, Newest { after, ..WHOLE_THREAD }, limits, backlinks).await
    })
    .await
}

/// A thread as programs read it.
#[derive(Debug)]
pub struct ThreadContent {
    /// Its posts.
    pub posts: ThreadPosts,
    /// From how many addresses they were sent; not told of archived threads, as 4chan does not.
    pub posters: Option<i64>,
}

/// Reads what programs are told of a thread.
pub async fn thread_content(
    pool: &PgPool,
    no: PostNo,
    limits: BoardLimits,
) -> Result<Option<Snapshot<ThreadContent>>, AppError> {
    snapshot(pool, Scope::Thread(no), async |connection| {
        let Some(posts) = read_thread(connection, no, WHOLE_THREAD, limits, Backlinks::Omitted).await? else {
            return Ok(None);
        };
        let posters = match posts.thread.archived_at {
            None => Some(posts::posters(connection, no, MOST_REPLIES_SHOWN).await?),
            Some(_) => None,
        };
        Ok(Some(ThreadContent { posts, posters }))
    })
    .await
}

async fn read_thread(
    connection: &mut PgConnection,
    no: PostNo,
    newest: Newest,
    limits: BoardLimits,
    backlinks: Backlinks,
) -> Result<Option<ThreadPosts>, db::Error> {
    let Some(thread) = threads::find(connection, no, limits.reply_limit).await? else { return Ok(None) };
    Ok(posts::of_threads(connection, vec![thread], newest, backlinks).await?.pop())
}

/// The newest archived threads of a board, ascending.
pub async fn archive(pool: &PgPool, board: BoardId) -> Result<Option<Snapshot<Vec<PostNo>>>, AppError> {
    snapshot(pool, Scope::Board(board), async |connection| {
        threads::archived(connection, board, ARCHIVE_LISTED).await.map(Some)
    })
    .await
}

/// Where a post stands, if there is such a post.
pub async fn locate(pool: &PgPool, no: PostNo) -> Result<Option<posts::Location>, AppError> {
    let read = async { posts::locate(&mut *pool.acquire().await?, &[no]).await };
    Ok(db::in_time(read).await?.remove(&no))
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
