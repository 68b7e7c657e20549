//! Connections to Postgres: tried before they are used, and tried again before they are kept for the next user.
//!
//! A host that vanishes says nothing: a connection to it waits for an answer for as long as TCP likes, minutes at the
//! least. sqlx asks a connection that comes back whether it still works, and waits for the answer without any limit;
//! so a host that is away for a moment would cost every place in the pool that was in use. Here each of these waits
//! ends, and a connection that does not answer in time is closed. A statement that was cut off needs no care of its own.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, Postgres};
use tokio::runtime::Handle;

use super::error::{Error, silence};
use crate::trace::waits::{self, Wait, Waiting};

/// How long a request waits for a connection before it is told that the database cannot be reached.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection is waited for that was idle, or that comes back. Half of what a request waits, so that the
/// other half is left for opening another connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How the planner is to work, on every connection: a few hundred rows, looked up one after the other by index. That
/// is all that any statement here does, and it costs the same however large a table is.
///
/// Left to itself, the planner goes by statistics, whose mistakes grow with the tables: it reads a whole one to find a
/// hundred rows in it, or has other processes help, which takes longer to prepare than to do without. Where there is
/// no index, as for the few boards, a table is read all the same.
const BY_INDEX: [(&str, &str); 5] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
];

/// The most that a few statements may take before whoever waits for them is told that the database does not answer.
/// The server's own limits are no help when it hangs, or when the network between us is cut without a word.
pub const LONGEST: Duration = Duration::from_secs(6);

/// Waits for the database only so long.
pub async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    within(LONGEST, work).await
}

/// Waits for the database for a time of one's own.
pub async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(silence(limit)))
}

/// A pool that connects when it is first asked for a connection.
///
/// Limits on statements, locks and idle transactions are set on every connection, so that no request can hold a
/// row lock for long: five seconds a statement, two for a lock.
///
/// `name` is what the server shows as the name of the application.
pub fn pool(url: &SecretString, connections: u32, name: &str) -> Result<PgPool, Error> {
    Ok(PgPool::new(options(url, name, "5s")?, connections))
}

/// A pool for work that nobody waits for: a statement may look at a whole table.
pub fn patient_pool(url: &SecretString, name: &str) -> Result<PgPool, Error> {
    Ok(PgPool::new(options(url, name, "15min")?, 2))
}

/// What every connection is told.
pub(super) fn options(url: &SecretString, name: &str, statement_timeout: &str) -> Result<PgConnectOptions, Error> {
    let options = url.expose_secret().parse::<PgConnectOptions>()?.application_name(name).options([
        ("statement_timeout", statement_timeout),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "10s"),
    ]);
    Ok(options.options(BY_INDEX))
}

/// The pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PgPool(sqlx::PgPool);

/// A connection for a while; goes back to its pool when it is dropped.
#[derive(Debug)]
pub struct Connection {
    inner: PoolConnection<Postgres>,
    since: Instant,
    /// Whoever holds a connection waits for the database, but for moments.
    _waiting: Waiting,
}

/// A transaction; rolled back when dropped.
pub type Transaction<'c> = sqlx::PgTransaction<'c>;

impl PgPool {
    fn new(options: PgConnectOptions, connections: u32) -> Self {
        let last_silence = Arc::new(LastSilence::default());
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(Duration::from_mins(5))
            .after_connect(|connection, _| Box::pin(refuse_standby(connection)))
            // Its own test has no limit; this one does the same and more.
            .test_before_acquire(false)
            .before_acquire(move |connection, about| {
                let last_silence = Arc::clone(&last_silence);
                Box::pin(async move { is_usable(connection, about.idle_for, &last_silence).await })
            });
        Self(pool.connect_lazy_with(options))
    }

    /// A connection that works.
    pub async fn acquire(&self) -> Result<Connection, Error> {
        let inner = {
            let _waiting = waits::begin(Wait::Pool);
            self.0.acquire().await?
        };
        Ok(Connection { inner, since: Instant::now(), _waiting: waits::begin(Wait::Database) })
    }

    /// Closes every connection, and waits until those in use have come back.
    pub async fn close(&self) {
        self.0.close().await;
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Connections that are open.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.0.size()
    }

    /// Those of them that nobody uses.
    #[must_use]
    pub fn num_idle(&self) -> usize {
        self.0.num_idle()
    }
}

impl Connection {
    /// A transaction in which every statement sees what was committed before that statement began.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        self.inner.begin().await
    }

    /// A read-only transaction in which every statement sees the same moment.
    pub async fn snapshot(&mut self) -> Result<Transaction<'_>, Error> {
        self.inner.begin_with("begin isolation level repeatable read, read only").await
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // What sqlx would do in the background: roll back, wait for what is still to come, and ask for an answer.
        // Whatever drops this half-way closes the connection and makes room for another one.
        let returned = self.inner.return_to_pool();
        // The client of a request may have gone while its statement runs. A server that works ends that soon; to close
        // the connection before would only let the next statement run beside it.
        let limit = LONGEST.saturating_sub(self.since.elapsed()).max(ANSWER_TIMEOUT);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if tokio::time::timeout(limit, returned).await.is_err() {
                    tracing::warn!("a connection to Postgres did not answer after its use and was closed");
                }
            });
        }
    }
}

/// When an idle connection last turned out to be silent.
#[derive(Debug, Default)]
struct LastSilence(Mutex<Option<Instant>>);

impl LastSilence {
    fn remember(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn was_after(&self, moment: Option<Instant>) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| moment.is_none_or(|moment| last > moment))
    }
}

/// Whether a connection that was idle can be used; otherwise the pool closes it and opens another one.
async fn is_usable(connection: &mut PgConnection, idle: Duration, silent: &LastSilence) -> Result<bool, Error> {
    // What was idle together was cut together. To find that out one by one would take a second each.
    if silent.was_after(Instant::now().checked_sub(idle)) {
        return Ok(false);
    }
    let read_only = sqlx::query_scalar!(r#"select current_setting('transaction_read_only')::boolean as "read_only!""#)
        .fetch_one(connection);
    let Ok(read_only) = tokio::time::timeout(ANSWER_TIMEOUT, read_only).await else {
        silent.remember();
        return Err(silence(ANSWER_TIMEOUT));
    };
    // A server that took writes and takes none now is no longer the primary: a new connection finds the one that is.
    Ok(!read_only?)
}

/// A page that is read from a standby may be older than what was already acknowledged.
pub(super) async fn refuse_standby(connection: &mut PgConnection) -> Result<(), Error> {
    let standby = sqlx::query_scalar!(r#"select pg_is_in_recovery() as "standby!""#).fetch_one(connection).await?;
    if standby { Err(std::io::Error::other("this server is a standby").into()) } else { Ok(()) }
}
