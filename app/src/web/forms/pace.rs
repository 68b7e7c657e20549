//! How slowly the body of a form may arrive. Only time that is spent waiting for the sender counts: what we take for
//! ourselves, because there is no memory at this moment, is not the sender's fault.
//!
//! Pure: what time it is, it is told.

use std::time::{Duration, Instant};

/// The least that has to arrive, on average over a [`WINDOWS`]th of the whole time.
const LEAST_BYTES_A_SECOND: u64 = 1 << 10;
/// A sender that stops, or sends a byte now and then, is found out after a quarter of the time that a whole body has.
const WINDOWS: u32 = 4;

/// The time that one body has taken so far.
#[derive(Debug)]
pub(super) struct Pace {
    /// For the whole body.
    limit: Duration,
    waited: Duration,
    /// Waited in the window that runs.
    window_waited: Duration,
    /// Arrived in it.
    window_bytes: u64,
    /// Since when the sender is being waited for.
    since: Option<Instant>,
}

/// The body arrives too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSlow;

impl Pace {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, waited: Duration::ZERO, window_waited: Duration::ZERO, window_bytes: 0, since: None }
    }

    /// There is nothing to read. Answers when to look again, should nothing have come until then.
    pub(super) fn waits(&mut self, now: Instant) -> Result<Instant, TooSlow> {
        self.pass(now)?;
        self.since = Some(now);
        let left = self.limit.saturating_sub(self.waited).min(self.window().saturating_sub(self.window_waited));
        Ok(now + left)
    }

    /// Something has come.
    pub(super) fn received(&mut self, bytes: usize, now: Instant) -> Result<(), TooSlow> {
        // Before the time is looked at: it is what came in this time.
        self.window_bytes += bytes as u64;
        self.pass(now)?;
        self.since = None;
        Ok(())
    }

    fn pass(&mut self, now: Instant) -> Result<(), TooSlow> {
        let Some(since) = self.since else { return Ok(()) };
        let passed = now.saturating_duration_since(since);
        self.since = Some(now);
        self.waited += passed;
        self.window_waited += passed;
        if self.waited >= self.limit {
            return Err(TooSlow);
        }
        if self.window_waited >= self.window() {
            let least = u128::from(LEAST_BYTES_A_SECOND) * self.window_waited.as_millis() / 1000;
            if u128::from(self.window_bytes) < least {
                return Err(TooSlow);
            }
            (self.window_waited, self.window_bytes) = (Duration::ZERO, 0);
        }
        Ok(())
    }

    fn window(&self) -> Duration {
        self.limit / WINDOWS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    /// Sends so many bytes each time after so many milliseconds; answers after how many seconds it was ended.
    fn ended_after(bytes: usize, milliseconds: u64) -> Option<u64> {
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::new(LIMIT), start);
        for _ in 0..1_000_000 {
            let Ok(until) = pace.waits(now) else { return Some((now - start).as_secs()) };
            let next = now + Duration::from_millis(milliseconds);
            now = next.min(until);
            if next <= until && pace.received(bytes, now).is_err() {
                return Some((now - start).as_secs());
            }
        }
        None
    }

    #[test]
    fn who_is_fast_may_send_for_a_minute() {
        assert_eq!(ended_after(64 << 10, 10), Some(60));
    }

    #[test]
    fn who_sends_nothing_or_next_to_nothing_is_ended_early() {
        assert_eq!(ended_after(1, 1_000_000), Some(15));
        assert_eq!(ended_after(1, 10), Some(15));
        assert_eq!(ended_after(1023, 1000), Some(15));
        assert_eq!(ended_after(1025, 1000), Some(60));
    }

    #[test]
    fn who_stops_later_is_ended_within_two_windows() {
        let start = Instant::now();
        let mut pace = Pace::new(LIMIT);
        pace.waits(start).unwrap();
        pace.received(10 << 20, start + Duration::from_secs(1)).unwrap();
        // What came first counts for the rest of its window.
        let first = pace.waits(start + Duration::from_secs(1)).unwrap();
        assert_eq!(first, start + Duration::from_secs(15));
        let second = pace.waits(first).unwrap();
        assert_eq!(second, start + Duration::from_secs(30));
        assert_eq!(pace.waits(second), Err(TooSlow));
    }

    #[test]
    fn time_in_which_nobody_waits_for_the_sender_does_not_count() {
        let mut now = Instant::now();
        let mut pace = Pace::new(LIMIT);
        for _ in 0..100 {
            pace.waits(now).unwrap();
            now += Duration::from_millis(500);
            pace.received(1 << 20, now).unwrap();
            now += Duration::from_secs(10);
        }
        assert!(pace.waits(now).is_ok(), "fifty seconds of it");
    }
}
