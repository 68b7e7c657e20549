//! How long a replica takes until it is ready, and how much memory it has.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    Spread,
    machine::{Memory, memory},
};
use crate::{Replica, Visitor};

/// Cold starts that are measured.
pub const STARTS: usize = 20;
/// Pages read before memory is looked at again.
pub const READS: usize = 1000;
const LIMIT: Duration = Duration::from_secs(30);

/// Milliseconds from `exec` to the first 200 of `/readyz`. The replica runs afterwards.
///
/// It is killed before every start: nothing of it is left but what the kernel and Postgres have in their caches.
pub async fn cold(replica: &Replica) -> Result<Spread> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        if replica.is_running() {
            replica.kill()?;
        }
        let start = Instant::now();
        replica.start()?;
        while !is_ready(&replica.address()).await {
            ensure!(start.elapsed() < LIMIT, "{} is not ready after {LIMIT:?}\n{}", replica.name(), replica.log());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Spread::of(times)
}

/// Asked with a bare socket: making an HTTP client takes longer than a replica does.
async fn is_ready(address: &str) -> bool {
    let ask = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").await?;
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    ask.await.is_ok_and(|answer| answer == *b"HTTP/1.1 200")
}

/// The memory of a replica that was started a moment ago.
pub async fn idle(replica: &Replica) -> Result<Memory> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    memory(replica.pid().context("the replica does not run")?)
}

/// The memory of a replica after people have read these pages in turn.
pub async fn after_reads(replica: &Replica, paths: &[String]) -> Result<Memory> {
    let visitor = Visitor::new(&replica.url())?;
    for path in paths.iter().cycle().take(READS) {
        visitor.get(path).await?.expect(reqwest::StatusCode::OK)?;
    }
    memory(replica.pid().context("the replica does not run")?)
}
