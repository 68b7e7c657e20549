//! `PgBouncer` in transaction mode in front of a Postgres, which it is given another session of for each transaction.
//!
//! Its own port on 127.0.0.1, under an unprivileged account. Knows no table.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::{
    account::{self, Account},
    ports,
    postgres::Postgres,
    process::{Launch, Process, log_tail},
    scratch::Scratch,
};

const LIMIT: Duration = Duration::from_secs(15);

/// A running pooler. Dropping it stops it.
#[derive(Debug)]
pub struct PgBouncer {
    // Dropped before the directory in which it works.
    process: Mutex<Option<Process>>,
    log: PathBuf,
    port: u16,
    behind: u16,
    _scratch: Scratch,
}

impl PgBouncer {
    /// One with room for every replica of a test.
    pub async fn start(postgres: &Postgres) -> Result<Self> {
        Self::with(postgres, "").await
    }

    /// One with further settings.
    pub async fn with(postgres: &Postgres, settings: &str) -> Result<Self> {
        let program = account::program("pgbouncer");
        let program = program.context(
            "PgBouncer 1.21 or later (Debian package pgbouncer, or what `tests/install test` builds) is missing",
        )?;
        let scratch = Scratch::new("pgbouncer")?;
        let beside = program.parent().context("PgBouncer has no directory")?;
        let account = Account::unprivileged_in(&[scratch.path(), beside])?;
        let (port, behind) = (ports::free()?, postgres.port());
        let users = postgres.users().map(|(name, password)| format!("\"{name}\" \"{password}\"\n"));
        let configuration = format!(
            "[databases]
* = host=127.0.0.1 port={behind}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 50
; Postgres may be away, and is there again the moment after.
server_login_retry = 0
query_wait_timeout = 5
{settings}
",
            users = scratch.join("users").display()
        );
        for (name, text) in [("users", users.concat()), ("pgbouncer.ini", configuration)] {
            fs::write(scratch.join(name), text).with_context(|| format!("cannot write {name} for PgBouncer"))?;
            account.give(&scratch.join(name))?;
        }
        let log = scratch.join("pgbouncer.log");
        let process = Launch::new(&program)
            .arg(scratch.join("pgbouncer.ini"))
            .account(&account)
            .at_our_death(Signal::TERM)
            .start(&log)?;
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if process.exited()?.is_some() || begin.elapsed() > LIMIT {
                bail!("PgBouncer does not start on port {port}\n{}", log_tail(&log));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { process: Mutex::new(Some(process)), log, port, behind, _scratch: scratch })
    }

    /// The address of a database through it, from that past it.
    pub fn url(&self, direct: &str) -> Result<String> {
        let (from, to) = (format!("@127.0.0.1:{}/", self.behind), format!("@127.0.0.1:{}/", self.port));
        ensure!(direct.contains(&from), "{from} is not in an address");
        Ok(direct.replace(&from, &to))
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(process) = process {
            // If this fails, dropping the process kills it.
            let _ = process.signal(Signal::TERM).and_then(|()| process.wait_blocking(Duration::from_secs(5)));
        }
    }
}

/// Whether every board of this run is to be behind one.
#[must_use]
pub fn is_wanted() -> bool {
    std::env::var_os("TRIPTYCH_TEST_PGBOUNCER").is_some_and(|value| !value.is_empty())
}
