//! The command line: one binary, several commands. Those that serve or keep a board are configured by the environment
//! alone; those that do one small thing are told by arguments what.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use url::Url;

use crate::assets::Assets;
use crate::config::variables::{Command as Reads, environment, reference, unknown};
use crate::config::{self, CollectConfig, LogConfig, MeterConfig, MigrateConfig, Problems, ServeConfig};
use crate::error::AppError;
use crate::service::{collecting, configuring, installation};
use crate::signals::unless_asked_to_end;
use crate::store::{self, Store};
use crate::tools::credentials::{self, Wanted};
use crate::tools::smoke::{self, Sites};
use crate::{db, meter, server, telemetry};

/// An image board whose replicas always show the same thing.
#[derive(Debug, Parser)]
#[command(name = "triptych", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer HTTP until SIGTERM.
    Serve,
    /// Bring database, bucket and boards up to date. Any number may run at once.
    Migrate {
        /// Take the bucket for this database, whatever it holds and whoever has claimed it. `triptych gc` then removes
        /// every picture that this database does not know.
        #[arg(long)]
        claim_bucket: bool,
    },
    /// Remove what nobody refers to: pictures of deleted posts, objects of uploads that were cut off.
    Gc {
        /// Spare nothing for being new. Only while no replica runs: objects of an upload that is on its way are lost.
        #[arg(long)]
        no_grace: bool,
        /// Remove what the database does not know, however much it is. Normally a large share of the bucket means that the
        /// database is an older one, and nothing is removed.
        #[arg(long)]
        all_orphans: bool,
    },
    /// Beside nginx: count what it answers without a replica, until SIGTERM.
    Meter,
    /// Ask the replica on this machine whether it is alive; the exit code tells.
    Healthcheck,
    /// Write style sheet and icon to a folder, for a web server to serve.
    Assets {
        /// Made if it is not there.
        folder: PathBuf,
    },
    /// In a pod of Kubernetes: make a Secret of random values, or only the keys that it lacks.
    ///
    /// Never changes a value that is there; any number may run at once. The service account needs the verb `create` on
    /// secrets, and `get` and `patch` on this one. Where the API server is, `KUBERNETES_SERVICE_HOST` and
    /// `KUBERNETES_SERVICE_PORT` tell, which every pod has.
    Credentials {
        /// Name of the Secret, in the namespace of the pod.
        #[arg(value_parser = credentials::check_name)]
        secret: String,
        /// Keys that it has to have; each one that it lacks gets 48 random characters, a to z and 0 to 9.
        #[arg(required = true, value_name = "KEY", value_parser = credentials::check_key)]
        keys: Vec<String>,
        /// A label of the Secret, should it have to be made; may be given more than once.
        #[arg(long = "label", value_name = "NAME=VALUE", value_parser = credentials::check_pair)]
        labels: Vec<(String, String)>,
        /// An annotation of the Secret, should it have to be made; may be given more than once.
        #[arg(long = "annotation", value_name = "NAME=VALUE", value_parser = credentials::check_pair)]
        annotations: Vec<(String, String)>,
        /// Folder with the `token`, `ca.crt` and `namespace` of the service account.
        #[arg(long, value_name = "DIRECTORY", default_value = credentials::ACCOUNT)]
        account: PathBuf,
    },
    /// Post a picture, read it from every replica and through the web server, delete it; the exit code tells.
    ///
    /// A test of an installation that is running. Posts on the first board that is not locked, and deletes the post
    /// whatever happens.
    Smoke {
        /// Where to post: any replica, such as `http://board-triptych-app`.
        #[arg(long, value_name = "URL", value_parser = smoke::check_site)]
        app: Url,
        /// A name that resolves to the addresses of all replicas, and their port.
        #[arg(long, value_name = "HOST:PORT")]
        pods: String,
        /// The web server in front, such as `http://board-triptych-web`.
        #[arg(long, value_name = "URL", value_parser = smoke::check_site)]
        web: Url,
    },
}

