//! Hands on what the replica has counted, every few seconds and once more at its end.

use actix_web::web;
use chrono::Utc;
use tokio_util::sync::CancellationToken;

use crate::domain::traffic::Tier;
use crate::service::traffic;
use crate::state::AppState;
use crate::traffic::{INTERVAL, Ledger};

/// Does so until the replica ends.
pub(super) async fn hand_on(state: web::Data<AppState>, stopping: CancellationToken) {
    let mut ledger = Ledger::new(Tier::App, state.config.replica.clone(), Utc::now());
    loop {
        let ends = stopping.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none();
        let sums = state.traffic.take();
        for sum in &sums {
            state.metrics.traffic.add(Tier::App, sum.kind, sum.amount);
        }
        ledger.add(sums, Utc::now());
        while let Some(batch) = ledger.next(ends) {
            if let Err(error) = traffic::count(&state.pool, ledger.source(), &batch).await {
                // It may have counted all the same, so it stays as it is.
                let then =
                    if ends { "what was counted last is lost" } else { "it is added up in memory until the next time" };
                tracing::warn!(%error, "traffic cannot be handed on: {then}");
                break;
            }
            ledger.handed_on();
        }
        if ends {
            return;
        }
    }
}
