//! nginx in front of the replicas, with state, logs and cache of its own.
//!
//! The configuration is the chart's, `helm/triptych/files/nginx/nginx.conf.template`; this file only fills it in and
//! runs it.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Signal, getrlimit};

use crate::{
    account::{self, Account},
    process::{Launch, Process, log_tail},
};

const TEMPLATE: &str = include_str!("../../helm/triptych/files/nginx/nginx.conf.template");
const ERRORS: [(&str, &str); 3] = [
    ("errors.conf", include_str!("../../helm/triptych/files/nginx/errors.conf")),
    ("nginx-error/page.html", include_str!("../../helm/triptych/files/nginx/nginx-error/page.html")),
    ("nginx-error/problem.json", include_str!("../../helm/triptych/files/nginx/nginx-error/problem.json")),
];
/// The first version with `keepalive_min_timeout`: at a reload a worker that ends keeps idle connections
/// open for a while, so that a request on its way into one is answered.
const KEEPALIVE_MIN_TIMEOUT: [u32; 3] = [1, 27, 4];
/// How much of the pictures it keeps.
const CACHE_SIZE: &str = "1g";
/// How long a picture that nobody asks for stays in it.
const CACHE_AGE: &str = "6h";
/// As many files as a worker opens at the most, as in the chart.
const OPEN_FILES: u64 = 32_768;
const LIMIT: Duration = Duration::from_secs(15);

/// What differs between one nginx and another.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens, as `address:port`.
    pub listen: String,
    /// The replicas, as `address:port`.
    pub replicas: Vec<String>,
    /// The largest request body in bytes; anything larger is answered with the application's own page.
    pub max_body: u64,
    /// How long a picture is shown before a replica is asked whether it is still there, in whole seconds.
    pub picture_validity: Duration,
    /// The longest pause in a request body, in whole seconds.
    pub body_timeout: Duration,
    /// How many bodies one address may be sending at a time.
    pub bodies_per_address: u16,
    /// How many bodies all together may be sending at a time.
    pub bodies: u16,
    /// Whether lines are written for the meter.
    pub counted: bool,
    /// How long a worker that is to end waits for its requests, event streams among them, in whole seconds.
    pub shutdown_timeout: Duration,
}

