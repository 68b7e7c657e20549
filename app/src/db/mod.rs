//! SQL, one file a group of tables. The only place that names `sqlx`, a table or a column.
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
pub mod posts;
pub mod submissions;
pub mod threads;
pub mod versions;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
pub use sqlx::{PgConnection, PgPool, migrate::MigrateError};

/// A transaction; rolled back when dropped.
pub type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;

/// What the database answered instead of a result.
pub type Error = sqlx::Error;

/// The schema, as files of `app/migrations`.
///
/// After a roll-back the older binary meets a schema that is ahead of it, and that is fine: migrations only ever add
/// what the release before can live with.
fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!();
    migrations.set_ignore_missing(true);
    migrations
}

/// How long a request waits for a connection before it is told that the database cannot be reached.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a migration waits for a connection before it says so and tries again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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

/// A pool that connects when it is first asked for a connection.
///
/// Limits on statements, locks and idle transactions are set on every connection, so that no request can hold a
/// row lock for long: five seconds a statement, two for a lock.
pub fn pool(url: &SecretString, connections: u32) -> Result<PgPool, Error> {
    pool_with_limit(url, connections, "5s")
}

/// A pool for work that nobody waits for: a statement may look at a whole table.
pub fn patient_pool(url: &SecretString) -> Result<PgPool, Error> {
    pool_with_limit(url, 2, "15min")
}

fn pool_with_limit(url: &SecretString, connections: u32, statement: &str) -> Result<PgPool, Error> {
    let options = url.expose_secret().parse::<PgConnectOptions>()?.application_name("triptych").options([
        ("statement_timeout", statement),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "10s"),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(Duration::from_mins(5))
        .connect_lazy_with(options))
}

/// Applies what is missing of the schema. Any number of replicas may call this at once: one does the work, the others wait.
///
/// # Errors
/// A migration that failed (it is rolled back), or that was changed after it had been applied.
pub async fn migrate(url: &SecretString) -> Result<(), MigrateError> {
    // A connection of its own, without the pool's time limits: an index may take minutes, and so may waiting for
    // the replica that came first.
    let options = url.expose_secret().parse::<PgConnectOptions>()?.application_name("triptych migrate");
    // A network that swallows packets would hold this for minutes, in which nobody is told anything.
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    let mut connection = connected.unwrap_or_else(|_| {
        let silence = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, silence).into())
    })?;
    migrations().run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Whether every migration that this binary knows has been applied. A schema that is ahead is fine.
pub async fn schema_is_current(connection: &mut PgConnection) -> Result<bool, Error> {
    let ours = migrations();
    let exists = sqlx::query_scalar!(r#"select to_regclass($1) is not null as "exists!""#, &*ours.table_name)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(false);
    }
    let applied = connection.list_applied_migrations(&ours.table_name).await.map_err(|error| match error {
        MigrateError::Execute(error) => error,
        other => Error::Migrate(Box::new(other)),
    })?;
    Ok(ours.iter().all(|ours| applied.iter().any(|applied| applied.version == ours.version)))
}

/// The most that a few statements may take before whoever waits for them is told that the database does not answer.
/// The server's own limits are no help when it hangs, or when the network between us is cut without a word.
pub const LONGEST: Duration = Duration::from_secs(6);

/// Waits for the database only so long.
pub async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(LONGEST, work).await.unwrap_or(Err(Error::PoolTimedOut))
}

/// A read-only transaction in which every statement sees the same moment.
pub async fn snapshot(pool: &PgPool) -> Result<Transaction, Error> {
    pool.begin_with("begin isolation level repeatable read, read only").await
}

/// Whether the same request may succeed if it is sent again a little later: the database could not be reached, is
/// shutting down or starting up, took too long, or chose this transaction as the victim of a deadlock.
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
            // available), and 25P03 (a transaction stood still for too long: its replica was frozen); PostgreSQL
            // manual, appendix A.
            ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)) || matches!(&*code, "55P03" | "25P03")
        }),
        _ => false,
    }
}

/// Whether a migration that failed may succeed a little later. A wrong password and a missing role or database will
/// not: somebody has to do something, and should be told at once.
#[must_use]
pub fn migration_may_pass(error: &MigrateError) -> bool {
    matches!(error, MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) if is_passing(error))
}

/// Why a migration failed. What failed before any migration began is told without their name.
#[must_use]
pub fn cause(error: &MigrateError) -> String {
    match error {
        MigrateError::Execute(cause) => cause.to_string(),
        error => error.to_string(),
    }
}

/// Whether a statement was refused because this transaction and another waited for each other.
#[must_use]
pub fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Database(error) if error.code().is_some_and(|code| code.starts_with("40")))
}

/// Whether a sequence has given its last number.
#[must_use]
pub fn is_exhausted(error: &Error) -> bool {
    matches!(error, Error::Database(error) if error.code().is_some_and(|code| code == "2200H"))
}
