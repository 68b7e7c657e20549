//! The meter beside nginx: a `triptych meter` process.

use std::{
    ops::Deref,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::net::TcpStream;

use crate::{
    ports,
    process::log_tail,
    program::{Environment, Program},
};

const READY_LIMIT: Duration = Duration::from_secs(30);

/// A meter. It keeps its port and its log over restarts.
#[derive(Debug)]
pub struct Meter {
    program: Program,
    metrics_port: u16,
}

impl Deref for Meter {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl Meter {
    /// A meter that does not run yet, of an nginx with this name that writes `lines`. It hands on to one of `replicas`, the URLs of
    /// their private ports.
    pub fn new(
        name: &str,
        binary: &Path,
        environment: &Environment,
        lines: &Path,
        replicas: &[String],
        directory: &Path,
    ) -> Result<Self> {
        let metrics_port = ports::free()?;
        let own = [
            ("TRIPTYCH_METER_LINES", lines.display().to_string()),
            ("TRIPTYCH_METER_METRICS_LISTEN", format!("127.0.0.1:{metrics_port}")),
            ("TRIPTYCH_METER_REPLICAS", replicas.join(",")),
            ("TRIPTYCH_REPLICA", name.to_owned()),
        ];
        // It has no password of the database and of the store: only what it reads.
        let given = environment.iter().filter(|(name, _)| {
            ["TRIPTYCH_SECRET", "TRIPTYCH_LOG"].contains(&name.as_str()) || name.starts_with("TRIPTYCH_METER")
        });
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        let environment = own.chain(given.cloned()).collect();
        Ok(Self { program: Program::new(name, binary, "meter", environment, directory)?, metrics_port })
    }

    /// Waits until lines that come are read.
    pub async fn wait_ready(&self) -> Result<()> {
        let start = Instant::now();
        // It serves its metrics last.
        while TcpStream::connect(("127.0.0.1", self.metrics_port)).await.is_err() {
            if !self.is_running() || start.elapsed() > READY_LIMIT {
                bail!("{} does not start\n{}", self.name(), log_tail(self.log_file()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// The URL of its metrics.
    #[must_use]
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics_port)
    }
}
