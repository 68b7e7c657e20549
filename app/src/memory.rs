//! A budget of memory that many share, each taking from it what it really holds, step by step.
//!
//! Nobody takes anything in advance: who has received nothing holds nothing, whatever it has announced. So many who
//! are half done can fill the budget together, and each would wait for the others to finish. Three rules prevent that:
//!
//! 1. **All can finish.** Everybody says at the beginning how much it may come to. A step is granted only if all who
//!    hold something could still come to their end one after the other, each with what is free and with what those
//!    before it have given back (Dijkstra's banker's algorithm, with one resource). As nobody may come to more than
//!    the whole budget, there is always one who can go on.
//! 2. **The oldest first.** Who waits is served by age. While somebody waits, nobody younger begins; those who have
//!    begun may go on, because the one who waits needs them to finish. So a large one is not starved by small ones.
//! 3. **Nobody waits long.** Who has waited [`LONGEST_WAIT`] in all is refused, and gives back what it holds.
//!
//! Must not know what is kept in the memory. What is counted here is what the callers say: they have to drop the bytes
//! before they give the memory back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;

use crate::trace::waits::{self, Wait};

/// How long one share waits for memory, over all its steps.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A number of bytes that shares are taken from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    ledger: Arc<Mutex<Ledger>>,
}

/// What one holds of a budget. Gives everything back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    /// `None` until it asks for something for the first time.
    age: Option<Age>,
    /// The most that it may come to.
    most: usize,
    /// How much longer it may wait.
    patience: Duration,
}

/// There was not enough memory for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

/// Counts up with every share that begins: less is older.
type Age = u64;

#[derive(Debug)]
struct Ledger {
    total: usize,
    free: usize,
    next: Age,
    holders: BTreeMap<Age, Holder>,
    in_use: Gauge,
}

#[derive(Debug)]
struct Holder {
    held: usize,
    most: usize,
    waits: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// What it wants to hold.
    wanted: usize,
    granted: oneshot::Sender<()>,
}

impl Budget {
    /// A budget of so many bytes. The gauge shows how many of them are held.
    #[must_use]
    pub fn new(bytes: usize, in_use: Gauge) -> Self {
        let ledger = Ledger { total: bytes, free: bytes, next: 0, holders: BTreeMap::new(), in_use };
        Self { ledger: Arc::new(Mutex::new(ledger)) }
    }

    /// A share that holds nothing yet and may come to `most` bytes.
    #[must_use]
    pub fn share(&self, most: usize) -> Share {
        let most = most.min(self.ledger().total);
        Share { budget: self.clone(), age: None, most, patience: LONGEST_WAIT }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// How many bytes it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        let ledger = self.budget.ledger();
        self.age.and_then(|age| ledger.holders.get(&age)).map_or(0, |holder| holder.held)
    }

    /// Holds `bytes` from now on, if that is more than it does. Waits for others to give back what is missing.
    ///
    /// # Errors
    /// There was not enough for too long. What was held before is still held.
    pub async fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let (age, granted) = {
            let mut ledger = self.budget.ledger();
            if bytes > ledger.total {
                return Err(Exhausted);
            }
            let age = *self.age.get_or_insert_with(|| ledger.begin(self.most));
            match ledger.ask(age, bytes) {
                None => return Ok(()),
                Some(granted) => (age, granted),
            }
        };
        // Also when nobody is interested in the outcome any longer, those behind have to be told.
        let waiting = StopWaiting { budget: &self.budget, age };
        let started = Instant::now();
        // The outcome is in the ledger: the memory may be granted in the very moment in which the time is over.
        let _ = waits::until(Wait::Memory, tokio::time::timeout(self.patience, granted)).await;
        drop(waiting);
        self.patience = self.patience.saturating_sub(started.elapsed());
        if self.held() >= bytes { Ok(()) } else { Err(Exhausted) }
    }

    /// Gives back what is held beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.change(|holder| holder.held = holder.held.min(bytes));
    }

    /// Promises that nothing more will be asked for, so that others need not leave room for it.
    pub fn finish(&mut self) {
        self.change(|holder| holder.most = holder.held);
    }

    fn change(&self, change: impl FnOnce(&mut Holder)) {
        let mut ledger = self.budget.ledger();
        let Some(holder) = self.age.and_then(|age| ledger.holders.get_mut(&age)) else { return };
        let before = holder.held;
        change(holder);
        let given_back = before.saturating_sub(holder.held);
        ledger.free += given_back;
        ledger.settle();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut ledger = self.budget.ledger();
        if let Some(holder) = self.age.and_then(|age| ledger.holders.remove(&age)) {
            ledger.free += holder.held;
            ledger.settle();
        }
    }
}

/// Takes a share out of the queue when it has what it wanted or gives up.
struct StopWaiting<'a> {
    budget: &'a Budget,
    age: Age,
}

