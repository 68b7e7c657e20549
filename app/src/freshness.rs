//! How old an answer about changes may be, and how long a change waits before it is acknowledged: two durations that
//! together make every page fresh, on every replica, without a message between replicas.
//!
//! A replica serves a request from an answer of the database that was asked for at most L before the request began. Whoever
//! changes something is told so L after the commit, and a little later. So whatever begins after that was told is served
//! from a question that was sent after the commit, and the answer to it has the change.
//!
//! Durations only: no two clocks are compared. What is assumed is that clocks run at almost the same rate, and that the one
//! that ages answers runs on while the machine is suspended (`CLOCK_BOOTTIME`, manual page `clock_gettime(2)`).

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::trace::waits::{self, Wait};

/// The longest L that can be set. `triptych migrate`, which is not told the setting, waits for this one.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// A moment, on a clock that never stops and that nobody sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(Duration);

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        // It counts from the start of the machine, so both are positive.
        Self(Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default()))
    }

    /// How long ago this was; nothing if it is still to come.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// How much later than another moment this one is; nothing if it is earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// So much later.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// How long a change waits between its commit and the moment in which anybody is told of it.
#[derive(Debug, Clone, Copy)]
pub struct CommitWait(Duration);

impl CommitWait {
    /// For answers that are used for so long. Clocks that are corrected over a network differ by less than a thousandth;
    /// one in a hundred, and a millisecond for the grain of timers, is more than that. Answers that are not used at all
    /// after they have come need no wait.
    #[must_use]
    pub fn of(interval: Duration) -> Self {
        if interval.is_zero() {
            return Self(Duration::ZERO);
        }
        Self(interval + interval / 100 + Duration::from_millis(1))
    }

    /// How long it is.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Waits. To be called after the commit has returned, or after a commit of somebody else was seen.
    pub async fn pass(self) {
        // A machine that is suspended makes this wait longer, never shorter.
        waits::until(Wait::CommitWait, tokio::time::sleep(self.0)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_longer_than_any_answer_is_used_by_a_clock_that_is_slower() {
        for interval in [1, 20, 1000].map(Duration::from_millis) {
            let slow = interval.mul_f64(1.01);
            assert!(CommitWait::of(interval).duration() > slow, "{interval:?}");
        }
        assert_eq!(CommitWait::of(Duration::ZERO).duration(), Duration::ZERO);
    }

    #[test]
    fn moments_are_told_apart_and_never_negative() {
        let (earlier, later) = (Moment::now(), Moment::now().after(Duration::from_secs(1)));
        assert!(later > earlier);
        assert!(later.since(earlier) >= Duration::from_secs(1));
        assert_eq!(earlier.since(later), Duration::ZERO);
    }
}
