//! `thread`, `thread_state`, `bump`.

use super::{Error, PgConnection};
use crate::domain::{BoardId, Closed, PostNo, Thread};

/// Makes a thread, empty yet, and answers its number, which is also that of its opening post.
pub async fn insert(connection: &mut PgConnection, board: BoardId) -> Result<PostNo, Error> {
    let no = sqlx::query_scalar!("insert into thread (board_id) values ($1) returning no", board.0)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query!("insert into thread_state (thread_no, board_id) values ($1, $2)", no, board.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("insert into bump (thread_no, board_id) values ($1, $2)", no, board.0).execute(connection).await?;
    Ok(PostNo(no))
}

/// A thread as a reply meets it.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// The board it stands on.
    pub board: BoardId,
    /// Takes no replies.
    pub locked: bool,
    /// Takes no replies either.
    pub archived: bool,
    /// Replies that it has.
    pub replies: i32,
}

impl Answered {
    /// Why the thread takes no reply; `None` if it does.
    #[must_use]
    pub fn closed(&self, reply_limit: i32) -> Option<Closed> {
        if self.archived {
            Some(Closed::Archived)
        } else if self.locked {
            Some(Closed::Locked)
        } else if self.replies >= reply_limit {
            Some(Closed::Full)
        } else {
            None
        }
    }
}

/// Locks a thread for a reply. From here to the end of the transaction no other reply can enter it, so that the numbers
/// of its posts rise in the order in which they become visible.
pub async fn lock(connection: &mut PgConnection, thread: PostNo) -> Result<Option<Answered>, Error> {
    sqlx::query_scalar!("select thread_no from thread_state where thread_no = $1 for update", thread.0)
        .fetch_optional(&mut *connection)
        .await?;
    let row = sqlx::query!(
        r#"select state.board_id, state.replies, thread.locked, thread.archived_at is not null as "archived!"
           from thread_state state join thread on thread.no = state.thread_no
           where state.thread_no = $1"#,
        thread.0,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Answered {
        board: BoardId(row.board_id),
        locked: row.locked,
        archived: row.archived,
        replies: row.replies,
    }))
}

/// Keeps everybody else from changing the threads of these posts until the transaction ends.
pub async fn lock_those_of(connection: &mut PgConnection, posts: &[PostNo]) -> Result<(), Error> {
    let posts: Vec<i32> = posts.iter().map(|no| no.0).collect();
    sqlx::query_scalar!(
        "select thread_no from thread_state
         where thread_no in (select thread_no from post where no = any($1)) order by thread_no for update",
        &posts,
    )
    .fetch_all(connection)
    .await
    .map(drop)
}

/// Moves a thread to the top of its board.
pub async fn bump(connection: &mut PgConnection, thread: PostNo) -> Result<(), Error> {
    sqlx::query!("update bump set bumped_at = clock_timestamp() where thread_no = $1", thread.0)
        .execute(connection)
        .await
        .map(drop)
}

/// Archives what has fallen off the last page, and answers which threads. A thread that somebody is replying to at this
/// moment is left for the next time: waiting for it here could be a deadlock.
pub async fn archive_beyond(connection: &mut PgConnection, board: BoardId, keep: i64) -> Result<Vec<PostNo>, Error> {
    let fallen = sqlx::query_scalar!(
        "with fallen as (
            select state.thread_no from thread_state state
            where state.thread_no in (
                select thread_no from bump where board_id = $1
                order by sticky desc, bumped_at desc, thread_no desc offset $2
            )
            for update skip locked
        ), archived as (
            update thread set archived_at = clock_timestamp() where no in (select thread_no from fallen)
        )
        delete from bump where thread_no in (select thread_no from fallen) returning thread_no",
        board.0,
        keep,
    )
    .fetch_all(connection)
    .await?;
    Ok(fallen.into_iter().map(PostNo).collect())
}

/// Removes a thread with all its posts.
pub async fn delete(connection: &mut PgConnection, thread: PostNo) -> Result<(), Error> {
    sqlx::query!("delete from thread where no = $1", thread.0).execute(connection).await.map(drop)
}

/// One thread as a whole, with the limit of its replies.
pub async fn find(connection: &mut PgConnection, thread: PostNo, reply_limit: i32) -> Result<Option<Thread>, Error> {
    let row = sqlx::query!(
        r#"select thread.no, thread.locked, thread.archived_at,
                  coalesce(bump.sticky, false) as "sticky!", bump.bumped_at as "bumped_at?",
                  state.replies, state.pictures,
                  greatest(state.last_modified, floor(extract(epoch from state.changed_at))::bigint) as "last_modified!"
           from thread
           join thread_state state on state.thread_no = thread.no
           left join bump on bump.thread_no = thread.no
           where thread.no = $1"#,
        thread.0,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Thread {
        no: PostNo(row.no),
        sticky: row.sticky,
        locked: row.locked,
        archived_at: row.archived_at,
        replies: row.replies,
        reply_limit,
        pictures: row.pictures,
        bumped_at: row.bumped_at,
        last_modified: row.last_modified,
    }))
}

/// The live threads of a board in bump order, from the `skip`th on, with the limit of their replies. The board keeps a
/// few pages of threads, so skipping is cheap.
pub async fn list(
    connection: &mut PgConnection,
    board: BoardId,
    skip: i64,
    limit: i64,
    reply_limit: i32,
) -> Result<Vec<Thread>, Error> {
    let rows = sqlx::query!(
        r#"select bump.thread_no, bump.sticky, bump.bumped_at, thread.locked,
                  state.replies, state.pictures,
                  greatest(state.last_modified, floor(extract(epoch from state.changed_at))::bigint) as "last_modified!"
           from (
               select thread_no, sticky, bumped_at from bump where board_id = $1
               order by sticky desc, bumped_at desc, thread_no desc offset $2 limit $3
           ) bump
           join thread on thread.no = bump.thread_no
           join thread_state state on state.thread_no = bump.thread_no
           order by bump.sticky desc, bump.bumped_at desc, bump.thread_no desc"#,
        board.0,
        skip,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let threads = rows.into_iter().map(|row| Thread {
        no: PostNo(row.thread_no),
        sticky: row.sticky,
        locked: row.locked,
        archived_at: None,
        replies: row.replies,
        reply_limit,
        pictures: row.pictures,
        bumped_at: Some(row.bumped_at),
        last_modified: row.last_modified,
    });
    Ok(threads.collect())
}

/// How many live threads a board has.
pub async fn count(connection: &mut PgConnection, board: BoardId) -> Result<i64, Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from bump where board_id = $1"#, board.0)
        .fetch_one(connection)
        .await
}

/// The newest archived threads of a board, ascending by number.
pub async fn archived(connection: &mut PgConnection, board: BoardId, limit: i64) -> Result<Vec<PostNo>, Error> {
    let mut numbers = sqlx::query_scalar!(
        "select no from thread where board_id = $1 and archived_at is not null order by no desc limit $2",
        board.0,
        limit,
    )
    .fetch_all(connection)
    .await?;
    numbers.reverse();
    Ok(numbers.into_iter().map(PostNo).collect())
}
