//! `triptych meter`: counts what nginx answers without a replica, beside it.
//!
//! nginx appends one line for each request to a file in memory, many at a time, and never waits: when there is no room left, counts
//! are lost and no answer is. The meter reads it and frees what it has read. Sums go to the private port of a replica, signed with
//! the secret of the site; this program has no password of the database. Knows nothing of pages or pictures.
//!
//! What was read and how far is kept beside that file (`saved`), so a meter that is killed loses nothing, and counts nothing twice.

mod line;
mod log;
mod metrics;
mod replicas;
mod saved;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::MeterConfig;
use crate::domain::traffic::Tier;
use crate::signals::Signals;
use crate::traffic::{INTERVAL, Ledger, Meter};
use log::{Log, Place};
use metrics::Metrics;
use replicas::{Outcome, Replicas};
use saved::Saved;

/// How long the last sums may take to be handed on.
const ENDING: Duration = Duration::from_secs(5);

/// Counts until SIGTERM or SIGINT, then hands on what is left.
pub async fn run(config: MeterConfig) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let saved = Saved::beside(&config.lines);
    let (ledger, place) = match saved.read(&config.replica)? {
        Some((ledger, place)) => (ledger, place),
        None => (Ledger::new(Tier::Web, config.replica.clone(), Utc::now()), Place::default()),
    };
    let log = Log::open(&config.lines, place)
        .with_context(|| format!("TRIPTYCH_METER_LINES: cannot open {}", config.lines.display()))?;
    let metrics = Arc::new(Metrics::default());
    let replicas = Replicas::new(&config)?;
    let mut state = State { ledger, log, saved, metrics, replicas, troubles: Troubles::default() };
    // What nginx has written while no meter was there.
    state.count();
    let serving = tokio::spawn(metrics::serve(config.metrics_listen, Arc::clone(&state.metrics))?);
    tracing::info!(
        replica = config.replica,
        lines = %config.lines.display(),
        metrics_listen = %config.metrics_listen,
        "counting"
    );

    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                state.count();
                state.hand_on(false).await;
            }
            () = signals.next() => break,
        }
    }
    state.count();
    if timeout(ENDING, state.hand_on(true)).await.is_err() {
        tracing::warn!("given up: no replica took the last sums in time; a meter that starts here again has them");
    }
    serving.abort();
    tracing::info!("stopped");
    Ok(())
}

struct State {
    ledger: Ledger<String>,
    log: Log,
    saved: Saved,
    metrics: Arc<Metrics>,
    replicas: Replicas,
    troubles: Troubles,
}

/// What was said in the log, and has not become right since.
#[derive(Default)]
struct Troubles {
    files: bool,
    replicas: bool,
}

impl State {
    /// Adds up what nginx has written. Trouble with files ends nothing: a container that is not running takes its pod, and so
    /// nginx, out of the Service.
    fn count(&mut self) {
        match self.try_to_count() {
            Ok(()) => self.troubles.files = false,
            Err(error) if !std::mem::replace(&mut self.troubles.files, true) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "lines of nginx cannot be read, or not be kept; tried again"
                );
            }
            Err(_) => {}
        }
    }

    fn try_to_count(&mut self) -> anyhow::Result<()> {
        let (since, now) = (self.ledger.until(), Utc::now());
        let was_full = self.log.was_full().context("the room for lines of nginx")?;
        let meter = Meter::default();
        let read = self.log.read(|line| match line::parse(line) {
            Some(line) => meter.add(line.kind, line.board.map(str::to_owned), line.amount),
            None => self.metrics.malformed(),
        });
        let sums = meter.take();
        self.metrics.add(&sums);
        self.ledger.add(sums, now);
        if was_full {
            tracing::warn!("there was no room left for lines of nginx: some may be lost");
            self.metrics.full();
            self.ledger.lose(since, now);
        }
        read.context("reading lines of nginx")?;
        let free = || self.log.free().context("the file system of TRIPTYCH_METER_LINES cannot free a part of a file");
        if self.save().is_err() {
            // There may be no room left: what was read makes some.
            free()?;
            return self.save();
        }
        free()
    }

    fn save(&self) -> anyhow::Result<()> {
        self.saved.write(&self.ledger, self.log.place())
    }

    /// Hands on what waits, and keeps what becomes of it: whoever goes on after this program has to know what may have been counted,
    /// by its number.
    async fn hand_on(&mut self, ends: bool) {
        while let Some(batch) = self.ledger.next(ends) {
            self.save_if_possible();
            match self.replicas.hand_on(self.ledger.source(), &batch).await {
                Outcome::Counted => {
                    self.ledger.handed_on();
                    self.troubles.replicas = false;
                }
                Outcome::Refused(reason) => {
                    tracing::error!(reason, "sums were refused, and will never count");
                    self.ledger.handed_on();
                    let since = batch.sums.iter().map(|(hour, _)| *hour).min().unwrap_or(batch.until - INTERVAL);
                    self.ledger.lose(since, batch.until);
                    // That there is a gap would be refused for the same reason, again and again: not before the next time.
                    if !ends {
                        break;
                    }
                }
                Outcome::NotNow(reason) => {
                    if !std::mem::replace(&mut self.troubles.replicas, true) {
                        tracing::warn!(reason, "no replica takes the sums; they are added up until one does");
                    }
                    return;
                }
            }
        }
        self.save_if_possible();
    }

    /// What stands in the way is told by `count`, which meets it, too.
    fn save_if_possible(&self) {
        if let Err(error) = self.save() {
            tracing::debug!(error = format!("{error:#}"), "not kept");
        }
    }
}
