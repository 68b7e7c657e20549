//! `make bench`: what the board costs, printed as tables.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program talks to the person who started it")]

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use triptych_tests::{
    Stack,
    bench::{
        LOAD_CPU, SERVER_CPU,
        content::Writer,
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
    let own = std::env::current_exe().context("cannot find this program")?;
    ensure!(own.components().any(|part| part.as_os_str() == "release"), "measure release binaries: make bench");
    let machine = machine::description();
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
    Ok(table::render(&machine, &rows, &uploads, cold, &Sizes { idle, read, uploaded }))
}
