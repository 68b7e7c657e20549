//! Whose session of Postgres a connection has: its own, or, behind a pooler in transaction mode, another one for each
//! transaction.
//!
//! Nothing in the protocol says so. What tells it is the process of the server that answers: two connections that take
//! turns get each other's. A pooler that is busy enough to hide that once will show it soon after, so whoever depends on
//! having a session of its own looks at the process with every answer, too (`super::feed`).

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection, Row as _};

use super::error::{Error, has_code};
use super::pool::settings;

/// What was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sessions {
    /// Each connection has one.
    Own,
    /// They are handed out.
    Shared {
        /// Prepared statements get other names in them, so that those of two clients are not mistaken for each other.
        statements_are_told_apart: bool,
        /// They have [`super::pool::SETTINGS`] from the role.
        have_settings: bool,
    },
}

/// Why a pooler cannot be used: a statement would be executed that another client has prepared under the same name.
pub(super) const MIXED_UP: &str = "a pooler in front of Postgres hands out sessions, and does not tell the prepared statements of its \
    clients apart. PgBouncer 1.21 or later does, with max_prepared_statements above 0; or use it in session mode";

/// Looks. Neither connection may be in a transaction.
pub(super) async fn look(one: &mut PgConnection, other: &mut PgConnection) -> Result<Sessions, Error> {
    let (mut ones, mut others) = (BTreeSet::new(), BTreeSet::new());
    // A pooler gives out the session that was given back last, or the one that has waited longest. For the first kind,
    // each takes what the other has just given back; for the second, one takes two after another.
    for _ in 0..2 {
        let mut transaction = one.begin().await?;
        ones.insert(process(&mut transaction).await?);
        others.insert(process(other).await?);
        transaction.commit().await?;
        let mut transaction = other.begin().await?;
        others.insert(process(&mut transaction).await?);
        ones.insert(process(one).await?);
        transaction.commit().await?;
    }
    ones.insert(process(one).await?);
    ones.insert(process(one).await?);
    if ones.len() == 1 && others.len() == 1 {
        return Ok(Sessions::Own);
    }
    let (names, values) = settings();
    let found = sqlx::query!(
        r#"select not exists (select from pg_prepared_statements where starts_with(name, 'sqlx_')) as "told_apart!", not exists (
               select from unnest($1::text[], $2::text[]) as wanted (name, value) left join pg_settings using (name)
               where reset_val is distinct from value
           ) as "have_settings!""#,
        &names,
        &values,
    )
    .fetch_one(one)
    .await;
    match found {
        Ok(found) => {
            Ok(Sessions::Shared { statements_are_told_apart: found.told_apart, have_settings: found.have_settings })
        }
        // This very statement was mixed up: there is none of its name, or another one.
        Err(error) if has_code(&error, |code| matches!(code, "26000" | "42P05" | "08P01")) => {
            Ok(Sessions::Shared { statements_are_told_apart: false, have_settings: false })
        }
        Err(error) => Err(error),
    }
}

/// The process of the server that answers. Asked without a prepared statement, which may not be possible.
async fn process(connection: &mut PgConnection) -> Result<i32, Error> {
    sqlx::raw_sql("select pg_backend_pid()").fetch_one(connection).await?.try_get(0)
}
