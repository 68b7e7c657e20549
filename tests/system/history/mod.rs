//! Promise 2 as a history: many clients post, delete and read on all replicas and through nginx, while replicas and
//! Postgres are paused, stopped, killed and started at random, and others keep streams of events open; then every reading
//! is compared with everything that was answered or told before it began, and every stream with what it had to tell
//! (`triptych_tests::history`).
//!
//! `TRIPTYCH_TEST_HISTORY_READS` makes it longer, `TRIPTYCH_TEST_HISTORY_SEED` repeats the random choices of a run (not
//! its timing).

mod clients;
mod faults;
mod recorder;
mod watchers;

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::watch;
use triptych_tests::{
    Replica, Stack,
    history::{Rules, violations},
    stack::Builder,
};

use self::{
    clients::Client,
    faults::Faults,
    recorder::Recorder,
    watchers::{Markers, Watcher},
};
use crate::board::Board;

/// Readings of the usual run.
const READS: usize = 6_000;
/// Readings for each disturbance of replicas, and for each of Postgres.
const READS_PER_FAULT: usize = 600;
/// How old an answer may be from which a replica shows pages, and so how long everything that is too early by no more than
/// the commit wait stays to be found. Five times as long as usual, because every machine is slow at times.
const FEED_INTERVAL: &str = "100ms";
/// Whoever wrote something is answered when every replica shows it, but one who was cut off is not waited for.
const RULES: Rules = Rules { settling: Duration::from_secs(1) };
/// Each keeps to one site, so that a site which stands still keeps no other from being read.
const READERS_PER_SITE: usize = 2;
/// Every other one watches a board, the rest watch threads.
const WATCHERS: usize = 8;
/// Violations that are shown.
const SHOWN: usize = 20;

fn setting<T: std::str::FromStr>(name: &str) -> Result<Option<T>> {
    let value = std::env::var(name).ok();
    value.map(|value| value.parse().ok().with_context(|| format!("{name} is not a number: {value}"))).transpose()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_shows_everything_that_was_answered_before_it_began() -> Result<()> {
    record(Stack::builder(), READS).await
}

/// Records a history of so many readings on a board, and looks for what must not be in it.
pub(crate) async fn record(builder: Builder, reads: usize) -> Result<()> {
    let reads = setting("TRIPTYCH_TEST_HISTORY_READS")?.unwrap_or(reads);
    let seed = setting("TRIPTYCH_TEST_HISTORY_SEED")?.unwrap_or_else(|| rand::random_range(0..1_000_000_u64));
    let failed = || format!("with TRIPTYCH_TEST_HISTORY_SEED={seed} TRIPTYCH_TEST_HISTORY_READS={reads}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut fork = || StdRng::seed_from_u64(random.random());

    let board =
        Board::with(builder.env("TRIPTYCH_DRAIN_DELAY", "0s").env("TRIPTYCH_FEED_INTERVAL", FEED_INTERVAL)).await?;
    let sites: Vec<String> = std::iter::once(board.url()).chain(board.replicas().iter().map(Replica::url)).collect();
    let recorder = Recorder::new(reads, reads / READS_PER_FAULT);
    let clients = |each: usize, fork: &mut dyn FnMut() -> StdRng| {
        let places = (0..sites.len()).cycle().take(each * sites.len());
        places.map(|site| Client::new(&recorder, &sites, site, fork())).collect::<Result<Vec<_>>>()
    };
    let (writers, readers) = (clients(1, &mut fork)?, clients(READERS_PER_SITE, &mut fork)?);
    let faults = Faults::new(&board, &recorder);

    let (publish, markers) = watch::channel(Markers::None);
    let watchers = (0..WATCHERS).map(|number| Ok((number, Watcher::new(&recorder, &sites, &markers, fork())?)));
    let watching =
        try_join_all(watchers.collect::<Result<Vec<_>>>()?.into_iter().map(|(number, watcher)| async move {
            if number % 2 == 0 { watcher.watch_board(number / 2).await } else { watcher.watch_threads().await }
        }));
    let mut last = Client::new(&recorder, &sites, 0, fork())?;
    let writing = async {
        tokio::try_join!(
            try_join_all(writers.into_iter().map(Client::keep_writing)),
            try_join_all(readers.into_iter().map(Client::keep_reading)),
            faults.disturb_replicas(fork()),
            faults.disturb_postgres(fork()),
        )?;
        publish.send_replace(Some(last.mark().await?.into()));
        anyhow::Ok(())
    };
    tokio::try_join!(writing, watching).with_context(failed)?;
    // What was acknowledged has survived all of it.
    let last = clients(1, &mut fork)?.into_iter().map(Client::read_everything);
    try_join_all(last).await.with_context(failed)?;

    let done = recorder.finish();
    let history = &done.history;
    let found = violations(history, RULES);
    assert!(
        found.is_empty(),
        "{} violations {}: {:#?}",
        found.len(),
        failed(),
        found.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>()
    );
    assert!(history.reads.len() >= reads, "{} reads", history.reads.len());
    assert!(done.unchanged > 0, "no \"not modified\" among {} reads", history.reads.len());
    let acknowledged = history.posts.iter().filter(|post| post.acknowledged.is_some()).count();
    let deleted = history.deletions.iter().filter(|deletion| deletion.acknowledged.is_some()).count();
    let told: usize = history.streams.iter().map(|stream| stream.told.len()).sum();
    assert!(told > 0, "{} streams told nothing", history.streams.len());
    assert!(acknowledged > 0 && deleted > 0, "{acknowledged} posts and {deleted} deletions were acknowledged");
    Ok(())
}
