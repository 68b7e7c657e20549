//! Visitors who post and read all the time, each on one connection, and never repeat anything; and readers of event
//! streams.
//!
//! What they may be refused is the step's to say; what they got is in the books and in a [`Summary`].

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use chrono::Utc;
use hyper::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    board::{Board, SLUG, accepted, thread_path},
    client::{Ask, Client, Failure, told},
    kubectl::LIMIT,
    ledger::{Hash, hash, number, posts},
    streams::{Streams, Told},
};
use crate::http::{Answer, HTML, JSON};

const POSTERS: usize = 4;
const READERS: usize = 4;
/// Threads that are posted to, so that none becomes full however long a step takes.
const THREADS: usize = 30;
/// Between two requests of one visitor; eight of them are a busy board and leave a small machine room for the servers.
const PAUSE: Duration = Duration::from_millis(25);
/// Failures that are shown one by one.
const SHOWN: usize = 25;

/// What is no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tolerance {
    /// Every request is to succeed.
    Nothing,
    /// A request may be told, politely, to come back later.
    PoliteRefusals,
    /// Everything may happen to a request.
    Anything,
}

/// A load that runs. Dropping it ends it in the middle of its requests.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<Result<Done>>,
    streams: Streams,
    start: Instant,
}

#[derive(Debug)]
struct Shared {
    board: Board,
    step: &'static str,
    tolerance: Tolerance,
    threads: Vec<i64>,
    style: String,
    stop: AtomicBool,
    posted: AtomicUsize,
    with_picture: AtomicUsize,
    failed: AtomicUsize,
}

/// What one visitor did.
#[derive(Debug, Default)]
struct Done {
    posts: usize,
    reads: usize,
    refused: usize,
    connections: usize,
    failed: Vec<Failure>,
    served_by: BTreeSet<String>,
    slowest: Duration,
}

/// What all of them did.
#[derive(Debug)]
pub(crate) struct Summary {
    done: Done,
    told: Told,
    tolerance: Tolerance,
    took: Duration,
    pub(crate) threads: Vec<i64>,
}

