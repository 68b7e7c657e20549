//! `traffic`, `traffic_of_replica`, `traffic_source`, `traffic_gap`: what visitors send and receive.

use chrono::{DateTime, Utc};

use super::{Error, PgConnection};
use crate::domain::BoardId;
use crate::domain::report::{Gap, Period};
use crate::domain::traffic::{Amount, Batch, Source, Tier, TrafficKind};

/// Notes that a batch counts, and what was not counted before it. `false`: it has counted already, or a later run has.
pub async fn claim(connection: &mut PgConnection, source: &Source, batch: &Batch) -> Result<bool, Error> {
    let (tier, replica) = (source.tier.name(), source.replica.as_str());
    sqlx::query!(
        "insert into traffic_source (tier, replica, run, batch, counted_until, ended) values ($1, $2, $3, 0, $4, false)
         on conflict do nothing",
        tier,
        replica,
        source.run,
        source.since,
    )
    .execute(&mut *connection)
    .await?;
    let known = sqlx::query!(
        "select run, batch, counted_until, ended from traffic_source where tier = $1 and replica = $2 for update",
        tier,
        replica,
    )
    .fetch_one(&mut *connection)
    .await?;
    if known.run > source.run || (known.run == source.run && known.batch >= batch.number) {
        return Ok(false);
    }
    if known.run != source.run && !known.ended && known.counted_until < source.since {
        note_gap(connection, source, known.counted_until, source.since).await?;
    }
    if let Some((since, until)) = batch.lost {
        note_gap(connection, source, since, until).await?;
    }
    sqlx::query!(
        "update traffic_source set run = $3, batch = $4, counted_until = $5, ended = $6 where tier = $1 and replica = $2",
        tier,
        replica,
        source.run,
        batch.number,
        batch.until,
        batch.last,
    )
    .execute(connection)
    .await?;
    Ok(true)
}

