//! The schema, as files of `app/migrations`: applying it, and finding out whether it is there.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
pub use sqlx::migrate::MigrateError;
use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::error::{Error, is_passing};
use super::pool::{PgPool, in_time, within};
use super::roles;
use super::sessions::{self, Sessions};

/// How long a migration waits for a connection before it says so and tries again.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// After a roll-back the older binary meets a schema that is ahead of it, and that is fine: migrations only ever add
/// what the release before can live with.
fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!();
    migrations.set_ignore_missing(true);
    migrations
}

/// What a migration works without that the role may have been given for serving: time limits, and a planner that looks up
/// rows one by one. An index may take minutes, and so may waiting for the replica that came first.
const UNHURRIED: &str = "set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0; \
    set enable_seqscan = on; set enable_hashjoin = on; set enable_mergejoin = on";

/// Applies what is missing of the schema. Any number of replicas may call this at once: one does the work, the others wait.
/// Then the role of the address by which replicas connect gets its rights and its limits, if it is not this one.
///
/// # Errors
/// A migration that failed (it is rolled back), or that was changed after it had been applied. A role that is not there and
/// cannot be made. A pooler that hands out sessions, because turns are taken by a lock that a session holds.
pub async fn migrate(url: &SecretString, serving: Option<&SecretString>) -> Result<(), MigrateError> {
    // Connections of its own, without what those of the pool are given.
    let options = url.expose_secret().parse::<PgConnectOptions>()?.application_name("triptych migrate");
    let options = options.extra_float_digits(None);
    // A network that swallows packets would hold this for minutes, in which nobody is told anything.
    let mut connection = within(CONNECT_TIMEOUT, options.connect()).await?;
    within(CONNECT_TIMEOUT, refuse_shared_session(&mut connection, &options)).await?;
    sqlx::raw_sql(UNHURRIED).execute(&mut connection).await?;
    // The replica that came first may take minutes too, and nobody waits behind those who wait here.
    connection.lock().await?;
    // But whoever needs a table waits behind a migration that waits for the same table, and that may be behind a
    // transaction of hours. So it gives up before they do (after two seconds), and is tried again.
    sqlx::query("set lock_timeout = '1s'").execute(&mut connection).await?;
    migrations().set_locking(false).run(&mut connection).await?;
    if let Some(serving) = serving {
        roles::prepare(&mut connection, serving).await?;
    }
    // Ends the session, and with it the lock.
    connection.close().await?;
    Ok(())
}

async fn refuse_shared_session(connection: &mut PgConnection, options: &PgConnectOptions) -> Result<(), Error> {
    let mut other = options.connect().await?;
    let found = sessions::look(connection, &mut other).await?;
    other.close().await?;
    if found == Sessions::Own {
        return Ok(());
    }
    let what = "migrations hold a lock of their session, and a pooler hands out sessions for a transaction each. Name an address past it in \
        TRIPTYCH_MIGRATE_DATABASE_URL";
    Err(Error::Configuration(what.into()))
}

/// Why this binary cannot work on this database, with what to do; `None` when it can. The pool has two connections at the
/// least.
pub async fn objection(pool: &PgPool) -> Result<Option<String>, Error> {
    in_time(async {
        let (mut one, mut other) = (pool.acquire().await?, pool.acquire().await?);
        let found = sessions::look(&mut one, &mut other).await?;
        if matches!(found, Sessions::Shared { statements_are_told_apart: false, .. }) {
            return Ok(Some(sessions::MIXED_UP.to_owned()));
        }
        if !schema_is_current(&mut one).await? {
            return Ok(Some("the schema is older than this binary; run `triptych migrate`".to_owned()));
        }
        if matches!(found, Sessions::Shared { have_settings: false, .. }) {
            tracing::warn!("{}", roles::UNLIMITED);
        }
        roles::missing(&mut one).await
    })
    .await
}

/// Whether every migration that this binary knows has been applied. A schema that is ahead is fine.
async fn schema_is_current(connection: &mut PgConnection) -> Result<bool, Error> {
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
