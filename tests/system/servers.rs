//! Postgres and an S3 server of a test's own, and the program on them, without nginx: for tests that do to these
//! servers what no other test may notice.

use anyhow::{Context as _, Result, ensure};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use triptych_tests::{
    PgBouncer, Postgres, Replica, S3, pgbouncer,
    replica::{self, Environment},
    scratch::Scratch,
    secret,
};

const DATABASE: &str = "board";

/// The two servers, with an empty database.
pub(crate) struct Servers {
    // Dropped before what is behind it.
    pgbouncer: Option<PgBouncer>,
    pub(crate) postgres: Postgres,
    pub(crate) s3: S3,
    database_url: String,
    /// What the program is told of it.
    database: Vec<(&'static str, String)>,
    secret: String,
    scratch: Scratch,
}

impl Servers {
    pub(crate) async fn start() -> Result<Self> {
        let (postgres, s3) = (Postgres::temporary().await?, S3::temporary().await?);
        let database_url = postgres.create_database(DATABASE).await?;
        let pgbouncer = if pgbouncer::is_wanted() { Some(PgBouncer::start(&postgres).await?) } else { None };
        // One role for everything, as it was before there were two; behind a pooler there are two addresses.
        let database = match &pgbouncer {
            None => vec![("TRIPTYCH_DATABASE_URL", database_url.clone())],
            Some(pgbouncer) => vec![
                ("TRIPTYCH_DATABASE_URL", pgbouncer.url(&postgres.serving_url(DATABASE))?),
                ("TRIPTYCH_MIGRATE_DATABASE_URL", database_url.clone()),
            ],
        };
        let (secret, scratch) = (secret::new(), Scratch::new("servers")?);
        Ok(Self { pgbouncer, postgres, s3, database_url, database, secret, scratch })
    }

    /// The address of the database, past everything that may stand in between.
    pub(crate) fn database_url(&self) -> &str {
        &self.database_url
    }

    /// What the program finds in its environment, with some values replaced or added.
    pub(crate) fn environment(&self, values: &[(&str, &str)]) -> Environment {
        let usual = [
            ("TRIPTYCH_S3_ENDPOINT", self.s3.endpoint()),
            ("TRIPTYCH_S3_BUCKET", self.s3.bucket()),
            ("TRIPTYCH_S3_REGION", self.s3.region()),
            ("TRIPTYCH_S3_ACCESS_KEY_ID", self.s3.access_key_id()),
            ("TRIPTYCH_S3_SECRET_ACCESS_KEY", self.s3.secret_access_key()),
            ("TRIPTYCH_SECRET", &self.secret),
            ("TRIPTYCH_DRAIN_DELAY", "0s"),
        ];
        // Whoever names another database names it for everything.
        let database =
            if values.iter().any(|(name, _)| *name == "TRIPTYCH_DATABASE_URL") { &[] } else { &*self.database };
        let usual = usual.into_iter().chain(database.iter().map(|(name, url)| (*name, url.as_str())));
        let kept = usual.filter(|(name, _)| values.iter().all(|(other, _)| name != other));
        kept.chain(values.iter().copied()).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Runs a command of the program, and answers what it printed.
    pub(crate) async fn run(&self, arguments: &[&str], values: &[(&str, &str)]) -> Result<String> {
        replica::run(&replica::binary()?, arguments, &self.environment(values)).await
    }

    /// Brings schema and boards up to date.
    pub(crate) async fn migrate(&self, values: &[(&str, &str)]) -> Result<String> {
        self.run(&["migrate"], values).await
    }

    /// What a command says that has to fail, with exit code 1.
    pub(crate) async fn failure(&self, arguments: &[&str], values: &[(&str, &str)]) -> Result<String> {
        let done = self.run(arguments, values).await;
        let told = format!("{:#}", done.err().with_context(|| format!("{arguments:?} did not fail with {values:?}"))?);
        ensure!(told.contains("exit status: 1"), "{told}");
        Ok(told)
    }

    /// What a migration says that has to fail.
    pub(crate) async fn refusal(&self, values: &[(&str, &str)]) -> Result<String> {
        self.failure(&["migrate"], values).await
    }

    /// A replica that is ready. The schema is there.
    pub(crate) async fn replica(&self, values: &[(&str, &str)]) -> Result<Replica> {
        let environment = self.environment(values);
        let replica = Replica::new("replica", &replica::binary()?, &environment, self.scratch.path())?;
        replica.start()?;
        replica.wait_ready().await?;
        Ok(replica)
    }

    /// A connection to the database.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        self.postgres.connect(DATABASE).await
    }

