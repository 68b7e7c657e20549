//! A private Postgres cluster made from the system's binaries.
//!
//! Own data directory, own port on 127.0.0.1, own password, no Unix socket; the cluster that the system
//! may run is neither used nor touched. Knows no table.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::sync::OnceCell;

use crate::{
    account::{self, Account},
    ports,
    process::{Launch, Process, log_tail},
    scratch::Scratch,
    secret,
};

/// The superuser of the cluster, and the owner of the tables of Triptych.
const USER: &str = "triptych";
/// The role that replicas connect as, which `triptych migrate` makes.
const SERVING: &str = "triptych_serve";
/// Settings for clusters that are thrown away: they lose data only with the machine, not with a process.
/// (`synchronous_commit=off` would lose commits with a killed server, which tests are about.)
const FORGETFUL: [&str; 2] = ["fsync=off", "full_page_writes=off"];
const LIMIT: Duration = Duration::from_mins(1);

/// Clusters of one process are copies of this one: copying takes a tenth of the time of `initdb`.
static TEMPLATE: OnceCell<Template> = OnceCell::const_new();

struct Template {
    scratch: Scratch,
    password: String,
}

/// A cluster and, while it runs, its server process. Dropping it stops the server.
#[derive(Debug)]
pub struct Postgres {
    process: Mutex<Option<Process>>,
    binaries: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    password: String,
    account: Account,
    /// What is written must survive the machine, and the server is stopped in good order.
    durable: bool,
    _scratch: Option<Scratch>,
}

impl Postgres {
    /// A running cluster that is thrown away when it is dropped.
    pub async fn temporary() -> Result<Self> {
        let template = TEMPLATE.get_or_try_init(Template::new).await?;
        let scratch = Scratch::new("postgres")?;
        let account = Account::unprivileged(scratch.path())?;
        let data = scratch.join("data");
        Launch::new(&account::program("cp").context("cp is missing")?)
            .arg("-a")
            .args([template.scratch.join("data"), data.clone()])
            .run()
            .await?;
        let postgres = Self {
            process: Mutex::default(),
            binaries: binaries(Some(&data))?,
            data,
            log: scratch.join("postgres.log"),
            port: ports::free()?,
            password: template.password.clone(),
            account,
            durable: false,
            _scratch: Some(scratch),
        };
        postgres.start().await?;
        Ok(postgres)
    }

    /// A running cluster that keeps its data in `directory`, made there on the first call.
    pub async fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let password = secret::kept(&directory.join("password"))?;
        let account = Account::unprivileged(directory)?;
        let data = directory.join("data");
        if !data.join("PG_VERSION").is_file() {
            initialise(directory, &account, &password, true).await?;
        }
        let log = directory.join("postgres.log");
        fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
        let postgres = Self {
            process: Mutex::default(),
            binaries: binaries(Some(&data))?,
            data,
            log,
            port: ports::free()?,
            password,
            account,
            durable: true,
            _scratch: None,
        };
        postgres.start().await?;
        Ok(postgres)
    }

    /// Starts the server and waits until it answers.
    pub async fn start(&self) -> Result<()> {
        ensure!(!self.is_running(), "Postgres runs already");
        let start = Instant::now();
        loop {
            let process = self.launch()?;
            match self.wait_until_it_answers(&process).await {
                Ok(()) => {
                    *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
                    return Ok(());
                }
                // After `kill -9` the memory of the old server is in use until its last child has noticed.
                Err(error) if start.elapsed() > Duration::from_secs(10) || process.exited()?.is_none() => {
                    return Err(error);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Stops the server in good order: clients are cut off, everything is written ("fast").
    pub async fn stop(&self) -> Result<()> {
        self.end(Signal::INT).await
    }

    /// Stops the server without writing anything; the next start recovers ("immediate").
    pub async fn stop_immediately(&self) -> Result<()> {
        self.end(Signal::QUIT).await
    }

    /// `kill -9`.
    pub fn kill(&self) -> Result<()> {
        self.take()?.kill()?;
        Ok(())
    }

    /// Restarts the server as a standby that follows nobody, as a primary comes back after another has taken its place:
    /// it can be read, and shows what it knew.
    pub async fn demote(&self) -> Result<()> {
        self.stop().await?;
        let signal = self.data.join("standby.signal");
        fs::write(&signal, "").with_context(|| format!("cannot write {}", signal.display()))?;
        self.account.give(&signal)?;
        self.start().await
    }

    /// Makes a primary of a standby; its connections stay.
    pub async fn promote(&self) -> Result<()> {
        let promoted: bool =
            sqlx::query_scalar("select pg_promote()").fetch_one(&mut self.connect("postgres").await?).await?;
        ensure!(promoted, "the standby was not promoted in time");
        Ok(())
    }

    /// Freezes the server and all its children (`SIGSTOP`): its connections stay, new ones are taken by the kernel,
    /// and nothing answers. It goes on when what is returned is dropped.
    pub fn pause(&self) -> Result<Paused> {
        let server = self.pid().context("Postgres does not run")?;
        let paused = Paused { server };
        // The server first, so that no child is added; half of this is undone by dropping.
        signal(server, Signal::STOP)?;
        for child in children(server)? {
            signal(child, Signal::STOP)?;
        }
        Ok(paused)
    }

    /// Whether the server process is there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().is_some_and(|process| matches!(process.exited(), Ok(None)))
    }

    /// The port on 127.0.0.1; it stays the same over stop and start.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().map(Process::pid)
    }

    /// The URL of a database, which need not exist yet.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The URL of a database for replicas. The password is the same, because nobody here is to be kept from anything but
    /// the program.
    #[must_use]
    pub fn serving_url(&self, database: &str) -> String {
        format!("postgres://{SERVING}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// Who may log in, with passwords.
    #[must_use]
    pub fn users(&self) -> [(&'static str, &str); 2] {
        [USER, SERVING].map(|name| (name, self.password.as_str()))
    }

    /// A connection to a database.
    pub async fn connect(&self, database: &str) -> Result<PgConnection> {
        PgConnection::connect(&self.url(database))
            .await
            .with_context(|| format!("cannot connect to the database {database}"))
    }

    /// Creates an empty database if it is not there, and returns its URL.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        ensure!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{name:?} is not a plain database name"
        );
        let mut connection = self.connect("postgres").await?;
        let there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await?;
        if !there {
            connection.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        }
        connection.close().await?;
        Ok(self.url(name))
    }

    /// What the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn launch(&self) -> Result<Process> {
        let port = format!("port={}", self.port);
        let common = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            "timezone=UTC",
            "log_timezone=UTC",
            "logging_collector=off",
            port.as_str(),
        ];
        let forgetful = if self.durable { &[] } else { FORGETFUL.as_slice() };
        let settings = common.iter().chain(forgetful).flat_map(|setting| ["-c", setting]);
        Launch::new(&self.binaries.join("postgres"))
            .arg("-D")
            .arg(&self.data)
            .args(settings)
            .account(&self.account)
            .at_our_death(if self.durable { Signal::INT } else { Signal::QUIT })
            .start(&self.log)
    }

    async fn wait_until_it_answers(&self, process: &Process) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Some(status) = process.exited()? {
                bail!("Postgres ended while starting ({status})\n{}", log_tail(&self.log));
            }
            match PgConnection::connect(&self.url("postgres")).await {
                Ok(connection) => return Ok(connection.close().await?),
                Err(error) if start.elapsed() > LIMIT => {
                    let problem = format!("Postgres does not answer after {LIMIT:?}\n{}", log_tail(&self.log));
                    return Err(anyhow!(error).context(problem));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn end(&self, signal: Signal) -> Result<()> {
        let process = self.take()?;
        process.signal(signal)?;
        process.wait(LIMIT).await?;
        Ok(())
    }

    fn take(&self) -> Result<Process> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.take().context("Postgres does not run")
    }
}

/// A server that stands still until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Paused {
    server: i32,
}

