//! Traffic: sums that come in, and what is told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::db::storage::{self, Storage};
use crate::db::traffic::{self, Gap, Period, Range};
use crate::db::{self, PgPool, boards};
use crate::domain::BoardId;
use crate::domain::traffic::{Amount, Batch, Source, Sum, Tier, TrafficKind};
use crate::error::AppError;

/// Whoever counts says so at least once a minute; after this time without a word, counts are missing.
const SILENCE: Duration = Duration::from_secs(150);
/// To add up what is stored may take a minute on a large board.
const MEASURING: Duration = Duration::from_secs(65);
/// To measure takes at most one part in so many of the time,
const MEASURING_SHARE: f64 = 200.0;
/// and what is known for less than this, in seconds, is good enough.
const LEAST_BETWEEN_MEASURES: f64 = 10.0;

/// Adds a batch, once. `false`: it has counted already.
pub async fn count(pool: &PgPool, source: &Source, batch: &Batch) -> Result<bool, AppError> {
    let count = async {
        let mut connection = pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        let counts = traffic::claim(&mut transaction, source, batch).await?;
        if counts {
            traffic::add(&mut transaction, source, batch).await?;
        }
        transaction.commit().await?;
        Ok(counts)
    };
    Ok(db::in_time(count).await?)
}

/// The same of sums that name boards by their slugs. Those of a board that is not there are about no board.
pub async fn count_by_slug(pool: &PgPool, source: &Source, batch: Batch<String>) -> Result<bool, AppError> {
    let read = async { boards::list(&mut *pool.acquire().await?).await };
    let (_, boards) = db::in_time(read).await?;
    let id = |slug: String| boards.iter().find(|board| board.slug == slug).map(|board| board.id);
    let sums = batch.sums.into_iter().map(|(hour, Sum { kind, board, amount })| {
        let board = board.and_then(id);
        (hour, Sum { kind, board, amount })
    });
    let Batch { number, until, lost, last, .. } = batch;
    count(pool, source, &Batch { number, until, lost, last, sums: sums.collect() }).await
}

/// Forgets hours that nobody can ask for any more.
pub async fn forget(pool: &PgPool) -> Result<(), AppError> {
    Ok(db::in_time(async { traffic::forget(&mut *pool.acquire().await?).await }).await?)
}

/// Measures what is stored, if it has been a while: the longer that takes, the more seldom.
async fn measure_storage(pool: &PgPool, now: DateTime<Utc>) -> Result<Option<Storage>, AppError> {
    let measure = async {
        let mut connection = pool.acquire().await?;
        let known = storage::last(&mut connection).await?;
        let is_fresh = |known: Storage| {
            let age = (now - known.measured_at).as_seconds_f64();
            age < LEAST_BETWEEN_MEASURES.max(known.seconds * MEASURING_SHARE)
        };
        if known.is_some_and(is_fresh) {
            return Ok(known);
        }
        let mut transaction = connection.begin().await?;
        storage::measure(&mut transaction).await?;
        transaction.commit().await?;
        storage::last(&mut connection).await
    };
    Ok(db::within(MEASURING, measure).await?)
}

/// The longest time that a report looks back, in days.
pub const MOST_DAYS: u16 = 366;

/// What passed in a time, and what is stored.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its first moment.
    pub from: DateTime<Utc>,
    /// When it was made.
    pub until: DateTime<Utc>,
    /// By which length of time `periods` are told.
    pub period: Period,
    /// Each period of that time, without those in which nothing passed.
    pub periods: BTreeMap<DateTime<Utc>, BTreeMap<TrafficKind, Amount>>,
    /// By tier and kind.
    pub by_tier_and_kind: Vec<(Tier, TrafficKind, Amount)>,
    /// By board, the one with most bytes first; `None`: about no board.
    pub by_board: Vec<(Option<BoardId>, Amount)>,
    /// By replica; empty in the report of one board.
    pub by_replica: Vec<(Tier, String, Amount)>,
    /// What passed in the same time before.
    pub before: Amount,
    /// When somebody did not count.
    pub gaps: Vec<Gap>,
    /// When counting began.
    pub first: Option<DateTime<Utc>>,
    /// What is stored, if that was measured.
    pub storage: Option<Storage>,
}

impl Report {
    /// Everything together.
    #[must_use]
    pub fn totals(&self) -> Amount {
        sum(self.by_tier_and_kind.iter().map(|(.., amount)| *amount))
    }
}

/// Adds amounts up.
pub fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::default(), |mut sum, amount| {
        sum += amount;
        sum
    })
}

/// What passed on so many days, the day of `now` being the last of them; on one board, or on all.
pub async fn report(pool: &PgPool, days: u16, board: Option<BoardId>, now: DateTime<Utc>) -> Result<Report, AppError> {
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let from = midnight - TimeDelta::days(i64::from(days) - 1);
    let period = if days == 1 { Period::Hour } else { Period::Day };
    let range = Range { period, from, until: midnight + TimeDelta::days(1), board };
    // Hours may have been forgotten; days are kept for ever.
    let before = Range { period: Period::Day, from: from - TimeDelta::days(days.into()), until: from, board };
    let storage = measure_storage(pool, now).await?;
    let read = async {
        let mut connection = pool.acquire().await?;
        let mut snapshot = connection.snapshot().await?;
        let mut periods: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (start, kind, amount) in traffic::by_period(&mut snapshot, range).await? {
            periods.entry(start).or_default().insert(kind, amount);
        }
        let mut by_board = traffic::by_board(&mut snapshot, range).await?;
        by_board.sort_by_key(|(board, amount)| (std::cmp::Reverse(amount.bytes_out), *board));
        let before = traffic::by_tier_and_kind(&mut snapshot, before).await?;
        Ok(Report {
            from,
            until: now,
            period,
            periods,
            by_tier_and_kind: traffic::by_tier_and_kind(&mut snapshot, range).await?,
            by_board,
            by_replica: if board.is_none() { traffic::by_replica(&mut snapshot, range).await? } else { Vec::new() },
            before: sum(before.into_iter().map(|(.., amount)| amount)),
            gaps: traffic::gaps(&mut snapshot, from, SILENCE.as_secs_f64()).await?,
            first: traffic::first(&mut snapshot).await?,
            storage,
        })
    };
    Ok(db::in_time(read).await?)
}
