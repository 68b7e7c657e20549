//! What passed, for programs: every byte, as JSON or as a table with a line for each time and kind.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Answer, State, cors, json};
use crate::domain::Board;
use crate::domain::report::{Gap, Report, Storage};
use crate::domain::traffic::{Amount, Tier, TrafficKind};
use crate::error::AppError;
use crate::representation::Representation;
use crate::web::traffic::{self, Asked, DaysQuery};
use crate::web::views::text::moment_for_machines;
use crate::web::views::traffic::budget::Budget;

pub(crate) async fn json_of_all(request: HttpRequest, state: State, query: web::Query<DaysQuery>) -> Answer {
    as_json(&request, &state, None, &query).await
}

pub(crate) async fn json_of_board(
    request: HttpRequest,
    state: State,
    slug: web::Path<String>,
    query: web::Query<DaysQuery>,
) -> Answer {
    as_json(&request, &state, Some(slug.into_inner()), &query).await
}

pub(crate) async fn csv_of_all(request: HttpRequest, state: State, query: web::Query<DaysQuery>) -> Answer {
    as_csv(&request, &state, None, &query).await
}

pub(crate) async fn csv_of_board(
    request: HttpRequest,
    state: State,
    slug: web::Path<String>,
    query: web::Query<DaysQuery>,
) -> Answer {
    as_csv(&request, &state, Some(slug.into_inner()), &query).await
}

async fn as_json(request: &HttpRequest, state: &State, slug: Option<String>, query: &DaysQuery) -> Answer {
    let monthly_budget = state.config.traffic.monthly_budget;
    let render = move |asked: &Asked| {
        let budget = monthly_budget.filter(|_| matches!(asked.board(), Ok(None)));
        json(&document(&asked.report, &asked.boards.list, budget))
    };
    answer(request, state, slug, query, render).await
}

async fn as_csv(request: &HttpRequest, state: &State, slug: Option<String>, query: &DaysQuery) -> Answer {
    let render =
        |asked: &Asked| Ok(Representation::new("text/csv; charset=utf-8; header=present", lines(&asked.report)));
    answer(request, state, slug, query, render).await
}

async fn answer(
    request: &HttpRequest,
    state: &State,
    slug: Option<String>,
    query: &DaysQuery,
    render: impl FnOnce(&Asked) -> Result<Representation, AppError> + Send + 'static,
) -> Result<HttpResponse, AppError> {
    let asked = traffic::find(state, slug, query).await?;
    traffic::answer(request, state, asked, render).await.map(cors::open)
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    from: String,
    until: String,
    days: Vec<PeriodItem>,
    totals: AmountItem,
    by_kind: BTreeMap<&'static str, AmountItem>,
    by_board: BTreeMap<&'a str, AmountItem>,
    by_tier: BTreeMap<&'static str, AmountItem>,
    by_replica: Vec<ReplicaItem<'a>>,
    /// Pictures and thumbnails of web, and those of them that its cache did not have.
    cache: CacheItem,
    storage: Option<StorageItem>,
    missing: Vec<GapItem<'a>>,
    since: Option<String>,
    budget: Option<BudgetItem>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct AmountItem {
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl From<Amount> for AmountItem {
    fn from(Amount { requests, bytes_in, bytes_out, fetched: _ }: Amount) -> Self {
        Self { requests, bytes_in, bytes_out }
    }
}

#[derive(Debug, Serialize)]
struct PeriodItem {
    start: String,
    #[serde(flatten)]
    amount: AmountItem,
    by_kind: BTreeMap<&'static str, AmountItem>,
}

#[derive(Debug, Serialize)]
struct ReplicaItem<'a> {
    tier: &'static str,
    replica: &'a str,
    #[serde(flatten)]
    amount: AmountItem,
}

#[derive(Debug, Serialize)]
struct CacheItem {
    requests: u64,
    fetched: u64,
}

#[derive(Debug, Serialize)]
struct StorageItem {
    pictures: i64,
    bytes: i64,
    saved_bytes: i64,
    measured_at: String,
}

#[derive(Debug, Serialize)]
struct GapItem<'a> {
    tier: &'static str,
    replica: &'a str,
    since: String,
    until: Option<String>,
}