/// Notes that something was not counted.
async fn note_gap(
    connection: &mut PgConnection,
    source: &Source,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into traffic_gap (tier, replica, since, until) values ($1, $2, $3, $4) on conflict do nothing",
        source.tier.name(),
        source.replica,
        since,
        until,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Adds the sums of a batch that was claimed. Rows are locked in the order of their keys, so that two replicas that do this at
/// the same time wait for each other and never in a circle.
pub async fn add(connection: &mut PgConnection, source: &Source, batch: &Batch) -> Result<(), Error> {
    let sums = &batch.sums;
    let column = |of: fn(&Amount) -> u64| -> Vec<i64> {
        sums.iter().map(|(_, sum)| i64::try_from(of(&sum.amount)).unwrap_or(i64::MAX)).collect()
    };
    let times: Vec<DateTime<Utc>> = sums.iter().map(|(time, _)| *time).collect();
    let kinds: Vec<String> = sums.iter().map(|(_, sum)| sum.kind.name().to_owned()).collect();
    let boards: Vec<i16> = sums.iter().map(|(_, sum)| sum.board.map_or(NO_BOARD, |board| board.0)).collect();
    let (requests, bytes_in) = (column(|amount| amount.requests), column(|amount| amount.bytes_in));
    let (bytes_out, fetched) = (column(|amount| amount.bytes_out), column(|amount| amount.fetched));
    sqlx::query!(
        "insert into traffic as known (period, start, tier, kind, board_id, requests, bytes_in, bytes_out, fetched)
         select period, date_trunc(period, counted_at, 'UTC') as begin, $1, kind, board_id,
                sum(requests), sum(bytes_in), sum(bytes_out), sum(fetched)
         from unnest($2::timestamptz[], $3::text[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
                  as counted (counted_at, kind, board_id, requests, bytes_in, bytes_out, fetched),
              unnest(array['day', 'hour']) as period
         group by period, begin, kind, board_id
         order by period, begin, kind, board_id
         on conflict (period, start, tier, kind, board_id) do update
         set requests = known.requests + excluded.requests, bytes_in = known.bytes_in + excluded.bytes_in,
             bytes_out = known.bytes_out + excluded.bytes_out, fetched = known.fetched + excluded.fetched",
        source.tier.name(),
        &times,
        &kinds,
        &boards,
        &requests,
        &bytes_in,
        &bytes_out,
        &fetched,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into traffic_of_replica as known (period, start, tier, replica, requests, bytes_in, bytes_out)
         select period, date_trunc(period, counted_at, 'UTC') as begin, $1, $2, sum(requests), sum(bytes_in), sum(bytes_out)
         from unnest($3::timestamptz[], $4::bigint[], $5::bigint[], $6::bigint[])
                  as counted (counted_at, requests, bytes_in, bytes_out),
              unnest(array['day', 'hour']) as period
         group by period, begin
         order by period, begin
         on conflict (period, start, tier, replica) do update
         set requests = known.requests + excluded.requests, bytes_in = known.bytes_in + excluded.bytes_in,
             bytes_out = known.bytes_out + excluded.bytes_out",
        source.tier.name(),
        source.replica,
        &times,
        &requests,
        &bytes_in,
        &bytes_out,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// How rows name what is about no board.
const NO_BOARD: i16 = 0;

/// Which sums.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// Told by this.
    pub period: Period,
    /// From the period that begins then,
    pub from: DateTime<Utc>,
    /// to the one that ends then.
    pub until: DateTime<Utc>,
    /// About this board alone.
    pub board: Option<BoardId>,
}

fn amount(requests: i64, bytes_in: i64, bytes_out: i64, fetched: i64) -> Amount {
    let count = |value: i64| u64::try_from(value).unwrap_or_default();
    Amount {
        requests: count(requests),
        bytes_in: count(bytes_in),
        bytes_out: count(bytes_out),
        fetched: count(fetched),
    }
}

/// Sums by period and kind, in the order of time.
pub async fn by_period(
    connection: &mut PgConnection,
    range: Range,
) -> Result<Vec<(DateTime<Utc>, TrafficKind, Amount)>, Error> {
    let rows = sqlx::query!(
        r#"select start, kind, sum(requests)::bigint as "requests!", sum(bytes_in)::bigint as "bytes_in!",
                  sum(bytes_out)::bigint as "bytes_out!", sum(fetched)::bigint as "fetched!"
           from traffic
           where period = $1 and start >= $2 and start < $3 and ($4::smallint is null or board_id = $4)
           group by start, kind order by start"#,
        range.period.name(),
        range.from,
        range.until,
        range.board.map(|board| board.0),
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().filter_map(|row| {
        let kind = TrafficKind::from_name(&row.kind)?;
        Some((row.start, kind, amount(row.requests, row.bytes_in, row.bytes_out, row.fetched)))
    });
    Ok(rows.collect())
}

/// Sums by tier and kind.
pub async fn by_tier_and_kind(
    connection: &mut PgConnection,
    range: Range,
) -> Result<Vec<(Tier, TrafficKind, Amount)>, Error> {
    let rows = sqlx::query!(
        r#"select tier, kind, sum(requests)::bigint as "requests!", sum(bytes_in)::bigint as "bytes_in!",
                  sum(bytes_out)::bigint as "bytes_out!", sum(fetched)::bigint as "fetched!"
           from traffic
           where period = $1 and start >= $2 and start < $3 and ($4::smallint is null or board_id = $4)
           group by tier, kind"#,
        range.period.name(),
        range.from,
        range.until,
        range.board.map(|board| board.0),
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().filter_map(|row| {
        let (tier, kind) = (Tier::from_name(&row.tier)?, TrafficKind::from_name(&row.kind)?);
        Some((tier, kind, amount(row.requests, row.bytes_in, row.bytes_out, row.fetched)))
    });
    Ok(rows.collect())
}

/// Sums by board, `None` being what is about no board.
pub async fn by_board(connection: &mut PgConnection, range: Range) -> Result<Vec<(Option<BoardId>, Amount)>, Error> {
    let rows = sqlx::query!(
        r#"select board_id, sum(requests)::bigint as "requests!", sum(bytes_in)::bigint as "bytes_in!",
                  sum(bytes_out)::bigint as "bytes_out!", sum(fetched)::bigint as "fetched!"
           from traffic
           where period = $1 and start >= $2 and start < $3 and ($4::smallint is null or board_id = $4)
           group by board_id"#,
        range.period.name(),
        range.from,
        range.until,
        range.board.map(|board| board.0),
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|row| {
        let board = (row.board_id != NO_BOARD).then_some(BoardId(row.board_id));
        (board, amount(row.requests, row.bytes_in, row.bytes_out, row.fetched))
    });
    Ok(rows.collect())
}

/// Sums by replica, of all boards.
pub async fn by_replica(connection: &mut PgConnection, range: Range) -> Result<Vec<(Tier, String, Amount)>, Error> {
    let rows = sqlx::query!(
        r#"select tier, replica, sum(requests)::bigint as "requests!", sum(bytes_in)::bigint as "bytes_in!",
                  sum(bytes_out)::bigint as "bytes_out!"
           from traffic_of_replica
           where period = $1 and start >= $2 and start < $3
           group by tier, replica order by tier, replica"#,
        range.period.name(),
        range.from,
        range.until,
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().filter_map(|row| {
        Some((Tier::from_name(&row.tier)?, row.replica, amount(row.requests, row.bytes_in, row.bytes_out, 0)))
    });
    Ok(rows.collect())
}

/// When counting began.
pub async fn first(connection: &mut PgConnection) -> Result<Option<DateTime<Utc>>, Error> {
    sqlx::query_scalar!("select min(start) from traffic where period = 'day'").fetch_one(connection).await
}

/// How many of a tier count at this moment: they have been heard of for a while, so many seconds, and have not said that they end.
pub async fn counting(connection: &mut PgConnection, tier: Tier, silent_for_seconds: f64) -> Result<i64, Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from traffic_source
           where tier = $1 and not ended and counted_until >= now() - make_interval(secs => $2)"#,
        tier.name(),
        silent_for_seconds,
    )
    .fetch_one(connection)
    .await
}

/// What was not counted since then, and who has not been heard of for a while, so many seconds, without having said that it
/// ends.
pub async fn gaps(
    connection: &mut PgConnection,
    from: DateTime<Utc>,
    silent_for_seconds: f64,
) -> Result<Vec<Gap>, Error> {
    let rows = sqlx::query!(
        r#"select tier as "tier!", replica as "replica!", since as "since!", until
           from (select tier, replica, since, until from traffic_gap where until > $1
                 union all
                 select tier, replica, counted_until, null from traffic_source
                 where not ended and counted_until < now() - make_interval(secs => $2)) as gap
           order by since desc limit 100"#,
        from,
        silent_for_seconds,
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().filter_map(|row| {
        Some(Gap { tier: Tier::from_name(&row.tier)?, replica: row.replica, since: row.since, until: row.until })
    });
    Ok(rows.collect())
}

/// Forgets hours that are older than two weeks. Those who counted, did not say that they end and have not been heard of for an hour have
/// lost what they had counted in their last moments. Their numbers are kept for longer than a meter may wait for a replica
/// (`web::sums`): a batch that comes again counts once all the same.
pub async fn forget(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("delete from traffic where period = 'hour' and start < now() - interval '14 days'")
        .execute(&mut *connection)
        .await?;
    sqlx::query!("delete from traffic_of_replica where period = 'hour' and start < now() - interval '14 days'")
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "with gone as (
             update traffic_source set ended = true where not ended and counted_until < now() - interval '1 hour'
             returning tier, replica, counted_until
         )
         insert into traffic_gap (tier, replica, since, until)
         select tier, replica, counted_until, counted_until + interval '10 seconds' from gone
         on conflict do nothing"
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("delete from traffic_source where counted_until < now() - interval '3 days'")
        .execute(connection)
        .await
        .map(drop)
}
