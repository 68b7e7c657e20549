//! Traces: to which one a request belongs ([`context`]), what it waited for ([`waits`]), and, if somebody collects them, the
//! way there ([`otlp`]). Must not know what a request is about.

pub mod context;
pub mod otlp;
pub mod waits;

use std::time::{Duration, Instant, SystemTime};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use self::context::{Context, LOTS, Parent};
use self::otlp::Source;
use self::waits::Step;
use crate::config::TraceConfig;
use crate::lifecycle::Lifecycle;

/// Requests that wait to be sent, at the most: usually a megabyte.
const MOST_QUEUED: usize = 2048;

/// A request that was answered, or given up by who asked.
#[derive(Debug)]
pub struct Finished {
    /// Where it stands.
    pub context: Context,
    /// Its number in the log and in its answer.
    pub request_id: String,
    /// Its method.
    pub method: &'static str,
    /// The pattern of its route, if it has come so far.
    pub route: Option<String>,
    /// The status of its answer, if there is one.
    pub status: Option<u16>,
    /// When it began.
    pub begun: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What it waited for meanwhile.
    pub steps: Vec<Step>,
}

/// What became of requests whose trace is recorded.
#[derive(Debug, Clone, Default)]
pub struct TraceCounters {
    /// The collector has them.
    pub exported: Counter,
    /// They were dropped: it did not take them, or not in time.
    pub dropped: Counter,
}

/// Decides which traces are recorded, and hands them on.
#[derive(Debug)]
pub struct Traces {
    /// Of the traces that begin here, those are recorded whose lot is below this.
    below: u64,
    queue: Option<mpsc::Sender<Finished>>,
    counters: TraceCounters,
    /// A request that takes as long is told in the log.
    pub slow: Duration,
}

impl Traces {
    /// Starts the task that sends, if there is somebody to send to.
    #[must_use]
    pub fn start(config: &TraceConfig, replica: &str, lifecycle: &Lifecycle, counters: TraceCounters) -> Self {
        let queue = config.endpoint.clone().map(|endpoint| {
            let (queue, finished) = mpsc::channel(MOST_QUEUED);
            let (source, counters) = (Source::new(replica), counters.clone());
            lifecycle.supervise("traces", |stopping| otlp::send(endpoint, source, counters, finished, stopping));
            queue
        });
        Self { below: lots(config.ratio), queue, counters, slow: config.slow }
    }

    /// Where a request stands that has just come. A trace that comes from elsewhere was decided on there. A probe begins none
    /// that is recorded.
    #[must_use]
    pub fn begin(&self, parent: Option<Parent>, is_probe: bool) -> Context {
        match parent {
            Some(parent) => Context::continued(parent),
            None => Context::begun(|trace| self.is_exporting() && !is_probe && trace.lot() < self.below),
        }
    }

    /// Whether somebody collects traces.
    #[must_use]
    pub const fn is_exporting(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands a request on. Never waits: what there is no room for is dropped.
    pub fn hand_on(&self, finished: Finished) {
        if let Some(queue) = &self.queue
            && queue.try_send(finished).is_err()
        {
            self.counters.dropped.inc();
        }
    }
}

/// How many of all lots a ratio is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "from 0 to 1")]
fn lots(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * LOTS as f64) as u64
}

/// The time on the wall of a moment that is past.
#[must_use]
pub fn time_of(moment: Instant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(moment.elapsed()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(ratio: f64, queued: Option<usize>) -> (Traces, Option<mpsc::Receiver<Finished>>) {
        let (queue, finished) = queued.map(mpsc::channel).unzip();
        let traces =
            Traces { below: lots(ratio), queue, counters: TraceCounters::default(), slow: Duration::from_secs(1) };
        (traces, finished)
    }

    fn parent(flags: &str) -> Option<Parent> {
        Parent::parse(format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}").as_bytes())
    }

    #[test]
    fn who_began_a_trace_decides_whether_it_is_recorded() {
        for (ratio, flags, sampled) in [(1.0, "00", false), (0.0, "01", true)] {
            let (traces, _finished) = traces(ratio, Some(1));
            assert_eq!(traces.begin(parent(flags), false).sampled, sampled, "{ratio} {flags}");
            assert_eq!(traces.begin(parent(flags), true).sampled, sampled, "{ratio} {flags}");
        }
    }

    #[test]
    fn of_those_that_begin_here_a_part_is_recorded() {
        let recorded = |ratio, is_probe| {
            let (traces, _finished) = traces(ratio, Some(1));
            (0..1000).filter(|_| traces.begin(None, is_probe).sampled).count()
        };
        assert_eq!(recorded(1.0, false), 1000);
        assert_eq!(recorded(0.0, false), 0);
        assert_eq!(recorded(1.0, true), 0, "probes");
        // Ten standard deviations around the middle.
        let half = recorded(0.5, false);
        assert!((340..660).contains(&half), "{half} of 1000");
    }

    #[test]
    fn without_a_collector_nothing_is_recorded() {
        let (traces, _) = traces(1.0, None);
        assert!(!traces.begin(None, false).sampled);
        assert!(!traces.is_exporting());
    }

    #[test]
    fn what_there_is_no_room_for_is_dropped_and_counted() {
        let (traces, finished) = traces(1.0, Some(2));
        for _ in 0..5 {
            traces.hand_on(Finished {
                context: traces.begin(None, false),
                request_id: String::new(),
                method: "GET",
                route: None,
                status: None,
                begun: SystemTime::UNIX_EPOCH,
                took: Duration::ZERO,
                steps: Vec::new(),
            });
        }
        assert_eq!(traces.counters.dropped.get(), 3);
        assert_eq!(finished.map(|finished| finished.len()), Some(2));
    }
}