#[derive(Debug, Serialize)]
struct BudgetItem {
    month: String,
    bytes: u64,
    sent: u64,
    projected: Option<u64>,
}

fn document<'a>(report: &'a Report, boards: &'a [Board], monthly_budget: Option<u64>) -> Document<'a> {
    let time = moment_for_machines;
    let by_kind = TrafficKind::ALL.into_iter().map(|kind| (kind.name(), report.of_kind(kind).into()));
    let by_tier = Tier::ALL.into_iter().map(|tier| (tier.name(), report.of_tier(tier).into()));
    let mut by_board: BTreeMap<&str, Amount> = BTreeMap::new();
    for (id, amount) in &report.by_board {
        let board = boards.iter().find(|board| Some(board.id) == *id);
        *by_board.entry(board.map(|board| board.slug.as_str()).unwrap_or_default()).or_default() += *amount;
    }
    let of_web = report.pictures_of_web();
    Document {
        from: time(&report.from),
        until: time(&report.until),
        days: report.periods.iter().map(|(start, by_kind)| period(start, by_kind)).collect(),
        totals: report.totals().into(),
        by_kind: by_kind.collect(),
        by_board: by_board.into_iter().map(|(slug, amount)| (slug, amount.into())).collect(),
        by_tier: by_tier.collect(),
        by_replica: report.by_replica.iter().map(replica).collect(),
        cache: CacheItem { requests: of_web.requests, fetched: of_web.fetched },
        storage: report.storage.as_ref().map(storage),
        missing: report.gaps.iter().map(gap).collect(),
        since: report.first.as_ref().map(time),
        budget: monthly_budget.map(|bytes| budget(&Budget::of(report, bytes))),
    }
}

fn period(start: &DateTime<Utc>, by_kind: &BTreeMap<TrafficKind, Amount>) -> PeriodItem {
    let amount: Amount = by_kind.values().copied().sum();
    let by_kind = by_kind.iter().map(|(kind, amount)| (kind.name(), (*amount).into()));
    PeriodItem { start: moment_for_machines(start), amount: amount.into(), by_kind: by_kind.collect() }
}

fn replica((tier, replica, amount): &(Tier, String, Amount)) -> ReplicaItem<'_> {
    ReplicaItem { tier: tier.name(), replica, amount: (*amount).into() }
}

fn storage(storage: &Storage) -> StorageItem {
    StorageItem {
        pictures: storage.pictures,
        bytes: storage.bytes,
        saved_bytes: storage.attached_bytes - storage.bytes,
        measured_at: moment_for_machines(&storage.measured_at),
    }
}

fn gap(gap: &Gap) -> GapItem<'_> {
    GapItem {
        tier: gap.tier.name(),
        replica: &gap.replica,
        since: moment_for_machines(&gap.since),
        until: gap.until.as_ref().map(moment_for_machines),
    }
}

fn budget(budget: &Budget) -> BudgetItem {
    BudgetItem {
        month: budget.month_for_machines(),
        bytes: budget.bytes,
        sent: budget.sent,
        projected: budget.projected,
    }
}

/// RFC 4180. No field needs quotes: there are times, names of kinds and numbers.
fn lines(report: &Report) -> String {
    let mut lines = "start,kind,requests,bytes_in,bytes_out\r\n".to_owned();
    for (start, by_kind) in &report.periods {
        let start = moment_for_machines(start);
        for (kind, Amount { requests, bytes_in, bytes_out, .. }) in by_kind {
            // Writing to a string cannot fail.
            let _ = write!(lines, "{start},{},{requests},{bytes_in},{bytes_out}\r\n", kind.name());
        }
    }
    lines
}
