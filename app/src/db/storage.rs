//! `storage_measure`: how much is stored, as it was last measured.

use super::{Error, PgConnection};
use crate::domain::report::Storage;

/// What was measured last; `None` before the first time.
pub async fn last(connection: &mut PgConnection) -> Result<Option<Storage>, Error> {
    sqlx::query_as!(Storage, "select measured_at, seconds, pictures, bytes, attached_bytes from storage_measure")
        .fetch_optional(connection)
        .await
}

/// Measures, and keeps the result. Reads every picture and every attachment once, which is done fastest without an index, and may
/// take a minute. For a transaction of its own.
pub async fn measure(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!(
        "select set_config('enable_seqscan', 'on', true) as scan, set_config('enable_hashjoin', 'on', true) as join,
                set_config('statement_timeout', '60s', true) as patience"
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into storage_measure (measured_at, pictures, bytes, attached_bytes, seconds)
         select now(), count(*), coalesce(sum(size), 0), coalesce(sum(size * coalesce(uses, 1)), 0),
                extract(epoch from clock_timestamp() - now())
         from (select blob.bytes + blob.thumbnail_bytes as size, uses
               from blob
               left join (select blob_id, count(*) as uses from attachment group by blob_id) as used on used.blob_id = blob.id
              ) as stored
         on conflict (only_row) do update
         set measured_at = excluded.measured_at, pictures = excluded.pictures, bytes = excluded.bytes,
             attached_bytes = excluded.attached_bytes, seconds = excluded.seconds"
    )
    .execute(connection)
    .await
    .map(drop)
}
