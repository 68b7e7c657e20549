//! wrk: as many requests as 64 connections can make, from a processor of its own.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{LOAD_CPU, float};
use crate::{account, scratch::Scratch};

/// Connections held open at a time.
pub const CONNECTIONS: u32 = 64;

/// Prints one line of numbers instead of a table for people.
const SCRIPT: &str = r#"
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("\nresult %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"#;

/// What one run of wrk has seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Answers.
    pub requests: u64,
    /// Answers a second.
    pub rate: f64,
    /// The time that 99 of 100 answers stay below, in milliseconds.
    pub p99: f64,
}

/// wrk, ready to run.
#[derive(Debug)]
pub struct Wrk {
    binary: PathBuf,
    script: PathBuf,
    _scratch: Scratch,
}

impl Wrk {
    /// Finds the program.
    pub fn new() -> Result<Self> {
        let scratch = Scratch::new("wrk")?;
        let script = scratch.join("result.lua");
        fs::write(&script, SCRIPT).context("cannot write the script for wrk")?;
        let binary = account::program("wrk").context("wrk (Debian package wrk) is missing")?;
        Ok(Self { binary, script, _scratch: scratch })
    }

    /// Asks for one address for some whole seconds. An answer of 400 or above, or a broken connection, is an error.
    pub async fn run(&self, url: &str, header: (&str, &str), duration: Duration) -> Result<Seen> {
        let output = Command::new("taskset")
            .args(["--cpu-list", &LOAD_CPU.to_string()])
            .arg(&self.binary)
            .args(["--threads", "1", "--connections", &CONNECTIONS.to_string()])
            .args(["--duration", &format!("{}s", duration.as_secs()), "--script"])
            .arg(&self.script)
            .args(["--header", &format!("{}: {}", header.0, header.1), url])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let all = || format!("wrk says:\n{text}{}", String::from_utf8_lossy(&output.stderr));
        let line = text.lines().find_map(|line| line.strip_prefix("result ")).with_context(all)?;
        let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().with_context(all)?;
        let [requests, microseconds, p99, refused, broken] = <[u64; 5]>::try_from(numbers).ok().with_context(all)?;
        ensure!(
            refused == 0 && broken == 0 && requests > 0,
            "{refused} answers were errors, {broken} broke off at {url}"
        );
        Ok(Seen { requests, rate: float(requests) * 1e6 / float(microseconds), p99: float(p99) / 1e3 })
    }
}
