//! The tables of the page: rows with names, exact numbers, and a bar for what is compared.

use super::amounts::{Column, Hundredths, nearest_tenth_of_percent, number, share};
use super::times::{Series, Slot, Timeline};
use crate::domain::report::Report;
use crate::domain::traffic::{Amount, Tier, TrafficKind};
use crate::domain::{Board, BoardId};

/// More replicas of a tier than this are added up: every rollout gives them other names.
const MOST_REPLICAS: usize = 12;

/// A number with what it stands for, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The exact number.
    pub exact: u64,
    /// The number as it is shown.
    pub shown: String,
}

impl Cell {
    fn bytes(bytes: u64, column: Column) -> Self {
        Self { exact: bytes, shown: column.show(bytes) }
    }

    fn count(count: u64) -> Self {
        Self { exact: count, shown: number(count) }
    }
}

/// How the columns of a table are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    sent: Column,
    received: Column,
}

impl Columns {
    fn of(rows: &[Amount]) -> Self {
        let largest = |of: fn(&Amount) -> u64| rows.iter().map(of).max().unwrap_or_default();
        Self {
            sent: Column::for_largest(largest(|amount| amount.bytes_out)),
            received: Column::for_largest(largest(|amount| amount.bytes_in)),
        }
    }

    /// `Sent, GB`
    #[must_use]
    pub fn sent_heading(&self) -> String {
        format!("Sent, {}", self.sent.unit)
    }

    /// `Received, MB`; `Received`, if it is told in the same unit.
    #[must_use]
    pub fn received_heading(&self) -> String {
        if self.received.unit == self.sent.unit {
            "Received".to_owned()
        } else {
            format!("Received, {}", self.received.unit)
        }
    }

    fn cells(self, amount: Amount) -> [Cell; 3] {
        [
            Cell::bytes(amount.bytes_out, self.sent),
            Cell::bytes(amount.bytes_in, self.received),
            Cell::count(amount.requests),
        ]
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<N> {
    /// What it is about.
    pub name: N,
    /// Class of its bar.
    pub class: &'static str,
    /// Width of its bar.
    pub share: Hundredths,
    /// Sent, received, requests.
    pub cells: [Cell; 3],
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<N> {
    /// How its columns are told.
    pub columns: Columns,
    /// Its rows.
    pub rows: Vec<Row<N>>,
    /// Its foot.
    pub sum: [Cell; 3],
}

impl<N> Table<N> {
    /// With bars for what was sent, the longest being that of the row with most.
    fn by_sent(rows: Vec<(N, &'static str, Amount)>) -> Self {
        let amounts: Vec<Amount> = rows.iter().map(|(.., amount)| *amount).collect();
        let columns = Columns::of(&amounts);
        let most = amounts.iter().map(|amount| amount.bytes_out).max().unwrap_or_default();
        let row = |(name, class, amount): (N, &'static str, Amount)| Row {
            name,
            class,
            share: share(amount.bytes_out, most),
            cells: columns.cells(amount),
        };
        Self { columns, rows: rows.into_iter().map(row).collect(), sum: columns.cells(amounts.iter().copied().sum()) }
    }
}

/// By kind, the one with most first.
#[must_use]
pub fn by_kind(report: &Report) -> Table<&'static str> {
    let mut kinds: Vec<_> = TrafficKind::ALL.into_iter().map(|kind| (kind, report.of_kind(kind))).collect();
    kinds.retain(|(_, amount)| !amount.is_nothing());
    kinds.sort_by_key(|(_, amount)| std::cmp::Reverse(amount.bytes_out));
    let row = |(kind, amount)| (kind_name(kind), Series::of(kind).class(), amount);
    Table::by_sent(kinds.into_iter().map(row).collect())
}

const fn kind_name(kind: TrafficKind) -> &'static str {
    match kind {
        TrafficKind::Page => "Pages",
        TrafficKind::Api => "JSON",
        TrafficKind::Events => "Live updates",
        TrafficKind::Picture => "Pictures",
        TrafficKind::Thumbnail => "Thumbnails",
        TrafficKind::Asset => "Styles and icons",
        TrafficKind::Upload => "Uploads",
        TrafficKind::Refused => "Refused",
    }
}

/// By board, the one with most first; at the end what is about none of those that there are.
#[must_use]
pub fn by_board<'a>(report: &Report, boards: &'a [Board]) -> Table<Option<&'a Board>> {
    let find = |id: Option<BoardId>| boards.iter().find(|board| Some(board.id) == id);
    let (known, others): (Vec<_>, Vec<_>) =
        report.by_board.iter().map(|(id, amount)| (find(*id), *amount)).partition(|(board, _)| board.is_some());
    let mut rows: Vec<_> = known.into_iter().map(|(board, amount)| (board, "k1", amount)).collect();
    if !others.is_empty() {
        rows.push((None, "k4", others.into_iter().map(|(_, amount)| amount).sum()));
    }
    Table::by_sent(rows)
}

