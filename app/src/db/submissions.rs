//! `submission`: what was sent, so that the same form sent twice is one post.

use super::{Error, PgConnection};
use crate::domain::PostNo;

/// Claims a submission. `false`: it was sent before and its post is committed. Waits for another transaction that
/// is making the same post.
pub async fn claim(connection: &mut PgConnection, digest: &[u8; 32]) -> Result<bool, Error> {
    let done = sqlx::query!("insert into submission (digest) values ($1) on conflict do nothing", &digest[..])
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes the post that a claimed submission became.
pub async fn complete(connection: &mut PgConnection, digest: &[u8; 32], post: PostNo) -> Result<(), Error> {
    sqlx::query!("update submission set post_no = $2 where digest = $1", &digest[..], post.0)
        .execute(connection)
        .await
        .map(drop)
}

/// The post, and its thread, that a submission became earlier.
pub async fn find(connection: &mut PgConnection, digest: &[u8; 32]) -> Result<Option<(PostNo, PostNo)>, Error> {
    let row = sqlx::query!(
        "select post.no, post.thread_no from submission join post on post.no = submission.post_no where digest = $1",
        &digest[..],
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (PostNo(row.no), PostNo(row.thread_no))))
}

/// Forgets submissions of which no retry can still be on its way. Answers how many.
pub async fn forget(connection: &mut PgConnection, older_than_seconds: f64) -> Result<u64, Error> {
    sqlx::query!(
        "delete from submission where created_at < clock_timestamp() - make_interval(secs => $1)",
        older_than_seconds,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