    /// Runs statements, each committed by itself.
    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        let done = self.connect().await?.execute(AssertSqlSafe(sql.to_owned())).await;
        done.map(drop).with_context(|| format!("cannot run: {sql}"))
    }

    /// Closes the sessions that a pooler keeps open, as it does itself when it is told to, or when another server has become
    /// the primary. Without a pooler nothing happens.
    pub(crate) async fn pooler_lets_go(&self) -> Result<()> {
        if self.pgbouncer.is_some() {
            let sessions = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'triptych_serve'";
            self.postgres.connect("postgres").await?.execute(sessions).await?;
        }
        Ok(())
    }

    /// One whole number from the database.
    pub(crate) async fn count(&self, sql: &str) -> Result<i64> {
        let mut connection = self.connect().await?;
        let number = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await;
        number.with_context(|| format!("cannot ask: {sql}"))
    }

    /// Sessions of the program that wait for a lock.
    pub(crate) async fn waiting(&self) -> Result<i64> {
        self.count(
            "select count(*) from pg_stat_activity
             where application_name like 'triptych%' and cardinality(pg_blocking_pids(pid)) > 0",
        )
        .await
    }

    /// Waits until so many sessions of the program wait for a lock.
    pub(crate) async fn wait_for_waiting(&self, sessions: i64) -> Result<()> {
        let what = format!("{sessions} sessions wait for a lock");
        crate::board::wait_until(&what, || async { Ok(self.waiting().await? == sessions) }).await
    }
}

/// A transaction that holds locks for which others wait.
pub(crate) struct Holder(PgConnection);

impl Holder {
    /// Begins a transaction and runs statements in it.
    pub(crate) async fn begin(servers: &Servers, sql: &str) -> Result<Self> {
        let mut holder = Self(servers.connect().await?);
        holder.run("begin").await?;
        holder.run(sql).await?;
        Ok(holder)
    }

    pub(crate) async fn run(&mut self, sql: &str) -> Result<()> {
        let done = self.0.execute(AssertSqlSafe(sql.to_owned())).await;
        done.map(drop).with_context(|| format!("cannot run: {sql}"))
    }

    pub(crate) async fn commit(mut self) -> Result<()> {
        self.run("commit").await
    }

    pub(crate) async fn roll_back(mut self) -> Result<()> {
        self.run("rollback").await
    }

    /// Commits when so many sessions of the program wait for a lock.
    pub(crate) async fn commit_when(self, servers: &Servers, waiting: i64) -> Result<()> {
        servers.wait_for_waiting(waiting).await?;
        self.commit().await
    }

    /// Rolls back when so many sessions of the program wait for a lock.
    pub(crate) async fn roll_back_when(self, servers: &Servers, waiting: i64) -> Result<()> {
        servers.wait_for_waiting(waiting).await?;
        self.roll_back().await
    }
}

/// Checks that a post was refused for this reason, as a program is told it.
pub(crate) fn refused(answer: &triptych_tests::Answer, status: u16, code: &str) -> Result<()> {
    let told = format!("the answer is {} {}", answer.status, answer.text());
    ensure!(answer.status.as_u16() == status, "not {status}: {told}");
    let problem: serde_json::Value = answer.json()?;
    ensure!(crate::board::text(&problem, "code")? == code, "not {code}: {told}");
    Ok(())
}

/// Checks that all of these words are said.
pub(crate) fn tells(told: &str, words: &[&str]) -> Result<()> {
    let missing: Vec<_> = words.iter().filter(|word| !told.contains(**word)).collect();
    ensure!(missing.is_empty(), "{missing:?} are not in:\n{told}");
    Ok(())
}
