//! What pages and posts cost on a large board, against a small one that shows the same.
//!
//! A page is read when the replica's copy of it is out of date, so that the replica asks Postgres for all of it, renders
//! and compresses it. Both boards answer on the same processor; the one that is not measured does nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future;
use reqwest::{Method, StatusCode, header};
use sqlx::PgConnection;
use tokio::process::Command;

use super::{Spread, content::sentence, float};
use crate::{
    Form, Stack, Visitor,
    fill::{self, Filled},
    http,
};

/// Boards; posts go to all of them, pages are read of the first.
pub const BOARDS: usize = 20;
/// Posts in the archive of the large board.
const ARCHIVED: u32 = 5_000_000;

const ROUNDS: usize = 15;
/// Rounds before those that count: Postgres plans a statement anew the first five times.
const WARMING: usize = 6;
/// Rounds of what takes longer.
const FEW_ROUNDS: usize = 5;
/// Requests of one round that take less than a millisecond.
const CHECKS: u32 = 100;
/// Replies of one round, one after the other.
const REPLIES: u32 = 10;
/// Pictures that gc finds in one round.
const PICTURES: i64 = 200;

/// Rounds of posting as fast as possible.
const RATE_ROUNDS: usize = 3;
const RATE_ROUND: Duration = Duration::from_secs(3);
/// Posts at a time.
pub const AT_ONCE: usize = 32;
/// Threads that they go to, whether these stand on one board or on all.
const THREADS: usize = 2 * BOARDS;

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// What was done.
    pub what: &'static str,
    /// On the small board: milliseconds for one, or how many a second.
    pub small: Spread,
    /// On the large board.
    pub large: Spread,
    /// By how much more one takes on the large board, round by round.
    pub factor: Spread,
}

/// What was measured.
#[derive(Debug)]
pub struct Growth {
    /// Posts on the small board.
    pub small: i64,
    /// Posts on the large board.
    pub large: i64,
    /// Milliseconds.
    pub times: Vec<Row>,
    /// Posts a second.
    pub rates: Vec<Row>,
    /// Posts that were refused meanwhile (503), because something took longer than anybody waits for it.
    pub refused: usize,
}

#[derive(Debug)]
struct Sized {
    stack: Stack,
    database: PgConnection,
    visitor: Visitor,
    filled: Filled,
    one_board: Vec<(String, i32)>,
    all_boards: Vec<(String, i32)>,
    made: usize,
    refused: usize,
}

