//! A board of any size, written by Postgres itself: posting five million times would take hours.
//!
//! Knows the tables of the application, for those who measure it. No object of a picture is in the store.

use anyhow::{Context, Result};
use sqlx::{Connection as _, Executor as _, PgConnection};

/// A filled board.
#[derive(Debug, Clone, Copy)]
pub struct Filled {
    /// Posts, on all boards.
    pub posts: i64,
    /// The longest thread of the first board, which is live and has a thousand replies.
    pub long_thread: i32,
}

/// Fills a board on which nothing was posted yet. The live threads of the first board, nine thousand posts, are the same
/// whatever the size; with `archived` posts in the archive, the other boards are as busy as the first.
pub async fn fill(database: &mut PgConnection, archived: u32) -> Result<Filled> {
    let mut transaction = database.begin().await?;
    sqlx::query("select set_config('fill.archived', $1, true)")
        .bind(archived.to_string())
        .execute(&mut *transaction)
        .await?;
    sqlx::raw_sql(include_str!("fill.sql")).execute(&mut *transaction).await.context("cannot fill the board")?;
    transaction.commit().await?;
    // As autovacuum would have left it.
    database.execute("vacuum analyze").await.context("cannot vacuum the board")?;
    let (posts, long_thread) = sqlx::query_as(
        "select (select sum(posts)::bigint from board_state), thread_no
         from thread_state state join board on board.id = state.board_id
         order by board.position, state.replies desc limit 1",
    )
    .fetch_one(database)
    .await?;
    Ok(Filled { posts, long_thread })
}

/// Makes every page of every board and of one thread out of date, as a post would.
pub async fn outdate(database: &mut PgConnection, thread: i32) -> Result<()> {
    database.execute("update board_state set version = version + 1").await?;
    sqlx::query("update thread_state set version = version + 1 where thread_no = $1")
        .bind(thread)
        .execute(database)
        .await?;
    Ok(())
}

/// Deletes pictures and leaves their blobs to the collector: a third of them the oldest, the others the newest.
pub async fn delete_pictures(database: &mut PgConnection, number: i64) -> Result<()> {
    sqlx::query(
        "delete from attachment where post_no in (
            (select post_no from attachment order by post_no limit $1) union all
            (select post_no from attachment order by post_no desc limit $2)
        )",
    )
    .bind(number / 3)
    .bind(number - number / 3)
    .execute(database)
    .await?;
    Ok(())
}

/// Live threads that can be answered for a long time: those with the fewest replies of each board, with its name.
pub async fn short_threads(database: &mut PgConnection, per_board: i64) -> Result<Vec<(String, i32)>> {
    let threads = sqlx::query_as(
        "select board.slug, thread.thread_no
         from board cross join lateral (
             select thread_no from bump join thread_state using (thread_no)
             where bump.board_id = board.id order by replies, thread_no limit $1
         ) thread
         order by board.position, thread.thread_no",
    );
    Ok(threads.bind(per_board).fetch_all(database).await?)
}

/// Adds archived threads of one post to the first board, with its name: pages that are many and small.
pub async fn archived_threads(database: &mut PgConnection, number: i64) -> Result<Vec<(String, i32)>> {
    let threads = sqlx::query_as(
        "with first as (select id, slug from board order by position limit 1),
         opened as (
             insert into thread (board_id, archived_at) select id, now() from first, generate_series(1, $1) returning no
         ),
         posted as (
             insert into post (no, thread_no, sage, comment, html, password_hash, address_hash)
             select no, no, false, 'Thread ' || no, 'Thread ' || no, sha256(int4send(no)), sha256(int4send(-no)) from opened
         ),
         stated as (insert into thread_state (thread_no, board_id) select no, id from opened, first),
         counted as (
             update board_state set version = version + 1, threads = threads + $1, posts = posts + $1
             where board_id in (select id from first)
         )
         select slug, no from first, opened order by no",
    );
    let threads = threads.bind(number).fetch_all(&mut *database).await.context("cannot add threads")?;
    // As autovacuum would have left it.
    database.execute("vacuum analyze").await.context("cannot vacuum the board")?;
    Ok(threads)
}
