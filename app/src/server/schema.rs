//! A replica is ready once the database has the schema that it needs.

use std::time::Duration;

use actix_web::web;
use tokio_util::sync::CancellationToken;

use crate::db;
use crate::db::versions::Scope;
use crate::error::AppError;
use crate::service::configuring;
use crate::state::AppState;

/// Between two looks at a schema that is not there yet.
const RETRY: Duration = Duration::from_millis(500);

/// Waits until the database has the schema that this binary needs, and makes the replica ready.
pub(super) async fn verify(state: web::Data<AppState>, stopping: CancellationToken) {
    if stopping.run_until_cancelled(Box::pin(wait(&state))).await.is_some() {
        state.lifecycle.schema_is_verified();
        tracing::info!("ready");
    }
    // A background task ends when it is told to, and not when its work is done.
    stopping.cancelled().await;
}

async fn wait(state: &AppState) {
    let mut told = String::new();
    loop {
        let objection = match prepare(state).await {
            Ok(true) => return,
            Ok(false) => "the schema is older than this binary; run `triptych migrate`".to_owned(),
            Err(error) => error.to_string(),
        };
        if objection != told {
            tracing::warn!("not ready: {objection}");
            told = objection;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Whether the schema is there; then also the boards are at hand, so that from the first moment a refused post can
/// come back in its form, whatever happens to the database.
async fn prepare(state: &AppState) -> Result<bool, AppError> {
    let mut connection = state.pool.acquire().await?;
    if !db::in_time(db::schema_is_current(&mut connection)).await? {
        return Ok(false);
    }
    drop(connection);
    configuring::announce_fingerprint(&state.pool, &state.fingerprint).await?;
    if let Some(checked) = state.versions.check(Scope::Site).await? {
        state.boards.at(checked.version.site).await?;
    }
    Ok(true)
}
