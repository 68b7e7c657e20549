//! A replica is ready once the database has the schema that it needs, unless the bucket belongs to another database.

use std::time::Duration;

use actix_web::web;
use tokio_util::sync::CancellationToken;

use crate::db;
use crate::db::versions::Scope;
use crate::error::AppError;
use crate::service::{configuring, installation};
use crate::state::AppState;

/// Between two looks at a schema that is not there yet.
const SCHEMA_RETRY: Duration = Duration::from_millis(500);

/// Between two looks at a bucket that is not ours, or does not answer. Some stores want money for each.
const BUCKET_RETRY: Duration = Duration::from_secs(2);

/// Waits until the database has the schema that this binary needs and the bucket is of the same installation, and makes
/// the replica ready. Both are asked once: an outage later takes nobody out of service, nor does a store that is away now.
pub(super) async fn verify(state: web::Data<AppState>, stopping: CancellationToken) {
    if stopping.run_until_cancelled(Box::pin(wait(&state))).await.is_some() {
        tracing::info!("schema and bucket are verified");
    }
    // A background task ends when it is told to, and not when its work is done.
    stopping.cancelled().await;
}

async fn wait(state: &AppState) {
    let mut told = String::new();
    while let Some(objection) = objection_to_database(state).await {
        tell(objection, &mut told);
        tokio::time::sleep(SCHEMA_RETRY).await;
    }
    state.lifecycle.schema_is_verified();
    while let Err(objection) = installation::verify(&state.pool, &state.store).await {
        state.lifecycle.bucket_is_silent(objection.may_pass());
        tell(format!("the bucket {}: {objection}", state.store.place()), &mut told);
        tokio::time::sleep(BUCKET_RETRY).await;
    }
    state.lifecycle.bucket_is_verified();
}

/// Says what stands in the way, once.
fn tell(objection: String, told: &mut String) {
    if objection != *told {
        tracing::warn!("not verified: {objection}");
        *told = objection;
    }
}

async fn objection_to_database(state: &AppState) -> Option<String> {
    match prepare(state).await {
        Ok(objection) => objection,
        Err(error) => Some(error.to_string()),
    }
}

/// What stands in the way; if nothing does, the boards are at hand too, so that from the first moment a refused post can
/// come back in its form, whatever happens to the database.
async fn prepare(state: &AppState) -> Result<Option<String>, AppError> {
    let objection = db::objection(&state.pool).await?;
    if objection.is_some() {
        return Ok(objection);
    }
    configuring::announce_fingerprint(&state.pool, &state.fingerprint).await?;
    if let Some(checked) = state.versions.check(Scope::Site).await? {
        state.boards.at(checked.version.site).await?;
    }
    Ok(None)
}
