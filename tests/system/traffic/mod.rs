//! Traffic: every byte that a visitor sends or receives is counted once, where it passes.

mod budget;
mod counting;
mod handing_on;
mod page;
mod proof;

use anyhow::{Context as _, Result};
use sqlx::Row as _;
use triptych_tests::counting_visitor::{Counted, Kinds};

use crate::board::Board;

/// What the database has, of a tier, by kind and board.
async fn in_database(board: &Board, tier: &str, period: &str) -> Result<Kinds> {
    let rows = sqlx::query(
        "select kind, coalesce(slug, '') as slug, sum(requests)::bigint as requests, sum(bytes_in)::bigint as bytes_in,
                sum(bytes_out)::bigint as bytes_out
         from traffic left join board on board.id = board_id
         where tier = $1 and period = $2 group by kind, slug",
    )
    .bind(tier)
    .bind(period)
    .fetch_all(&mut board.database().await?)
    .await
    .context("reading what was counted")?;
    rows.into_iter()
        .map(|row| {
            let counted = Counted {
                requests: row.try_get("requests")?,
                bytes_in: row.try_get("bytes_in")?,
                bytes_out: row.try_get("bytes_out")?,
            };
            Ok(((row.try_get("kind")?, row.try_get("slug")?), counted))
        })
        .collect()
}
