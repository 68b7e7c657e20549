//! Traffic: sums that come in, and what is told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, NaiveTime, TimeDelta, Utc};

use crate::db::storage;
use crate::db::traffic::{self, Range};
use crate::db::{self, PgPool, boards};
use crate::domain::BoardId;
use crate::domain::report::{Period, Report, Storage};
use crate::domain::traffic::{Amount, Batch, Source, Sum, Tier};
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
pub async fn measure_storage(pool: &PgPool, now: DateTime<Utc>) -> Result<(), AppError> {
    let measure = async {
        let mut connection = pool.acquire().await?;
        let is_fresh = |known: Storage| {
            let age = (now - known.measured_at).as_seconds_f64();
            age < LEAST_BETWEEN_MEASURES.max(known.seconds * MEASURING_SHARE)
        };
        if storage::last(&mut connection).await?.is_some_and(is_fresh) {
            return Ok(());
        }
        let mut transaction = connection.begin().await?;
        storage::measure(&mut transaction).await?;
        transaction.commit().await
    };
    Ok(db::within(MEASURING, measure).await?)
}

/// The first moment of the month of `now`, and the bytes that have been sent since.
pub async fn sent_this_month(pool: &PgPool, now: DateTime<Utc>) -> Result<(DateTime<Utc>, u64), AppError> {
    let month = month_until(now);
    let read = async { traffic::by_tier_and_kind(&mut *pool.acquire().await?, month).await };
    let sums = db::in_time(read).await?;
    Ok((month.from, sums.into_iter().map(|(.., amount)| amount).sum::<Amount>().bytes_out))
}

/// The days of the month of `now` until the end of that day.
fn month_until(now: DateTime<Utc>) -> Range {
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let from = midnight - TimeDelta::days(midnight.day0().into());
    Range { period: Period::Day, from, until: midnight + TimeDelta::days(1), board: None }
}

/// What passed on so many days, the day of `now` being the last of them; on one board, or on all.
pub async fn report(pool: &PgPool, days: u16, board: Option<BoardId>, now: DateTime<Utc>) -> Result<Report, AppError> {
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let from = midnight - TimeDelta::days(i64::from(days) - 1);
    let period = if days == 1 { Period::Hour } else { Period::Day };
    let range = Range { period, from, until: midnight + TimeDelta::days(1), board };
    // Hours may have been forgotten; days are kept for ever.
    let before = Range { period: Period::Day, from: from - TimeDelta::days(days.into()), until: from, board };
    let month = Range { board, ..month_until(now) };
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
        let month = traffic::by_tier_and_kind(&mut snapshot, month).await?;
        let replicas = traffic::counting(&mut snapshot, Tier::App, SILENCE.as_secs_f64()).await?;
        Ok(Report {
            days,
            from,
            until: now,
            period,
            periods,
            by_tier_and_kind: traffic::by_tier_and_kind(&mut snapshot, range).await?,
            by_board,
            by_replica: if board.is_none() { traffic::by_replica(&mut snapshot, range).await? } else { Vec::new() },
            before: before.into_iter().map(|(.., amount)| amount).sum(),
            month: month.into_iter().map(|(.., amount)| amount).sum(),
            gaps: traffic::gaps(&mut snapshot, from, SILENCE.as_secs_f64()).await?,
            first: traffic::first(&mut snapshot).await?,
            storage: storage::last(&mut snapshot).await?,
            replicas: u32::try_from(replicas).unwrap_or_default(),
        })
    };
    Ok(db::in_time(read).await?)
}