impl Drop for StopWaiting<'_> {
    fn drop(&mut self) {
        let mut ledger = self.budget.ledger();
        if ledger.holders.get_mut(&self.age).and_then(|holder| holder.waits.take()).is_some() {
            ledger.settle();
        }
    }
}

impl Ledger {
    fn begin(&mut self, most: usize) -> Age {
        let age = self.next;
        self.next += 1;
        self.holders.insert(age, Holder { held: 0, most, waits: None });
        age
    }

    /// `None` when it is granted at once.
    fn ask(&mut self, age: Age, wanted: usize) -> Option<oneshot::Receiver<()>> {
        let older_waits = self.holders.range(..age).any(|(_, holder)| holder.waits.is_some());
        if self.grant(age, wanted, older_waits) {
            return None;
        }
        let (granted, told) = oneshot::channel();
        if let Some(holder) = self.holders.get_mut(&age) {
            holder.waits = Some(Waiting { wanted, granted });
        }
        Some(told)
    }

    /// Serves those who wait, the oldest first. To be called after every change that could help somebody.
    fn settle(&mut self) {
        let waiting: Vec<(Age, usize)> = self
            .holders
            .iter()
            .filter_map(|(age, holder)| holder.waits.as_ref().map(|waiting| (*age, waiting.wanted)))
            .collect();
        let mut older_waits = false;
        for (age, wanted) in waiting {
            if self.grant(age, wanted, older_waits) {
                if let Some(waiting) = self.holders.get_mut(&age).and_then(|holder| holder.waits.take()) {
                    // Whoever no longer listens gives back what it got when it is dropped.
                    let _ = waiting.granted.send(());
                }
            } else {
                older_waits = true;
            }
        }
        self.show();
    }

    fn grant(&mut self, age: Age, wanted: usize, older_waits: bool) -> bool {
        let Some(holder) = self.holders.get(&age) else { return false };
        let more = wanted.saturating_sub(holder.held);
        if more > 0 && ((older_waits && holder.held == 0) || !self.all_can_finish(age, more)) {
            return false;
        }
        self.free -= more;
        if let Some(holder) = self.holders.get_mut(&age) {
            holder.held += more;
            holder.most = holder.most.max(holder.held);
        }
        self.show();
        true
    }

    /// Whether all who hold something could finish one after the other, if `age` had `more` than it has.
    fn all_can_finish(&self, age: Age, more: usize) -> bool {
        let Some(mut free) = self.free.checked_sub(more) else { return false };
        // What each still needs, and what it gives back at its end.
        let holders = self
            .holders
            .iter()
            .map(|(&other, holder)| (holder.held + if other == age { more } else { 0 }, holder.most))
            .filter(|(held, _)| *held > 0)
            .map(|(held, most)| (most.saturating_sub(held), held));
        // As it is nearly always: there is room for any of them.
        if holders.clone().all(|(needed, _)| needed <= free) {
            return true;
        }
        // Who needs the least goes first: whoever could go before it can go after it as well.
        let mut in_order: Vec<(usize, usize)> = holders.collect();
        in_order.sort_unstable();
        in_order.into_iter().all(|(needed, held)| {
            let fits = needed <= free;
            free += held;
            fits
        })
    }