/// How long a collection waits for Postgres and the S3 server when it starts.
const GC_PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command that was given.
#[must_use]
pub fn run() -> ExitCode {
    let command = Arguments::command()
        .mut_subcommand("serve", |command| command.after_help(reference(Reads::Serve)))
        .mut_subcommand("migrate", |command| command.after_help(reference(Reads::Migrate)))
        .mut_subcommand("gc", |command| command.after_help(reference(Reads::Collect)))
        .mut_subcommand("meter", |command| command.after_help(reference(Reads::Meter)))
        .mut_subcommand("healthcheck", |command| command.after_help(reference(Reads::Healthcheck)));
    let arguments = match Arguments::from_arg_matches(&command.get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let done = match arguments.command {
        Command::Serve => run_configured(ServeConfig::read(&environment), |config| &config.log, server::serve),
        Command::Migrate { claim_bucket } => {
            let work = |config| unless_asked_to_end(migrate(config, claim_bucket));
            run_configured(MigrateConfig::read(&environment), |config| &config.log, work)
        }
        Command::Gc { no_grace, all_orphans } => {
            let work = |config: CollectConfig| async move {
                let grace = if no_grace { Duration::ZERO } else { config.grace };
                let most_orphans = if all_orphans { None } else { Some(config.most_orphans) };
                unless_asked_to_end(Box::pin(collect(&config, grace, most_orphans))).await
            };
            run_configured(CollectConfig::read(&environment), |config| &config.log, work)
        }
        Command::Meter => run_configured(MeterConfig::read(&environment), |config| &config.log, meter::run),
        Command::Healthcheck => healthcheck(),
        Command::Assets { folder } => {
            Assets::new().export(&folder).with_context(|| format!("writing to {}", folder.display()))
        }
        Command::Credentials { secret, keys, labels, annotations, account } => {
            let (labels, annotations) = (labels.into_iter().collect(), annotations.into_iter().collect());
            let wanted = Wanted { secret, keys, labels, annotations, account };
            run_told(credentials::ensure(&wanted, &environment, credentials::PATIENCE, &say))
        }
        Command::Smoke { app, pods, web } => run_told(smoke::run(&Sites { app, pods, web }, &say)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "triptych: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts logging and a runtime, and does the work on it; or tells what is wrong with the configuration.
fn run_configured<C, F: Future<Output = anyhow::Result<()>>>(
    config: Result<C, Problems>,
    log: impl Fn(&C) -> &LogConfig,
    work: impl FnOnce(C) -> F,
) -> anyhow::Result<()> {
    let config = config?;
    telemetry::start(log(&config));
    for name in unknown(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        tracing::warn!(name, "this variable means nothing to us; is it misspelt?");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work(config));
    // Dropped, it would wait for threads that cannot be interrupted: a name that is being looked up, a picture that is
    // being decoded. Whatever had to be waited for was.
    runtime.shutdown_background();
    done
}

/// Does the work of a command that is told everything by its arguments and prints what it does.
fn run_told(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Prints one line for whoever started this command. Nobody may be listening, and that is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn migrate(config: MigrateConfig, claim_bucket: bool) -> anyhow::Result<()> {
    let patience = Patience { since: Instant::now(), limit: config.wait, setting: "TRIPTYCH_MIGRATE_WAIT, " };
    let (database, serving) = match &config.owner {
        Some(owner) => (owner, Some(&config.database.url)),
        None => (&config.database.url, None),
    };
    let postgres = format!("Postgres at {}", db::place(database));
    patience
        .until_done(&postgres, || async {
            db::migrate(database, serving).await.map_err(|error| (db::migration_may_pass(&error), db::cause(&error)))
        })
        .await?;
    let store = Store::new(&config.store);
    patience
        .until_done(&format!("the S3 server at {}", config.store.endpoint), || async {
            let done = store.ensure_bucket().await;
            done.map_err(|error| (!matches!(error, store::Error::Refused(_)), error.to_string()))
        })
        .await?;
    let pool = db::pool(database, 1, "triptych migrate")?;
    patience
        .until_done(&format!("the bucket {}", store.place()), || async {
            let done = installation::claim(&pool, &store, claim_bucket).await;
            done.map_err(|error| (error.may_pass(), error.to_string()))
        })
        .await?;
    let changed = patience
        .until_done(&postgres, || async {
            let done = configuring::configure_boards(&pool, &config.boards.0).await;
            done.map_err(|error| (matches!(error, AppError::Unavailable { .. }), error.to_string()))
        })
        .await?;
    pool.close().await;
    tracing::info!(boards = config.boards.0.len(), changed, "database, bucket and boards are up to date");
    Ok(())
}

/// How long a command tries what may work a little later.
struct Patience {
    since: Instant,
    limit: Duration,
    /// The name of the variable that says so, for the message, if there is one.
    setting: &'static str,
}

impl Patience {
    /// Tries until it works or the time is over. `attempt` says whether its failure may pass.
    async fn until_done<T, F>(&self, what: &str, attempt: impl Fn() -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, (bool, String)>>,
    {
        let mut pause = Duration::from_millis(200);
        loop {
            let (may_pass, cause) = match attempt().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            anyhow::ensure!(may_pass, "{what}: {cause}");
            anyhow::ensure!(
                self.since.elapsed() + pause < self.limit,
                "{what}: {cause} ({}{} s, is over)",
                self.setting,
                self.limit.as_secs()
            );
            tracing::warn!(cause, "{what} is not ready; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

async fn collect(config: &CollectConfig, grace: Duration, most_orphans: Option<u8>) -> anyhow::Result<()> {
    let pool = db::patient_pool(&config.database.url, "triptych gc")?;
    let store = Store::new(&config.store);
    // Where network policies are enforced, a new pod is refused until the nodes have heard of it.
    let patience = Patience { since: Instant::now(), limit: GC_PATIENCE, setting: "" };
    let postgres = format!("Postgres at {}", db::place(&config.database.url));
    let objection = patience.until_done(&postgres, || async {
        db::objection(&pool).await.map_err(|error| (db::is_passing(&error), error.to_string()))
    });
    if let Some(objection) = objection.await? {
        anyhow::bail!("{objection}");
    }
    let place = format!("the bucket {}", store.place());
    let verified = patience.until_done(&place, || async {
        let verified = installation::verify(&pool, &store).await;
        verified.map_err(|error| (error.may_pass(), error.to_string()))
    });
    verified.await?;
    let collected = collecting::collect(&pool, &store, grace, most_orphans, chrono::Utc::now()).await;
    let collecting::Collected { blobs, orphans, submissions } = collected.with_context(|| place.clone())?;
    tracing::info!(blobs, orphans, submissions, "collected");
    Ok(())
}

/// Needs no shell and no curl in the image.
fn healthcheck() -> anyhow::Result<()> {
    let address = config::healthcheck_address(&environment)?;
    let patience = Duration::from_secs(2);
    let mut stream =
        TcpStream::connect_timeout(&address, patience).with_context(|| format!("nobody listens on {address}"))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: healthcheck\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).context("no answer")?;
    anyhow::ensure!(answer.ends_with(b" 200"), "not alive");
    Ok(())
}
