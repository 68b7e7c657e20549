//! The page about the traffic with sample data: a month like any other, none at all, one with gaps, and hostile names.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use triptych::domain::report::{Gap, Period, Report, Storage};
use triptych::domain::traffic::{Amount, Tier, TrafficKind};
use triptych::domain::{Board, BoardId};
use triptych::web::views::{Layout, TrafficPage};

use super::{HOSTILE, render};

/// 24 November 2026, 14:19.
fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(29_925_499)
}

fn midnight() -> DateTime<Utc> {
    now() - TimeDelta::minutes(14 * 60 + 19)
}

/// In which nothing has passed.
fn nothing(days: u16) -> Report {
    Report {
        days,
        from: midnight() - TimeDelta::days(i64::from(days) - 1),
        until: now(),
        period: if days == 1 { Period::Hour } else { Period::Day },
        periods: BTreeMap::new(),
        by_tier_and_kind: Vec::new(),
        by_board: Vec::new(),
        by_replica: Vec::new(),
        before: Amount::default(),
        month: Amount::default(),
        gaps: Vec::new(),
        first: None,
        storage: None,
        replicas: 3,
    }
}

const KINDS: [(Tier, TrafficKind, u64); 8] = [
    (Tier::Web, TrafficKind::Picture, 39_000_000_000),
    (Tier::Web, TrafficKind::Thumbnail, 10_400_000_000),
    (Tier::App, TrafficKind::Page, 2_500_000_000),
    (Tier::Web, TrafficKind::Asset, 700_000_000),
    (Tier::App, TrafficKind::Api, 470_000_000),
    (Tier::App, TrafficKind::Events, 310_000_000),
    (Tier::App, TrafficKind::Upload, 3_000_000),
    (Tier::App, TrafficKind::Refused, 10_000),
];

fn amount(bytes: u64) -> Amount {
    Amount { requests: bytes / 50_000 + 1, bytes_in: bytes / 70, bytes_out: bytes, fetched: 0 }
}

/// In which each step is a little busier than the one before.
pub(super) fn busy(days: u16, step: TimeDelta) -> Report {
    let mut report = nothing(days);
    let steps = (now() - report.from).num_seconds() / step.num_seconds();
    let mut sums: Vec<(Tier, TrafficKind, Amount)> = Vec::new();
    for at in 0..=steps {
        let step = report.from + step * i32::try_from(at).unwrap_or(0);
        let by_kind = report.periods.entry(step).or_default();
        for (tier, kind, bytes) in KINDS {
            let more = u64::try_from(at % 9).unwrap_or(0);
            let mut passed = amount(bytes / 10 * (10 + more));
            passed.fetched = if tier == Tier::Web { passed.requests / 40 } else { 0 };
            by_kind.insert(kind, passed);
            match sums.iter_mut().find(|(_, known, _)| *known == kind) {
                Some((.., sum)) => *sum += passed,
                None => sums.push((tier, kind, passed)),
            }
        }
    }
    let totals: Amount = sums.iter().map(|(.., amount)| *amount).sum();
    let part = |of: u64| Amount {
        requests: totals.requests / of,
        bytes_in: totals.bytes_in / of,
        bytes_out: totals.bytes_out / of,
        fetched: 0,
    };
    report.by_tier_and_kind = sums;
    report.by_board = vec![(Some(BoardId(3)), part(2)), (Some(BoardId(6)), part(4)), (None, part(9))];
    report.by_replica = vec![
        (Tier::App, "app-4kzqv".into(), part(3)),
        (Tier::App, "board-triptych-app-7d9f8b6c5d-x2x4z".into(), part(3)),
        (Tier::Web, "web-7bn5j".into(), part(3)),
    ];
    report.before = part(2);
    report.month = part(1);
    report.first = Some(midnight() - TimeDelta::days(1_000));
    report.storage = Some(Storage {
        measured_at: now(),
        seconds: 0.2,
        pictures: 31_070,
        bytes: 48_200_000_000,
        attached_bytes: 57_800_000_000,
    });
    report
}

/// Every state of the page, by name.
pub(super) fn pages(
    layout: Layout<'_>,
    bad_layout: Layout<'_>,
    photo: &Board,
    bad_board: &Board,
) -> Vec<(&'static str, String)> {
    let page =
        |layout, board, report: &Report, monthly_budget| render(&TrafficPage { layout, board, report, monthly_budget });
    let month = busy(30, TimeDelta::days(1));
    let gap = |tier, replica: &str, minutes: i64, length: Option<i64>| {
        let since = now() - TimeDelta::minutes(minutes);
        Gap { tier, replica: replica.to_owned(), since, until: length.map(|length| since + TimeDelta::minutes(length)) }
    };
    let mut gaps = month.clone();
    gaps.gaps = vec![gap(Tier::App, "app-4kzqv", 5, None), gap(Tier::Web, "web-7bn5j", 18_000, Some(31))];
    gaps.gaps.extend((0..9).map(|at| gap(Tier::Web, "web-q2rlf", 20_000 + at, Some(1))));
    let mut hostile = gaps.clone();
    hostile.by_board = vec![(Some(BoardId(1)), amount(1_000)), (Some(BoardId(2)), amount(1))];
    hostile.by_replica =
        vec![(Tier::App, HOSTILE.to_owned(), amount(u64::MAX)), (Tier::App, "W".repeat(300), amount(1))];
    hostile.gaps = vec![gap(Tier::App, HOSTILE, 5, None)];
    let mut old = nothing(7);
    old.first = Some(midnight() - TimeDelta::days(90));
    let mut of_board = busy(7, TimeDelta::days(1));
    (of_board.by_replica, of_board.by_board) = (Vec::new(), Vec::new());
    let budget = Some(2_000_000_000_000);
    vec![
        ("traffic", page(layout, None, &month, budget)),
        ("traffic-empty", page(layout, None, &nothing(30), None)),
        ("traffic-nobody-came", page(layout, None, &old, budget)),
        ("traffic-today", page(layout, None, &busy(1, TimeDelta::hours(1)), None)),
        ("traffic-year", page(layout, None, &busy(365, TimeDelta::days(1)), None)),
        ("traffic-gaps", page(layout, None, &gaps, None)),
        ("traffic-board", page(layout, Some(photo), &of_board, budget)),
        ("traffic-hostile", page(bad_layout, Some(bad_board), &hostile, budget)),
        ("traffic-all-hostile", page(bad_layout, None, &hostile, Some(1))),
    ]
}
