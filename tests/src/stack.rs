//! The whole system on one machine: the parts in the right order, with one environment.
//!
//! Knows which variables the application reads and which limits go with each other; how each part is run
//! is the business of its own file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::future;

use crate::{
    meter::Meter,
    nginx::{self, Nginx},
    pgbouncer::{self, PgBouncer},
    ports,
    postgres::Postgres,
    replica::{self, Environment, Exit, Replica},
    s3::S3,
    scratch::Scratch,
    secret,
};

/// The largest upload that the application accepts: four files of 8 MiB and 2 MiB of text.
pub const MAX_UPLOAD: u64 = (4 * 8 + 2) * 1024 * 1024;
/// What nginx lets through beyond that, so that the application's limit is the one that people meet.
const HEADROOM: u64 = 1024 * 1024;
const DATABASE: &str = "triptych";

/// A running board. Dropping it stops everything that it started, and removes temporary data.
#[derive(Debug)]
pub struct Stack {
    // In the order in which they are dropped: nothing loses what it depends on.
    /// nginx, in front of the replicas.
    pub nginx: Nginx,
    /// Beside nginx.
    pub meter: Meter,
    replicas: Vec<Replica>,
    /// The S3 server.
    pub s3: S3,
    /// Between replicas and Postgres, if it is wanted.
    pub pgbouncer: Option<PgBouncer>,
    /// The Postgres cluster.
    pub postgres: Postgres,
    binary: PathBuf,
    environment: Environment,
    _scratch: Option<Scratch>,
}

/// What a stack is to be like.
#[derive(Debug)]
pub struct Builder {
    replicas: usize,
    data: Option<PathBuf>,
    listen: Option<String>,
    environment: Environment,
    picture_validity: Option<Duration>,
    binary: Option<PathBuf>,
    pgbouncer: bool,
    progress: fn(&str),
}

impl Stack {
    /// Three replicas with temporary data on free ports, unless told otherwise.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            replicas: 3,
            data: None,
            listen: None,
            environment: Environment::new(),
            picture_validity: None,
            binary: None,
            pgbouncer: pgbouncer::is_wanted(),
            progress: |_| (),
        }
    }

    /// The URL of the board through nginx, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        self.nginx.url()
    }

    /// The replicas, in the order of their names.
    #[must_use]
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// One replica, counted from 0.
    pub fn replica(&self, number: usize) -> Result<&Replica> {
        self.replicas.get(number).with_context(|| format!("there is no replica {number}"))
    }

    /// What the replicas and the one-shot commands find in their environment.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The URL of the application's database for its owner, past everything in between.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// A connection to the application's database.
    pub async fn database(&self) -> Result<sqlx::PgConnection> {
        self.postgres.connect(DATABASE).await
    }

    /// Runs a one-shot command of the application (`migrate`, `gc`, …) and returns what it printed.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        replica::run(&self.binary, arguments, &self.environment).await
    }

    /// Restarts the replicas one by one: asks one to end, waits, starts it again, waits until it is ready.
    pub async fn rolling_restart(&self) -> Result<Vec<Exit>> {
        let mut exits = Vec::new();
        for replica in &self.replicas {
            exits.push(replica.terminate().await?);
            replica.start()?;
            replica.wait_ready().await?;
        }
        Ok(exits)
    }

    /// Stops everything in good order: no new requests, then the replicas at once, then what they need.
    pub async fn stop(&self) -> Result<()> {
        if self.nginx.is_running() {
            self.nginx.stop(Duration::from_secs(5)).await?;
        }
        // Its last sums go to a replica.
        if self.meter.is_running() {
            self.meter.terminate().await?;
        }
        let running = self.replicas.iter().filter(|replica| replica.is_running());
        future::try_join_all(running.map(|replica| replica.terminate())).await?;
        if self.s3.is_running() {
            self.s3.stop().await?;
        }
        if self.postgres.is_running() {
            self.postgres.stop().await?;
        }
        Ok(())
    }
}

impl Builder {
    /// How many replicas.
    #[must_use]
    pub fn replicas(mut self, number: usize) -> Self {
        self.replicas = number;
        self
    }

    /// Keeps all data in a directory, with settings that make it last.
    #[must_use]
    pub fn data_dir(mut self, directory: &Path) -> Self {
        self.data = Some(directory.to_owned());
        self
    }