impl Settings {
    /// With the times and limits that the chart has, too.
    #[must_use]
    pub fn new(listen: String, replicas: Vec<String>, max_body: u64) -> Self {
        Self {
            listen,
            replicas,
            max_body,
            picture_validity: Duration::from_secs(30),
            body_timeout: Duration::from_secs(15),
            bodies_per_address: 100,
            bodies: 1000,
            counted: false,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// An nginx and, while it runs, its process. Dropping it stops it.
#[derive(Debug)]
pub struct Nginx {
    process: Mutex<Option<Process>>,
    binary: PathBuf,
    directory: PathBuf,
    account: Account,
    settings: Mutex<Settings>,
    listen: String,
}

impl Nginx {
    /// An nginx that does not run yet and keeps everything in `directory`. Its cache starts empty.
    pub fn new(directory: &Path, settings: Settings) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let account = Account::unprivileged(directory)?;
        let nginx = Self {
            process: Mutex::default(),
            binary: account::program("nginx").context("nginx (Debian package nginx) is missing")?,
            directory: directory.to_owned(),
            account,
            listen: settings.listen.clone(),
            settings: Mutex::new(settings),
        };
        let state = nginx.path("state");
        if state.exists() {
            fs::remove_dir_all(&state).with_context(|| format!("cannot remove {}", state.display()))?;
        }
        nginx.account.create_directory(&state)?;
        nginx.account.create_directory(&nginx.path("traffic"))?;
        for name in ["extra", "errors/nginx-error", "assets"] {
            fs::create_dir_all(nginx.path(name)).with_context(|| format!("cannot create {name} for nginx"))?;
        }
        for (name, text) in ERRORS {
            nginx.write(&format!("errors/{name}"), text)?;
        }
        for name in ["access.log", "error.log", "output.log"] {
            nginx.write(name, "")?;
            nginx.account.give(&nginx.path(name))?;
        }
        // Not emptied: what the meter has not read is still to be counted.
        let lines = nginx.lines();
        fs::File::options().append(true).create(true).open(&lines).context("the file for the meter")?;
        nginx.account.give(&lines)?;
        Ok(nginx)
    }

    /// The directory whose files are served as `/static/…`.
    #[must_use]
    pub fn static_directory(&self) -> PathBuf {
        self.path("assets/static")
    }

    /// Checks the configuration, starts nginx and waits until it accepts connections.
    pub async fn start(&self) -> Result<()> {
        ensure!(!self.is_running(), "nginx runs already");
        self.configure().await?;
        let process = self.launch(&[]).at_our_death(Signal::TERM).start(&self.path("output.log"))?;
        let start = Instant::now();
        while tokio::net::TcpStream::connect(&self.listen).await.is_err() {
            if process.exited()?.is_some() || start.elapsed() > LIMIT {
                bail!("nginx does not start on {}\n{}", self.listen, self.log_tails());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(())
    }

    /// Finishes the requests that run and stops (`SIGQUIT`); after `limit` it stops at once.
    pub async fn stop(&self, limit: Duration) -> Result<()> {
        let process = self.take()?;
        process.signal(Signal::QUIT)?;
        if process.wait(limit).await.is_err() {
            process.signal(Signal::TERM)?;
            process.wait(LIMIT).await?;
        }
        Ok(())
    }

    /// Changes the replicas without stopping (`SIGHUP`), and waits until new workers have taken over.
    pub async fn reload(&self, replicas: Vec<String>) -> Result<()> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).replicas = replicas;
        self.read_anew().await
    }

    /// Begins to write lines for the meter, or stops, in the same way.
    pub async fn count(&self, counted: bool) -> Result<()> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).counted = counted;
        self.read_anew().await
    }

    /// Where lines for the meter are written.
    #[must_use]
    pub fn lines(&self) -> PathBuf {
        self.path("traffic/lines")
    }

    async fn read_anew(&self) -> Result<()> {
        self.configure().await?;
        let before = self.workers()?;
        {
            let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
            process.as_ref().context("nginx does not run")?.signal(Signal::HUP)?;
        }
        let start = Instant::now();
        while self.workers()?.is_subset(&before) || before.iter().any(|worker| accepts(*worker)) {
            ensure!(start.elapsed() < LIMIT, "nginx does not reload\n{}", self.log_tails());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Whether the process is there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().is_some_and(|process| matches!(process.exited(), Ok(None)))
    }

    /// The URL of the board, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listen.replace("0.0.0.0:", "127.0.0.1:"))
    }

