//! Warns, in the log and by two metrics, when what was sent in a month comes near what may be sent.

use std::time::Duration;

use actix_web::web;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::service::traffic;
use crate::state::AppState;

/// Between two looks.
const INTERVAL: Duration = Duration::from_mins(1);

/// Does so until the replica ends; nothing without a budget.
pub(super) async fn watch(state: web::Data<AppState>, stopping: CancellationToken) {
    let Some(budget) = state.config.traffic.monthly_budget else { return stopping.cancelled().await };
    let mut warned = Warned::default();
    loop {
        match traffic::sent_this_month(&state.pool, Utc::now()).await {
            Ok((month, sent)) => {
                state.metrics.set_month_of_traffic(sent, budget);
                if let Some(percent) = warned.crossed(month, sent, budget) {
                    let month = month.format("%Y-%m").to_string();
                    tracing::warn!(month, sent, budget, "{percent} % of the traffic of this month has been sent");
                }
            }
            // The next look is soon.
            Err(error) => tracing::debug!(%error, "the traffic of this month cannot be read"),
        }
        if stopping.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// What has been said already.
#[derive(Debug, Default)]
struct Warned {
    month: DateTime<Utc>,
    percent: u8,
}

impl Warned {
    /// The mark that was passed since the last look, 80 or 100 percent, if one was.
    fn crossed(&mut self, month: DateTime<Utc>, sent: u64, budget: u64) -> Option<u8> {
        if self.month != month {
            *self = Self { month, percent: 0 };
        }
        let hundredths = u128::from(sent) * 100;
        let mark = [100, 80].into_iter().find(|mark| hundredths >= u128::from(budget) * u128::from(*mark))?;
        let is_new = mark > self.percent;
        self.percent = mark.max(self.percent);
        is_new.then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_told_once_a_month() {
        let (november, december) = ("2026-11-01T00:00:00Z".parse().unwrap(), "2026-12-01T00:00:00Z".parse().unwrap());
        let mut warned = Warned::default();
        assert_eq!(warned.crossed(november, 79, 100), None);
        assert_eq!(warned.crossed(november, 80, 100), Some(80));
        assert_eq!(warned.crossed(november, 99, 100), None);
        assert_eq!(warned.crossed(november, 100, 100), Some(100));
        assert_eq!(warned.crossed(november, 500, 100), None);
        assert_eq!(warned.crossed(december, 3, 100), None);
        assert_eq!(warned.crossed(december, u64::MAX, 100), Some(100));
    }
}
