//! A `triptych` process that runs until it is told to end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::process::{Launch, Process, log_tail};

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

/// A program and, while it runs, its process. It keeps its log over restarts.
#[derive(Debug)]
pub struct Program {
    process: Mutex<Option<Process>>,
    name: String,
    binary: PathBuf,
    command: &'static str,
    environment: Environment,
    log: PathBuf,
}

impl Program {
    /// One that does not run yet; its log is kept in `directory`.
    pub fn new(
        name: &str,
        binary: &Path,
        command: &'static str,
        environment: Environment,
        directory: &Path,
    ) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
        let (name, binary) = (name.to_owned(), binary.to_owned());
        Ok(Self { process: Mutex::default(), name, binary, command, environment, log })
    }

    /// Starts the process; it is not ready yet.
    pub fn start(&self) -> Result<()> {
        ensure!(!self.is_running(), "{} runs already", self.name);
        let launch = Launch::new(&self.binary).arg(self.command);
        let launch = self.environment.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(launch.start(&self.log)?);
        Ok(())
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

    /// Its name, in the header `X-Served-By` of a replica and with what it has counted.
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

    /// Everything it has printed, over all its restarts.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Where that is kept.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
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
