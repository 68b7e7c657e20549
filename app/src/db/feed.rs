//! The feed: a connection that asks over and over what was committed since it asked the last time.
//!
//! The question names the snapshot of the answer before, and gets exactly the rows of `change` that this snapshot did
//! not see: a transaction that was on its way then, and has committed since, is among them, whatever number it has.
//! So nothing is missed, nothing comes twice, and nothing has to be remembered but that snapshot.

use std::time::Duration;

use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::changes::Published;
use super::error::Error;
use super::pool::{options, prepare};
use super::sessions::{self, Sessions};

/// A replica tells in the names of its connections how long after a commit it answers, in milliseconds.
const NAME: &str = "triptych commit_wait=";

/// The name of a connection of a replica that answers so long after it has committed.
#[must_use]
pub fn application_name(commit_wait: Duration) -> String {
    format!("{NAME}{}", commit_wait.as_millis())
}

/// The connection.
#[derive(Debug)]
pub struct Feed {
    options: PgConnectOptions,
    connection: PgConnection,
    /// Which process of the server has answered last.
    process: Option<i32>,
    /// Whether every connection has a session of its own, once that is known.
    sessions_are_own: Option<bool>,
    /// The snapshot of the last answer; `None` before the first.
    snapshot: Option<String>,
    /// When the server was started, and the table was made, as it says itself.
    history: Option<String>,
    /// It took writes when it was first asked. An operator may have stopped all writing before.
    took_writes: bool,
}

/// What was committed between two questions.
#[derive(Debug)]
pub enum Answer {
    /// These changes, in the order of their versions, and no others.
    Changes(Vec<Published>),
    /// Anything may have changed: this is the first answer of a server, or its tables were restored.
    Anything,
}

impl Feed {
    /// Opens the connection.
    pub async fn open(url: &SecretString, name: &str) -> Result<Self, Error> {
        let options = options(url, name)?;
        let mut connection = options.connect().await?;
        prepare(&mut connection).await?;
        Ok(Self {
            options,
            connection,
            process: None,
            sessions_are_own: None,
            snapshot: None,
            history: None,
            took_writes: false,
        })
    }

    /// Whether an answer may be used after it has come. Behind a pooler that hands out sessions it may not: the names of
    /// connections that tell how long others wait are seen while they have a transaction, and only then.
    #[must_use]
    pub fn sees_neighbours(&self) -> bool {
        self.sessions_are_own == Some(true)
    }

    /// Forgets the answer before: the next one is [`Answer::Anything`], and costs the same after any time.
    pub fn forget(&mut self) {
        self.snapshot = None;
    }

    /// What was committed since the last question, and all of it that was committed when this one was sent.
    pub async fn ask(&mut self) -> Result<Answer, Error> {
        // Numbers of transactions that are still to come, in a database that was copied from another server, are not read.
        let rows = sqlx::query!(
            r#"select moment.snapshot::text as "snapshot!", concat(pg_postmaster_start_time(), ' ', 'change'::regclass::oid) as "history!",
                      current_setting('transaction_read_only')::boolean as "read_only!", pg_backend_pid() as "process!",
                      change.id as "id?", change.what as "what?", change.changed_at as "changed_at?", change.board_id,
                      change.board_version, change.thread_no, change.thread_version, change.post_no
               from (select pg_current_snapshot() as snapshot) moment
               left join change on change.xid >= pg_snapshot_xmin($1::text::pg_snapshot)
                   and change.xid < pg_snapshot_xmax(moment.snapshot)
                   and not pg_visible_in_snapshot(change.xid, $1::text::pg_snapshot)
               order by change.id"#,
            self.snapshot,
        )
        .fetch_all(&mut self.connection)
        .await?;
        let Some(first) = rows.first() else { return Err(Error::RowNotFound) };
        self.took_writes |= !first.read_only;
        if first.read_only && self.took_writes {
            let cause = "this server takes no writes any more: another one is the primary";
            return Err(std::io::Error::other(cause).into());
        }
        if self.process.is_some_and(|process| process != first.process) {
            self.note_sessions(Sessions::Shared { statements_are_told_apart: true, have_settings: true });
        }
        self.process = Some(first.process);
        let goes_on = self.snapshot.is_some() && self.history.as_ref() == Some(&first.history);
        self.snapshot = Some(first.snapshot.clone());
        self.history = Some(first.history.clone());
        if !goes_on {
            return Ok(Answer::Anything);
        }
        let published = rows.into_iter().filter_map(|row| {
            let (board, thread) = ((row.board_id, row.board_version), (row.thread_no, row.thread_version));
            Some(Published::new(&row.what?, row.changed_at?, board, thread, row.post_no))
        });
        Ok(Answer::Changes(published.collect()))
    }

    /// The shortest time after which anybody who is connected answers when a change is committed. The release before this
    /// one does not wait at all, and its connections are called `triptych` and nothing else. `None` when nobody else
    /// is there whom we may know of.
    pub async fn shortest_commit_wait(&mut self) -> Result<Option<Duration>, Error> {
        if self.sessions_are_own.is_none() {
            // Without a second connection nobody knows, and the next time is soon.
            if let Ok(mut other) = self.options.connect().await {
                let found = sessions::look(&mut self.connection, &mut other).await?;
                self.note_sessions(found);
                other.close().await?;
            }
        }
        let milliseconds = sqlx::query_scalar!(
            "select min(coalesce(substring(application_name from '^triptych commit_wait=([0-9]{1,6})$')::integer, 0))
             from pg_stat_activity
             where datname = current_database()
               and (application_name = 'triptych' or starts_with(application_name, $1))",
            NAME,
        )
        .fetch_one(&mut self.connection)
        .await?;
        Ok(milliseconds.and_then(|milliseconds| u64::try_from(milliseconds).ok()).map(Duration::from_millis))
    }

    fn note_sessions(&mut self, found: Sessions) {
        let are_own = found == Sessions::Own;
        if !are_own && self.sessions_are_own != Some(false) {
            tracing::info!(
                "a pooler hands out sessions of Postgres: every request waits for an answer of its own time"
            );
        }
        self.sessions_are_own = Some(are_own);
    }
}
