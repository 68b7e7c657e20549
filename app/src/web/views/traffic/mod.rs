//! Traffic: what the board sends and receives.

pub mod amounts;
pub mod budget;
pub mod chart;
pub mod missing;
pub mod storage;
pub mod tables;
pub mod times;

use askama::Template;
use chrono::Datelike as _;

use super::layout::{Layout, PageMeta};
use super::text;
use crate::domain::Board;
use crate::domain::report::Report;
use crate::domain::traffic::TrafficKind;
use amounts::{count_parts, number, size, size_parts, tenths_of_percent};
use budget::Budget;
use chart::Chart;
use missing::{MissingCounts, missing};
use storage::Copies;
use tables::{Replica, Replicas, Steps, Table};
use times::{Series, Step, Timeline};

/// The days that the page offers, and how they are called.
const CHOICES: [(u16, &str); 4] = [(1, "Today"), (7, "7 days"), (DEFAULT_DAYS, "30 days"), (365, "12 months")];
/// The days that an address without a number of them means.
pub const DEFAULT_DAYS: u16 = 30;

/// `GET /traffic` and `GET /{board}/traffic.html`
#[derive(Debug, Template)]
#[template(path = "traffic.html")]
pub struct TrafficPage<'a> {
    /// The frame.
    pub layout: Layout<'a>,
    /// The board that it is about, if it is about one.
    pub board: Option<&'a Board>,
    /// What passed.
    pub report: &'a Report,
    /// Bytes that may be sent in a month.
    pub monthly_budget: Option<u64>,
}

/// A figure: a large number, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// The number.
    pub number: String,
    /// Its unit.
    pub unit: String,
    /// More about it.
    pub note: String,
}

impl PageMeta for TrafficPage<'_> {
    fn title(&self) -> String {
        let of = self.board.map(|board| format!(" of /{}/", board.slug)).unwrap_or_default();
        format!("Traffic{of}, {} · {}", self.period_text(), self.layout.site)
    }

    fn description(&self) -> String {
        format!("What {} sends and receives: how much, of what, and through which replica.", self.layout.site)
    }

    fn board(&self) -> Option<&Board> {
        self.board
    }
}

impl<'a> TrafficPage<'a> {
    /// The address of the page about so many days.
    fn url(&self, extension: &str, days: u16) -> String {
        let query = if days == DEFAULT_DAYS { String::new() } else { format!("?days={days}") };
        match self.board {
            Some(board) => format!("/{}/traffic.{extension}{query}", board.slug),
            None if extension == "html" => format!("/traffic{query}"),
            None => format!("/traffic.{extension}{query}"),
        }
    }

    /// The times that one can choose: what each is called, its address, and whether it is the one that is shown.
    #[must_use]
    pub fn choices(&self) -> [(&'static str, String, bool); 4] {
        CHOICES.map(|(days, name)| (name, self.url("html", days), days == self.report.days))
    }

    /// Address of the document for programs.
    #[must_use]
    pub fn json_url(&self) -> String {
        self.url("json", self.report.days)
    }

    /// Address of the document for spreadsheets.
    #[must_use]
    pub fn csv_url(&self) -> String {
        self.url("csv", self.report.days)
    }

    /// Address of the page about all boards.
    #[must_use]
    pub fn all_boards_url(&self) -> String {
        TrafficPage { board: None, ..*self }.url("html", self.report.days)
    }

    /// Address of the page about a board.
    #[must_use]
    pub fn board_url(&self, board: &Board) -> String {
        TrafficPage { board: Some(board), ..*self }.url("html", self.report.days)
    }

    fn period_text(&self) -> String {
        match CHOICES.into_iter().find(|(days, _)| *days == self.report.days) {
            Some((_, name)) => name.to_lowercase(),
            None => text::count(self.report.days, "day", "days"),
        }
    }

    /// `26 October to 24 November 2026`
    #[must_use]
    pub fn range_text(&self) -> String {
        let (from, until) = (self.report.from, self.report.until);
        let last = until.format("%-d %B %Y");
        if from.date_naive() == until.date_naive() {
            return last.to_string();
        }
        let first = if from.year() == until.year() { from.format("%-d %B") } else { from.format("%-d %B %Y") };
        format!("{first} to {last}")
    }

    /// `14:19`
    #[must_use]
    pub fn until_text(&self) -> String {
        self.report.until.format("%H:%M").to_string()
    }

    /// Whether anything has passed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.report.totals().is_nothing()
    }

