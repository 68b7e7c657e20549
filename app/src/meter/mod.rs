//! `triptych meter`: counts what nginx answers without a replica, beside it.
//!
//! nginx sends one line for each request, over UDP on the loopback interface, and never waits: if nobody reads, counts are lost and
//! no answer is. Sums go to the private port of a replica, signed with the secret of the site; this program has no
//! password of the database. Knows nothing of pages or pictures.
//!
//! UDP rather than a Unix datagram socket: of those the kernel holds ten lines for a reader who is late, and does not tell when it
//! has dropped one. Here it holds a few thousand, and counts what it drops.

mod line;
mod metrics;
mod replicas;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::MeterConfig;
use crate::domain::traffic::Tier;
use crate::traffic::{INTERVAL, Ledger, Meter};
use metrics::Metrics;
use replicas::{Outcome, Replicas};

/// How long the last sums may take to be handed on.
const ENDING: Duration = Duration::from_secs(5);

/// Counts until SIGTERM or SIGINT, then hands on what is left.
pub async fn run(config: MeterConfig) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let meter = Meter::default();
    let metrics = Arc::new(Metrics::default());
    let socket = socket::bind(config.listen)
        .with_context(|| format!("TRIPTYCH_METER_LISTEN: cannot listen on {}", config.listen))?;
    let drops = socket::Drops::of(&socket)?;
    let replicas = Replicas::new(&config)?;
    let serving = tokio::spawn(metrics::serve(config.metrics_listen, Arc::clone(&metrics))?);
    let reading = socket::read(socket, meter.clone(), Arc::clone(&metrics));
    let mut state = State {
        ledger: Ledger::new(Tier::Web, config.replica.clone(), Utc::now()),
        meter,
        metrics,
        drops,
        replicas,
        complained: false,
    };
    tracing::info!(replica = config.replica, listen = %config.listen, metrics_listen = %config.metrics_listen, "counting");

    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => state.hand_on(false).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    // What nginx has sent until now is read before the last sums are made.
    reading.finish();
    if timeout(ENDING, state.hand_on(true)).await.is_err() {
        tracing::warn!("given up: no replica took the last sums in time");
    }
    serving.abort();
    tracing::info!("stopped");
    Ok(())
}

struct State {
    ledger: Ledger<String>,
    meter: Meter<String>,
    metrics: Arc<Metrics>,
    drops: socket::Drops,
    replicas: Replicas,
    /// It was said that no replica takes the sums, and none has since.
    complained: bool,
}

impl State {
    async fn hand_on(&mut self, ends: bool) {
        let (now, sums) = (Utc::now(), self.meter.take());
        let since = now - INTERVAL;
        self.metrics.add(&sums);
        self.ledger.add(sums, now);
        let dropped = self.drops.since_last_time();
        if dropped > 0 {
            tracing::warn!(lines = dropped, "the kernel dropped lines: they came faster than they were read");
            self.metrics.lost(dropped);
            self.ledger.lose(since, now);
        }
        while let Some(batch) = self.ledger.next(ends) {
            match self.replicas.hand_on(self.ledger.source(), &batch).await {
                Outcome::Counted => {
                    self.ledger.handed_on();
                    self.complained = false;
                }
                Outcome::Refused(reason) => {
                    tracing::error!(reason, "sums were refused, and will never count");
                    self.ledger.handed_on();
                    self.ledger.lose(since, now);
                    // That there is a gap would be refused for the same reason, again and again: not before the next time.
                    if !ends {
                        return;
                    }
                }
                Outcome::NotNow(reason) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!(reason, "no replica takes the sums; they are added up in memory until one does");
                    }
                    return;
                }
            }
        }
    }
}
