//! Version checks, shared as a group commit shares a write.
//!
//! Requests that arrive while a check is on its way wait for the *next* one. So no request is answered from a check
//! that began before the request did, which makes reads linearizable, and a hot page costs one small query at a time
//! however many ask for it.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};

use crate::db::versions::{Scope, Version, current};
use crate::db::{self, PgPool};
use crate::error::AppError;
use crate::lifecycle::Lifecycle;

/// More scopes than this in one query would only make the first ones wait.
const MOST_AT_ONCE: usize = 1000;

/// Asks for versions.
#[derive(Debug, Clone)]
pub struct Versions {
    questions: mpsc::Sender<Question>,
}

type Answer = Result<Option<Version>, String>;

struct Question {
    scope: Scope,
    answer: oneshot::Sender<Answer>,
}

impl Versions {
    /// Starts the background task that asks the database.
    #[must_use]
    pub fn start(pool: PgPool, lifecycle: &Lifecycle) -> Self {
        let (questions, inbox) = mpsc::channel(MOST_AT_ONCE);
        lifecycle.supervise("version checks", |stopping| async move {
            stopping.run_until_cancelled(answer_questions(pool, inbox)).await;
        });
        Self { questions }
    }

    /// The version that something has at a moment after this call; `None` when it does not exist.
    pub async fn check(&self, scope: Scope) -> Result<Option<Version>, AppError> {
        let unavailable = |cause: &str| AppError::Unavailable { what: "The database", cause: cause.to_owned() };
        let (answer, answered) = oneshot::channel();
        self.questions
            .send(Question { scope, answer })
            .await
            .map_err(|_| unavailable("the version check has ended"))?;
        match answered.await {
            Ok(Ok(version)) => Ok(version),
            Ok(Err(cause)) => Err(unavailable(&cause)),
            Err(_) => Err(unavailable("the version check has ended")),
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
