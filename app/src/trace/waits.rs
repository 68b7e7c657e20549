//! What the request that is being answered waits for, measured where it waits.
//!
//! Whoever waits for something says so with [`until`] or [`begin`], and need not know for whom: the request goes with its
//! task, and is handed to tasks of its own by [`carried`]. Without a request, as in background tasks, nothing is measured.
//! A request that waits for nothing, as most do, costs nothing here.

use std::cell::OnceCell;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::Either;
use tokio::task::futures::TaskLocalFuture;

/// More steps than this of one request are added up and not told one by one.
const MOST_STEPS: usize = 200;

macro_rules! waits {
    ($($variant:ident $name:literal $help:literal)*) => {
        /// What is waited for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Wait {
            $(#[doc = $help] $variant,)*
        }

        impl Wait {
            /// All of them, in the order of their declaration.
            const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// Its name in a trace.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

waits! {
    Body "body" "The form, to its end."
    Memory "memory" "Memory for what comes with a form; a part of [`Wait::Body`]."
    Feed "feed" "The next answer of the database about what has changed."
    Version "version" "The version of a page that has changed."
    Page "page" "A page that is not kept. Whoever is the first to ask waits for the database meanwhile."
    Pool "pool" "A connection to the database that works."
    Database "database" "The database, from getting a connection to giving it back."
    Writer "writer" "Room for one more transaction that posts."
    Turn "turn" "Another post with the same picture."
    Inspection "inspection" "The check of a picture and the removal of its metadata."
    DecoderQueue "decoder queue" "Room to decode."
    Decoding "decoding" "Decoding and the making of a thumbnail."
    Bucket "bucket" "Whose bucket it is, at the start of a replica."
    StorePut "s3 put" "The store, until it has an object."
    StoreGet "s3 get" "The store, until an object begins to come."
    StoreDelete "s3 delete" "The store, until objects are deleted."
    CommitWait "commit wait" "The time until every replica shows what was changed."
}

tokio::task_local! {
    static CURRENT: Current;
}

/// The request to which a task belongs.
#[derive(Debug, Clone)]
struct Current {
    begun: Instant,
    steps_are_told: bool,
    /// Made when it waits for the first time.
    waits: OnceCell<Arc<Waits>>,
}

impl Current {
    fn waits(&self) -> &Arc<Waits> {
        self.waits.get_or_init(|| {
            let (begun, steps_are_told) = (self.begun, self.steps_are_told);
            Arc::new(Waits { begun, steps_are_told, measured: Mutex::default() })
        })
    }
}

/// What one request has waited for so far.
#[derive(Debug)]
pub struct Waits {
    begun: Instant,
    steps_are_told: bool,
    measured: Mutex<Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    totals: [Total; Wait::ALL.len()],
    steps: Vec<Step>,
}

/// How long something was waited for, by the clock: two at once count once.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    ended: Duration,
    running: u32,
    since: Option<Instant>,
}

/// One wait that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// For what.
    pub wait: Wait,
    /// When it began, after the beginning of the request.
    pub offset: Duration,
    /// How long it took.
    pub took: Duration,
}

/// A wait that has not ended. Ends when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Waiting {
    wait: Wait,
    of: Option<(Arc<Waits>, Instant)>,
}

/// Answers a request that has begun at this moment.
pub fn of_request<F: Future>(begun: Instant, steps_are_told: bool, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(Current { begun, steps_are_told, waits: OnceCell::new() }, work)
}

/// Work for the request that is being answered, if there is one, in a task of its own.
pub fn carried<F: Future>(work: F) -> Either<impl Future<Output = F::Output> + use<F>, F> {
    let current = CURRENT.try_with(|current| {
        // Both have to add up the same.
        current.waits();
        current.clone()
    });
    match current {
        Ok(current) => Either::Left(scoped(current, work)),
        Err(_) => Either::Right(work),
    }
}

fn scoped<F: Future>(current: Current, work: F) -> TaskLocalFuture<Current, F> {
    CURRENT.scope(current, work)
}

/// Waits for something.
pub async fn until<T>(wait: Wait, work: impl Future<Output = T>) -> T {
    let _waiting = begin(wait);
    work.await
}

/// Begins to wait for something.
pub fn begin(wait: Wait) -> Waiting {
    let waits = CURRENT.try_with(|current| Arc::clone(current.waits())).ok();
    let of = waits.map(|waits| {
        let now = Instant::now();
        waits.measured().begin(wait, now);
        (waits, now)
    });
    Waiting { wait, of }
}

