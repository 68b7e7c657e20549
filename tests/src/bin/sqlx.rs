//! `make sqlx`: writes what sqlx needs to check the queries of the application without a database.
//!
//! `sqlx --check` writes nothing and fails when what is there is out of date; CI runs that. The work is done by sqlx's
//! own macros, which write one file per query when they are compiled against a database.
#![expect(clippy::print_stdout, reason = "this program talks to the person who started it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use triptych_tests::Postgres;
use triptych_tests::scratch::Scratch;

const COMMITTED: &str = ".sqlx";
const DATABASE: &str = "queries";

#[tokio::main]
async fn main() -> Result<()> {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => bail!("{other} means nothing here; --check is the only option"),
    };
    ensure!(Path::new("app/migrations").is_dir(), "start this at the root of the checkout: make sqlx");
    let scratch = Scratch::new("sqlx")?;
    let fresh = scratch.path();
    {
        let postgres = Postgres::temporary().await?;
        let url = postgres.create_database(DATABASE).await?;
        let migrations = sqlx::migrate::Migrator::new(Path::new("app/migrations")).await?;
        migrations.run(&mut postgres.connect(DATABASE).await?).await?;
        compile_against(&url, fresh)?;
    }
    let (committed, fresh) = (queries(Path::new(COMMITTED))?, queries(fresh)?);
    ensure!(!fresh.is_empty(), "compiling wrote no queries: has sqlx changed how it is told where to write them?");
    if check {
        ensure!(committed == fresh, "{COMMITTED} is out of date: run `make sqlx` and commit what it writes");
        println!("{COMMITTED} is up to date: {} queries", fresh.len());
        return Ok(());
    }
    fs::create_dir_all(COMMITTED)?;
    for name in committed.keys().filter(|name| !fresh.contains_key(*name)) {
        fs::remove_file(Path::new(COMMITTED).join(name))?;
    }
    for (name, text) in &fresh {
        fs::write(Path::new(COMMITTED).join(name), text)?;
    }
    println!("{} queries in {COMMITTED}", fresh.len());
    Ok(())
}

/// Compiles the application so that its queries are checked by this database and written to this directory.
fn compile_against(url: &str, directory: &Path) -> Result<()> {
    // Cargo does not know that the outcome depends on the database, so it is told that a file has changed.
    let library = Path::new("app/src/lib.rs");
    fs::File::options().append(true).open(library)?.set_modified(std::time::SystemTime::now())?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        // The tests too, although they have no queries: with other features than clippy's, all dependencies would be
        // checked once more.
        .args(["check", "--quiet", "--locked", "--package", "triptych", "--package", "triptych-tests"])
        .env("DATABASE_URL", url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", directory)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "the application does not compile against its own schema");
    Ok(())
}

fn queries(directory: &Path) -> Result<BTreeMap<String, String>> {
    let mut queries = BTreeMap::new();
    if !directory.is_dir() {
        return Ok(queries);
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("query-") {
            queries.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(queries)
}
