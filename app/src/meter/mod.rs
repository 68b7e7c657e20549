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
use chrono::{DateTime, Utc};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::MeterConfig;
use crate::domain::traffic::Tier;
use crate::traffic::{INTERVAL, Ledger, Meter};
use log::Log;
use metrics::Metrics;
use replicas::{Outcome, Replicas};
use saved::Saved;

/// How long the last sums may take to be handed on.
const ENDING: Duration = Duration::from_secs(5);

/// Counts until SIGTERM or SIGINT, then hands on what is left.
pub async fn run(config: MeterConfig) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let saved = Saved::beside(&config.lines);
    let (ledger, position) = match saved.read(&config.replica)? {
        Some((ledger, position)) => (ledger, position),
        None => (Ledger::new(Tier::Web, config.replica.clone(), Utc::now()), 0),
    };
    let log = Log::open(&config.lines, position)
        .with_context(|| format!("TRIPTYCH_METER_LINES: cannot open {}", config.lines.display()))?;
    let metrics = Arc::new(Metrics::default());
    let replicas = Replicas::new(&config)?;
    let mut state = State { ledger, log, saved, metrics, replicas, counted_until: Utc::now(), complained: false };
    // What nginx has written while no meter was there; and whatever is wrong with the file is told at once.
    state.count()?;
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
                state.count()?;
                state.hand_on(false).await?;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    state.count()?;
    if let Ok(done) = timeout(ENDING, state.hand_on(true)).await {
        done?;
    } else {
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
    counted_until: DateTime<Utc>,
    /// It was said that no replica takes the sums, and none has since.
    complained: bool,
}

impl State {
    /// Adds up what nginx has written.
    fn count(&mut self) -> anyhow::Result<()> {
        let (now, was_full) = (Utc::now(), self.log.was_full().context("the room for lines of nginx")?);
        let meter = Meter::default();
        let read = self.log.read(|line| match line::parse(line) {
            Some(line) => meter.add(line.kind, line.board.map(str::to_owned), line.amount),
            None => self.metrics.malformed(),
        });
        read.context("reading lines of nginx")?;
        let sums = meter.take();
        self.metrics.add(&sums);
        self.ledger.add(sums, now);
        if was_full {
            tracing::warn!("there was no room left for lines of nginx: some may be lost");
            self.metrics.full();
            self.ledger.lose(self.counted_until, now);
        }
        self.counted_until = now;
        self.save()?;
        self.log.free().context("the file system of TRIPTYCH_METER_LINES cannot free a part of a file")
    }

    fn save(&self) -> anyhow::Result<()> {
        self.saved.write(&self.ledger, self.log.position())
    }

    async fn hand_on(&mut self, ends: bool) -> anyhow::Result<()> {
        while let Some(batch) = self.ledger.next(ends) {
            // Whoever goes on after this program has to know what may have been counted, by its number.
            self.save()?;
            match self.replicas.hand_on(self.ledger.source(), &batch).await {
                Outcome::Counted => {
                    self.ledger.handed_on();
                    self.complained = false;
                }
                Outcome::Refused(reason) => {
                    tracing::error!(reason, "sums were refused, and will never count");
                    self.ledger.handed_on();
                    self.ledger.lose(self.counted_until - INTERVAL, self.counted_until);
                    // That there is a gap would be refused for the same reason, again and again: not before the next time.
                    if !ends {
                        break;
                    }
                }
                Outcome::NotNow(reason) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!(reason, "no replica takes the sums; they are added up until one does");
                    }
                    return Ok(());
                }
            }
        }
        self.save()
    }
}