    fn show(&self) {
        self.in_use.set(i64::try_from(self.total - self.free).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::poll;

    use super::*;

    fn budget(bytes: usize) -> Budget {
        Budget::new(bytes, Gauge::default())
    }

    impl Budget {
        fn free(&self) -> usize {
            self.ledger().free
        }

        /// A share that has begun and holds so much.
        fn holding(&self, held: usize, most: usize) -> Share {
            let mut share = self.share(most);
            assert_eq!(share.grow_to(held).now_or_never(), Some(Ok(())), "{held} of {most}");
            share
        }
    }

    /// Whether it has to wait; nothing is left of the attempt.
    fn has_to_wait(share: &mut Share, bytes: usize) -> bool {
        share.grow_to(bytes).now_or_never().is_none()
    }

    #[tokio::test]
    async fn what_is_announced_is_not_taken() {
        let budget = budget(100);
        let silent: Vec<Share> = (0..50).map(|_| budget.share(100)).collect();
        assert_eq!(budget.free(), 100);
        drop(budget.holding(100, 100));
        drop(silent);
        assert_eq!(budget.free(), 100);
    }

    #[tokio::test]
    async fn what_is_held_is_what_is_counted() {
        let gauge = Gauge::default();
        let budget = Budget::new(100, gauge.clone());
        let mut share = budget.holding(30, 60);
        assert_eq!((budget.free(), gauge.get(), share.held()), (70, 30, 30));
        assert_eq!(share.grow_to(20).now_or_never(), Some(Ok(())), "less than it has is nothing to ask for");
        assert_eq!(share.held(), 30);
        share.shrink_to(10);
        assert_eq!((budget.free(), gauge.get()), (90, 10));
        share.shrink_to(20);
        assert_eq!(share.held(), 10, "shrinking does not grow");
        drop(share);
        assert_eq!((budget.free(), gauge.get()), (100, 0));
    }

    #[tokio::test]
    async fn more_than_there_is_is_refused_at_once() {
        let mut share = budget(100).share(500);
        assert_eq!(share.grow_to(101).now_or_never(), Some(Err(Exhausted)));
        assert_eq!(share.grow_to(100).now_or_never(), Some(Ok(())));
    }

    #[tokio::test]
    async fn of_two_that_need_everything_one_goes_on_and_the_other_does_not_begin() {
        let budget = budget(100);
        let mut first = budget.holding(1, 100);
        let mut second = budget.share(100);
        assert!(has_to_wait(&mut second, 1));
        for held in 2..=100 {
            assert_eq!(first.grow_to(held).now_or_never(), Some(Ok(())), "{held}");
        }
        drop(first);
        assert!(!has_to_wait(&mut second, 1));
    }

    #[tokio::test]
    async fn those_who_fill_the_budget_together_finish_one_after_the_other() {
        let budget = budget(100);
        let mut shares: Vec<Share> = (0..5).map(|_| budget.share(40)).collect();
        let mut held = [0; 5];
        let mut finished = 0;
        // Each takes a step in turn, as often as it is let.
        while finished < 5 {
            let mut moved = false;
            for (share, held) in shares.iter_mut().zip(&mut held).filter(|(_, held)| **held < 40) {
                if share.grow_to(*held + 4).now_or_never() == Some(Ok(())) {
                    *held += 4;
                    moved = true;
                }
                if *held == 40 {
                    share.shrink_to(0);
                    share.finish();
                    finished += 1;
                }
            }
            assert!(moved, "nobody can go on: {held:?}");
        }
        assert_eq!(budget.free(), 100);
    }

    #[tokio::test]
    async fn one_that_stops_half_way_leaves_the_rest_to_the_others() {
        let budget = budget(100);
        let _stuck = budget.holding(30, 34);
        for _ in 0..10 {
            drop(budget.holding(66, 66));
        }
    }

    #[tokio::test]
    async fn a_large_one_is_not_starved_by_small_ones() {
        let budget = budget(100);
        let mut small = budget.holding(5, 10);
        let mut large = budget.share(100);
        assert_eq!(large.grow_to(90).now_or_never(), Some(Ok(())), "the small one can still finish");
        let mut waiting = Box::pin(large.grow_to(100));
        assert!(poll!(&mut waiting).is_pending());
        let mut newcomer = budget.share(1);
        assert!(has_to_wait(&mut newcomer, 1), "younger than the one that waits");
        assert_eq!(small.grow_to(10).now_or_never(), Some(Ok(())), "the one that waits needs it to finish");
        drop(small);
        assert_eq!(waiting.await, Ok(()));
        assert!(has_to_wait(&mut newcomer, 1), "nothing is left");
        drop(large);
        assert!(!has_to_wait(&mut newcomer, 1));
    }

    #[tokio::test]
    async fn those_who_wait_are_served_by_age() {
        let budget = budget(10);
        let first = budget.holding(10, 10);
        let (mut second, mut third) = (budget.share(10), budget.share(10));
        let mut second_waits = Box::pin(second.grow_to(10));
        assert!(poll!(&mut second_waits).is_pending());
        let mut third_waits = Box::pin(third.grow_to(10));
        assert!(poll!(&mut third_waits).is_pending());
        drop(first);
        assert!(poll!(&mut third_waits).is_pending());
        assert_eq!(second_waits.await, Ok(()));
        assert!(poll!(&mut third_waits).is_pending());
        drop(second);
        assert_eq!(third_waits.await, Ok(()));
    }

    #[tokio::test]
    async fn who_waits_too_long_is_refused_and_no_longer_in_the_way() {
        let budget = budget(10);
        let _first = budget.holding(5, 5);
        let mut large = budget.share(10);
        large.patience = Duration::from_millis(1);
        assert_eq!(large.grow_to(10).await, Err(Exhausted));
        assert_eq!(large.held(), 0);
        drop(budget.holding(5, 5));
    }

    #[tokio::test]
    async fn who_goes_away_while_it_waits_is_no_longer_in_the_way() {
        let budget = budget(10);
        let _first = budget.holding(5, 5);
        let (mut large, mut small) = (budget.share(10), budget.share(5));
        let mut large_waits = Box::pin(large.grow_to(10));
        assert!(poll!(&mut large_waits).is_pending());
        let mut small_waits = Box::pin(small.grow_to(5));
        assert!(poll!(&mut small_waits).is_pending());
        drop(large_waits);
        assert_eq!(small_waits.await, Ok(()));
    }

    #[tokio::test]
    async fn one_that_is_finished_needs_no_room() {
        let budget = budget(100);
        let mut first = budget.holding(10, 100);
        let mut second = budget.share(95);
        assert!(has_to_wait(&mut second, 1), "the first could not finish before the second, nor after it");
        first.finish();
        assert!(!has_to_wait(&mut second, 1), "the first will give back what it has");
    }
}
