//! One child process that never outlives this one.
//!
//! Every child stands in a process group of its own (Ctrl-C in the terminal reaches only us, and we stop
//! the parts in order) and gets a signal from the kernel when this process dies, however it dies. Knows
//! nothing about what it runs.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::account::{self, Account};

const POLL: Duration = Duration::from_millis(5);

/// What to start and how.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    account: Account,
    at_our_death: Signal,
}

impl Launch {
    /// A program without arguments and with the plainest environment: what it needs to find other programs,
    /// and nothing that could change what it does.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        let kept = ["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE", "SSL_CERT_FILE", "SSL_CERT_DIR", "LLVM_PROFILE_FILE"];
        let environment = kept
            .iter()
            .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
            .chain([("LC_ALL".into(), "C.UTF-8".into()), ("TZ".into(), "UTC".into())])
            .collect();
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment,
            account: Account::own(),
            at_our_death: Signal::KILL,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it under another account.
    #[must_use]
    pub fn account(mut self, account: &Account) -> Self {
        self.account = account.clone();
        self
    }

    /// The signal that the process gets when this process dies: `SIGTERM`, `SIGINT` or `SIGQUIT`; `SIGKILL`
    /// unless told otherwise.
    #[must_use]
    pub fn at_our_death(mut self, signal: Signal) -> Self {
        self.at_our_death = signal;
        self
    }

    /// Starts it; what it prints is appended to the file `log`.
    pub fn start(&self, log: &Path) -> Result<Process> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        self.spawn(file)
    }

    /// Runs it to its end and returns what it printed; a failure's error holds that too.
    pub async fn run(&self) -> Result<String> {
        let mut output = tempfile::tempfile().context("cannot create a temporary file")?;
        let process = self.spawn(output.try_clone().context("cannot share a temporary file")?)?;
        let status = process.wait(Duration::from_mins(2)).await?;
        output.rewind().context("cannot read a temporary file")?;
        let mut text = Vec::new();
        output.read_to_end(&mut text).context("cannot read a temporary file")?;
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure!(status.success(), "{} failed ({status}):\n{}", self.title(), text.trim_end());
        Ok(text)
    }

    fn title(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        let first = self.arguments.first().map(|argument| argument.to_string_lossy());
        format!("{} {}", name.to_string_lossy(), first.unwrap_or_default()).trim_end().to_owned()
    }

    fn spawn(&self, output: File) -> Result<Process> {
        let title = self.title();
        ensure!(self.program.is_file(), "{} does not exist", self.program.display());
        let mut command = match account::setpriv() {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command
                    .arg(format!("--pdeathsig={}", name(self.at_our_death)))
                    .args(self.account.setpriv_arguments())
                    .arg("--")
                    .arg(&self.program);
                command
            }
            // Without it a child outlives a `kill -9` of this process; nothing else is lost.
            None if self.account.setpriv_arguments().is_empty() => Command::new(&self.program),
            None => bail!("setpriv (Debian package util-linux) is missing"),
        };
        let errors = output.try_clone().context("cannot share a log file")?;
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let child = spawn_from_lasting_thread(command).with_context(|| format!("cannot start {title}"))?;
        Ok(Process { title, pid: Pid::from_child(&child), child: Mutex::new(child) })
    }
}

/// The name of a signal, as `setpriv` wants it.
fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::TERM => "TERM",
        Signal::INT => "INT",
        Signal::QUIT => "QUIT",
        _ => "KILL",
    }
}

/// The kernel sends the "parent died" signal when the *thread* that started the child ends. Threads of test
/// runtimes come and go, so every child is started by one thread that stays.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    type Job = (Command, mpsc::SyncSender<io::Result<Child>>);
    static THREAD: OnceLock<mpsc::Sender<Job>> = OnceLock::new();

    let gone = || io::Error::other("the thread that starts processes is gone");
    let thread = THREAD.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        // If there is no thread, sending fails below.
        let _ = thread::Builder::new().name("spawner".into()).spawn(move || {
            for (mut command, reply) in jobs {
                // Nobody waits any more: the child is reaped as soon as it is dropped unwanted.
                if let Err(mpsc::SendError(Ok(mut child))) = reply.send(command.spawn()) {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        });
        sender
    });
    let (reply, child) = mpsc::sync_channel(1);
    thread.send((command, reply)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// A running process. Dropping it kills it and what it started.
#[derive(Debug)]
pub struct Process {
    title: String,
    pid: Pid,
    child: Mutex<Child>,
}

impl Process {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// How it ended, if it has.
    pub fn exited(&self) -> Result<Option<ExitStatus>> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().with_context(|| format!("cannot ask about {}", self.title))
    }

    /// Sends a signal to it (not to its children); nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.send(signal, kill_process)
    }

    /// Kills it and its children in its process group, and waits for its end.
    pub fn kill(&self) -> Result<ExitStatus> {
        self.send(Signal::KILL, kill_process_group)?;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.wait().with_context(|| format!("cannot wait for {}", self.title))
    }

    /// Waits for its end.
    pub async fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended_within(start, limit)? {
                return Ok(status);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// As [`Process::wait`], where there is no runtime (in a `Drop`).
    pub fn wait_blocking(&self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended_within(start, limit)? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    /// How it ended, if it did; an error once the time is over.
    fn ended_within(&self, start: Instant, limit: Duration) -> Result<Option<ExitStatus>> {
        match self.exited()? {
            None if start.elapsed() > limit => Err(self.still_there(limit)),
            status => Ok(status),
        }
    }

    fn still_there(&self, limit: Duration) -> anyhow::Error {
        anyhow!("{} (pid {}) still runs after {limit:?}", self.title, self.pid())
    }

    /// The process id cannot belong to somebody else here: only we reap the child, under the lock.
    fn send(&self, signal: Signal, deliver: impl FnOnce(Pid, Signal) -> rustix::io::Result<()>) -> Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = child.try_wait().with_context(|| format!("cannot ask about {}", self.title))?;
        if ended.is_none() {
            deliver(self.pid, signal).with_context(|| format!("cannot send a signal to {}", self.title))?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing more can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}

/// The last lines of a log, for an error message.
#[must_use]
pub fn log_tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
    format!("--- the end of {}:\n{}", log.display(), tail.join("\n"))
}
