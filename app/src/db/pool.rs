//! Connections to Postgres: tried before they are used, and tried again before they are kept for the next user.
//!
//! A host that vanishes says nothing: a connection to it waits for an answer for as long as TCP likes, minutes at the
//! least. sqlx asks a connection that comes back whether it still works, and waits for the answer without any limit;
//! so a host that is away for a moment would cost every place in the pool that was in use. Here each of these waits
//! ends, and a connection that does not answer in time is closed. A statement that was cut off needs no care of its own.
//!
//! What a session is to be like is not said when it is opened: a pooler in between refuses such options or drops them.
//! The role has it ([`super::roles`]), or it is set for the session, which holds as long as nobody hands out other ones.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Row as _};
use tokio::runtime::Handle;

use super::error::{Error, silence};
use crate::trace::waits::{self, Wait, Waiting};

/// How long a request waits for a connection before it is told that the database cannot be reached.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection is waited for that was idle, or that comes back. Half of what a request waits, so that the
/// other half is left for opening another connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What every session has, by names and values of `pg_settings`.
///
/// Limits on statements, locks and idle transactions, so that no request can hold a row lock for long: five seconds a
/// statement, two for a lock.
///
/// And how the planner is to work: a few hundred rows, looked up one after the other by index. That is all that any
/// statement here does, and it costs the same however large a table is. Left to itself, the planner goes by statistics,
/// whose mistakes grow with the tables: it reads a whole one to find a hundred rows in it, or has other processes help,
/// which takes longer to prepare than to do without. Where there is no index, as for the few boards, a table is read all
/// the same.
pub(super) const SETTINGS: [(&str, &str); 8] = [
    ("statement_timeout", "5000"),
    ("lock_timeout", "2000"),
    ("idle_in_transaction_session_timeout", "10000"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
];

/// [`SETTINGS`] as two columns.
pub(super) fn settings() -> (Vec<String>, Vec<String>) {
    SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).unzip()
}

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
/// `name` is what the server shows as the name of the application.
pub fn pool(url: &SecretString, connections: u32, name: &str) -> Result<PgPool, Error> {
    Ok(PgPool::new(options(url, name)?, connections, "begin"))
}

/// A pool for work that nobody waits for: a statement in a transaction may look at a whole table.
pub fn patient_pool(url: &SecretString, name: &str) -> Result<PgPool, Error> {
    Ok(PgPool::new(options(url, name)?, 2, "begin; set local statement_timeout = '15min'"))
}

/// Where the server is, and who we are. Every parameter of a session that a pooler in between might not know is left out.
pub(super) fn options(url: &SecretString, name: &str) -> Result<PgConnectOptions, Error> {
    Ok(url.expose_secret().parse::<PgConnectOptions>()?.application_name(name).extra_float_digits(None))
}

/// The pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PgPool {
    inner: sqlx::PgPool,
    begin: &'static str,
}

/// A connection for a while; goes back to its pool when it is dropped.
#[derive(Debug)]
pub struct Connection {
    inner: PoolConnection<Postgres>,
    begin: &'static str,
    since: Instant,
    /// Whoever holds a connection waits for the database, but for moments.
    _waiting: Waiting,
}

/// A transaction; rolled back when dropped.
pub type Transaction<'c> = sqlx::PgTransaction<'c>;

impl PgPool {
    fn new(options: PgConnectOptions, connections: u32, begin: &'static str) -> Self {
        let seen = Arc::new(Seen::default());
        let inner = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(Duration::from_mins(5))
            .after_connect(|connection, _| Box::pin(prepare(connection)))
            // Its own test has no limit; this one does the same and more.
            .test_before_acquire(false)
            .before_acquire(move |connection, about| {
                let seen = Arc::clone(&seen);
                Box::pin(async move { is_usable(connection, about.idle_for, &seen).await })
            })
            .connect_lazy_with(options);
        Self { inner, begin }
    }

    /// A connection that works.
    pub async fn acquire(&self) -> Result<Connection, Error> {
        let inner = {
            let _waiting = waits::begin(Wait::Pool);
            self.inner.acquire().await?
        };
        Ok(Connection { inner, begin: self.begin, since: Instant::now(), _waiting: waits::begin(Wait::Database) })
    }

    /// Closes every connection, and waits until those in use have come back.
    pub async fn close(&self) {
        self.inner.close().await;
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Connections that are open.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.inner.size()
    }

    /// Those of them that nobody uses.
    #[must_use]
    pub fn num_idle(&self) -> usize {
        self.inner.num_idle()
    }
}

impl Connection {
    /// A transaction in which every statement sees what was committed before that statement began.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        self.inner.begin_with(self.begin).await
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

/// What the connections of a pool have shown.
#[derive(Debug, Default)]
struct Seen {
    /// When an idle one last turned out to be silent.
    last_silence: Mutex<Option<Instant>>,
    /// One had lost its limits.
    is_unlimited: AtomicBool,
}

impl Seen {
    fn note_silence(&self) {
        *self.last_silence.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn was_silent_after(&self, moment: Option<Instant>) -> bool {
        let last = *self.last_silence.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| moment.is_none_or(|moment| last > moment))
    }
}

/// Whether a connection that was idle can be used; otherwise the pool closes it and opens another one.
async fn is_usable(connection: &mut PgConnection, idle: Duration, seen: &Seen) -> Result<bool, Error> {
    // What was idle together was cut together. To find that out one by one would take a second each.
    if seen.was_silent_after(Instant::now().checked_sub(idle)) {
        return Ok(false);
    }
    let asked = sqlx::query!(
        r#"select current_setting('transaction_read_only')::boolean as "read_only!",
                  current_setting('statement_timeout') = '5s' as "limited!""#
    )
    .fetch_one(&mut *connection);
    let Ok(found) = tokio::time::timeout(ANSWER_TIMEOUT, asked).await else {
        seen.note_silence();
        return Err(silence(ANSWER_TIMEOUT));
    };
    let found = found?;
    // They were set when the connection was opened, and nobody but a pooler takes them back: it has given this connection
    // another session. Nothing that is promised hangs on them, so whoever waits for this connection gets it.
    if !found.limited && !seen.is_unlimited.swap(true, Ordering::Relaxed) {
        tracing::warn!("{}", super::roles::UNLIMITED);
    }
    // A server that took writes and takes none now is no longer the primary: a new connection finds the one that is.
    Ok(!found.read_only)
}

/// Refuses a standby, because a page that is read from one may be older than what was already acknowledged, and gives the
/// session its settings where the role does not have them.
///
/// Without a prepared statement: whether a pooler in between knows what that is, is not known yet (`super::sessions`).
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), Error> {
    let wanted = SETTINGS.map(|(name, value)| format!("('{name}', '{value}')")).join(", ");
    let wanted = format!("(values {wanted}) as wanted (name, value)");
    let ask = format!(
        "select pg_is_in_recovery(), not exists (
             select from {wanted} left join pg_settings using (name) where setting is distinct from value
         )"
    );
    let found = sqlx::raw_sql(AssertSqlSafe(ask)).fetch_one(&mut *connection).await?;
    if found.try_get(0)? {
        return Err(std::io::Error::other("this server is a standby").into());
    }
    let is_settled: bool = found.try_get(1)?;
    if !is_settled {
        let set = format!("select set_config(name, value, false) from {wanted}");
        sqlx::raw_sql(AssertSqlSafe(set)).fetch_all(connection).await?;
    }
    Ok(())
}
