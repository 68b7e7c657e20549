//! Now and then a replica removes old rows of the outbox, and hours of traffic. Any of them may, and several at once.

use std::time::Duration;

use actix_web::web;
use tokio_util::sync::CancellationToken;

use crate::service::{collecting, traffic};
use crate::state::AppState;

/// Rows are kept for an hour, and nothing gets slower by a few more.
const INTERVAL: Duration = Duration::from_mins(10);

/// Does so until the replica ends.
pub(super) async fn forget(state: web::Data<AppState>, stopping: CancellationToken) {
    while stopping.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        if let Err(error) = collecting::forget_changes(&state.pool).await {
            tracing::warn!(%error, "old changes stay until the next time");
        }
        if let Err(error) = traffic::forget(&state.pool).await {
            tracing::warn!(%error, "old sums of traffic stay until the next time");
        }
    }
}