/// The replicas of a tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierRows {
    /// Which.
    pub tier: Tier,
    /// All of them together.
    pub sum: [Cell; 3],
    /// Each, and how much of the requests it has answered.
    pub rows: Vec<Row<(Replica, String)>>,
}

impl TierRows {
    /// What a tier does.
    #[must_use]
    pub const fn work(&self) -> &'static str {
        match self.tier {
            Tier::Web => "pictures, from its cache",
            Tier::App => "pages, JSON, uploads",
        }
    }
}

/// One replica, or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replica {
    /// One, by its name.
    Named(String),
    /// The rest, and how many they are.
    Others(usize),
}

/// By tier and replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// How the columns are told.
    pub columns: Columns,
    /// Those that there are.
    pub tiers: Vec<TierRows>,
    /// The foot.
    pub sum: [Cell; 3],
}

/// By replica, the one with most requests first.
#[must_use]
pub fn by_replica(report: &Report) -> Replicas {
    let of_tier = |tier: Tier| {
        let of_tier = report.by_replica.iter().filter(|(of, ..)| *of == tier);
        let mut replicas: Vec<_> = of_tier.map(|(_, name, amount)| (Replica::Named(name.clone()), *amount)).collect();
        if replicas.len() > MOST_REPLICAS {
            replicas.sort_by_key(|(_, amount)| std::cmp::Reverse(amount.requests));
            let others = replicas.split_off(MOST_REPLICAS - 1);
            let count = others.len();
            replicas.push((Replica::Others(count), others.into_iter().map(|(_, amount)| amount).sum()));
        }
        (tier, replicas)
    };
    let tiers: Vec<_> = Tier::ALL.into_iter().map(of_tier).filter(|(_, replicas)| !replicas.is_empty()).collect();
    let amounts: Vec<Amount> = tiers.iter().flat_map(|(_, replicas)| replicas).map(|(_, amount)| *amount).collect();
    let columns = Columns::of(&amounts);
    let tier_rows = |(tier, replicas): (Tier, Vec<(Replica, Amount)>)| {
        let sum: Amount = replicas.iter().map(|(_, amount)| *amount).sum();
        let row = |(replica, amount): (Replica, Amount)| Row {
            name: (replica, nearest_tenth_of_percent(amount.requests, sum.requests)),
            class: "k1",
            share: share(amount.requests, sum.requests),
            cells: columns.cells(amount),
        };
        TierRows { tier, sum: columns.cells(sum), rows: replicas.into_iter().map(row).collect() }
    };
    Replicas {
        columns,
        tiers: tiers.into_iter().map(tier_rows).collect(),
        sum: columns.cells(amounts.iter().copied().sum()),
    }
}

/// The chart as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    sent: Column,
    received: Column,
    /// The newest first: what each is called, whether counts are missing, and its numbers.
    pub rows: Vec<(String, bool, Vec<Cell>)>,
    /// The foot.
    pub sum: Vec<Cell>,
}

impl Steps {
    /// Of a time.
    #[must_use]
    pub fn of(timeline: &Timeline) -> Self {
        let slots = &timeline.slots;
        let sent = Column::for_largest(slots.iter().map(Slot::sent).max().unwrap_or_default());
        let received = Column::for_largest(slots.iter().map(|slot| slot.received).max().unwrap_or_default());
        let cells = |by_series: [u64; 4], all: u64, bytes_in: u64, requests: u64| -> Vec<Cell> {
            let sent = by_series.into_iter().chain([all]).map(|bytes| Cell::bytes(bytes, sent));
            sent.chain([Cell::bytes(bytes_in, received), Cell::count(requests)]).collect()
        };
        let (mut by_series, mut all, mut bytes_in, mut requests) = ([0_u64; 4], 0_u64, 0_u64, 0_u64);
        for slot in slots {
            for (sum, bytes) in by_series.iter_mut().zip(slot.sent_by_series) {
                *sum = sum.saturating_add(bytes);
            }
            all = all.saturating_add(slot.sent());
            bytes_in = bytes_in.saturating_add(slot.received);
            requests = requests.saturating_add(slot.requests);
        }
        let row = |slot: &Slot| {
            let cells = cells(slot.sent_by_series, slot.sent(), slot.received, slot.requests);
            (slot.label.clone(), slot.has_gap, cells)
        };
        let rows = slots.iter().rev().map(row).collect();
        Self { sent, received, rows, sum: cells(by_series, all, bytes_in, requests) }
    }

