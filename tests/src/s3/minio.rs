//! A real `MinIO`: a process with one directory, as the chart runs it in a pod.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::{
    account::Account,
    process::{Launch, Process, log_tail},
};

/// Generous: while a whole suite starts, dozens of them share the processors.
const LIMIT: Duration = Duration::from_mins(1);

/// The server and, while it runs, its process. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Minio {
    process: Mutex<Option<Process>>,
    program: PathBuf,
    port: u16,
    directory: PathBuf,
    log: PathBuf,
    account: Account,
    /// The access key id and the secret access key.
    credentials: (String, String),
}

impl Minio {
    /// A server that does not run yet and keeps everything in `directory`.
    pub(super) fn new(program: &Path, port: u16, directory: &Path, credentials: (String, String)) -> Result<Self> {
        ensure!(program.is_file(), "TRIPTYCH_TEST_MINIO: {} does not exist", program.display());
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let program = std::path::absolute(program).context("cannot find MinIO")?;
        let beside = program.parent().context("MinIO has no directory")?;
        let account = Account::unprivileged_in(&[directory, beside])?;
        for name in ["objects", "home"] {
            account.create_directory(&directory.join(name))?;
        }
        let log = directory.join("minio.log");
        fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Self {
            process: Mutex::default(),
            program,
            port,
            directory: directory.to_owned(),
            log,
            account,
            credentials,
        })
    }

    /// Starts it and waits until it answers.
    pub(super) async fn start(&self) -> Result<()> {
        ensure!(!self.is_running(), "MinIO runs already");
        let process = Launch::new(&self.program)
            .arg("server")
            .arg(self.directory.join("objects"))
            .args(["--address", &format!("127.0.0.1:{}", self.port), "--quiet"])
            .env("MINIO_ROOT_USER", &self.credentials.0)
            .env("MINIO_ROOT_PASSWORD", &self.credentials.1)
            .env("MINIO_BROWSER", "off")
            // It neither looks for a newer version nor writes to anybody's home.
            .env("MINIO_UPDATE", "off")
            .env("HOME", self.directory.join("home"))
            .account(&self.account)
            .start(&self.log)?;
        let start = Instant::now();
        while !self.is_ready().await {
            if process.exited()?.is_some() || start.elapsed() > LIMIT {
                bail!("MinIO does not start on port {}\n{}", self.port, log_tail(&self.log));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(())
    }

    /// Stops it and waits for its end.
    pub(super) async fn stop(&self) -> Result<()> {
        let process = self.take().context("MinIO does not run")?;
        process.signal(Signal::TERM)?;
        // Whoever does not let go of a connection is cut off.
        if process.wait(Duration::from_secs(5)).await.is_err() {
            process.kill()?;
        }
        Ok(())
    }

    /// Whether the process is there.
    pub(super) fn is_running(&self) -> bool {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().is_some_and(|process| matches!(process.exited(), Ok(None)))
    }

    /// Whether it answers requests; it listens some time before that, and `/minio/health/ready` says yes as early.
    async fn is_ready(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/minio/health/cluster", self.port);
        reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success())
    }

    fn take(&self) -> Option<Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        let Some(process) = self.take() else { return };
        // If this fails, dropping the process kills it.
        let _ = process.signal(Signal::TERM).and_then(|()| process.wait_blocking(Duration::from_secs(5)));
    }
}
