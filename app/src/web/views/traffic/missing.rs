//! When counts are missing, in words.

use chrono::{DateTime, Utc};

use crate::domain::report::{Gap, Report};
use crate::domain::traffic::Tier;

/// The page tells so many; the JSON tells all that are known.
const MOST: usize = 6;

/// A time in which somebody did not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingCounts<'a> {
    /// Who.
    pub replica: &'a str,
    /// `on 12 November, 03:12 to 03:43 UTC`
    pub when: String,
    /// What that means.
    pub meaning: &'static str,
}

/// The newest ones, and how many more there are.
#[must_use]
pub fn missing(report: &Report) -> (Vec<MissingCounts<'_>>, usize) {
    let newest = report.gaps.iter().take(MOST).map(|gap| MissingCounts {
        replica: &gap.replica,
        when: when(gap),
        meaning: match gap.tier {
            Tier::Web => "pictures were served, and not counted",
            Tier::App => "what passed there is not in these numbers",
        },
    });
    (newest.collect(), report.gaps.len().saturating_sub(MOST))
}

fn when(gap: &Gap) -> String {
    let day = |at: &DateTime<Utc>| at.format("%-d %B").to_string();
    let time = |at: &DateTime<Utc>| at.format("%H:%M").to_string();
    let since = &gap.since;
    match &gap.until {
        None => format!("since {}, {} UTC", day(since), time(since)),
        Some(until) if day(since) != day(until) => {
            format!("from {}, {}, to {}, {} UTC", day(since), time(since), day(until), time(until))
        }
        Some(until) if time(since) != time(until) => {
            format!("on {}, {} to {} UTC", day(since), time(since), time(until))
        }
        Some(_) => format!("for some seconds on {}, {} UTC", day(since), time(since)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::times::tests::{at, nothing};
    use super::*;

    fn told(since: &str, until: Option<&str>) -> String {
        when(&Gap { tier: Tier::Web, replica: "web-1".to_owned(), since: at(since), until: until.map(at) })
    }

    #[test]
    fn times_are_told_as_short_as_they_can_be() {
        assert_eq!(told("2026-11-12T03:12:00Z", Some("2026-11-12T03:43:00Z")), "on 12 November, 03:12 to 03:43 UTC");
        assert_eq!(
            told("2026-11-12T03:12:00Z", Some("2026-11-12T03:12:10Z")),
            "for some seconds on 12 November, 03:12 UTC"
        );
        assert_eq!(
            told("2026-11-12T23:59:00Z", Some("2026-11-13T00:01:00Z")),
            "from 12 November, 23:59, to 13 November, 00:01 UTC"
        );
        assert_eq!(told("2026-11-12T03:12:00Z", None), "since 12 November, 03:12 UTC");
    }

    #[test]
    fn many_are_not_all_told() {
        let mut report = nothing(7);
        let gap = Gap { tier: Tier::App, replica: "a".to_owned(), since: at("2026-11-20T00:00:00Z"), until: None };
        report.gaps = vec![gap; 10];
        let (told, more) = missing(&report);
        assert_eq!((told.len(), more), (6, 4));
    }
}
