//! The feed: what is known of everything that has changed, as of a moment that no request is older than.
//!
//! One task asks the database over a connection of its own, for all pages at once, and at most once in an interval,
//! however many requests there are; when there are none, it does not ask at all. A request may be answered from what was
//! asked for at most an interval before it began ([`crate::freshness`] says why nobody can notice); otherwise it waits for the
//! next answer. Must not know what a page shows.
//!
//! When the database does not answer, the feed says as of when it knows what it knows, and goes on asking.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::db;
use crate::db::changes::{Published, What};
use crate::db::feed::{Answer, application_name};
use crate::db::versions::Scope;
use crate::error::AppError;
use crate::freshness::{CommitWait, Moment};
use crate::lifecycle::Lifecycle;
use crate::trace::waits::{self, Wait};

/// How long requests wait for a database that does not answer before they are told so, or get what is known.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts to reach a database that does not answer.
const RETRY: Duration = Duration::from_millis(200);
/// After a pause as long as this nobody asks what has changed: everything may have, and rows are removed after an hour.
const LONGEST_GAP: Duration = Duration::from_mins(10);
/// Of how many things is remembered when they changed. With more than that, everything counts as changed.
const MOST_SCOPES: usize = 100_000;
/// While somebody watches, the database is asked no more often than this, however short the interval is.
const SHORTEST_TICK: Duration = Duration::from_millis(20);
/// How often it is looked at how long the other replicas wait after a commit.
const NEIGHBOURS: Duration = Duration::from_secs(1);

/// What is asked, and how its answers are used.
#[derive(Debug, Clone)]
pub struct FeedConfig {
    /// Where the database is.
    pub database: SecretString,
    /// How long an answer may be used.
    pub interval: Duration,
    /// How long what is known may be told while the database does not answer.
    pub stale_if_error: Duration,
}

/// The feed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: FeedConfig,
    known: RwLock<Known>,
    /// The latest beginning of a request that waits.
    wanted: Mutex<Moment>,
    wake: Notify,
    /// Changes with every answer, and when it turns out that there is none.
    told: watch::Sender<u64>,
    watchers: AtomicUsize,
}

#[derive(Debug, Default)]
struct Known {
    /// Number of the last answer; 0 before the first.
    answer: u64,
    /// When it was asked for.
    asked_at: Moment,
    /// The same by the clock on the wall, for people.
    asked_on: Option<SystemTime>,
    /// How long after that it may be used.
    usable: Duration,
    /// The answer with which anything may have changed.
    anything: u64,
    /// The last answer with which each of these changed, as far as that is later.
    changed: HashMap<Scope, u64>,
    /// Why the database does not answer, while it does not.
    outage: Option<String>,
}

/// What a request is answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current {
    /// Number of the answer of the database.
    pub answer: u64,
    /// Set while the database does not answer: as of when this is.
    pub as_of: Option<SystemTime>,
}

/// Changes that every replica can show when they are passed on.
#[derive(Debug)]
pub enum Update {
    /// These, in the order of their versions.
    Changes(Vec<Published>),
    /// The list of boards has changed, and maybe anything else.
    Boards,
    /// Anything may have changed.
    Anything,
}

/// An update, and when every replica can show it.
pub type Released = (Instant, Update);

/// Keeps the feed asking for as long as it is there.
#[derive(Debug)]
pub struct Watching(Feed);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Feed {
    /// Starts the task that asks. `updates` gets what has changed.
    #[must_use]
    pub fn start(config: FeedConfig, lifecycle: &Lifecycle, updates: mpsc::UnboundedSender<Released>) -> Self {
        let feed = Self(Arc::new(Shared {
            config,
            known: RwLock::default(),
            wanted: Mutex::default(),
            wake: Notify::new(),
            told: watch::Sender::default(),
            watchers: AtomicUsize::new(0),
        }));
        let asking = feed.clone();
        lifecycle.supervise("the feed", |stopping| async move {
            stopping.run_until_cancelled(asking.ask_on(updates)).await;
        });
        feed
    }

    /// What is known to a request that begins now. Waits for the database, if the last answer is too old.
    pub async fn current(&self) -> Result<Current, AppError> {
        let begun = Moment::now();
        if let Some(current) = self.known().usable_at(begun) {
            return Ok(current);
        }
        let _waiting = waits::begin(Wait::Feed);
        let mut told = self.0.told.subscribe();
        loop {
            // Only after this is it known what is told from now on.
            told.mark_unchanged();
            {
                let known = self.known();
                if let Some(current) = known.usable_at(begun) {
                    return Ok(current);
                }
                if let Some(cause) = &known.outage {
                    return known.as_of_then(self.0.config.stale_if_error).ok_or_else(|| AppError::no_database(cause));
                }
            }
            {
                let mut wanted = self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                *wanted = begun.max(*wanted);
            }
            self.0.wake.notify_one();
            // Also when the task that asks is gone, which ends the replica.
            let answered = tokio::time::timeout(PATIENCE * 2, told.changed()).await;
            let Ok(_) = answered else { return Err(AppError::no_database("nobody asks it what has changed")) };
        }
    }