    /// The unit of what was sent.
    #[must_use]
    pub const fn sent_unit(&self) -> &'static str {
        self.sent.unit.name()
    }

    /// The unit of what was received.
    #[must_use]
    pub const fn received_unit(&self) -> &'static str {
        self.received.unit.name()
    }
}

#[cfg(test)]
mod tests {
    use super::super::times::tests::{nothing, with};
    use super::*;

    fn amount(requests: u64, bytes_out: u64) -> Amount {
        Amount { requests, bytes_in: 1, bytes_out, fetched: 0 }
    }

    fn adds_up<'a>(rows: impl Iterator<Item = &'a [Cell; 3]>, sum: &[Cell; 3]) -> bool {
        let mut added = [0; 3];
        for cells in rows {
            for (sum, cell) in added.iter_mut().zip(cells) {
                *sum += cell.exact;
            }
        }
        added.as_slice() == sum.iter().map(|cell| cell.exact).collect::<Vec<_>>()
    }

    #[test]
    fn kinds_stand_by_size_and_without_those_that_were_not_there() {
        let passed = [
            ("2026-11-24T00:00:00Z", TrafficKind::Page, 300_000),
            ("2026-11-24T00:00:00Z", TrafficKind::Picture, 4_000_000),
            ("2026-11-23T00:00:00Z", TrafficKind::Page, 100_000),
        ];
        let table = by_kind(&with(nothing(7), &passed));
        assert_eq!(table.rows.iter().map(|row| row.name).collect::<Vec<_>>(), ["Pictures", "Pages"]);
        assert_eq!(table.rows[1].share.to_string(), "10.00");
        assert_eq!(table.columns.sent_heading(), "Sent, MB");
        assert_eq!(table.columns.received_heading(), "Received, kB");
        assert_eq!(table.rows[1].cells.clone().map(|cell| cell.shown), ["0.40", "40.0", "2"]);
        assert!(adds_up(table.rows.iter().map(|row| &row.cells), &table.sum));
    }

    #[test]
    fn what_is_about_no_board_or_one_that_is_gone_comes_last() {
        let mut report = nothing(7);
        report.by_board =
            vec![(Some(BoardId(9)), amount(1, 50)), (Some(BoardId(1)), amount(2, 40)), (None, amount(3, 30))];
        let boards = [Board {
            id: BoardId(1),
            slug: "b".to_owned(),
            title: "Random".to_owned(),
            description: String::new(),
            locked: false,
            worksafe: true,
        }];
        let table = by_board(&report, &boards);
        let told: Vec<_> =
            table.rows.iter().map(|row| (row.name.map(|board| board.id.0), row.cells[0].exact)).collect();
        assert_eq!(told, [(Some(1), 40), (None, 80)]);
        assert!(adds_up(table.rows.iter().map(|row| &row.cells), &table.sum));
    }

    #[test]
    fn many_replicas_are_added_up_and_none_is_lost() {
        let mut report = nothing(7);
        report.by_replica = (1..=40).map(|at| (Tier::App, format!("app-{at}"), amount(at, at * 100))).collect();
        report.by_replica.push((Tier::Web, "web-1".to_owned(), amount(10, 100)));
        let replicas = by_replica(&report);
        assert_eq!(
            replicas.tiers.iter().map(|tier| (tier.tier, tier.rows.len())).collect::<Vec<_>>(),
            [(Tier::Web, 1), (Tier::App, 12)]
        );
        let app = &replicas.tiers[1];
        assert_eq!(app.rows[0].name, (Replica::Named("app-40".to_owned()), "4.9".to_owned()));
        assert_eq!(app.rows[11].name.0, Replica::Others(29));
        assert!(adds_up(app.rows.iter().map(|row| &row.cells), &app.sum));
        assert!(adds_up(replicas.tiers.iter().map(|tier| &tier.sum), &replicas.sum));
        assert_eq!(replicas.tiers[0].rows[0].share.to_string(), "100.00");
    }
}