/// What the request that is being answered has waited for; `None` if it was nothing.
#[must_use]
pub fn so_far() -> Option<Arc<Waits>> {
    CURRENT.try_with(|current| current.waits.get().cloned()).ok().flatten()
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some((waits, since)) = self.of.take() else { return };
        let now = Instant::now();
        let mut measured = waits.measured();
        measured.end(self.wait, now);
        if waits.steps_are_told && measured.steps.len() < MOST_STEPS {
            let offset = since.saturating_duration_since(waits.begun);
            measured.steps.push(Step { wait: self.wait, offset, took: now.saturating_duration_since(since) });
        }
    }
}

impl Waits {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how many whole milliseconds something was waited for, until now; `None` if it was not even one.
    #[must_use]
    pub fn milliseconds(&self, wait: Wait) -> Option<u64> {
        let measured = self.measured();
        let total = measured.totals.get(wait as usize)?;
        let running = total.since.map(|since| since.elapsed()).unwrap_or_default();
        u64::try_from((total.ended + running).as_millis()).ok().filter(|milliseconds| *milliseconds > 0)
    }

    /// What was waited for, and how long.
    #[must_use]
    pub fn ended(&self) -> Vec<(Wait, Duration)> {
        let measured = self.measured();
        let all = Wait::ALL.into_iter().zip(measured.totals.iter().map(|total| total.ended));
        all.filter(|(_, took)| !took.is_zero()).collect()
    }

    /// Every wait that has ended since this was last asked, in the order of their ends.
    #[must_use]
    pub fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.measured().steps)
    }
}

impl Measured {
    fn begin(&mut self, wait: Wait, now: Instant) {
        if let Some(total) = self.totals.get_mut(wait as usize) {
            total.running += 1;
            total.since.get_or_insert(now);
        }
    }

    fn end(&mut self, wait: Wait, now: Instant) {
        if let Some(total) = self.totals.get_mut(wait as usize) {
            total.running = total.running.saturating_sub(1);
            if total.running == 0
                && let Some(since) = total.since.take()
            {
                total.ended += now.saturating_duration_since(since);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const STEP: Duration = Duration::from_millis(20);

    fn of_some_request<F: Future>(work: F) -> impl Future<Output = F::Output> {
        of_request(Instant::now(), true, work)
    }

    #[tokio::test]
    async fn a_request_that_waits_for_nothing_has_nothing_to_tell() {
        assert!(of_some_request(async { so_far() }).await.is_none());
    }

    #[tokio::test]
    async fn without_a_request_nothing_is_measured() {
        assert_eq!(carried(until(Wait::Pool, async { 7 })).await, 7);
        assert!(so_far().is_none());
        assert!(begin(Wait::Pool).of.is_none());
    }

    #[tokio::test]
    async fn a_task_of_its_own_waits_for_its_request() {
        let waits = of_some_request(async {
            tokio::spawn(carried(async { until(Wait::CommitWait, sleep(STEP)).await })).await.unwrap();
            so_far()
        });
        let waits = waits.await.unwrap();
        assert!(waits.milliseconds(Wait::CommitWait) >= Some(20));
        assert_eq!(waits.milliseconds(Wait::Pool), None);
        let steps = waits.take_steps();
        assert!(matches!(steps[..], [Step { wait: Wait::CommitWait, took, .. }] if took >= STEP), "{steps:?}");
        assert!(waits.take_steps().is_empty());
    }

    #[tokio::test]
    async fn two_at_once_count_once_and_are_two_steps() {
        let (waits, elapsed) = of_some_request(async {
            let begun = Instant::now();
            tokio::join!(until(Wait::StorePut, sleep(STEP)), until(Wait::StorePut, sleep(STEP * 2)));
            (so_far().unwrap(), begun.elapsed())
        })
        .await;
        let total = waits.measured().totals[Wait::StorePut as usize].ended;
        assert!(total >= STEP * 2 && total <= elapsed, "{total:?} of {elapsed:?}");
        assert_eq!(waits.take_steps().len(), 2);
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_or_goes_on_counts() {
        let waits = of_some_request(async {
            let given_up = tokio::time::timeout(STEP, until(Wait::Feed, std::future::pending::<()>())).await;
            assert!(given_up.is_err());
            let _goes_on = begin(Wait::Database);
            sleep(STEP).await;
            let waits = so_far().unwrap();
            assert!(waits.milliseconds(Wait::Database) >= Some(20));
            waits
        });
        assert!(waits.await.milliseconds(Wait::Feed) >= Some(20));
    }

    #[tokio::test]
    async fn many_steps_are_added_up_and_not_kept() {
        let waits = of_some_request(async {
            for _ in 0..2 * MOST_STEPS {
                drop(begin(Wait::Pool));
            }
            so_far().unwrap()
        });
        assert_eq!(waits.await.take_steps().len(), MOST_STEPS);
    }
}
