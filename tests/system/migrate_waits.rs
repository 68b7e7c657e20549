//! `triptych migrate` waits for what may still come up, says at once what will not, and names the one that is missing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use triptych_tests::{
    Postgres, S3,
    replica::{self, Environment},
};

/// Longer than any test takes: what must not be waited for is not waited for.
const FOR_EVER: &str = "1h";

struct Servers {
    postgres: Postgres,
    s3: S3,
    database: String,
}

impl Servers {
    async fn start() -> Result<Self> {
        let (postgres, s3) = (Postgres::temporary().await?, S3::temporary().await?);
        let database = postgres.create_database("board").await?;
        Ok(Self { postgres, s3, database })
    }

    /// The environment with some values replaced.
    fn environment(&self, values: &[(&str, &str)]) -> Environment {
        let right = [
            ("TRIPTYCH_DATABASE_URL", self.database.as_str()),
            ("TRIPTYCH_S3_ENDPOINT", self.s3.endpoint()),
            ("TRIPTYCH_S3_BUCKET", "made-by-migrate"),
            ("TRIPTYCH_S3_REGION", self.s3.region()),
            ("TRIPTYCH_S3_ACCESS_KEY_ID", self.s3.access_key_id()),
            ("TRIPTYCH_S3_SECRET_ACCESS_KEY", self.s3.secret_access_key()),
            ("TRIPTYCH_MIGRATE_WAIT", FOR_EVER),
        ];
        let kept = right.iter().filter(|(name, _)| values.iter().all(|(other, _)| name != other));
        kept.chain(values).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    async fn migrate(&self, values: &[(&str, &str)]) -> Result<String> {
        replica::run(&replica::binary()?, &["migrate"], &self.environment(values)).await
    }

    /// What a migration says that has to fail.
    async fn refusal(&self, values: &[(&str, &str)]) -> Result<String> {
        let done = self.migrate(values).await;
        Ok(format!("{:#}", done.err().with_context(|| format!("it did not fail: {values:?}"))?))
    }
}

#[tokio::test]
async fn what_will_not_pass_is_told_at_once() -> Result<()> {
    let servers = Servers::start().await?;
    let (account, server) = servers.database.split_once('@').context("no user in the address of the database")?;
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
        let told = servers.refusal(&[(name, value)]).await?;
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
    let binary = replica::binary()?;
    let log = triptych_tests::scratch::Scratch::new("late")?;
    let log = log.path().join("migrate.log");
    let said = |words: &'static str| {
        let log = &log;
        async move { Ok(std::fs::read_to_string(log).unwrap_or_default().contains(words)) }
    };
    let mut launch = triptych_tests::process::Launch::new(&binary).arg("migrate");
    for (name, value) in servers.environment(&[]) {
        launch = launch.env(name, value);
    }
    let process = launch.start(&log)?;
    crate::board::wait_until("Postgres is missed", || said("Postgres at 127.0.0.1")).await?;
    servers.postgres.start().await?;
    crate::board::wait_until("the S3 server is missed", || said("the S3 server at http")).await?;
    servers.s3.start().await?;
    let status = process.wait(Duration::from_mins(1)).await?;
    ensure!(status.success(), "{status}:\n{}", std::fs::read_to_string(&log)?);
    Ok(())
}
