//! One `triptych` process.
//!
//! Knows the binary's subcommands `serve`, `migrate` and the like, the variables for its two listeners
//! and its name, and the probe `/readyz`; everything else is the caller's environment.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::Signal;

use crate::{
    http, ports,
    process::{Launch, Process, log_tail},
};

const READY_LIMIT: Duration = Duration::from_mins(1);
/// Longer than `TRIPTYCH_SHUTDOWN_TIMEOUT` is by itself.
const EXIT_LIMIT: Duration = Duration::from_secs(90);

/// Names and values of environment variables.
pub type Environment = Vec<(String, String)>;

/// How a process ended after a request to end.
#[derive(Debug, Clone, Copy)]
pub struct Exit {
    /// Its exit status.
    pub status: ExitStatus,
    /// How long it took.
    pub took: Duration,
}

/// A replica and, while it runs, its process. It keeps its ports and its log over restarts.
#[derive(Debug)]
pub struct Replica {
    process: Mutex<Option<Process>>,
    name: String,
    binary: PathBuf,
    environment: Environment,
    port: u16,
    metrics_port: u16,
    log: PathBuf,
}

impl Replica {
    /// A replica that does not run yet; its log is kept in `directory`.
    pub fn new(name: &str, binary: &Path, environment: &Environment, directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Self {
            process: Mutex::default(),
            name: name.to_owned(),
            binary: binary.to_owned(),
            environment: environment.clone(),
            port: ports::free()?,
            metrics_port: ports::free()?,
            log,
        })
    }

    /// Starts the process; it is not ready yet.
    pub fn start(&self) -> Result<()> {
        ensure!(!self.is_running(), "{} runs already", self.name);
        // What it was told for all replicas comes last: a test may overrule everything.
        let process = Launch::new(&self.binary)
            .arg("serve")
            .env("TRIPTYCH_LISTEN", self.address())
            .env("TRIPTYCH_METRICS_LISTEN", format!("127.0.0.1:{}", self.metrics_port))
            .env("TRIPTYCH_REPLICA", &self.name)
            // As in the image: the Dockerfile says what for.
            .env("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072");
        let process = with_environment(process, &self.environment).start(&self.log)?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(())
    }

    /// Waits until it says that it is ready, and returns how long that took.
    pub async fn wait_ready(&self) -> Result<Duration> {
        let start = Instant::now();
        let client = http::client()?;
        let ready = format!("{}/readyz", self.url());
        loop {
            if !self.is_running() {
                bail!("{} ended while starting\n{}", self.name, log_tail(&self.log));
            }
            let answer = client.get(&ready).timeout(Duration::from_secs(2)).send().await;
            let problem = match answer {
                Ok(answer) if answer.status().is_success() => return Ok(start.elapsed()),
                Ok(answer) => anyhow!("/readyz answers {}", answer.status()),
                Err(error) => error.into(),
            };
            if start.elapsed() > READY_LIMIT {
                let late = format!("{} is not ready after {READY_LIMIT:?}\n{}", self.name, log_tail(&self.log));
                return Err(problem.context(late));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks it to end (`SIGTERM`) and waits until it has.
    pub async fn terminate(&self) -> Result<Exit> {
        let process = self.take()?;
        let start = Instant::now();
        process.signal(Signal::TERM)?;
        let status = process.wait(EXIT_LIMIT).await;
        let status = status.map_err(|error| error.context(log_tail(&self.log)))?;
        Ok(Exit { status, took: start.elapsed() })
    }

    /// `kill -9`.
    pub fn kill(&self) -> Result<()> {
        self.take()?.kill()?;
        Ok(())
    }

    /// Freezes the process (`SIGSTOP`): its connections stay, and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen process go on (`SIGCONT`).
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Whether the process is there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.exited().is_none()
    }

    /// What became of a process that is not there: `None` while it runs, otherwise its status in words.
    #[must_use]
    pub fn exited(&self) -> Option<String> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        match process.as_ref().map(Process::exited) {
            Some(Ok(None)) => None,
            Some(Ok(Some(status))) => Some(status.to_string()),
            Some(Err(error)) => Some(format!("{error:#}")),
            None => Some("not started".into()),
        }
    }

    /// The name that it puts into `X-Served-By`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().map(Process::pid)
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

    /// Everything it has printed, over all its restarts.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let process = process.as_ref().with_context(|| format!("{} does not run", self.name))?;
        process.signal(signal)
    }

    fn take(&self) -> Result<Process> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.take().with_context(|| format!("{} does not run", self.name))
    }
}

/// Runs a one-shot subcommand to its end and returns what it printed.
pub async fn run<A: AsRef<str>>(binary: &Path, arguments: &[A], environment: &Environment) -> Result<String> {
    let launch = Launch::new(binary).args(arguments.iter().map(AsRef::as_ref));
    with_environment(launch, environment).run().await
}

fn with_environment(launch: Launch, environment: &Environment) -> Launch {
    environment.iter().fold(launch, |launch, (name, value)| launch.env(name, value))
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