    /// Why nothing is shown.
    #[must_use]
    pub fn empty_text(&self) -> &'static str {
        match self.report.first {
            None => "What visitors send and receive is counted from now on, and is here some seconds later.",
            Some(_) => "Nobody came in this time.",
        }
    }

    /// The large numbers.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let totals = self.report.totals();
        let bytes = |name, bytes, note| {
            let (number, unit) = size_parts(bytes);
            Figure { name, number, unit: unit.to_string(), note }
        };
        let (requests, unit) = count_parts(totals.requests);
        let mut figures = vec![
            bytes("Sent", totals.bytes_out, self.before_text()),
            bytes("Received", totals.bytes_in, self.uploads_text()),
            Figure { name: "Requests", number: requests, unit: unit.to_owned(), note: self.rate_text(totals.requests) },
        ];
        let of_web = self.report.pictures_of_web();
        if of_web.requests > 0 {
            let cached = of_web.requests.saturating_sub(of_web.fetched);
            figures.push(Figure {
                name: "Pictures from web’s cache",
                number: tenths_of_percent(cached, of_web.requests),
                unit: "%".to_owned(),
                note: format!("thumbnails too; {} were fetched", number(of_web.fetched)),
            });
        }
        figures
    }

    /// How much it was before, if that was counted whole.
    fn before_text(&self) -> String {
        let days = self.report.days;
        let before = self.report.from - chrono::TimeDelta::days(days.into());
        if self.report.first.is_none_or(|first| first > before) {
            return match self.report.first.filter(|first| *first > self.report.from) {
                Some(first) => format!("counted since {}", first.format("%-d %B")),
                None => String::new(),
            };
        }
        let told = size(self.report.before.bytes_out);
        match days {
            1 => format!("{told} on the whole day before"),
            _ => format!("{told} in the {} days before", number(days.into())),
        }
    }

    fn uploads_text(&self) -> String {
        let uploads = self.report.of_kind(TrafficKind::Upload);
        match uploads.requests {
            0 => "no uploads".to_owned(),
            1 => format!("1 upload is {} of it", size(uploads.bytes_in)),
            many => format!("{} uploads are {} of it", number(many), size(uploads.bytes_in)),
        }
    }

    /// `13 a second`, on average over the time in which there was counting.
    fn rate_text(&self, requests: u64) -> String {
        if requests == 0 {
            return String::new();
        }
        let from = self.report.first.map_or(self.report.from, |first| first.max(self.report.from));
        let seconds = u64::try_from((self.report.until - from).num_seconds()).unwrap_or_default().max(1);
        let units = [(1, "a second"), (60, "a minute"), (3600, "an hour"), (86_400, "a day")];
        let rate = units.into_iter().find_map(|(length, name)| {
            let rate = u128::from(requests) * length / u128::from(seconds);
            (rate > 0).then(|| format!("{} {name}", number(u64::try_from(rate).unwrap_or(u64::MAX))))
        });
        rate.unwrap_or_else(|| "less than one a day".to_owned())
    }

    /// The budget, on the page about all boards.
    #[must_use]
    pub fn budget(&self) -> Option<Budget> {
        let bytes = self.monthly_budget.filter(|_| self.board.is_none())?;
        Some(Budget::of(self.report, bytes))
    }

    /// The time in steps.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        Timeline::of(self.report)
    }

    /// The chart.
    #[must_use]
    pub fn chart(&self, timeline: &Timeline) -> Chart {
        Chart::of(timeline)
    }

    /// The same as a table.
    #[must_use]
    pub fn steps(&self, timeline: &Timeline) -> Steps {
        Steps::of(timeline)
    }

    /// The legend.
    #[must_use]
    pub fn series(&self) -> [Series; 4] {
        Series::ALL
    }

    /// By kind.
    #[must_use]
    pub fn by_kind(&self) -> Table<&'static str> {
        tables::by_kind(self.report)
    }

    /// By board.
    #[must_use]
    pub fn by_board(&self) -> Table<Option<&'a Board>> {
        tables::by_board(self.report, self.layout.boards)
    }

    /// By replica.
    #[must_use]
    pub fn by_replica(&self) -> Replicas {
        tables::by_replica(self.report)
    }

    /// What is stored, on the page about all boards.
    #[must_use]
    pub fn storage(&self) -> Option<Copies> {
        let storage = self.report.storage.as_ref().filter(|_| self.board.is_none())?;
        Some(Copies::of(storage, self.report.replicas))
    }

    /// When that was measured.
    #[must_use]
    pub fn measured_text(&self) -> String {
        self.report.storage.map(|storage| text::moment(&storage.measured_at)).unwrap_or_default()
    }

    /// When counts are missing, and how many more times there are.
    #[must_use]
    pub fn missing(&self) -> (Vec<MissingCounts<'a>>, usize) {
        missing(self.report)
    }

    /// When counting began.
    #[must_use]
    pub fn first_text(&self) -> Option<String> {
        self.report.first.map(|first| first.format("%-d %B %Y").to_string())
    }
}
