//! `make up`: the whole board on this machine until Ctrl-C.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    net::TcpListener,
    ops::Deref,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use triptych_tests::{Stack, asked_to_stop::AskedToStop};

/// A replica that ends sooner than this after its start, so many times in a row, will not get better.
const QUICK: Duration = Duration::from_secs(5);
const MAX_QUICK_ENDS: u32 = 5;

/// Starts the board on this machine: Postgres, S3, replicas and nginx.
#[derive(Debug, Parser)]
struct Options {
    /// How many replicas.
    #[arg(long, env = "REPLICAS", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    replicas: u8,
    /// The port of the board.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// The address that the board listens on; 0.0.0.0 lets other machines in.
    #[arg(long, env = "ADDRESS", default_value = "127.0.0.1")]
    address: std::net::IpAddr,
    /// The directory that keeps all data.
    #[arg(long, env = "STACK_DIR", default_value = ".stack")]
    data: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("\n{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    let mut asked_to_stop = AskedToStop::new()?;
    let listen = std::net::SocketAddr::new(options.address, options.port);
    if let Err(error) = TcpListener::bind(listen) {
        let other = if options.port == 8080 { 8081 } else { 8080 };
        bail!("Cannot listen on {listen}: {error}. Another port: PORT={other} make up");
    }
    let _lock = lock(&options.data)?;

    let builder = Stack::builder()
        .replicas(options.replicas.into())
        .data_dir(&options.data)
        .listen(&listen.to_string())
        .env("TRIPTYCH_LOG_FORMAT", "text")
        .progress(|step| say(format_args!("  {step}")));
    let starting = own_settings().fold(builder, |builder, (name, value)| builder.env(&name, &value)).start();
    say(format_args!("Starting Triptych"));
    let stack = tokio::select! {
        stack = starting => stack?,
        () = asked_to_stop.wait() => {
            say(format_args!("\nStopped before it had started."));
            return Ok(());
        }
    };
    announce(options, &stack);

    let outcome = tokio::select! {
        problem = watch(&stack) => Err(problem),
        () = asked_to_stop.wait() => Ok(()),
    };
    if let Err(problem) = &outcome {
        complain(format_args!("\n{problem:#}"));
    }
    say(format_args!("\nStopping. Once more Ctrl-C stops at once."));
    tokio::select! {
        stopped = stack.stop() => stopped?,
        () = asked_to_stop.wait() => say(format_args!("\nStopping at once.")),
    }
    drop(stack);
    say(format_args!("Stopped. The data is kept in {}.", options.data.display()));
    outcome.map_err(|_| anyhow!("It did not stop because it was asked to."))
}

/// What our own environment says to the application (`TRIPTYCH_TITLE=Atelier make up`); the rest is for the harness.
fn own_settings() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("TRIPTYCH_") && name != "TRIPTYCH_BIN")
        .filter(|(name, _)| !name.starts_with("TRIPTYCH_TEST_"))
}

fn announce(options: &Options, stack: &Stack) {
    say(format_args!("\nThe board is at {}", stack.url()));
    for replica in stack.replicas() {
        say(format_args!("  {} alone: {}   metrics: {}", replica.name(), replica.url(), replica.metrics_url()));
    }
    say(format_args!("Data and logs are in {}. Ctrl-C stops everything.", options.data.display()));
}

/// Starts replicas and the meter again when they have ended, and returns when something is wrong that it cannot mend.
async fn watch(stack: &Stack) -> anyhow::Error {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    let begin = Instant::now();
    let mut starts = HashMap::new();
    loop {
        tick.tick().await;
        if !stack.postgres.is_running() {
            return anyhow!("Postgres has ended.\n{}", last_lines(&stack.postgres.log()));
        }
        if !stack.s3.is_running() {
            return anyhow!("The S3 server has ended.");
        }
        if !stack.nginx.is_running() {
            return anyhow!("nginx has ended.\n{}", last_lines(&stack.nginx.error_log()));
        }
        let replicas = stack.replicas().iter().map(Deref::deref);
        for program in replicas.chain([&*stack.meter]) {
            let Some(how) = program.exited() else {
                continue;
            };
            let (since, quick_ends) = starts.get(program.name()).copied().unwrap_or((begin, 0));
            let quick_ends = if since.elapsed() < QUICK { quick_ends + 1 } else { 0 };
            if quick_ends > MAX_QUICK_ENDS {
                let log = last_lines(&program.log());
                return anyhow!("{} ends again and again ({how}).\n{log}", program.name());
            }
            say(format_args!("{} has ended ({how}); starting it again.", program.name()));
            starts.insert(program.name(), (Instant::now(), quick_ends));
            if let Err(error) = program.start() {
                return error;
            }
        }
    }
}

/// A closed terminal is no reason to stop in the middle of stopping.
fn say(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn complain(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}

/// Holds the data directory for this process.
fn lock(data: &Path) -> Result<File> {
    fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    let path = data.join("lock");
    let cannot = || format!("cannot lock {}", path.display());
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&path).with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).and_then(|()| file.rewind()).with_context(cannot)?;
            write!(file, "{}", std::process::id()).with_context(cannot)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).with_context(cannot)?;
            bail!(
                "A board already runs on the data in {} (process {holder}). For a second one: STACK_DIR=.stack-2 PORT=8081 make up",
                data.display()
            )
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}