    /// Whether something has not changed since an answer, as far as is known.
    #[must_use]
    pub fn is_unchanged(&self, scope: Scope, since: u64) -> bool {
        self.known().is_unchanged(scope, since)
    }

    /// Goes on asking for as long as the value is kept, so that changes are passed on soon.
    #[must_use]
    pub fn watch(&self) -> Watching {
        self.0.watchers.fetch_add(1, Ordering::Relaxed);
        self.0.wake.notify_one();
        Watching(self.clone())
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks whenever somebody wants to know, for ever.
    async fn ask_on(&self, updates: mpsc::UnboundedSender<Released>) {
        let mut asking = Asking::default();
        loop {
            self.wait_until_wanted().await;
            let begun = Moment::now();
            let outcome = tokio::time::timeout(PATIENCE, asking.ask(&self.0.config)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(db::silence(PATIENCE)));
            match outcome {
                Ok(answered) => {
                    if asking.failing_since.take().is_some() {
                        tracing::info!("the database answers again");
                    }
                    let update = self.note(answered);
                    if !matches!(&update, Update::Changes(changes) if changes.is_empty()) {
                        // From then on, every replica answers from a question that was sent after the commit.
                        let release = Instant::now() + CommitWait::of(self.0.config.interval).duration();
                        // Nobody is left to be told when the replica ends.
                        let _ = updates.send((release, update));
                    }
                }
                Err(error) => {
                    asking.connection = None;
                    let since = *asking.failing_since.get_or_insert(begun);
                    if since.elapsed() >= PATIENCE {
                        self.note_outage(&error);
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn wait_until_wanted(&self) {
        loop {
            let tick = {
                let known = self.known();
                let wanted = *self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                let is_waiting = wanted > Moment::default() && known.usable_at(wanted).is_none();
                if is_waiting || known.outage.is_some() {
                    return;
                }
                let tick = self.0.config.interval.max(SHORTEST_TICK);
                (self.0.watchers.load(Ordering::Relaxed) > 0).then(|| tick.saturating_sub(known.asked_at.elapsed()))
            };
            match tick {
                Some(Duration::ZERO) => return,
                // Whichever comes first.
                Some(pause) => drop(tokio::time::timeout(pause, self.0.wake.notified()).await),
                None => self.0.wake.notified().await,
            }
        }
    }

    fn note(&self, answered: Answered) -> Update {
        let update = {
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            known.note(answered)
        };
        self.0.told.send_modify(|told| *told += 1);
        update
    }

    fn note_outage(&self, error: &db::Error) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.outage.is_none() {
            tracing::warn!(%error, "the database does not answer; pages that are kept are shown as of when it did");
        }
        known.outage = Some(error.to_string());
        drop(known);
        self.0.told.send_modify(|told| *told += 1);
    }
}

impl Known {
    /// What a request that began at this moment may be answered from.
    fn usable_at(&self, begun: Moment) -> Option<Current> {
        let is_usable = self.answer > 0 && self.asked_at.after(self.usable) >= begun;
        is_usable.then_some(Current { answer: self.answer, as_of: None })
    }

    fn is_unchanged(&self, scope: Scope, since: u64) -> bool {
        self.anything <= since && self.changed.get(&scope).is_none_or(|answer| *answer <= since)
    }

    /// What was known when the database still answered, if that is not too long ago.
    fn as_of_then(&self, longest: Duration) -> Option<Current> {
        let as_of = self.asked_on.filter(|_| self.asked_at.elapsed() < longest)?;
        Some(Current { answer: self.answer, as_of: Some(as_of) })
    }

    fn note(&mut self, answered: Answered) -> Update {
        self.answer += 1;
        self.asked_at = answered.asked_at;
        self.asked_on = Some(answered.asked_on);
        self.usable = answered.usable;
        self.outage = None;
        let mut anything = false;
        match &answered.answer {
            Answer::Anything => anything = true,
            Answer::Changes(changes) => {
                for change in changes {
                    // What every page shows.
                    let Some(board) = change.board else {
                        anything = true;
                        break;
                    };
                    let scopes = [Some(Scope::Site), Some(Scope::Board(board)), change.thread.map(Scope::Thread)];
                    self.changed.extend(scopes.into_iter().flatten().map(|scope| (scope, self.answer)));
                }
            }
        }
        if anything || self.changed.len() > MOST_SCOPES {
            self.anything = self.answer;
            self.changed.clear();
        }
        match answered.answer {
            Answer::Changes(changes) if !anything => Update::Changes(changes),
            Answer::Changes(changes) if changes.iter().any(|change| change.what == What::Boards) => Update::Boards,
            _ => Update::Anything,
        }
    }
}

/// The side of the feed that talks to the database.
#[derive(Debug, Default)]
struct Asking {
    connection: Option<db::feed::Feed>,
    last_asked: Moment,
    /// When the first of the attempts began that have failed since the last answer.
    failing_since: Option<Moment>,
    neighbours_seen: Moment,
    /// How long after a commit the least patient replica answers.
    shortest_commit_wait: Duration,
}

/// An answer, and when it was asked for.
#[derive(Debug)]
struct Answered {
    asked_at: Moment,
    asked_on: SystemTime,
    usable: Duration,
    answer: Answer,
}

impl Asking {
    async fn ask(&mut self, config: &FeedConfig) -> Result<Answered, db::Error> {
        let connection = if let Some(connection) = &mut self.connection {
            connection
        } else {
            self.neighbours_seen = Moment::default();
            let name = application_name(config.interval);
            self.connection.insert(db::feed::Feed::open(&config.database, &name).await?)
        };
        if self.neighbours_seen.elapsed() >= NEIGHBOURS {
            self.neighbours_seen = Moment::now();
            // A replica of another release, or with another setting, may answer sooner than this one counts on.
            self.shortest_commit_wait = connection.shortest_commit_wait().await?.unwrap_or_default();
        }
        if self.last_asked.elapsed() >= LONGEST_GAP {
            connection.forget();
        }
        let (asked_at, asked_on) = (Moment::now(), SystemTime::now());
        let answer = connection.ask().await?;
        self.last_asked = asked_at;
        // One that shows a pooler in between is the first that is not to be used for longer.
        let usable =
            if connection.sees_neighbours() { config.interval.min(self.shortest_commit_wait) } else { Duration::ZERO };
        Ok(Answered { asked_at, asked_on, usable, answer })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::{BoardId, PostNo};

    const INTERVAL: Duration = Duration::from_millis(20);

    fn answered(asked_at: Moment, answer: Answer) -> Answered {
        Answered { asked_at, asked_on: SystemTime::UNIX_EPOCH, usable: INTERVAL, answer }
    }

    fn posted(board: Option<i16>, thread: Option<i32>) -> Published {
        Published {
            what: What::Posted,
            changed_at: DateTime::UNIX_EPOCH,
            board: board.map(BoardId),
            board_version: Some(2),
            thread: thread.map(PostNo),
            thread_version: Some(2),
            post: None,
        }
    }

    #[test]
    fn an_answer_is_used_for_requests_that_begin_within_the_interval_after_its_question() {
        let asked_at = Moment::now();
        let mut known = Known::default();
        assert_eq!(known.usable_at(asked_at), None, "nothing is known before the first answer");
        known.note(answered(asked_at, Answer::Anything));
        assert!(known.usable_at(asked_at).is_some());
        assert!(known.usable_at(asked_at.after(INTERVAL)).is_some());
        assert_eq!(known.usable_at(asked_at.after(INTERVAL + Duration::from_nanos(1))), None);
    }

    #[test]
    fn a_change_concerns_its_thread_its_board_and_the_home_page() {
        let mut known = Known::default();
        known.note(answered(Moment::now(), Answer::Anything));
        let update = known.note(answered(Moment::now(), Answer::Changes(vec![posted(Some(1), Some(7))])));
        assert!(matches!(update, Update::Changes(changes) if changes.len() == 1));
        for scope in [Scope::Site, Scope::Board(BoardId(1)), Scope::Thread(PostNo(7))] {
            assert!(!known.is_unchanged(scope, 1), "{scope:?} as it was read after the first answer");
            assert!(known.is_unchanged(scope, 2), "{scope:?} as it was read after the second");
        }
        for scope in [Scope::Board(BoardId(2)), Scope::Thread(PostNo(8))] {
            assert!(known.is_unchanged(scope, 1), "{scope:?}");
        }
    }

    #[test]
    fn everything_counts_as_changed_after_a_gap_with_the_site_and_when_too_much_has_changed() {
        let many = i32::try_from(MOST_SCOPES).unwrap();
        let answers = [
            Answer::Anything,
            Answer::Changes(vec![posted(None, None)]),
            Answer::Changes((0..many).map(|thread| posted(Some(1), Some(thread))).collect()),
        ];
        for answer in answers {
            let mut known = Known::default();
            known.note(answered(Moment::now(), Answer::Anything));
            known.note(answered(Moment::now(), answer));
            assert!(!known.is_unchanged(Scope::Thread(PostNo(0)), 1));
            assert!(known.is_unchanged(Scope::Thread(PostNo(0)), 2));
            assert!(known.changed.is_empty());
        }
    }

    #[test]
    fn what_was_known_before_an_outage_is_told_for_a_while() {
        let mut known = Known::default();
        assert_eq!(known.as_of_then(Duration::from_hours(1)), None);
        known.note(answered(Moment::now(), Answer::Anything));
        let told = known.as_of_then(Duration::from_hours(1)).unwrap();
        assert_eq!(told, Current { answer: 1, as_of: Some(SystemTime::UNIX_EPOCH) });
        assert_eq!(known.as_of_then(Duration::ZERO), None);
    }
}
