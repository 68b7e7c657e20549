//! How far boards and threads have changed, for those who watch them, and what has happened since: `thread_state` and
//! `board_state` as they are, and the rows of `change`.

use std::collections::HashMap;

use super::changes::Published;
use super::versions::{Scope, numbers};
use super::{Error, PgConnection};
use crate::domain::{BoardId, PostNo};

/// How far a board or a thread had changed, for somebody who watches it. The time belongs to it: a database that was
/// restored gives out version numbers a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The version.
    pub version: i64,
    /// When it was made, in microseconds since 1970.
    pub changed_at: i64,
}

impl Position {
    /// How far something had changed with a row of the outbox; `None` if that is about something else.
    #[must_use]
    pub fn of(row: &Published, scope: Scope) -> Option<Self> {
        let version = match scope {
            Scope::Site => None,
            Scope::Board(board) => row.board_version.filter(|_| row.board == Some(board)),
            Scope::Thread(thread) => row.thread_version.filter(|_| row.thread == Some(thread)),
        };
        Some(Self { version: version?, changed_at: row.changed_at.timestamp_micros() })
    }

    /// Whether this is the next version after an earlier one, in the same history.
    #[must_use]
    pub const fn follows(self, earlier: Self) -> bool {
        self.version == earlier.version.saturating_add(1) && self.changed_at > earlier.changed_at
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:x}", self.version, self.changed_at)
    }
}

impl std::str::FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // Digits only: what is parsed is written in the same way again.
        let (version, changed_at) = text.split_once('.').filter(|_| !text.contains(['+', '-'])).ok_or(())?;
        let changed_at = i64::from_str_radix(changed_at, 16).map_err(|_| ())?;
        Ok(Self { version: version.parse().map_err(|_| ())?, changed_at })
    }
}

/// The present positions of boards and threads; those that do not exist have none.
pub async fn positions(connection: &mut PgConnection, scopes: &[Scope]) -> Result<HashMap<Scope, Position>, Error> {
    let (threads, boards) = numbers(scopes);
    let rows = sqlx::query!(
        r#"select thread_no, null::smallint as board_id, version as "version!", changed_at as "changed_at!"
           from unnest($1::integer[]) as asked (no) join thread_state on thread_no = asked.no
           union all
           select null, board_id, version, changed_at
           from unnest($2::smallint[]) as asked (id) join board_state on board_id = asked.id"#,
        &threads,
        &boards,
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().filter_map(|row| {
        let of_thread = row.thread_no.map(|no| Scope::Thread(PostNo(no)));
        let scope = of_thread.or_else(|| row.board_id.map(|id| Scope::Board(BoardId(id))))?;
        Some((scope, Position { version: row.version, changed_at: row.changed_at.timestamp_micros() }))
    });
    Ok(rows.collect())
}

/// The rows that say what happened to a board or thread from a version on, in the order of versions, that version included;
/// so many at the most.
pub async fn since(
    connection: &mut PgConnection,
    scope: Scope,
    version: i64,
    limit: usize,
) -> Result<Vec<Published>, Error> {
    let (board, thread) = match scope {
        Scope::Site => return Ok(Vec::new()),
        Scope::Board(board) => (Some(board.0), None),
        Scope::Thread(thread) => (None, Some(thread.0)),
    };
    let rows = sqlx::query!(
        "(select id, what, changed_at, board_id, board_version, thread_no, thread_version, post_no
          from change where board_id = $1 and board_version >= $3 order by board_version, id limit $4)
         union all
         (select id, what, changed_at, board_id, board_version, thread_no, thread_version, post_no
          from change where thread_no = $2 and thread_version >= $3 order by thread_version, id limit $4)",
        board,
        thread,
        version,
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().filter_map(|row| {
        let (board, thread) = ((row.board_id, row.board_version), (row.thread_no, row.thread_version));
        Some(Published::new(&row.what?, row.changed_at?, board, thread, row.post_no))
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_follows_the_one_before_it_of_the_same_history() {
        let at = |version, changed_at| Position { version, changed_at };
        assert!(at(8, 20).follows(at(7, 10)));
        assert!(!at(9, 20).follows(at(7, 10)));
        assert!(!at(8, 10).follows(at(7, 10)));
        assert!(!at(i64::MAX, 10).follows(at(i64::MAX, 10)));
    }
}
