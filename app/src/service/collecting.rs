//! Collecting what nobody refers to: pictures that hang on no post any more, objects without a row, and submissions
//! of which no retry can still come.
//!
//! Where to look for unused pictures, the database notes itself when an attachment goes, so that a collection costs what
//! there is to collect.
//!
//! Objects without a row are counted before anything is removed. With an older database, as it comes back from a backup,
//! every picture that is newer has no row, and nobody but the objects knows of it any more.
//!
//! It can never race an upload. An object younger than the grace time is left alone, because its row may be about
//! to be written; and whether a blob is used again or removed is decided by the lock on its row.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::pictures::without_row;
use crate::db::{self, PgPool, blobs, changes, submissions};
use crate::error::AppError;
use crate::store::{self, Listed, Object, Store};

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

/// What a look at the whole bucket has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Objects that carry our names.
    pub objects: u64,
    /// Those of them without a row, and older than the grace time.
    pub orphans: u64,
}

/// So many orphans may go whatever share of the bucket they are: a small board would be stopped by a handful otherwise. As
/// many are left when the store goes away in the middle of a collection.
const ALWAYS_MAY_GO: u64 = 2 * blobs::MOST_RELEASED.unsigned_abs();

impl Census {
    /// Whether more would go than may: this share of all objects, in per cent. Uploads that are cut off by a crash leave a
    /// few objects a day. One per cent is what a board of three months takes up in a day, which is how old a backup is.
    const fn exceeds(self, most_orphans: u8) -> bool {
        self.orphans > ALWAYS_MAY_GO && self.orphans * 100 > self.objects * most_orphans as u64
    }
}

/// Why nothing, or not everything, was collected.
#[derive(Debug, thiserror::Error)]
pub enum NotCollected {
    /// So many objects are unknown to the database that it may be the wrong one. Nothing was removed.
    #[error(
        "nothing was removed: the database does not know {} of {} objects, which is more than {most_orphans}% \
         (TRIPTYCH_GC_MOST_ORPHANS). After a restore of an older backup these are the pictures that were posted since; they \
         can be kept by restoring a newer one. If they are to go, run `triptych gc --all-orphans` once",
        census.orphans,
        census.objects
    )]
    TooManyOrphans {
        /// What was found.
        census: Census,
        /// What may go, in per cent.
        most_orphans: u8,
    },
    /// Something does not answer.
    #[error(transparent)]
    Failed(#[from] AppError),
}

impl From<db::Error> for NotCollected {
    fn from(error: db::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<store::Error> for NotCollected {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
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

/// Collects everything that is older than the grace time, seen from `now`: nothing if more than `most_orphans` per cent of
/// all objects would go as orphans.
pub async fn collect(
    pool: &PgPool,
    store: &Store,
    grace: Duration,
    most_orphans: Option<u8>,
    now: DateTime<Utc>,
) -> Result<Collected, NotCollected> {
    // The bucket is listed twice, once to count and once to remove, because the share is known at the end of the list: what
    // is to go until then would have to be kept in memory, and that has no limit.
    if let Some(most_orphans) = most_orphans {
        let mut census = Census::default();
        let count = async |page: &[Listed], orphans: &[Object]| {
            census.objects += page.len() as u64;
            census.orphans += orphans.len() as u64;
            Ok(())
        };
        walk(pool, store, grace, now, count).await?;
        if census.exceeds(most_orphans) {
            return Err(NotCollected::TooManyOrphans { census, most_orphans });
        }
    }
    let mut connection = pool.acquire().await?;
    // In a transaction, because only there a statement may take long (`db::patient_pool`); here and below.
    let mut transaction = connection.begin().await?;
    let submissions = submissions::forget(&mut transaction, SUBMISSIONS_KEPT.as_secs_f64()).await?;
    transaction.commit().await?;
    drop(connection);
    let blobs = collect_unused(pool, store, grace).await?;
    let mut orphans = 0;
    let remove = async |_: &[Listed], gone: &[Object]| {
        if !gone.is_empty() {
            store.delete(gone).await?;
            orphans += gone.len() as u64;
        }
        Ok(())
    };
    walk(pool, store, grace, now, remove).await?;
    Ok(Collected { blobs, orphans, submissions })
}

/// Removes pictures that hang on no post.
async fn collect_unused(pool: &PgPool, store: &Store, grace: Duration) -> Result<u64, AppError> {
    let (mut after, mut collected) = (0, 0);
    loop {
        let mut connection = pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        let released = blobs::lock_released(&mut transaction, after).await?;
        let Some(last) = released.last() else { return Ok(collected) };
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
        collected += deleted.len() as u64;
    }
}

/// Goes through the whole bucket. `visit` gets each page of objects, and those of them that have no row and are older than
/// the grace time.
async fn walk(
    pool: &PgPool,
    store: &Store,
    grace: Duration,
    now: DateTime<Utc>,
    mut visit: impl AsyncFnMut(&[Listed], &[Object]) -> Result<(), AppError>,
) -> Result<(), AppError> {
    let is_old =
        |listed: &&Listed| listed.put_at.is_some_and(|put_at| (now - put_at).to_std().is_ok_and(|age| age > grace));
    for folder in Object::FOLDERS {
        let mut after = None;
        loop {
            // List first, then look for rows: an object that is listed and has no row after the grace time never gets one.
            let (page, next) = store.list(folder, after).await?;
            let old: Vec<Object> = page.iter().filter(is_old).map(|listed| listed.object).collect();
            let mut connection = pool.acquire().await?;
            let mut transaction = connection.begin().await?;
            let gone = without_row(&mut transaction, old.iter().map(|object| object.blob())).await?;
            transaction.commit().await?;
            drop(connection);
            let orphans: Vec<Object> = old.into_iter().filter(|object| gone.contains(&object.blob())).collect();
            visit(&page, &orphans).await?;
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_orphans_is_too_much_from_a_number_on() {
        for (objects, orphans, most_orphans, exceeds) in [
            (0, 0, 10, false),
            (100, 100, 0, false),
            (101, 101, 10, true),
            (1010, 101, 10, false),
            (1009, 101, 10, true),
            (101, 101, 100, false),
            (1_000_000, 101, 0, true),
        ] {
            let census = Census { objects, orphans };
            assert_eq!(census.exceeds(most_orphans), exceeds, "{census:?} with {most_orphans}%");
        }
    }
}
