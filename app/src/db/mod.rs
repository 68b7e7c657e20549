//! SQL, one file per group of tables. The only place that names `sqlx`, a table or a column.
//!
//! Functions take a connection and never begin or end a transaction: that belongs to `service`, which alone knows
//! what must happen together. Must not know HTTP, pages or the blob store.
//!
//! **Lock first, then read.** A statement sees what was committed before it began. One that waits for a lock goes on
//! with the newest version of the row that it waited for, and with everything else as it was before the wait: joined
//! tables, subqueries, rows it found. So whatever decides under a lock takes the lock in one statement and reads what it
//! decides by in the next one.

pub mod attachments;
pub mod blobs;
pub mod boards;
pub mod changes;
mod error;
pub mod feed;
pub mod installation;
mod pool;
pub mod positions;
pub mod post_numbers;
pub mod posts;
mod roles;
mod schema;
mod sessions;
pub mod storage;
pub mod submissions;
pub mod threads;
pub mod traffic;
mod verifier;
pub mod versions;

use secrecy::{ExposeSecret as _, SecretString};
pub use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

pub use self::error::{Error, is_conflict, is_exhausted, is_passing, silence};
pub use self::pool::{Connection, LONGEST, PgPool, Transaction, in_time, patient_pool, pool, within};
pub use self::schema::{MigrateError, cause, migrate, migration_may_pass, objection};

/// Why a database address cannot be used, for the list of configuration errors.
pub fn check_url(url: &SecretString) -> Result<(), String> {
    let url = url.expose_secret();
    // The parser below takes an address of any kind for one of Postgres.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err("is not an address such as postgres://user:password@host:5432/database".to_owned());
    }
    url.parse::<PgConnectOptions>().map(drop).map_err(|error| error.to_string())
}

/// Where the server is, for messages: host and port, never a password.
#[must_use]
pub fn place(url: &SecretString) -> String {
    let options = url.expose_secret().parse::<PgConnectOptions>();
    options.map(|options| format!("{}:{}", options.get_host(), options.get_port())).unwrap_or_default()
}