impl Drop for Paused {
    fn drop(&mut self) {
        // A child that cannot be woken has ended.
        for child in children(self.server).unwrap_or_default() {
            let _ = signal(child, Signal::CONT);
        }
        let _ = signal(self.server, Signal::CONT);
    }
}

fn signal(process: i32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(process).with_context(|| format!("{process} is no process"))?;
    match kill_process(pid, signal) {
        // It ended meanwhile.
        Err(rustix::io::Errno::SRCH) => Ok(()),
        done => done.with_context(|| format!("cannot send a signal to {process}")),
    }
}

/// The children of a process; those of Postgres are in sessions of their own.
fn children(parent: i32) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // What ends in this moment is no child any more. After the name, which may hold anything: state, parent.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let of = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if of.and_then(|of| of.parse().ok()) == Some(parent) {
            found.push(pid);
        }
    }
    Ok(found)
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Ok(process) = self.take() else { return };
        let signal = if self.durable { Signal::INT } else { Signal::QUIT };
        // If this fails, dropping the process kills it.
        let _ = process.signal(signal).and_then(|()| process.wait_blocking(Duration::from_secs(10)));
    }
}

impl Template {
    async fn new() -> Result<Self> {
        let scratch = Scratch::new("postgres-template")?;
        let account = Account::unprivileged(scratch.path())?;
        let password = secret::new();
        initialise(scratch.path(), &account, &password, false).await?;
        Ok(Self { scratch, password })
    }
}

/// Makes a new cluster in `directory/data`. A half-made one of an interrupted attempt is made anew.
async fn initialise(directory: &Path, account: &Account, password: &str, durable: bool) -> Result<()> {
    let (making, data) = (directory.join("making"), directory.join("data"));
    if making.exists() {
        fs::remove_dir_all(&making).with_context(|| format!("cannot remove {}", making.display()))?;
    }
    account.create_directory(&making)?;
    let password_file = making.join("password");
    secret::write(&password_file, password)?;
    account.give(&password_file)?;
    let cluster = making.join("data");
    account.create_directory(&cluster)?;
    let initdb = Launch::new(&binaries(None)?.join("initdb"))
        .arg("-D")
        .arg(&cluster)
        .args(["-U", USER, "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256"])
        .arg(format!("--pwfile={}", password_file.display()))
        .account(account);
    let initdb = if durable { initdb } else { initdb.arg("--no-sync") };
    initdb.run().await.context("cannot make a Postgres cluster")?;
    fs::rename(&cluster, &data).with_context(|| format!("cannot create {}", data.display()))?;
    fs::remove_dir_all(&making).with_context(|| format!("cannot remove {}", making.display()))
}

/// The directory of the server's binaries: of the version that made `data`, or the newest.
fn binaries(data: Option<&Path>) -> Result<PathBuf> {
    let has_both = |directory: &PathBuf| ["postgres", "initdb"].iter().all(|name| directory.join(name).is_file());
    if let Some(data) = data {
        let file = data.join("PG_VERSION");
        let version = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let fitting = Path::new("/usr/lib/postgresql").join(version.trim()).join("bin");
        if has_both(&fitting) {
            return Ok(fitting);
        }
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, directory)| has_both(directory))
        .max()
        .map(|(_, directory)| directory);
    let on_path = || {
        let postgres = account::program("postgres")?.canonicalize().ok()?;
        postgres.parent().map(Path::to_owned).filter(has_both)
    };
    newest.or_else(on_path).context("no Postgres server found (Debian package postgresql)")
}
