//! `make test-cluster`: the system test for the cluster of the current kube-context.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use clap::Parser as _;
use triptych_tests::{
    asked_to_stop::AskedToStop,
    cluster::{self, Options},
};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<bool> {
    let mut asked_to_stop = AskedToStop::new()?;
    cluster::run(options, async move || asked_to_stop.wait().await).await
}
