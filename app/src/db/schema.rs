//! The schema, as files of `app/migrations`: applying it, and finding out whether it is there.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
pub use sqlx::migrate::MigrateError;
use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::error::{Error, is_passing};
use super::pool::within;

/// How long a migration waits for a connection before it says so and tries again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// After a roll-back the older binary meets a schema that is ahead of it, and that is fine: migrations only ever add
/// what the release before can live with.
fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!();
    migrations.set_ignore_missing(true);
    migrations
}

/// Applies what is missing of the schema. Any number of replicas may call this at once: one does the work, the others wait.
///
/// # Errors
/// A migration that failed (it is rolled back), or that was changed after it had been applied.
pub async fn migrate(url: &SecretString) -> Result<(), MigrateError> {
    // A connection of its own, without the pool's time limits: an index may take minutes.
    let options = url.expose_secret().parse::<PgConnectOptions>()?.application_name("triptych migrate");
    // A network that swallows packets would hold this for minutes, in which nobody is told anything.
    let mut connection = within(CONNECT_TIMEOUT, options.connect()).await?;
    // The replica that came first may take minutes too, and nobody waits behind those who wait here.
    connection.lock().await?;
    // But whoever needs a table waits behind a migration that waits for the same table, and that may be behind a
    // transaction of hours. So it gives up before they do (after two seconds), and is tried again.
    sqlx::query("set lock_timeout = '1s'").execute(&mut connection).await?;
    migrations().set_locking(false).run(&mut connection).await?;
    // Ends the session, and with it the lock.
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
