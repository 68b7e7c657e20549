//! `make bench`: what the board costs, printed as tables. With the argument `growth`, only what a large board costs; with
//! `freshness`, only what it costs to show and to tell what has changed; with `metering`, only what it costs to count traffic.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program talks to the person who started it")]

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use triptych_tests::{
    Stack,
    bench::{
        LOAD_CPU, SERVER_CPU,
        content::Writer,
        freshness, growth,
        machine::{self, pin},
        metering,
        reads::Reads,
        reference::Reference,
        start, streams,
        table::{self, Sizes},
        uploads,
    },
};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(tables) => {
            println!("{tables}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\n{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<String> {
    let part = std::env::args().nth(1);
    let wanted = |name| part.as_deref().is_none_or(|part| part == name);
    if let Some(other) = part.as_deref().filter(|part| !["freshness", "growth", "metering"].contains(part)) {
        bail!("{other} means nothing here; freshness, growth and metering are the parts that can be had alone");
    }
    let own = std::env::current_exe().context("cannot find this program")?;
    ensure!(own.components().any(|part| part.as_os_str() == "release"), "measure release binaries: make bench");
    let mut tables = table::heading(&machine::description());
    if part.is_none() {
        tables.push_str(&of_replica().await?);
    }
    if wanted("metering") {
        tables.push_str(&of_metering().await?);
    }
    if wanted("freshness") {
        tables.push_str(&of_freshness().await?);
    }
    if wanted("growth") {
        tables.push_str(&of_growth().await?);
    }
    Ok(tables)
}

/// A large board and a small one.
async fn of_growth() -> Result<String> {
    eprintln!("Filling a board with ten thousand posts and one with five million, which takes some minutes");
    // What is started now inherits the processor of the servers.
    pin(std::process::id(), SERVER_CPU).context("two processors are needed")?;
    let boards = growth::Boards::fill().await;
    pin(std::process::id(), LOAD_CPU).context("two processors are needed")?;
    eprintln!("Measuring both");
    Ok(table::of_growth(&growth::run(boards?).await?))
}

/// nginx with and without a meter.
async fn of_metering() -> Result<String> {
    let this = std::process::id();
    eprintln!("Reading pictures from nginx, counted and not counted");
    // What is started now inherits the processor of the servers.
    pin(this, SERVER_CPU).context("two processors are needed")?;
    let stack = Stack::builder().replicas(1).start().await;
    pin(this, LOAD_CPU).context("two processors are needed")?;
    let stack = stack?;
    let rows = metering::run(&stack).await?;
    stack.stop().await?;
    Ok(table::of_metering(&rows))
}

/// What replicas ask Postgres, and what they tell those who watch.
async fn of_freshness() -> Result<String> {
    let this = std::process::id();
    eprintln!("Counting statements while pages are read");
    // What is started now inherits the processor of the servers.
    pin(this, SERVER_CPU).context("two processors are needed")?;
    let stack = freshness::start().await;
    pin(this, LOAD_CPU).context("two processors are needed")?;
    let stack = stack?;
    let rows = freshness::run(&stack).await?;
    stack.stop().await?;

    eprintln!("Watching event streams");
    pin(this, SERVER_CPU)?;
    let board = streams::Board::start().await;
    pin(this, LOAD_CPU)?;
    let streams = board?.run().await?;
    Ok(table::of_freshness(&rows) + &table::of_streams(&streams))
}

/// Pages and pictures through one replica.
async fn of_replica() -> Result<String> {
    let this = std::process::id();

    // What is started now inherits the processor of the servers.
    pin(this, SERVER_CPU).context("two processors are needed")?;
    eprintln!("Starting");
    let stack = Stack::builder().replicas(1).start().await?;
    let reference = Reference::start().await?;
    pin(this, LOAD_CPU).context("two processors are needed")?;

    eprintln!("Filling the board");
    let replica = stack.replica(0)?;
    let writer = Writer::new(&replica.url())?;
    writer.threads().await?;
    let thread = writer.long_thread(500).await?;
    let place = writer.thread(501).await?;

    eprintln!("Reading");
    let reads = Reads::new(&stack, &reference, &writer)?;
    let mut rows = reads.quiet(thread).await?;
    eprintln!("Reading while somebody writes");
    rows.push(reads.while_written().await?);

    eprintln!("Starting a replica {} times", start::STARTS);
    pin(this, SERVER_CPU)?;
    let cold = start::cold(replica).await;
    pin(this, LOAD_CPU)?;
    let cold = cold?;
    let idle = start::idle(replica).await?;
    eprintln!("Reading {} pages", start::READS);
    let paths = ["/", "/b/", "/b/2.html", "/b/catalog.html", "/b/catalog.json"].map(str::to_owned);
    let paths = [&paths[..], &[format!("/b/res/{thread}.html"), format!("/b/res/{thread}.json")]].concat();
    let read = start::after_reads(replica, &paths).await?;
    eprintln!("Uploading");
    let uploads = uploads::run(&stack, place).await?;
    let uploaded = machine::memory(replica.pid().context("the replica does not run")?)?;

    stack.stop().await?;
    Ok(table::of_replica(&rows, &uploads, cold, &Sizes { idle, read, uploaded }))
}