    /// The requests so far, one JSON object per line.
    #[must_use]
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.path("access.log")).unwrap_or_default()
    }

    /// What went wrong so far.
    #[must_use]
    pub fn error_log(&self) -> String {
        fs::read_to_string(self.path("error.log")).unwrap_or_default()
    }

    /// Writes the configuration and has nginx check it.
    async fn configure(&self) -> Result<()> {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let extra = if self.version().await? >= KEEPALIVE_MIN_TIMEOUT { "keepalive_min_timeout 30s;\n" } else { "" };
        self.write("extra/newer.conf", extra)?;
        let lines = self.lines().display().to_string();
        let lines = format!("access_log \"{lines}\" traffic buffer=64k flush=1s if=$counted_here;\n");
        self.write("extra/traffic.conf", if settings.counted { &lines } else { "" })?;
        self.write("nginx.conf", &self.fill_in(&settings)?)?;
        let check = self.launch(&["-t"]).run().await;
        check.context("nginx does not accept its configuration")?;
        Ok(())
    }

    fn fill_in(&self, settings: &Settings) -> Result<String> {
        ensure!(!settings.replicas.is_empty(), "nginx needs at least one replica");
        let replicas = settings.replicas.iter();
        let replicas: Vec<String> = replicas.map(|address| format!("server {address} max_fails=0;")).collect();
        let path = |name: &str| self.path(name).display().to_string();
        let values = [
            ("WORKERS", "auto".to_owned()),
            ("OPEN_FILES", open_files().to_string()),
            ("SHUTDOWN_TIMEOUT", seconds(settings.shutdown_timeout)),
            ("LISTEN", settings.listen.clone()),
            ("REPLICAS", replicas.join("\n        ")),
            ("MAX_BODY", settings.max_body.to_string()),
            ("CACHE_SIZE", CACHE_SIZE.to_owned()),
            ("CACHE_AGE", CACHE_AGE.to_owned()),
            ("PICTURE_VALIDITY", seconds(settings.picture_validity)),
            ("BODY_TIMEOUT", seconds(settings.body_timeout)),
            ("BODIES", settings.bodies.to_string()),
            ("BODIES_PER_ADDRESS", settings.bodies_per_address.to_string()),
            ("STATE", path("state")),
            ("EXTRA", path("extra")),
            ("ERRORS", path("errors")),
            ("ASSETS", path("assets")),
            ("ACCESS_LOG", path("access.log")),
            ("ERROR_LOG", path("error.log")),
        ];
        let code = TEMPLATE.lines().filter(|line| !line.trim_start().starts_with('#'));
        let mut text = code.collect::<Vec<_>>().join("\n");
        for (name, value) in values {
            ensure!(
                !value.contains(['"', '\'', '\\', '$', '{', '}']),
                "nginx cannot work with the path or address {value}"
            );
            text = text.replace(&format!("${{{name}}}"), &value);
        }
        ensure!(!text.contains("${"), "a value is missing in the nginx configuration");
        text.push('\n');
        Ok(text)
    }

    async fn version(&self) -> Result<[u32; 3]> {
        let printed = Launch::new(&self.binary).arg("-v").run().await?;
        let version = printed.split_once("nginx/").map(|(_, rest)| rest);
        let mut numbers = version
            .unwrap_or_default()
            .split(|character: char| !character.is_ascii_digit())
            .map_while(|digits| digits.parse().ok());
        let mut number = || numbers.next().with_context(|| format!("nginx -v prints {printed:?}"));
        Ok([number()?, number()?, number()?])
    }

    fn launch(&self, arguments: &[&str]) -> Launch {
        Launch::new(&self.binary)
            .arg("-p")
            .arg(&self.directory)
            .arg("-c")
            .arg(self.path("nginx.conf"))
            // Before it reads its configuration it would log to a place that belongs to the system.
            .args(["-e", "stderr", "-g", "daemon off;"])
            .args(arguments)
            .account(&self.account)
    }

    fn workers(&self) -> Result<HashSet<u32>> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = process.as_ref().context("nginx does not run")?.pid();
        let file = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        Ok(children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }

    fn take(&self) -> Result<Process> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.take().context("nginx does not run")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.path(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    fn log_tails(&self) -> String {
        let tails = ["error.log", "output.log"].map(|name| log_tail(&self.path(name)));
        tails.join("\n")
    }
}

/// As many as nginx may open here: asked for more it would get none but what everybody has.
fn open_files() -> u64 {
    getrlimit(Resource::Nofile).maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES))
}

/// A time as nginx writes it.
fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

/// Whether a worker still takes new connections: one that ends says so in its title, before it is gone.
fn accepts(worker: u32) -> bool {
    let title = fs::read(format!("/proc/{worker}/cmdline")).unwrap_or_default();
    !title.is_empty() && !String::from_utf8_lossy(&title).contains("shutting down")
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let Ok(process) = self.take() else { return };
        // If this fails, dropping the process kills it and its workers.
        let _ = process.signal(Signal::TERM).and_then(|()| process.wait_blocking(Duration::from_secs(5)));
    }
}
