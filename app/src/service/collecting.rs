//! Collecting what nobody refers to: pictures that hang on no post any more, objects without a row, and submissions
//! of which no retry can still come.
//!
//! Where to look for unused pictures, the database notes itself when an attachment goes, so that a collection costs what
//! there is to collect.
//!
//! It can never race an upload. An object younger than the grace time is left alone, because its row may be about
//! to be written; and whether a blob is used again or removed is decided by the lock on its row.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::pictures::without_row;
use crate::db::{self, PgPool, blobs, changes, submissions};
use crate::error::AppError;
use crate::store::{Listed, Object, Store};

/// What was collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Pictures that hung on no post.
    pub blobs: u64,
    /// Objects without a row.
    pub orphans: u64,
    /// Submissions that were forgotten.
    pub submissions: u64,
}

/// Retries of a form come within seconds; a day leaves room for a browser that was closed and opened again.
const SUBMISSIONS_KEPT: Duration = Duration::from_hours(24);

/// Whoever watches a board and was away for longer loads it anew.
const CHANGES_KEPT: Duration = Duration::from_hours(1);

/// Forgets changes that nobody can ask for any more. A few rows for each post of an hour, so replicas do it now and then.
pub async fn forget_changes(pool: &PgPool) -> Result<(), AppError> {
    let forget = async || changes::forget(&mut *pool.acquire().await?, CHANGES_KEPT.as_secs_f64()).await;
    while db::in_time(forget()).await? {}
    Ok(())
}

/// Collects everything that is older than the grace time, seen from `now`.
pub async fn collect(pool: &PgPool, store: &Store, grace: Duration, now: DateTime<Utc>) -> Result<Collected, AppError> {
    let mut collected = Collected::default();
    let mut connection = pool.acquire().await?;
    collected.submissions = submissions::forget(&mut connection, SUBMISSIONS_KEPT.as_secs_f64()).await?;
    drop(connection);
    let mut after = 0;
    loop {
        let mut connection = pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        let released = blobs::lock_released(&mut transaction, after).await?;
        let Some(last) = released.last() else { break };
        after = last.id;
        let (notes, ids): (Vec<i64>, Vec<Uuid>) = released.iter().map(|released| (released.id, released.blob)).unzip();
        let unused = blobs::lock_unused(&mut transaction, &ids, grace.as_secs_f64()).await?;
        let deleted = blobs::delete_unused(&mut transaction, &unused).await?;
        blobs::forget_released(&mut transaction, &notes).await?;
        transaction.commit().await?;
        // The rows are gone for good. Should deleting the objects fail, they are orphans of the next run.
        let objects: Vec<Object> = deleted.iter().copied().flat_map(Object::both).collect();
        if !objects.is_empty() {
            store.delete(&objects).await?;
        }
        collected.blobs += deleted.len() as u64;
    }
    for folder in Object::FOLDERS {
        let mut after = None;
        loop {
            // List first, then look for rows: an object that is listed and has no row after the grace time never gets one.
            let (page, next) = store.list(folder, after).await?;
            let old = |listed: &&Listed| {
                listed.put_at.is_some_and(|put_at| (now - put_at).to_std().is_ok_and(|age| age > grace))
            };
            let old: Vec<Object> = page.iter().filter(old).map(|listed| listed.object).collect();
            let mut connection = pool.acquire().await?;
            let gone = without_row(&mut connection, old.iter().map(|object| object.blob())).await?;
            drop(connection);
            let orphans: Vec<Object> = old.into_iter().filter(|object| gone.contains(&object.blob())).collect();
            if !orphans.is_empty() {
                store.delete(&orphans).await?;
                collected.orphans += orphans.len() as u64;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(collected)
}
