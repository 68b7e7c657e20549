//! `post_no`: the numbers of posts and threads, which clients read into an int32.

use super::{Error, PgConnection};

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostNumbers {
    /// The last that was given; 1 before the first post too.
    pub last: i64,
    /// The last that can be given.
    pub limit: i64,
}

/// How far the numbers have got.
pub async fn read(connection: &mut PgConnection) -> Result<PostNumbers, Error> {
    sqlx::query_as!(
        PostNumbers,
        r#"select post_no.last_value as "last!", pg_sequence.seqmax as "limit!"
           from post_no join pg_sequence on pg_sequence.seqrelid = 'post_no'::regclass"#
    )
    .fetch_one(connection)
    .await
}
