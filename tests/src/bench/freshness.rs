//! How often a replica asks Postgres what has changed, while pages are read that have not: as often whatever is read, and
//! not at all when nobody reads.
//!
//! Postgres counts the statements itself. A connection tells its numbers at the latest ten seconds after its last
//! statement, so they are looked at when it has been quiet for longer than that, and are exact then.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{StatusCode, header};
use sqlx::{Executor as _, PgConnection};

use super::{Spread, float};
use crate::{Stack, fill};

/// How many different pages are read, in the order of the rows.
const PAGES: [usize; 3] = [1, 100, 10_000];
const ROUNDS: usize = 3;
/// A round is longer if not every page has been read by then.
const ROUND: Duration = Duration::from_secs(4);
/// After this time without any statement, Postgres has counted all.
const COUNTED: Duration = Duration::from_secs(12);
/// Room for all pages, plain and compressed.
const PAGE_CACHE: &str = "512MiB";
/// Requests at a time while pages are read for the first time.
const AT_ONCE: usize = 8;

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// How many different pages were read; none: nobody read.
    pub pages: usize,
    /// Answers a second.
    pub reads: Spread,
    /// Statements a second, of all kinds.
    pub statements: Spread,
}

/// A page, and the tag that it had when it was read for the first time.
#[derive(Debug)]
struct Page {
    url: String,
    tag: String,
}

/// What Postgres has counted.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
struct Counted {
    statements: i64,
    /// Scans of the table of posts: nobody makes a page without one.
    loads: i64,
}

#[derive(Debug)]
struct Reader {
    client: reqwest::Client,
    database: PgConnection,
    pages: Vec<Page>,
}

/// A board of one replica with as many pages as are read.
pub async fn start() -> Result<Stack> {
    Stack::builder().replicas(1).env("TRIPTYCH_PAGE_CACHE", PAGE_CACHE).start().await
}

/// Measures a board that was started for it.
pub async fn run(stack: &Stack) -> Result<Vec<Row>> {
    let mut database = stack.database().await?;
    // Its workers would be counted as well.
    database.execute("alter system set autovacuum = off").await?;
    database.execute("select pg_reload_conf()").await?;
    let most = PAGES.iter().copied().max().unwrap_or_default();
    let threads = fill::archived_threads(&mut database, i64::try_from(most)?).await?;
    ensure!(threads.len() == most, "{} threads were made, {most} were wanted", threads.len());

    let site = stack.replica(0)?.url();
    let client = reqwest::Client::builder().no_gzip().no_proxy().http1_only().tcp_nodelay(true).build()?;
    let urls = threads.into_iter().map(|(slug, no)| format!("{site}/{slug}/res/{no}.html"));
    let warming = stream::iter(urls).map(async |url| {
        let tag = read(&client, &url).await?;
        anyhow::Ok(Page { url, tag })
    });
    let pages = warming.buffered(AT_ONCE).try_collect().await?;
    let mut reader = Reader { client, database, pages };
    // Preparing the statement counts as one.
    reader.counted().await?;
    tokio::time::sleep(COUNTED).await;

    let mut rounds = PAGES.map(|pages| (pages, Vec::new(), Vec::new()));
    for round in 0..ROUNDS {
        for place in 0..rounds.len() {
            let place = if round.is_multiple_of(2) { place } else { rounds.len() - 1 - place };
            let (pages, reads, statements) = rounds.get_mut(place).context("there are rows")?;
            let (read, asked) = reader.round(*pages).await?;
            reads.push(read);
            statements.push(asked);
        }
    }
    let (reads, asked) = reader.round(0).await?;
    let nobody = Row { pages: 0, reads: Spread::of([reads])?, statements: Spread::of([asked])? };
    let rows = rounds.into_iter().map(|(pages, reads, statements)| {
        Ok(Row { pages, reads: Spread::of(reads)?, statements: Spread::of(statements)? })
    });
    std::iter::once(Ok(nobody)).chain(rows).collect()
}

impl Reader {
    /// Reads the first pages in turn, one after the other. Answers a second, and statements a second.
    async fn round(&mut self, pages: usize) -> Result<(f64, f64)> {
        let before = self.counted().await?;
        let start = Instant::now();
        let mut read_so_far = 0;
        if pages == 0 {
            tokio::time::sleep(ROUND).await;
        }
        for page in self.pages.iter().take(pages).cycle() {
            let tag = read(&self.client, &page.url).await?;
            ensure!(tag == page.tag, "{} has changed while it was measured", page.url);
            read_so_far += 1;
            if start.elapsed() >= ROUND && read_so_far >= pages {
                break;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        tokio::time::sleep(COUNTED).await;
        let after = self.counted().await?;
        let loads = after.loads - before.loads;
        ensure!(loads == 0, "posts were read {loads} times: not all of {pages} pages were kept");
        // One of them has asked for these numbers.
        let statements = u64::try_from(after.statements - before.statements - 1)?;
        Ok((float(u64::try_from(read_so_far)?) / seconds, float(statements) / seconds))
    }

    /// Outside of a transaction every statement is one.
    async fn counted(&mut self) -> Result<Counted> {
        let counted = sqlx::query_as(
            "select xact_commit + xact_rollback as statements,
                    (select seq_scan + idx_scan from pg_stat_user_tables where relname = 'post') as loads
             from pg_stat_database where datname = current_database()",
        );
        Ok(counted.fetch_one(&mut self.database).await?)
    }
}

/// Reads a page to its end, and answers its tag.
async fn read(client: &reqwest::Client, url: &str) -> Result<String> {
    let answer = client.get(url).header(header::ACCEPT_ENCODING, "gzip").send().await?;
    ensure!(answer.status() == StatusCode::OK, "{url} answers {}", answer.status());
    let tag = answer.headers().get(header::ETAG).context("there is no ETag")?.to_str()?.to_owned();
    answer.bytes().await?;
    Ok(tag)
}
