//! What may be sent in a month, what has been, and where that leads.

use chrono::{DateTime, Datelike as _, Months, NaiveTime, TimeDelta, Utc};

use super::amounts::{Hundredths, percent, share, size};
use crate::domain::report::Report;

/// A projection of less than a day would be one of that day's hours.
const LEAST_COUNTED: i64 = 24 * 3600;

/// The budget of a month of the calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes that may be sent.
    pub bytes: u64,
    /// Bytes that have been sent.
    pub sent: u64,
    /// Its first moment.
    pub month: DateTime<Utc>,
    /// Counting began later than that.
    pub counted_since: Option<DateTime<Utc>>,
    /// Bytes that will have been sent at the end if it goes on in this way; `None`: it is too early to tell.
    pub projected: Option<u64>,
    /// When four fifths will be used, if that is within the month and yet to come.
    pub warned_on: Option<DateTime<Utc>>,
}

impl Budget {
    /// As it stands when a report is made.
    #[must_use]
    pub fn of(report: &Report, bytes: u64) -> Self {
        let (now, sent) = (report.until, report.month.bytes_out);
        let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
        let month = midnight - TimeDelta::days(midnight.day0().into());
        let end = month.checked_add_months(Months::new(1)).unwrap_or(now);
        let counted_since = report.first.filter(|first| *first > month);
        let counting = report.first.map(|first| now - first.max(month)).unwrap_or_default();
        let elapsed = counting.num_seconds();
        let seconds_until = |bytes: u64| -> Option<i64> {
            let rest = u128::from(bytes.checked_sub(sent)?);
            let seconds = rest * u128::try_from(elapsed).ok()? / u128::from(sent.max(1));
            i64::try_from(seconds).ok()
        };
        let can_tell = elapsed >= LEAST_COUNTED;
        let projected = can_tell.then(|| {
            let rest = u128::try_from((end - now).num_seconds()).unwrap_or_default();
            let more = u128::from(sent) * rest / u128::try_from(elapsed).unwrap_or(1).max(1);
            sent.saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
        });
        let warned_on = seconds_until(four_fifths(bytes))
            .filter(|_| can_tell)
            .and_then(|seconds| now.checked_add_signed(TimeDelta::try_seconds(seconds)?))
            .filter(|at| *at < end);
        Self { bytes, sent, month, counted_since, projected, warned_on }
    }

    /// `November`
    #[must_use]
    pub fn month_name(&self) -> String {
        self.month.format("%B").to_string()
    }

    /// `2026-11`
    #[must_use]
    pub fn month_for_machines(&self) -> String {
        self.month.format("%Y-%m").to_string()
    }

    /// `1.31 TB of 2 TB`
    #[must_use]
    pub fn used(&self) -> String {
        format!("{} of {}", size(self.sent), size(self.bytes))
    }

    /// `66 %`
    #[must_use]
    pub fn used_percent(&self) -> String {
        percent(self.sent, self.bytes)
    }

    /// `690 GB left.`
    #[must_use]
    pub fn left(&self) -> String {
        match self.bytes.checked_sub(self.sent) {
            Some(left) => format!("{} left.", size(left)),
            None => format!("{} over it.", size(self.sent - self.bytes)),
        }
    }

    /// All of it, for the end of the gauge.
    #[must_use]
    pub fn whole(&self) -> String {
        size(self.bytes)
    }

    /// Width of what was sent.
    #[must_use]
    pub fn used_share(&self) -> Hundredths {
        share(self.sent, self.bytes)
    }

    /// Width of what will have been sent.
    #[must_use]
    pub fn projected_share(&self) -> Hundredths {
        share(self.projected.unwrap_or(self.sent), self.bytes)
    }

    /// `1.67 TB`
    #[must_use]
    pub fn projected_text(&self) -> Option<String> {
        self.projected.map(size)
    }

    /// `by 30 November, 83 %.`
    #[must_use]
    pub fn projected_when(&self) -> String {
        let projected = self.projected.unwrap_or(self.sent);
        format!("by {}, {}.", self.last_day(), percent(projected, self.bytes))
    }

    fn last_day(&self) -> String {
        let end = self.month.checked_add_months(Months::new(1)).unwrap_or(self.month);
        (end - TimeDelta::days(1)).format("%-d %B").to_string()
    }