#[derive(Debug, Clone, Copy)]
enum Work {
    /// Reads this page, of which nothing is kept.
    Page(&'static str),
    /// The same for the long thread, with this extension.
    Thread(&'static str),
    /// Asks whether the long thread has changed, which it has not.
    Check,
    /// Replies, one after the other.
    Reply,
    /// Runs `triptych gc` when there is nothing to remove.
    CollectNothing,
    /// Runs it when there is something.
    Collect,
}

impl Sized {
    async fn new(archived: u32) -> Result<Self> {
        let boards: Vec<_> = (1..=BOARDS)
            .map(|number| {
                let slug = if number == 1 { "b".to_owned() } else { format!("b{number}") };
                serde_json::json!({"slug": slug, "title": "A board"})
            })
            .collect();
        let boards = serde_json::to_string(&boards)?;
        // Nobody waits for a moment of the feed here: up to 20 ms of a read, and 20 of every post, would hide what they cost.
        let stack = Stack::builder().replicas(1).env("TRIPTYCH_FEED_INTERVAL", "0ms");
        let stack = stack.env("TRIPTYCH_BOARDS", &boards).start().await?;
        let mut database = stack.database().await?;
        let filled = fill::fill(&mut database, archived).await?;
        let first = fill::short_threads(&mut database, i64::try_from(THREADS)?).await?;
        let all_boards = fill::short_threads(&mut database, i64::try_from(THREADS / BOARDS)?).await?;
        let one_board: Vec<_> = first.into_iter().filter(|(slug, _)| slug == "b").collect();
        ensure!(one_board.len() == THREADS && all_boards.len() == THREADS, "there are not enough live threads");
        let visitor = Visitor::new(&stack.replica(0)?.url())?;
        Ok(Self { stack, database, visitor, filled, one_board, all_boards, made: 0, refused: 0 })
    }

    /// Does something and answers how many milliseconds one of it took.
    async fn time(&mut self, work: Work) -> Result<f64> {
        match work {
            Work::Page(path) => self.read(path).await,
            Work::Thread(extension) => {
                let path = format!("/b/res/{}.{extension}", self.filled.long_thread);
                self.read(&path).await
            }
            Work::Check => {
                let path = format!("/b/res/{}.html", self.filled.long_thread);
                let page = self.visitor.get(&path).await?;
                let tag = page.expect(StatusCode::OK)?.header("ETag").to_owned();
                let start = Instant::now();
                for _ in 0..CHECKS {
                    let request = self.visitor.request(Method::GET, &path).header(header::IF_NONE_MATCH, &tag);
                    self.visitor.send(request).await?.expect(StatusCode::NOT_MODIFIED)?;
                }
                Ok(milliseconds(start) / f64::from(CHECKS))
            }
            Work::Reply => {
                let start = Instant::now();
                for _ in 0..REPLIES {
                    let (slug, thread) = self.one_board.get(self.made % THREADS).context("there are threads")?;
                    self.visitor.must_post(slug, &reply(*thread, self.made)).await?;
                    self.made += 1;
                }
                Ok(milliseconds(start) / f64::from(REPLIES))
            }
            Work::Collect | Work::CollectNothing => {
                if matches!(work, Work::Collect) {
                    fill::delete_pictures(&mut self.database, PICTURES).await?;
                }
                let start = Instant::now();
                self.stack.run(&["gc"]).await?;
                Ok(milliseconds(start))
            }
        }
    }

    async fn read(&mut self, path: &str) -> Result<f64> {
        fill::outdate(&mut self.database, self.filled.long_thread).await?;
        let request = self.visitor.request(Method::GET, path).header(header::ACCEPT_ENCODING, "gzip");
        let start = Instant::now();
        self.visitor.send(request).await?.expect(StatusCode::OK)?;
        Ok(milliseconds(start))
    }

    /// Replies as fast as the replica takes them, and answers how many a second.
    async fn rate(&mut self, on_all_boards: bool) -> Result<f64> {
        let threads = if on_all_boards { &self.all_boards } else { &self.one_board };
        let (visitor, first) = (self.visitor.accepting(http::JSON), self.made);
        let (visitor, start) = (&visitor, Instant::now());
        let posting = (0..AT_ONCE).map(|sender| async move {
            let (mut sent, mut refused) = (0, 0);
            while start.elapsed() < RATE_ROUND {
                let number = first + sender + sent * AT_ONCE;
                let (slug, thread) = threads.get(number % THREADS).context("there are threads")?;
                let answer = visitor.post(slug, &reply(*thread, number)).await?;
                if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                    refused += 1;
                } else {
                    answer.expect(StatusCode::CREATED)?;
                }
                sent += 1;
            }
            anyhow::Ok((sent, refused))
        });
        let posted = future::try_join_all(posting).await?;
        let seconds = start.elapsed().as_secs_f64();
        let (sent, refused) = posted.iter().fold((0, 0), |(sent, refused), of| (sent + of.0, refused + of.1));
        self.made += posted.iter().map(|(sent, _)| sent).max().unwrap_or(&0) * AT_ONCE;
        self.refused += refused;
        Ok(float(u64::try_from(sent - refused)?) / seconds)
    }
}

fn reply(thread: i32, number: usize) -> Form {
    Form::reply(thread.into(), &format!(">>{thread}\n{}", sentence(number, 30)))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Measures both boards, one right after the other, the next round in the other order. The first rounds do not count.
async fn alternate(
    small: &mut Sized,
    large: &mut Sized,
    (warming, rounds): (usize, usize),
    measure: impl AsyncFn(&mut Sized) -> Result<f64>,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
    for round in 0..warming + rounds {
        if round.is_multiple_of(2) {
            of_small.push(measure(small).await?);
            of_large.push(measure(large).await?);
        } else {
            of_large.push(measure(large).await?);
            of_small.push(measure(small).await?);
        }
    }
    Ok((of_small.split_off(warming), of_large.split_off(warming)))
}

/// A small board and a large one.
#[derive(Debug)]
pub struct Boards {
    small: Sized,
    large: Sized,
}

impl Boards {
    /// Starts and fills both.
    pub async fn fill() -> Result<Self> {
        let filled = Self { small: Sized::new(0).await?, large: Sized::new(ARCHIVED).await? };
        // Gigabytes are on their way to the disk, and what is written next would wait behind them.
        let done = Command::new("sync").status().await.context("cannot run sync")?;
        ensure!(done.success(), "sync failed");
        Ok(filled)
    }
}

/// Measures both boards.
pub async fn run(boards: Boards) -> Result<Growth> {
    let Boards { mut small, mut large } = boards;
    let mut times = Vec::new();
    for (what, work, rounds) in [
        ("home page; all but 20 pictures are covered", Work::Page("/"), (WARMING, ROUNDS)),
        ("index", Work::Page("/b/"), (WARMING, ROUNDS)),
        ("index as JSON", Work::Page("/b/0.json"), (WARMING, ROUNDS)),
        ("catalogue", Work::Page("/b/catalog.html"), (WARMING, ROUNDS)),
        ("catalog.json", Work::Page("/b/catalog.json"), (WARMING, ROUNDS)),
        ("threads.json", Work::Page("/b/threads.json"), (WARMING, ROUNDS)),
        ("thread with 1,000 replies", Work::Thread("html"), (WARMING, ROUNDS)),
        ("the same as JSON", Work::Thread("json"), (WARMING, ROUNDS)),
        ("version check, answered with 304", Work::Check, (WARMING, ROUNDS)),
        ("posting a reply that quotes", Work::Reply, (WARMING, ROUNDS)),
        ("triptych gc, nothing to remove", Work::CollectNothing, (1, FEW_ROUNDS)),
        ("triptych gc, 200 pictures to remove", Work::Collect, (1, FEW_ROUNDS)),
    ] {
        let measure = async |sized: &mut Sized| sized.time(work).await;
        let (of_small, of_large) = alternate(&mut small, &mut large, rounds, measure).await?;
        let factor = Spread::of(of_large.iter().zip(&of_small).map(|(large, small)| large / small))?;
        times.push(Row { what, small: Spread::of(of_small)?, large: Spread::of(of_large)?, factor });
    }
    let mut rates = Vec::new();
    for (what, on_all_boards) in
        [("replies a second, on one board", false), ("replies a second, on twenty boards", true)]
    {
        let measure = async |sized: &mut Sized| sized.rate(on_all_boards).await;
        let (of_small, of_large) = alternate(&mut small, &mut large, (0, RATE_ROUNDS), measure).await?;
        let factor = Spread::of(of_small.iter().zip(&of_large).map(|(small, large)| small / large))?;
        rates.push(Row { what, small: Spread::of(of_small)?, large: Spread::of(of_large)?, factor });
    }
    small.stack.stop().await?;
    large.stack.stop().await?;
    let refused = small.refused + large.refused;
    Ok(Growth { small: small.filled.posts, large: large.filled.posts, times, rates, refused })
}
