//! What is told of the traffic, kept for a few seconds: however many ask, the database is asked seldom.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use moka::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::Instrument as _;

use crate::db::{self, PgPool};
use crate::domain::report::Report;
use crate::domain::{BoardId, Refusal};
use crate::error::AppError;
use crate::lifecycle::Lifecycle;
use crate::service::traffic;
use crate::trace::waits::{self, Wait};

/// How long a report is told after it was asked for.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Reports in memory; one of a year takes a hundred kilobytes.
const MOST_KEPT: u64 = 64;
/// Reports that are read at a time: anybody can ask for each number of days on each board.
const AT_A_TIME: usize = 2;
/// A report waits so long for what is stored to be measured, then it tells what was measured before.
const PATIENCE: Duration = Duration::from_secs(1);
/// After measuring has failed, it is left alone for so long.
const AFTER_FAILURE: Duration = Duration::from_mins(10);

type Outcome = Result<Arc<Report>, AppError>;
type Key = (u16, Option<BoardId>);

/// Tells reports. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reports {
    kept: Cache<Key, Shared<BoxFuture<'static, Outcome>>>,
    reading: Arc<Semaphore>,
    measuring: Arc<Semaphore>,
    pool: PgPool,
    lifecycle: Lifecycle,
    runtime: Handle,
}

impl Reports {
    /// Reads on `runtime`.
    #[must_use]
    pub fn new(pool: PgPool, lifecycle: Lifecycle, runtime: Handle) -> Self {
        Self {
            kept: Cache::builder().max_capacity(MOST_KEPT).time_to_live(KEPT_FOR).build(),
            reading: Arc::new(Semaphore::new(AT_A_TIME)),
            measuring: Arc::new(Semaphore::new(1)),
            pool,
            lifecycle,
            runtime,
        }
    }

    /// What passed on so many days, today being the last of them; on one board, or on all.
    ///
    /// # Errors
    /// What reading ended with, for everybody who waited for it.
    pub async fn get(&self, days: u16, board: Option<BoardId>) -> Outcome {
        let key = (days, board);
        let outcome = waits::until(Wait::Page, self.kept.get_with(key, || self.start(key))).await;
        if outcome.is_err() {
            self.kept.invalidate(&key);
        }
        outcome
    }

    fn start(&self, (days, board): Key) -> Shared<BoxFuture<'static, Outcome>> {
        let this = self.clone();
        let read = async move {
            let turn = timeout(db::LONGEST, this.reading.acquire()).await;
            let Ok(Ok(_turn)) = turn else { return Err(Refusal::TooManyReaders.into()) };
            this.measure().await;
            traffic::report(&this.pool, days, board, Utc::now()).await.map(Arc::new)
        };
        // A task of its own: others wait for it when the request that started it goes away.
        let task = self.runtime.spawn(waits::carried(read).in_current_span());
        let ended = async { task.await.unwrap_or_else(|error| Err(AppError::Internal(format!("traffic: {error}")))) };
        ended.boxed().shared()
    }

    /// Has what is stored measured, once at a time, and waits a moment for it.
    async fn measure(&self) {
        let Ok(turn) = Arc::clone(&self.measuring).try_acquire_owned() else { return };
        let (pool, draining) = (self.pool.clone(), self.lifecycle.draining().clone());
        let task = self.runtime.spawn(async move {
            let measure = async {
                if let Err(error) = traffic::measure_storage(&pool, Utc::now()).await {
                    tracing::warn!(%error, "what is stored cannot be measured");
                    sleep(AFTER_FAILURE).await;
                }
            };
            // It may take a minute, which an end must not wait for. In a box, because it is large.
            draining.run_until_cancelled(Box::pin(measure)).await;
            drop(turn);
        });
        // Whether it was in time is told by the moment of the measure.
        let _ = timeout(PATIENCE, task).await;
    }
}
