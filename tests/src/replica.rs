//! One replica: a `triptych serve` process.
//!
//! Knows the binary's subcommands `serve`, `migrate` and the like, the variables for its two listeners
//! and its name, and the probe `/readyz`; everything else is the caller's environment.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{
    http, ports,
    process::{Launch, log_tail},
    program::Program,
};

pub use crate::program::{Environment, Exit};

const READY_LIMIT: Duration = Duration::from_mins(1);

/// A replica. It keeps its ports and its log over restarts.
#[derive(Debug)]
pub struct Replica {
    program: Program,
    port: u16,
    metrics_port: u16,
}

impl Deref for Replica {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl Replica {
    /// A replica that does not run yet; its log is kept in `directory`.
    pub fn new(name: &str, binary: &Path, environment: &Environment, directory: &Path) -> Result<Self> {
        let (port, metrics_port) = (ports::free()?, ports::free()?);
        let own = [
            ("TRIPTYCH_LISTEN", format!("127.0.0.1:{port}")),
            ("TRIPTYCH_METRICS_LISTEN", format!("127.0.0.1:{metrics_port}")),
            ("TRIPTYCH_REPLICA", name.to_owned()),
            // As in the image: the Dockerfile says what for.
            ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072".to_owned()),
        ];
        // What it was told for all replicas comes last: a test may overrule everything.
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        let environment = own.chain(environment.iter().cloned()).collect();
        Ok(Self { program: Program::new(name, binary, "serve", environment, directory)?, port, metrics_port })
    }

    /// Waits until it says that it is ready, and returns how long that took.
    pub async fn wait_ready(&self) -> Result<Duration> {
        let start = Instant::now();
        let client = http::client()?;
        let ready = format!("{}/readyz", self.url());
        loop {
            if !self.is_running() {
                bail!("{} ended while starting\n{}", self.name(), log_tail(self.log_file()));
            }
            let answer = client.get(&ready).timeout(Duration::from_secs(2)).send().await;
            let problem = match answer {
                Ok(answer) if answer.status().is_success() => return Ok(start.elapsed()),
                Ok(answer) => anyhow!("/readyz answers {}", answer.status()),
                Err(error) => error.into(),
            };
            if start.elapsed() > READY_LIMIT {
                let late = format!("{} is not ready after {READY_LIMIT:?}\n{}", self.name(), log_tail(self.log_file()));
                return Err(problem.context(late));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Where it listens, as `address:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its own URL, past nginx, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The URL of its metrics.
    #[must_use]
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics_port)
    }
}

/// Runs a one-shot subcommand to its end and returns what it printed.
pub async fn run<A: AsRef<str>>(binary: &Path, arguments: &[A], environment: &Environment) -> Result<String> {
    let launch = Launch::new(binary).args(arguments.iter().map(AsRef::as_ref));
    environment.iter().fold(launch, |launch, (name, value)| launch.env(name, value)).run().await
}

/// The binary under test: `TRIPTYCH_BIN`, or the one that Cargo built beside this program.
pub fn binary() -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os("TRIPTYCH_BIN") {
        let binary = PathBuf::from(binary);
        ensure!(binary.is_file(), "TRIPTYCH_BIN: {} does not exist", binary.display());
        return Ok(binary.canonicalize()?);
    }
    let own = std::env::current_exe().context("cannot find this program")?;
    let directory = own.parent().context("this program has no directory")?;
    // Tests run from a directory below the one for binaries.
    let profile = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    let binary = profile.unwrap_or(directory).join("triptych");
    let release = if directory.components().any(|part| part.as_os_str() == "release") { " --release" } else { "" };
    ensure!(binary.is_file(), "{} does not exist: run `cargo build -p triptych{release}` first", binary.display());
    Ok(binary)
}
