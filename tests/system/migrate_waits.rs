//! `triptych migrate` waits for what may still come up, says at once what will not, and names the one that is missing.

use std::{cell::Cell, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use triptych_tests::{
    process::{Launch, Process},
    replica,
    scratch::Scratch,
};

use crate::{
    board::wait_until,
    servers::{Holder, Servers},
};

/// Longer than any test takes: what must not be waited for is not waited for.
const FOR_EVER: (&str, &str) = ("TRIPTYCH_MIGRATE_WAIT", "1h");
/// How long a statement of a migration waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// A migration that runs beside the test.
struct Migrating {
    process: Process,
    scratch: Scratch,
}

impl Migrating {
    fn start(servers: &Servers) -> Result<Self> {
        let scratch = Scratch::new("migrating")?;
        let mut launch = Launch::new(&replica::binary()?).arg("migrate");
        for (name, value) in servers.environment(&[FOR_EVER]) {
            launch = launch.env(name, value);
        }
        Ok(Self { process: launch.start(&scratch.join("log"))?, scratch })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }

    async fn says(&self, words: &str) -> Result<()> {
        wait_until(&format!("the migration says {words:?}"), || async { Ok(self.log().contains(words)) }).await
    }

    async fn succeeds(self) -> Result<()> {
        let status = self.process.wait(Duration::from_mins(1)).await?;
        ensure!(status.success(), "{status}:\n{}", self.log());
        Ok(())
    }
}

#[tokio::test]
async fn a_migration_that_is_asked_to_end_does_so_at_once_and_says_so() -> Result<()> {
    let servers = Servers::start().await?;
    servers.postgres.stop().await?;
    let migrating = Migrating::start(&servers)?;
    migrating.says("is not ready").await?;
    migrating.process.signal(Signal::TERM)?;
    let status = migrating.process.wait(Duration::from_mins(1)).await?;
    ensure!(status.code() == Some(1) && migrating.log().contains("asked to end"), "{status}: {}", migrating.log());
    Ok(())
}

#[tokio::test]
async fn what_will_not_pass_is_told_at_once() -> Result<()> {
    let servers = Servers::start().await?;
    let (account, server) = servers.database_url().split_once('@').context("no user in the address of the database")?;
    let (user, _) = account.rsplit_once(':').context("no password in the address of the database")?;
    let mistyped = format!("{user}:hunter2@{server}");
    let stranger = format!("postgres://stranger:hunter2@{server}");
    let nowhere = servers.postgres.url("nowhere");
    let place = format!("Postgres at 127.0.0.1:{}: ", servers.postgres.port());
    let store = format!("the S3 server at {}", servers.s3.endpoint());
    for (name, value, place, words) in [
        ("TRIPTYCH_DATABASE_URL", mistyped.as_str(), place.as_str(), "password authentication failed"),
        ("TRIPTYCH_DATABASE_URL", &stranger, &place, "\"stranger\""),
        ("TRIPTYCH_DATABASE_URL", &nowhere, &place, "\"nowhere\" does not exist"),
        ("TRIPTYCH_S3_SECRET_ACCESS_KEY", "hunter2", &store, "the access key is not right"),
    ] {
        let told = servers.refusal(&[FOR_EVER, (name, value)]).await?;
        ensure!(told.contains(place) && told.contains(words), "{place:?} and {words:?} are not in:\n{told}");
        ensure!(!told.contains("trying again"), "it was tried again:\n{told}");
        ensure!(!told.contains("hunter2"), "a secret is told:\n{told}");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_is_missing_when_the_time_is_over_is_named() -> Result<()> {
    let servers = Servers::start().await?;
    let closed = format!("127.0.0.1:{}", triptych_tests::ports::free()?);
    let nobody = format!("postgres://board:hunter2@{closed}/board");
    let no_store = format!("http://{closed}");
    for (name, value, words) in [
        ("TRIPTYCH_DATABASE_URL", nobody.as_str(), format!("Postgres at {closed}: ")),
        (
            "TRIPTYCH_DATABASE_URL",
            "postgres://board:hunter2@no-such-name.invalid/board",
            "Postgres at no-such-name.invalid:5432: ".to_owned(),
        ),
        ("TRIPTYCH_S3_ENDPOINT", &no_store, format!("the S3 server at {no_store}/: ")),
        (
            "TRIPTYCH_S3_ENDPOINT",
            "http://no-such-name.invalid",
            "the S3 server at http://no-such-name.invalid/: ".to_owned(),
        ),
    ] {
        let told = servers.refusal(&[(name, value), ("TRIPTYCH_MIGRATE_WAIT", "1s")]).await?;
        let last = told.lines().last().unwrap_or_default();
        ensure!(
            last.contains(&words) && last.contains("TRIPTYCH_MIGRATE_WAIT"),
            "{words:?} is not at the end of:\n{told}"
        );
        // Whether there was time to try again is not for this test to say; the next one does.
        ensure!(!told.contains("hunter2"), "a secret is told:\n{told}");
    }
    Ok(())
}

#[tokio::test]
async fn servers_that_come_up_late_are_waited_for() -> Result<()> {
    let servers = Servers::start().await?;
    servers.postgres.stop().await?;
    servers.s3.stop().await?;
    let migrating = Migrating::start(&servers)?;
    migrating.says("Postgres at 127.0.0.1").await?;
    servers.postgres.start().await?;
    migrating.says("the S3 server at http").await?;
    servers.s3.start().await?;
    migrating.succeeds().await
}

#[tokio::test]
async fn a_migration_waits_for_others_and_lets_nobody_wait_for_it() -> Result<()> {
    let servers = Servers::start().await?;
    // What the migration needs is held by a long transaction. Whoever needs the same from now on would wait for both.
    let holder = Holder::begin(&servers, "create table board ()").await?;
    let migrating = Migrating::start(&servers)?;
    migrating.says("lock timeout").await?;
    migrating.says("trying again").await?;
    // The lock by which migrations take turns: the only advisory one.
    let key =
        "select coalesce(max(classid::bigint << 32 | objid::bigint), 0) from pg_locks where locktype = 'advisory'";
    let turn = Cell::new(0);
    wait_until("the migration takes its turn again", || async {
        turn.set(servers.count(key).await?);
        Ok(turn.get() != 0)
    })
    .await?;
    holder.roll_back().await?;
    migrating.succeeds().await?;

    // Nobody waits behind one who waits for its turn, and the one before may take minutes.
    let before = Holder::begin(&servers, &format!("select pg_advisory_xact_lock({})", turn.get())).await?;
    let migrating = Migrating::start(&servers)?;
    servers.wait_for_waiting(1).await?;
    tokio::time::sleep(LOCK_TIMEOUT * 2).await;
    ensure!(!migrating.log().contains("lock timeout"), "it did not wait for its turn:\n{}", migrating.log());
    before.commit().await?;
    migrating.succeeds().await
}
