//! Where a replica stands: starting, ready, draining, stopping. Whoever sends it requests, its streams and its
//! background tasks learn it here. Must not know what any of them does.
//!
//! Two tokens are cancelled one after the other. *Draining*: the replica is about to end; streams end now, because
//! nothing else would end them, while requests are still served. *Stopping*: every request has been answered;
//! background tasks, which requests need, end now.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where this replica stands. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    schema_verified: AtomicBool,
    bucket_verified: SetOnce<()>,
    bucket_silent: AtomicBool,
    draining: CancellationToken,
    stopping: CancellationToken,
    background: TaskTracker,
    /// Names of the background tasks that have not ended.
    running: Mutex<Vec<&'static str>>,
    failure: SetOnce<String>,
}

impl Lifecycle {
    /// The schema was found to be what this binary needs. That is asked once: a passing outage of Postgres must not
    /// take every replica out of service, because pages can still say that it is one.
    pub fn schema_is_verified(&self) {
        self.0.schema_verified.store(true, Ordering::Release);
    }

    /// The bucket was found to belong to the installation of the database. Asked once, for the same reason.
    pub fn bucket_is_verified(&self) {
        let _ = self.0.bucket_verified.set(());
    }

    /// Whether nobody can tell whose bucket it is, because the store does not answer. That is no reason not to show pages.
    pub fn bucket_is_silent(&self, silent: bool) {
        self.0.bucket_silent.store(silent, Ordering::Release);
    }

    /// Waits until the bucket may be written to.
    pub async fn bucket_verified(&self) {
        self.0.bucket_verified.wait().await;
    }

    /// Why the replica should not be sent requests; `None` when it should.
    #[must_use]
    pub fn objection(&self) -> Option<&'static str> {
        if self.is_draining() {
            Some("draining")
        } else if !self.0.schema_verified.load(Ordering::Acquire) {
            Some("the database schema has not been verified yet")
        } else if !self.0.bucket_verified.initialized() && !self.0.bucket_silent.load(Ordering::Acquire) {
            Some("it has not been verified yet that the bucket belongs to this database")
        } else {
            None
        }
    }

    /// From now on every answer closes its connection, readiness says no, and streams end.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Whether the replica is about to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Cancelled when the replica is about to end. For whatever would answer one request without an end.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// Runs a task in the background, on the current runtime. `work` is given a token and ends soon after that is
    /// cancelled, and never before: if it does, or panics, the replica has a failure.
    pub fn supervise<F>(&self, name: &'static str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let this = self.clone();
        let work = AssertUnwindSafe(work(self.0.stopping.clone())).catch_unwind();
        self.running().push(name);
        self.0.background.spawn(async move {
            let ended = work.await;
            this.running().retain(|running| *running != name);
            if !this.0.stopping.is_cancelled() {
                let how = if ended.is_ok() { "ended" } else { "panicked" };
                this.fail(format!("the background task \"{name}\" {how}"));
            }
        });
    }

    /// Tells background tasks to end, and waits until all have.
    pub async fn stop(&self) {
        self.0.stopping.cancel();
        self.0.background.close();
        self.0.background.wait().await;
    }

    /// Names of the background tasks that have not ended.
    #[must_use]
    pub fn background_tasks(&self) -> Vec<&'static str> {
        self.running().clone()
    }

    fn running(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has ended that the replica cannot do without. Whoever runs it has to end it.
    pub fn fail(&self, failure: String) {
        tracing::error!("{failure}");
        // The first failure is the cause; others may follow from it.
        let _ = self.0.failure.set(failure);
    }

    /// Waits for the first failure.
    pub async fn failed(&self) {
        self.0.failure.wait().await;
    }

    /// The first failure, if there was one.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.0.failure.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::time::Duration;

    use super::*;

    /// Fails instead of waiting for ever.
    async fn soon<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(30), work).await.unwrap()
    }

    #[tokio::test]
    async fn a_background_task_that_ends_or_panics_is_a_failure() {
        let lifecycle = Lifecycle::default();
        lifecycle.supervise("the first", |_| async {});
        soon(lifecycle.failed()).await;
        assert_eq!(lifecycle.failure(), Some("the background task \"the first\" ended"));

        let lifecycle = Lifecycle::default();
        lifecycle.supervise("the second", |_| async { panic!("a defect") });
        soon(lifecycle.failed()).await;
        assert_eq!(lifecycle.failure(), Some("the background task \"the second\" panicked"));
        assert!(lifecycle.background_tasks().is_empty());
    }

    #[tokio::test]
    async fn a_background_task_that_ends_when_it_is_told_to_is_none() {
        let lifecycle = Lifecycle::default();
        lifecycle.supervise("obedient", |stopping| async move { stopping.cancelled().await });
        lifecycle.drain();
        assert_eq!(lifecycle.background_tasks(), ["obedient"], "requests still need it");
        soon(lifecycle.stop()).await;
        assert_eq!(lifecycle.failure(), None);
    }

    #[tokio::test]
    async fn a_background_task_that_does_not_end_is_named() {
        let lifecycle = Lifecycle::default();
        lifecycle.supervise("obedient", |stopping| async move { stopping.cancelled().await });
        lifecycle.supervise("deaf", |_| pending());
        let mut stopping = pin!(lifecycle.stop());
        assert!(stopping.as_mut().now_or_never().is_none());
        while lifecycle.background_tasks().contains(&"obedient") {
            tokio::task::yield_now().await;
        }
        assert!(stopping.now_or_never().is_none());
        assert_eq!(lifecycle.background_tasks(), ["deaf"]);
    }

    #[tokio::test]
    async fn a_stream_learns_that_the_replica_is_about_to_end() {
        let lifecycle = Lifecycle::default();
        lifecycle.schema_is_verified();
        assert!(lifecycle.objection().is_some_and(|objection| objection.contains("bucket")));
        lifecycle.bucket_is_verified();
        assert_eq!(lifecycle.objection(), None);
        let stream = tokio::spawn({
            let draining = lifecycle.draining().clone();
            async move { draining.cancelled().await }
        });
        lifecycle.drain();
        assert!(soon(stream).await.is_ok());
        assert_eq!(lifecycle.objection(), Some("draining"));
    }
}
