//! `make bench`: what the board costs, printed as tables. With the argument `growth`, only what a large board costs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program talks to the person who started it")]

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use triptych_tests::{
    Stack,
    bench::{
        LOAD_CPU, SERVER_CPU,
        content::Writer,
        growth,
        machine::{self, pin},
        reads::Reads,
        reference::Reference,
        start,
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
    let only_growth = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("growth") => true,
        Some(other) => bail!("{other} means nothing here; growth is the only part that can be had alone"),
    };
    let own = std::env::current_exe().context("cannot find this program")?;
    ensure!(own.components().any(|part| part.as_os_str() == "release"), "measure release binaries: make bench");
    let heading = table::heading(&machine::description());
    let of_replica = if only_growth { String::new() } else { of_replica().await? };

    eprintln!("Filling a board with ten thousand posts and one with five million, which takes some minutes");
    // What is started now inherits the processor of the servers.
    pin(std::process::id(), SERVER_CPU).context("two processors are needed")?;
    let boards = growth::Boards::fill().await;
    pin(std::process::id(), LOAD_CPU).context("two processors are needed")?;
    eprintln!("Measuring both");
    let growth = growth::run(boards?).await?;
    Ok(heading + &of_replica + &table::of_growth(&growth))
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
