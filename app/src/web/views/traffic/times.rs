//! The time of a report in steps: what passed in each of them.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveTime, TimeDelta, Utc};

use crate::domain::report::{Gap, Period, Report};
use crate::domain::traffic::TrafficKind;

/// More days than this are told by the month: nobody can see them, nor read a table of them.
const MOST_BY_DAY: u16 = 92;

/// How long the steps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month of the calendar; the first may be a part of one.
    Month,
}

impl Step {
    /// How a report is told.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        match report.period {
            Period::Hour => Self::Hour,
            Period::Day if report.days <= MOST_BY_DAY => Self::Day,
            Period::Day => Self::Month,
        }
    }

    /// `day`
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    fn after(self, start: DateTime<Utc>) -> DateTime<Utc> {
        let next = match self {
            Self::Hour => start.checked_add_signed(TimeDelta::hours(1)),
            Self::Day => start.checked_add_days(Days::new(1)),
            Self::Month => start.with_day(1).and_then(|first| first.checked_add_months(Months::new(1))),
        };
        // Only behind the end of the calendar there is none.
        next.unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// How the step that begins then is called.
    #[must_use]
    pub fn label(self, start: DateTime<Utc>) -> String {
        let format = match self {
            Self::Hour => "%H:%M",
            Self::Day => "%-d %b",
            Self::Month => "%b %Y",
        };
        start.format(format).to_string()
    }
}

/// A series of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// Pictures in full size.
    Pictures,
    /// Thumbnails.
    Thumbnails,
    /// Pages.
    Pages,
    /// Everything else.
    Other,
}

impl Series {
    /// From the axis upwards.
    pub const ALL: [Self; 4] = [Self::Pictures, Self::Thumbnails, Self::Pages, Self::Other];

    /// The one to which a kind belongs.
    #[must_use]
    pub const fn of(kind: TrafficKind) -> Self {
        match kind {
            TrafficKind::Picture => Self::Pictures,
            TrafficKind::Thumbnail => Self::Thumbnails,
            TrafficKind::Page => Self::Pages,
            _ => Self::Other,
        }
    }

    /// The name in the legend.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pictures => "Pictures",
            Self::Thumbnails => "Thumbnails",
            Self::Pages => "Pages",
            Self::Other => "Other",
        }
    }

    /// Its class in the style sheet.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Pictures => "k1",
            Self::Thumbnails => "k2",
            Self::Pages => "k3",
            Self::Other => "k4",
        }
    }
}

/// What passed in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its place on the axis, from 0.
    pub place: u64,
    /// `26 Oct`; `24 Nov so far`.
    pub label: String,
    /// Bytes sent, by the place of the series in [`Series::ALL`].
    pub sent_by_series: [u64; 4],
    /// Bytes received.
    pub received: u64,
    /// Requests.
    pub requests: u64,
    /// It is not over.
    pub is_now: bool,
    /// Somebody did not count all the time.
    pub has_gap: bool,
}

impl Slot {
    /// Bytes sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent_by_series.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

/// The time of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// How long the steps are.
    pub step: Step,
    /// Where each step begins, those to come included.
    pub starts: Vec<DateTime<Utc>>,
    /// Those of the steps that have begun and in which there was counting.
    pub slots: Vec<Slot>,
}

impl Timeline {
    /// Of a report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let step = Step::of(report);
        let midnight = report.until.date_naive().and_time(NaiveTime::MIN).and_utc();
        let end = Step::Day.after(midnight);
        let starts = std::iter::successors(Some(report.from), |start| Some(step.after(*start)));
        let starts: Vec<_> = starts.take_while(|start| *start < end).collect();
        let slots = (0..).zip(&starts).filter_map(|(place, &start)| {
            let end = step.after(start);
            let counted = report.first.is_some_and(|first| end > first) && start <= report.until;
            counted.then(|| slot(report, step, place, start, end))
        });
        Self { step, slots: slots.collect(), starts }
    }
}

