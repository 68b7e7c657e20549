//! A board of any size, written by Postgres itself: posting five million times would take hours.
//!
//! Knows the tables of the application, and that is its business alone. No object of a picture is in the store.

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

/// Fills a board on which nothing was posted yet. Its live threads have about nine thousand posts a board; `archived`
/// is how many there are besides. The live threads of the first board are the same in boards of all sizes.
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
