//! What an error of the database means for whoever asked.

use std::fmt::{Debug, Display};
use std::io;
use std::time::Duration;

/// What the database answered instead of a result.
pub type Error = sqlx::Error;

/// Whether the same request may succeed if it is sent again a little later: the database could not be reached, is
/// shutting down or starting up, takes no writes, took too long, or chose this transaction as the victim of a deadlock.
#[must_use]
pub fn is_passing(error: &Error) -> bool {
    match error {
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => true,
        Error::Database(error) => error.code().is_some_and(|code| {
            // Classes 08 (connection), 40 (roll-back), 53 (resources), 57 (operator intervention), 55P03 (lock not
            // available), 25P03 (a transaction stood still for too long: its replica was frozen), and 25006 (read-only:
            // after a failover this server is no longer the primary); PostgreSQL manual, appendix A.
            ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
                || matches!(&*code, "55P03" | "25P03" | "25006")
        }),
        _ => false,
    }
}

/// Whether a statement was refused because this transaction and another waited for each other.
#[must_use]
pub fn is_conflict(error: &Error) -> bool {
    has_code(error, |code| code.starts_with("40"))
}

/// Whether a sequence has given its last number.
#[must_use]
pub fn is_exhausted(error: &Error) -> bool {
    has_code(error, |code| code == "2200H")
}

pub(super) fn has_code(error: &Error, is: impl Fn(&str) -> bool) -> bool {
    matches!(error, Error::Database(error) if error.code().is_some_and(|code| is(&code)))
}

/// Nobody answered for so long.
#[must_use]
pub fn silence(limit: Duration) -> Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs())).into()
}

/// A value that this version cannot read, in a row of a later one. `column` is named with its table.
pub(super) fn unreadable(column: &str, row: impl Display, value: impl Debug) -> Error {
    let source = format!("this version does not know {value:?}, which is in the row {row}");
    Error::ColumnDecode { index: column.to_owned(), source: source.into() }
}
