//! Versions of pages: kept for as long as the feed says that nothing has changed, and checked again when something has.
//!
//! Checks are shared as a group commit shares a write: requests that arrive while one is on its way wait for the *next*
//! one, so that no request is answered from a check that began before the request did.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{mpsc, oneshot};

use super::feed::Feed;
use crate::db::versions::{Scope, Version, current};
use crate::db::{self, PgPool};
use crate::error::AppError;
use crate::freshness::Moment;
use crate::lifecycle::Lifecycle;
use crate::trace::waits::{self, Wait};

/// More scopes than this in one query would only make the first ones wait.
const MOST_AT_ONCE: usize = 1000;
/// Versions that are kept: a hundred bytes each.
const MOST_KEPT: u64 = 100_000;
/// When a version that was just new is settled for sure: the ten seconds of [`Version::settled`] and one for our clock.
const SETTLED_AFTER: Duration = Duration::from_secs(11);

/// The version of something, as it is now or was at a moment that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The version.
    pub version: Version,
    /// Set while the database does not answer: the version is as of this time.
    pub as_of: Option<SystemTime>,
}

/// Tells versions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Versions {
    feed: Feed,
    kept: Cache<Scope, Kept>,
    questions: mpsc::Sender<Question>,
}

/// A version as it was read.
#[derive(Debug, Clone, Copy)]
struct Kept {
    version: Version,
    /// The answer of the feed that had come before it was read.
    after: u64,
    read_at: Moment,
}

type Answer = Result<Option<Version>, String>;

struct Question {
    scope: Scope,
    answer: oneshot::Sender<Answer>,
}

impl Versions {
    /// Starts the background task that asks the database.
    #[must_use]
    pub fn start(pool: PgPool, feed: Feed, lifecycle: &Lifecycle) -> Self {
        let (questions, inbox) = mpsc::channel(MOST_AT_ONCE);
        lifecycle.supervise("version checks", |stopping| async move {
            stopping.run_until_cancelled(answer_questions(pool, inbox)).await;
        });
        let kept = Cache::builder().max_capacity(MOST_KEPT).eviction_policy(EvictionPolicy::lru()).build();
        Self { feed, kept, questions }
    }

    /// The version that something has for a request that begins now; `None` when it does not exist.
    ///
    /// # Errors
    /// The database does not answer, and what it said last is not kept, not current, or too old.
    pub async fn check(&self, scope: Scope) -> Result<Option<Checked>, AppError> {
        let current = self.feed.current().await?;
        if let Some(kept) = self.kept.get(&scope)
            && self.feed.is_unchanged(scope, kept.after)
        {
            let settled = kept.version.settled || kept.read_at.elapsed() >= SETTLED_AFTER;
            return Ok(Some(Checked { version: Version { settled, ..kept.version }, as_of: current.as_of }));
        }
        // It may answer again since a moment ago.
        if current.as_of.is_some() && self.feed.current().await?.as_of.is_some() {
            return Err(AppError::not_kept());
        }
        let read_at = Moment::now();
        let Some(version) = waits::until(Wait::Version, self.ask(scope)).await? else { return Ok(None) };
        self.kept.insert(scope, Kept { version, after: current.answer, read_at });
        Ok(Some(Checked { version, as_of: None }))
    }

    async fn ask(&self, scope: Scope) -> Result<Option<Version>, AppError> {
        let (answer, answered) = oneshot::channel();
        self.questions
            .send(Question { scope, answer })
            .await
            .map_err(|_| AppError::no_database("the version check has ended"))?;
        match answered.await {
            Ok(Ok(version)) => Ok(version),
            Ok(Err(cause)) => Err(AppError::no_database(cause)),
            Err(_) => Err(AppError::no_database("the version check has ended")),
        }
    }
}

async fn answer_questions(pool: PgPool, mut inbox: mpsc::Receiver<Question>) {
    let mut waiting = Vec::new();
    while inbox.recv_many(&mut waiting, MOST_AT_ONCE).await > 0 {
        let mut by_scope: HashMap<Scope, Vec<oneshot::Sender<Answer>>> = HashMap::new();
        for question in waiting.drain(..) {
            by_scope.entry(question.scope).or_default().push(question.answer);
        }
        let scopes: Vec<Scope> = by_scope.keys().copied().collect();
        let versions = check(&pool, &scopes).await.map_err(|error| error.to_string());
        if let Err(cause) = &versions {
            tracing::warn!(cause, "the versions of pages cannot be checked");
        }
        for (index, scope) in scopes.iter().enumerate() {
            let answer = match &versions {
                Ok(versions) => Ok(versions.get(index).copied().flatten()),
                Err(cause) => Err(cause.clone()),
            };
            for waiter in by_scope.remove(scope).unwrap_or_default() {
                // Whoever has gone away does not want to know.
                let _ = waiter.send(answer.clone());
            }
        }
    }
}

async fn check(pool: &PgPool, scopes: &[Scope]) -> Result<Vec<Option<Version>>, db::Error> {
    let mut connection = pool.acquire().await?;
    db::in_time(current(&mut connection, scopes)).await
}