    /// Where nginx listens, as `address:port`.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// The port on 127.0.0.1 where nginx listens.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.listen(&format!("127.0.0.1:{port}"))
    }

    /// Sets a variable for all replicas and one-shot commands; overrules what the stack would set.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How long nginx shows a picture before it asks whether it is still there, instead of the usual time.
    #[must_use]
    pub fn picture_validity(mut self, time: Duration) -> Self {
        self.picture_validity = Some(time);
        self
    }

    /// Which `triptych` to run, instead of the one beside this program or in `TRIPTYCH_BIN`.
    #[must_use]
    pub fn binary(mut self, binary: &Path) -> Self {
        self.binary = Some(binary.to_owned());
        self
    }

    /// Puts `PgBouncer` in front of Postgres.
    #[must_use]
    pub fn pgbouncer(mut self) -> Self {
        self.pgbouncer = true;
        self
    }

    /// Called with a line of text before every step.
    #[must_use]
    pub fn progress(mut self, progress: fn(&str)) -> Self {
        self.progress = progress;
        self
    }

    /// Starts everything and waits until it is ready.
    pub async fn start(self) -> Result<Stack> {
        ensure!(self.replicas > 0, "a board needs at least one replica");
        let progress = self.progress;
        let binary = self.binary.map_or_else(replica::binary, Ok)?;
        progress("Postgres and S3");
        let (postgres, s3, directory, app_secret, scratch) = if let Some(data) = &self.data {
            let data = std::path::absolute(data).context("cannot find the data directory")?;
            let postgres = Postgres::open(&data.join("postgres")).await?;
            let s3 = S3::open(&data.join("s3")).await?;
            let app_secret = secret::kept(&data.join("secret"))?;
            (postgres, s3, data, app_secret, None)
        } else {
            let scratch = Scratch::new("stack")?;
            let (postgres, s3) = (Postgres::temporary().await?, S3::temporary().await?);
            let directory = scratch.path().to_owned();
            (postgres, s3, directory, secret::new(), Some(scratch))
        };
        let owner_url = postgres.create_database(DATABASE).await?;
        let mut database_url = postgres.serving_url(DATABASE);
        let pgbouncer = if self.pgbouncer { Some(PgBouncer::start(&postgres).await?) } else { None };
        if let Some(pgbouncer) = &pgbouncer {
            database_url = pgbouncer.url(&database_url)?;
        }
        let mut environment = environment(&database_url, &owner_url, &s3, &app_secret);
        environment.extend(self.environment);

        progress("Migrations");
        replica::run(&binary, &["migrate"], &environment).await?;

        let replicas = (1..=self.replicas)
            .map(|number| Replica::new(&format!("replica-{number}"), &binary, &environment, &directory))
            .collect::<Result<Vec<_>>>()?;
        let listen = match self.listen {
            Some(listen) => listen,
            None => format!("127.0.0.1:{}", ports::free()?),
        };
        let addresses = replicas.iter().map(Replica::address).collect();
        let mut settings = nginx::Settings::new(listen, addresses, MAX_UPLOAD + HEADROOM);
        settings.counted = true;
        settings.picture_validity = self.picture_validity.unwrap_or(settings.picture_validity);
        let nginx = Nginx::new(&directory.join("nginx"), settings)?;
        let private: Vec<_> =
            replicas.iter().map(Replica::metrics_url).map(|url| url.replace("/metrics", "")).collect();
        let meter = Meter::new("web-1", &binary, &environment, &nginx.lines(), &private, &directory)?;
        let assets = nginx.static_directory();
        let assets = assets.to_str().context("the data directory's name is not text")?;
        replica::run(&binary, &["assets", assets], &environment).await?;

        let stack = Stack { nginx, meter, replicas, s3, pgbouncer, postgres, binary, environment, _scratch: scratch };
        progress("Replicas");
        for replica in &stack.replicas {
            replica.start()?;
        }
        future::try_join_all(stack.replicas.iter().map(Replica::wait_ready)).await?;
        progress("nginx");
        stack.meter.start()?;
        stack.meter.wait_ready().await?;
        stack.nginx.start().await?;
        Ok(stack)
    }
}

fn environment(database_url: &str, owner_url: &str, s3: &S3, app_secret: &str) -> Environment {
    let values = [
        ("TRIPTYCH_DATABASE_URL", database_url),
        ("TRIPTYCH_MIGRATE_DATABASE_URL", owner_url),
        ("TRIPTYCH_S3_ENDPOINT", s3.endpoint()),
        ("TRIPTYCH_S3_REGION", s3.region()),
        ("TRIPTYCH_S3_BUCKET", s3.bucket()),
        ("TRIPTYCH_S3_ACCESS_KEY_ID", s3.access_key_id()),
        ("TRIPTYCH_S3_SECRET_ACCESS_KEY", s3.secret_access_key()),
        ("TRIPTYCH_SECRET", app_secret),
        // nginx is the only one whose forwarded headers count.
        ("TRIPTYCH_TRUSTED_PROXIES", "127.0.0.1/32"),
        ("TRIPTYCH_BEHIND_WEB", "true"),
        ("TRIPTYCH_TRAFFIC_PAGE", "public"),
    ];
    values.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}
