//! Making the boards that an operator wants, and announcing how replicas render pages.

use crate::db::changes::{self, Changes};
use crate::db::{self, PgPool, boards};
use crate::domain::BoardSettings;
use crate::error::AppError;
use crate::freshness::{CommitWait, LONGEST_INTERVAL};

/// Makes the boards, and brings those that exist up to date; boards that are not named stay as they are. Answers
/// whether anything changed. Any number of replicas may do this at once.
pub async fn configure_boards(pool: &PgPool, wanted: &[BoardSettings]) -> Result<bool, AppError> {
    let configured = async {
        let mut connection = pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        let changed = boards::configure(&mut transaction, wanted).await?;
        if changed {
            changes::publish(&mut transaction, Changes::Boards).await?;
        }
        transaction.commit().await?;
        Ok(changed)
    };
    let changed = db::in_time(configured).await.map_err(|error| {
        if !db::is_exhausted(&error) {
            return error.into();
        }
        let last = i16::MAX;
        AppError::Internal(format!("no board can be added: the ids of boards end at {last}, and all are given"))
    })?;
    if changed {
        // Nobody knows the setting of the replicas here.
        CommitWait::of(LONGEST_INTERVAL).pass().await;
    }
    Ok(changed)
}

/// Announces the fingerprint of the build and of the visible settings that replicas render pages with from now on. With
/// another one than before, every page has changed.
pub async fn announce_fingerprint(pool: &PgPool, fingerprint: &str) -> Result<(), AppError> {
    let announced = async { changes::publish(&mut *pool.acquire().await?, Changes::Fingerprint(fingerprint)).await };
    Ok(db::in_time(announced).await?)
}
