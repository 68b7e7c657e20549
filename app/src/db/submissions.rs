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

/// What became of a submission that was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// This post, in this thread.
    Post(PostNo, PostNo),
    /// A post that has been deleted since.
    Deleted,
}

/// What became of a submission; `None` when it was not sent before.
pub async fn find(connection: &mut PgConnection, digest: &[u8; 32]) -> Result<Option<Sent>, Error> {
    let row = sqlx::query!(
        r#"select post.no as "no?", post.thread_no as "thread_no?"
           from submission left join post on post.no = submission.post_no where digest = $1"#,
        &digest[..],
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| match (row.no, row.thread_no) {
        (Some(no), Some(thread)) => Sent::Post(PostNo(no), PostNo(thread)),
        _ => Sent::Deleted,
    }))
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