fn slot(report: &Report, step: Step, place: u64, start: DateTime<Utc>, end: DateTime<Utc>) -> Slot {
    let is_now = end > report.until;
    let label = match step {
        Step::Month if start.day() > 1 => format!("from {}", start.format("%-d %b %Y")),
        _ => step.label(start),
    };
    let overlaps = |gap: &Gap| gap.since < end && gap.until.unwrap_or(report.until) > start;
    let mut slot = Slot {
        place,
        label: if is_now { format!("{label} so far") } else { label },
        sent_by_series: [0; 4],
        received: 0,
        requests: 0,
        is_now,
        has_gap: report.gaps.iter().any(overlaps),
    };
    for (kind, amount) in report.periods.range(start..end).flat_map(|(_, by_kind)| by_kind) {
        if let Some(sent) = slot.sent_by_series.get_mut(Series::of(*kind) as usize) {
            *sent = sent.saturating_add(amount.bytes_out);
        }
        slot.received = slot.received.saturating_add(amount.bytes_in);
        slot.requests = slot.requests.saturating_add(amount.requests);
    }
    slot
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::traffic::{Amount, Tier};

    pub(in crate::web::views::traffic) fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    /// A report in which nothing has passed, made in the afternoon of 24 November 2026.
    pub(in crate::web::views::traffic) fn nothing(days: u16) -> Report {
        Report {
            days,
            from: at("2026-11-24T00:00:00Z") - TimeDelta::days(i64::from(days) - 1),
            until: at("2026-11-24T14:19:00Z"),
            period: if days == 1 { Period::Hour } else { Period::Day },
            periods: BTreeMap::new(),
            by_tier_and_kind: Vec::new(),
            by_board: Vec::new(),
            by_replica: Vec::new(),
            before: Amount::default(),
            month: Amount::default(),
            gaps: Vec::new(),
            first: Some(at("2025-01-01T00:00:00Z")),
            storage: None,
            replicas: 0,
        }
    }

    pub(in crate::web::views::traffic) fn with(mut report: Report, passed: &[(&str, TrafficKind, u64)]) -> Report {
        for (start, kind, bytes) in passed {
            let amount = Amount { requests: 1, bytes_in: bytes / 10, bytes_out: *bytes, fetched: 0 };
            *report.periods.entry(at(start)).or_default().entry(*kind).or_default() += amount;
            report.by_tier_and_kind.push((Tier::App, *kind, amount));
        }
        report
    }

    #[test]
    fn a_day_is_told_by_the_hour_and_ends_at_midnight() {
        let timeline = Timeline::of(&with(nothing(1), &[("2026-11-24T14:00:00Z", TrafficKind::Page, 100)]));
        assert_eq!((timeline.starts.len(), timeline.slots.len()), (24, 15));
        let now = timeline.slots.last().unwrap();
        assert_eq!((now.label.as_str(), now.is_now, now.sent(), now.received), ("14:00 so far", true, 100, 10));
    }

    #[test]
    fn a_year_is_told_by_the_month_and_loses_nothing() {
        let passed = [
            ("2025-11-25T00:00:00Z", TrafficKind::Picture, 1),
            ("2025-11-30T00:00:00Z", TrafficKind::Picture, 2),
            ("2025-12-01T00:00:00Z", TrafficKind::Upload, 4),
            ("2026-11-24T00:00:00Z", TrafficKind::Thumbnail, 8),
        ];
        let timeline = Timeline::of(&with(nothing(365), &passed));
        let told: Vec<_> = timeline.slots.iter().map(|slot| (slot.label.as_str(), slot.sent_by_series)).collect();
        assert_eq!(told.len(), 13);
        assert_eq!(told[0], ("from 25 Nov 2025", [3, 0, 0, 0]));
        assert_eq!(told[1], ("Dec 2025", [0, 0, 0, 4]));
        assert_eq!(told[12], ("Nov 2026 so far", [0, 8, 0, 0]));
    }

    #[test]
    fn days_before_counting_began_are_on_the_axis_and_no_more() {
        let mut report = nothing(30);
        report.first = Some(at("2026-11-20T00:00:00Z"));
        let timeline = Timeline::of(&report);
        assert_eq!((timeline.starts.len(), timeline.slots.len()), (30, 5));
        assert_eq!(timeline.slots[0].place, 25);
        report.first = None;
        assert!(Timeline::of(&report).slots.is_empty());
    }

    #[test]
    fn a_gap_is_marked_where_it_was() {
        let mut report = nothing(7);
        let gap = |since: &str, until: Option<&str>| Gap {
            tier: Tier::Web,
            replica: "web-1".to_owned(),
            since: at(since),
            until: until.map(at),
        };
        report.gaps =
            vec![gap("2026-11-19T23:50:00Z", Some("2026-11-20T00:10:00Z")), gap("2026-11-24T14:10:00Z", None)];
        let marked: Vec<_> = Timeline::of(&report).slots.iter().map(|slot| slot.has_gap).collect();
        assert_eq!(marked, [false, true, true, false, false, false, true]);
    }
}