    /// What comes next.
    #[must_use]
    pub fn outlook(&self) -> String {
        if self.sent >= self.bytes {
            return "The budget is used up.".to_owned();
        }
        if self.sent >= four_fifths(self.bytes) {
            return "More than 80 % is used.".to_owned();
        }
        match (self.warned_on, self.projected) {
            (Some(at), _) => format!("A warning is logged at 80 %, about {}.", at.format("%-d %B")),
            (None, Some(_)) => "That is less than 80 %.".to_owned(),
            (None, None) => "Where the month will end can be told after a day of counting.".to_owned(),
        }
    }

    /// The gauge in words.
    #[must_use]
    pub fn gauge_label(&self) -> String {
        let projected = match self.projected {
            Some(projected) => format!(", {} projected by {}", size(projected), self.last_day()),
            None => String::new(),
        };
        format!("{} used{projected}; warning at {}", self.used(), size(four_fifths(self.bytes)))
    }
}

const fn four_fifths(bytes: u64) -> u64 {
    bytes / 5 * 4 + bytes % 5 * 4 / 5
}

#[cfg(test)]
mod tests {
    use super::super::times::tests::{at, nothing};
    use super::*;

    const TB: u64 = 1_000_000_000_000;

    fn budget(now: &str, sent: u64, first: &str) -> Budget {
        let mut report = nothing(30);
        report.until = at(now);
        report.month.bytes_out = sent;
        report.first = Some(at(first));
        Budget::of(&report, 2 * TB)
    }

    #[test]
    fn a_month_is_projected_by_what_has_passed_of_it() {
        let half = budget("2026-11-16T00:00:00Z", TB / 2, "2026-01-01T00:00:00Z");
        assert_eq!((half.projected, half.warned_on, half.counted_since), (Some(TB), None, None));
        assert_eq!(
            (half.used(), half.used_percent(), half.left()),
            ("500 GB of 2 TB".into(), "25 %".into(), "1.5 TB left.".into())
        );
        assert_eq!(
            (half.projected_when(), half.outlook()),
            ("by 30 November, 50 %.".into(), "That is less than 80 %.".into())
        );
        let more = budget("2026-11-16T00:00:00Z", TB, "2026-01-01T00:00:00Z");
        assert_eq!(more.warned_on, Some(at("2026-11-25T00:00:00Z")));
        assert_eq!(more.outlook(), "A warning is logged at 80 %, about 25 November.");
        let begun_late = budget("2026-11-16T00:00:00Z", TB / 2, "2026-11-11T00:00:00Z");
        assert_eq!((begun_late.projected, begun_late.counted_since), (Some(2 * TB), Some(at("2026-11-11T00:00:00Z"))));
    }

    #[test]
    fn the_first_moments_and_the_last_are_told_calmly() {
        let first = budget("2026-11-01T00:00:00Z", 0, "2026-01-01T00:00:00Z");
        assert_eq!((first.projected, first.warned_on), (None, None));
        assert_eq!((first.used_share().0, first.projected_share().0), (0, 0));
        assert!(first.outlook().contains("after a day"));
        let mut never = nothing(30);
        never.first = None;
        assert_eq!(Budget::of(&never, TB).projected, None);
        let nothing = budget("2026-11-20T00:00:00Z", 0, "2026-01-01T00:00:00Z");
        assert_eq!((nothing.projected, nothing.warned_on), (Some(0), None));
        let over = budget("2026-11-20T00:00:00Z", 3 * TB, "2026-01-01T00:00:00Z");
        assert_eq!((over.left(), over.used_share().0, over.warned_on), ("1 TB over it.".into(), 10_000, None));
        assert_eq!(over.outlook(), "The budget is used up.");
        let none = Budget { bytes: 0, sent: 0, ..over };
        assert_eq!(none.used_share().0, 0);
        assert_eq!(budget("2026-12-31T23:59:59Z", 1, "2026-01-01T00:00:00Z").month_for_machines(), "2026-12");
        assert_eq!(budget("2026-11-30T23:59:59Z", u64::MAX, "2026-11-30T00:00:00Z").used_share().0, 10_000);
    }
}