impl Load {
    /// Makes threads, and lets everybody in.
    pub(crate) async fn start(board: &Board, step: &'static str, tolerance: Tolerance) -> Result<Self> {
        let mut client = board.visitor();
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            threads.push(board.thread(&mut client, step).await?);
        }
        let home = client.must(&Ask::page("/"), StatusCode::OK).await?;
        let style = home.attributes("link[rel=stylesheet]", "href")?.into_iter().next();
        // Before the first of what they have to be told of.
        let streams = Streams::open(board, &threads).await?;
        let shared = Arc::new(Shared {
            board: board.clone(),
            step,
            tolerance,
            threads,
            style: style.context("the home page has no style sheet")?,
            stop: AtomicBool::new(false),
            posted: AtomicUsize::new(0),
            with_picture: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
        });
        let mut workers = JoinSet::new();
        for poster in 0..POSTERS {
            workers.spawn(keep_posting(Arc::clone(&shared), poster));
        }
        for reader in 0..READERS {
            workers.spawn(keep_reading(Arc::clone(&shared), reader));
        }
        Ok(Self { shared, workers, streams, start: Instant::now() })
    }

    /// Waits until so many more posts have been acknowledged, some of them with a picture.
    pub(crate) async fn more(&self, posts: usize) -> Result<Duration> {
        let Shared { posted, with_picture, failed, .. } = &*self.shared;
        let (start, before) = (Instant::now(), posted.load(Ordering::Acquire));
        let pictures_before = with_picture.load(Ordering::Acquire);
        while posted.load(Ordering::Acquire) < before + posts || with_picture.load(Ordering::Acquire) == pictures_before
        {
            ensure!(
                start.elapsed() < LIMIT,
                "only {} posts were acknowledged within {LIMIT:?}, {} requests failed so far",
                posted.load(Ordering::Acquire) - before,
                failed.load(Ordering::Acquire)
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(start.elapsed())
    }

    /// Lets everybody finish what they are doing.
    pub(crate) async fn end(mut self) -> Result<Summary> {
        self.shared.stop.store(true, Ordering::Release);
        let mut all = Done::default();
        while let Some(done) = self.workers.join_next().await {
            let Done { posts, reads, refused, connections, failed, served_by, slowest } = done??;
            all.posts += posts;
            all.reads += reads;
            all.refused += refused;
            all.connections += connections;
            all.failed.extend(failed);
            all.served_by.extend(served_by);
            all.slowest = all.slowest.max(slowest);
        }
        all.failed.sort_by_key(|failure| failure.at);
        let took = self.start.elapsed();
        let told = self.streams.end().await?;
        let Shared { tolerance, threads, .. } = &*self.shared;
        Ok(Summary { done: all, told, tolerance: *tolerance, took, threads: threads.clone() })
    }
}

/// Does something while everybody posts and reads, and judges how that went for them.
pub(crate) async fn under_load<T>(
    board: &Board,
    step: &'static str,
    tolerance: Tolerance,
    action: impl AsyncFnOnce(&Load) -> Result<T>,
) -> Result<(T, Summary)> {
    let load = Load::start(board, step, tolerance).await?;
    let acting = async {
        load.more(20).await?;
        let done = action(&load).await?;
        load.more(20).await?;
        Ok(done)
    };
    let done: Result<T> = acting.await;
    let summary = load.end().await?;
    match (done, summary.judge()) {
        (Ok(done), Ok(())) => Ok((done, summary)),
        (Ok(_), Err(failed)) => Err(failed),
        (Err(error), Ok(())) => Err(error.context(format!("under a load of {summary}"))),
        (Err(error), Err(failed)) => Err(anyhow!("{error:#}\nand {failed:#}")),
    }
}

impl Summary {
    /// How many requests were refused politely.
    pub(crate) fn refused(&self) -> usize {
        self.done.refused
    }

    fn judge(&self) -> Result<()> {
        let failed = &self.done.failed;
        ensure!(
            failed.is_empty() || self.tolerance == Tolerance::Anything,
            "{} requests failed ({self}):\n  {}",
            failed.len(),
            failed.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
        );
        self.told.judge(self.tolerance == Tolerance::Anything)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done { posts, reads, refused, connections, failed, served_by, slowest } = &self.done;
        write!(formatter, "{posts} posts and {reads} reads in {} s by {} pods", self.took.as_secs(), served_by.len())?;
        write!(formatter, " over {connections} connections, {} failed", failed.len())?;
        if *refused > 0 {
            write!(formatter, ", {refused} refused politely")?;
        }
        write!(formatter, ", slowest {:.1} s; {}", slowest.as_secs_f64(), self.told)
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn thread(&self, turn: usize) -> Result<i64> {
        self.threads.iter().copied().cycle().nth(turn % self.threads.len().max(1)).context("there are no threads")
    }
}

impl Done {
    /// Sends a request and looks at what comes back; `None` if it was no success.
    async fn ask<T>(
        &mut self,
        shared: &Shared,
        client: &mut Client,
        ask: &Ask,
        good: impl FnOnce(&Answer) -> Result<T>,
    ) -> Option<T> {
        let (at, start) = (Utc::now(), Instant::now());
        let answer = client.send(ask).await;
        self.slowest = self.slowest.max(start.elapsed());
        let failure = match answer {
            Ok(answer) if answer.status.is_success() || answer.status.is_redirection() => match good(&answer) {
                Ok(result) => {
                    if !answer.header("X-Served-By").is_empty() {
                        self.served_by.insert(answer.header("X-Served-By").to_owned());
                    }
                    return Some(result);
                }
                Err(error) => client.judged(at, ask, &format!("{error:#}: {}", told(&answer))),
            },
            Ok(answer) => match answer.expect_polite_refusal(ask.accept) {
                Ok(()) if shared.tolerance != Tolerance::Nothing => {
                    self.refused += 1;
                    return None;
                }
                _ => client.judged(at, ask, &told(&answer)),
            },
            Err(failure) => failure,
        };
        shared.failed.fetch_add(1, Ordering::AcqRel);
        self.failed.push(failure);
        None
    }
}

/// Posts: every fourth time with a picture, every tenth as a browser does.
async fn keep_posting(shared: Arc<Shared>, poster: usize) -> Result<Done> {
    let (board, mut client, mut done) = (&shared.board, shared.board.visitor(), Done::default());
    for turn in 0.. {
        if shared.stopped() {
            break;
        }
        let thread = shared.thread(poster + turn)?;
        let comment = format!("{} {poster} {turn} {}", shared.step, board.fresh());
        let picture = if turn % 4 == 0 { Some(board.picture()?) } else { None };
        let accept = if turn % 10 == 9 { HTML } else { JSON };
        let resto = thread.to_string();
        let fields = [("resto", resto.as_str()), ("com", &comment)];
        let ask = Ask::form(&format!("/{SLUG}/post"), accept, &fields, &picture.iter().collect::<Vec<_>>());
        board.ledger.sent(thread, &comment, picture.as_ref().map(|picture| hash(&picture.bytes)));
        if let Some(no) = done.ask(&shared, &mut client, &ask, accepted).await {
            board.ledger.acknowledged(&comment, no);
            done.posts += 1;
            shared.posted.fetch_add(1, Ordering::AcqRel);
            shared.with_picture.fetch_add(usize::from(picture.is_some()), Ordering::AcqRel);
        }
        tokio::time::sleep(PAUSE).await;
    }
    done.connections = client.connections;
    Ok(done)
}

/// Reads pages, documents, pictures and the style sheet in turn. What was acknowledged before a thread was asked for
/// has to be in it, unless the document says that it is as of a time before, and a picture has to be the one that was sent.
async fn keep_reading(shared: Arc<Shared>, reader: usize) -> Result<Done> {
    let (mut client, mut done) = (shared.board.visitor(), Done::default());
    let mut picture: Option<(String, String, Option<Hash>)> = None;
    for turn in reader.. {
        if shared.stopped() {
            break;
        }
        let thread = shared.thread(turn / 8)?;
        let there = |answer: &Answer, what: &str| {
            ensure!(answer.status == StatusCode::OK && !answer.body.is_empty(), "this is no {what}");
            ensure!(!answer.is_older() || shared.tolerance != Tolerance::Nothing, "this is a {what} of before");
            Ok(())
        };
        let read = match (turn % 8, &picture) {
            (0, _) => {
                let before = shared.board.ledger.so_far(thread);
                let document = Ask::json(&thread_path(thread, "json"));
                let read = done.ask(&shared, &mut client, &document, |answer| {
                    there(answer, "document")?;
                    let document: Value = answer.json()?;
                    let shown: BTreeSet<i64> = posts(&document).iter().map(number).collect();
                    let missing: Vec<&i64> = before.difference(&shown).collect();
                    ensure!(missing.is_empty() || answer.is_older(), "stale: {missing:?} had been acknowledged before");
                    Ok(document)
                });
                let document = read.await;
                let compared = document.as_ref().map(|document| shared.board.ledger.compare(thread, document));
                let last = compared.and_then(|compared| compared.pictures.into_iter().next_back());
                picture = last.map(|shown| (shown.media, shown.thumb, shown.hash)).or(picture);
                document.map(drop)
            }
            (1, _) => {
                let page = Ask::page(&thread_path(thread, "html"));
                done.ask(&shared, &mut client, &page, |answer| there(answer, "page")).await
            }
            (2, Some((media, _, expected))) => {
                let good = |answer: &Answer| {
                    let right = expected.is_none_or(|expected| expected == hash(&answer.body));
                    ensure!(right, "this is not what was uploaded");
                    there(answer, "picture")
                };
                done.ask(&shared, &mut client, &Ask::picture(media), good).await
            }
            (3, Some((_, thumb, _))) => {
                done.ask(&shared, &mut client, &Ask::picture(thumb), |answer| there(answer, "picture")).await
            }
            (4, _) => {
                let style = Ask::page(&shared.style);
                done.ask(&shared, &mut client, &style, |answer| there(answer, "style sheet")).await
            }
            (5, _) => {
                let ask = Ask::json("/boards.json");
                done.ask(&shared, &mut client, &ask, |answer| there(answer, "document")).await
            }
            (6, _) => {
                let page = Ask::page(&format!("/{SLUG}/catalog.html"));
                done.ask(&shared, &mut client, &page, |answer| there(answer, "page")).await
            }
            _ => done.ask(&shared, &mut client, &Ask::page("/"), |answer| there(answer, "page")).await,
        };
        done.reads += usize::from(read.is_some());
        tokio::time::sleep(PAUSE).await;
    }
    done.connections = client.connections;
    Ok(done)
}
