//! The command line: one binary, several commands, all of them configured by the environment alone.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::variables::{Command as Reads, environment, reference, unknown};
use crate::config::{self, CollectConfig, LogConfig, MigrateConfig, Problems, ServeConfig};
use crate::service::{collecting, configuring};
use crate::store::Store;
use crate::web::assets::Assets;
use crate::{db, server, telemetry};

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
    Migrate,
    /// Remove what nobody refers to: pictures of deleted posts, objects of uploads that were cut off.
    Gc {
        /// Spare nothing for being new. Only while no replica runs: objects of an upload that is on its way are lost.
        #[arg(long)]
        no_grace: bool,
    },
    /// Ask the replica on this machine whether it is alive; the exit code tells.
    Healthcheck,
    /// Write style sheet and icon to a folder, for a web server to serve.
    Assets {
        /// Made if it is not there.
        folder: PathBuf,
    },
}

/// Runs the command that was given.
#[must_use]
pub fn run() -> ExitCode {
    let command = Arguments::command()
        .mut_subcommand("serve", |command| command.after_help(reference(Reads::Serve)))
        .mut_subcommand("migrate", |command| command.after_help(reference(Reads::Migrate)))
        .mut_subcommand("gc", |command| command.after_help(reference(Reads::Collect)))
        .mut_subcommand("healthcheck", |command| command.after_help(reference(Reads::Healthcheck)));
    let arguments = match Arguments::from_arg_matches(&command.get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let done = match arguments.command {
        Command::Serve => run_configured(ServeConfig::read(&environment), |config| &config.log, server::serve),
        Command::Migrate => run_configured(MigrateConfig::read(&environment), |config| &config.log, migrate),
        Command::Gc { no_grace } => {
            let work = |config: CollectConfig| async move {
                let grace = if no_grace { Duration::ZERO } else { config.grace };
                collect(&config, grace).await
            };
            run_configured(CollectConfig::read(&environment), |config| &config.log, work)
        }
        Command::Healthcheck => healthcheck(),
        Command::Assets { folder } => {
            Assets::new().export(&folder).with_context(|| format!("writing to {}", folder.display()))
        }
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
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work(config))
}

async fn migrate(config: MigrateConfig) -> anyhow::Result<()> {
    let until = Instant::now() + config.wait;
    let database = &config.database.url;
    patiently(until, "Postgres", || async {
        db::migrate(database).await.map_err(|error| (db::migration_may_pass(&error), error.to_string()))
    })
    .await?;
    let store = Store::new(&config.store);
    patiently(until, "the S3 server", || async {
        store.ensure_bucket().await.map_err(|error| (true, error.to_string()))
    })
    .await?;
    let pool = db::pool(database, 1)?;
    let changed = configuring::configure_boards(&pool, &config.boards.0).await?;
    pool.close().await;
    tracing::info!(boards = config.boards.0.len(), changed, "database, bucket and boards are up to date");
    Ok(())
}

/// Tries until it works or the time is over. `attempt` says whether its failure may pass.
async fn patiently<F>(until: Instant, what: &str, attempt: impl Fn() -> F) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), (bool, String)>>,
{
    let mut pause = Duration::from_millis(200);
    loop {
        let (may_pass, cause) = match attempt().await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        anyhow::ensure!(may_pass && Instant::now() + pause < until, "{what}: {cause}");
        tracing::warn!(cause, "{what} is not ready; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn collect(config: &CollectConfig, grace: Duration) -> anyhow::Result<()> {
    let pool = db::patient_pool(&config.database.url)?;
    let store = Store::new(&config.store);
    let collected = collecting::collect(&pool, &store, grace, chrono::Utc::now()).await?;
    let collecting::Collected { blobs, orphans, submissions } = collected;
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
