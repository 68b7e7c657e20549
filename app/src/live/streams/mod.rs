//! Event streams: who watches a board or a thread, and what they are told.
//!
//! All who watch the same thing get the same bytes, in blocks that are made once for each tick of the feed. Versions have no
//! gaps, so a block that does not follow the one before shows that something is missing; then it is read from the table
//! of changes. So is what a stream has missed that comes back or falls behind. Must not know HTTP.

mod text;
mod topic;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use self::topic::{Block, MOST_MISSED, Reader, Step, Topic};
use super::feed::{Feed, Released, Update, Watching};
use crate::config::StreamLimits;
use crate::db::changes::Published;
use crate::db::positions::{Position, positions, since};
use crate::db::versions::Scope;
use crate::db::{self, PgPool};
use crate::domain::Refusal;
use crate::error::AppError;
use crate::freshness::CommitWait;
use crate::lifecycle::Lifecycle;
use crate::metrics::Counted;

/// How soon the table is read again that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Event streams of one replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: PgPool,
    feed: Feed,
    commit_wait: CommitWait,
    limits: StreamLimits,
    open: prometheus_client::metrics::gauge::Gauge,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    topics: HashMap<Scope, Topic>,
    /// Streams of each address, and of all together.
    by_address: HashMap<IpAddr, usize>,
    streams: usize,
}

/// One stream. Counted until it is dropped.
#[derive(Debug)]
pub struct Stream {
    streams: Streams,
    scope: Scope,
    address: IpAddr,
    board: Arc<str>,
    reader: Reader,
    /// What is sent before anything else.
    first: Option<Bytes>,
    news: watch::Receiver<()>,
    _watching: Watching,
    _counted: Counted,
}

impl Streams {
    /// Starts the task that tells what has changed.
    #[must_use]
    pub fn start(
        pool: PgPool,
        feed: Feed,
        commit_wait: CommitWait,
        limits: StreamLimits,
        open: prometheus_client::metrics::gauge::Gauge,
        lifecycle: &Lifecycle,
        updates: mpsc::UnboundedReceiver<Released>,
    ) -> Self {
        let streams = Self(Arc::new(Shared { pool, feed, commit_wait, limits, open, watched: Mutex::default() }));
        let telling = streams.clone();
        lifecycle.supervise("event streams", |stopping| async move {
            stopping.run_until_cancelled(telling.tell(updates)).await;
            // Without the feed there is nothing to tell, but then it is the feed that has failed.
            stopping.cancelled().await;
        });
        streams
    }

    /// Opens a stream of what happens to a board or thread from a position on; without one, from now on. `board` is what
    /// events call the board.
    ///
    /// # Errors
    /// Too many streams are open, or the database does not answer. `None`: there is no such thing.
    pub async fn open(
        &self,
        scope: Scope,
        board: &str,
        address: IpAddr,
        after: Option<Position>,
    ) -> Result<Option<Stream>, AppError> {
        // Listens first and reads then, so that nothing falls in between.
        let mut stream = self.listen(scope, board, address)?;
        let Some(now) = self.positions(&[scope]).await?.remove(&scope) else { return Ok(None) };
        if let Some(topic) = self.watched().topics.get_mut(&scope) {
            stream.reader.begin(topic, now, after);
        }
        if stream.reader.seen() != now {
            stream.first = stream.catch_up().await?;
            return Ok(Some(stream));
        }
        if after.is_none() {
            // Whoever reads the page when the stream has begun is to find all that the stream will not tell.
            self.0.commit_wait.pass().await;
        }
        stream.first = Some(text::position(now).into());
        Ok(Some(stream))
    }

    fn listen(&self, scope: Scope, board: &str, address: IpAddr) -> Result<Stream, AppError> {
        let address = network(address);
        let mut watched = self.watched();
        let StreamLimits { most, per_address } = self.0.limits;
        if watched.streams >= most {
            return Err(Refusal::TooManyStreams { most: None }.into());
        }
        let from_here = watched.by_address.get(&address).copied().unwrap_or_default();
        if from_here >= per_address {
            return Err(Refusal::TooManyStreams { most: Some(per_address) }.into());
        }
        watched.by_address.insert(address, from_here + 1);
        watched.streams += 1;
        let topic = watched.topics.entry(scope).or_insert_with(|| Topic::new(board));
        topic.watchers += 1;
        Ok(Stream {
            streams: self.clone(),
            scope,
            address,
            board: Arc::clone(&topic.board),
            reader: Reader::of(topic),
            first: None,
            news: topic.news.subscribe(),
            _watching: self.0.feed.watch(),
            _counted: Counted::new(&self.0.open),
        })
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell(&self, mut updates: mpsc::UnboundedReceiver<Released>) {
        // What has changed in a way that is not known.
        let mut unclear = HashSet::new();
        loop {
            let pause = if unclear.is_empty() { Duration::MAX } else { RETRY };
            match tokio::time::timeout(pause, updates.recv()).await {
                Ok(Some((release, update))) => {
                    tokio::time::sleep_until(release).await;
                    unclear.extend(self.pass_on(update));
                }
                Ok(None) => return,
                Err(_) => {}
            }
            unclear = self.read_on(unclear).await;
        }
    }

    /// Answers of what it is not clear how it has changed.
    fn pass_on(&self, update: Update) -> HashSet<Scope> {
        let mut watched = self.watched();
        match update {
            Update::Changes(changes) => {
                let mut concerned = by_scope(&changes);
                concerned.retain(|scope, changes| {
                    watched.topics.get_mut(scope).is_some_and(|topic| !topic.tell(*scope, changes))
                });
                concerned.into_keys().collect()
            }
            Update::Boards => {
                watched.topics.values_mut().for_each(Topic::tell_to_reload);
                watched.topics.keys().copied().collect()
            }
            Update::Anything => watched.topics.keys().copied().collect(),
        }
    }

    /// Reads from the table what those who watch something have not been told yet. Answers what is still unclear.
    async fn read_on(&self, unclear: HashSet<Scope>) -> HashSet<Scope> {
        let (mut told, mut still_unclear) = (HashMap::new(), HashSet::new());
        {
            let watched = self.watched();
            for scope in unclear {
                match watched.topics.get(&scope).map(|topic| (Arc::clone(&topic.board), topic.told())) {
                    Some((board, Some(position))) => drop(told.insert(scope, (board, position))),
                    // Whoever opens the first stream is finding out at this moment, and may have read too early.
                    Some((_, None)) => drop(still_unclear.insert(scope)),
                    // Nobody watches it any more.
                    None => {}
                }
            }
        }
        if told.is_empty() {
            return still_unclear;
        }
        let scopes: Vec<Scope> = told.keys().copied().collect();
        let now = match self.positions(&scopes).await {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!(%error, "those who watch are not told yet what has changed");
                return still_unclear.into_iter().chain(scopes).collect();
            }
        };
        // Mostly nothing has happened to most of them.
        told.retain(|scope, (_, position)| now.get(scope) != Some(position));
        let mut blocks = Vec::new();
        for (scope, (board, position)) in told {
            match self.read_missed(scope, &board, position).await {
                Ok(block) => blocks.extend(block.map(|block| (scope, position, block))),
                Err(error) => {
                    tracing::warn!(%error, "those who watch something are not told yet what has changed");
                    still_unclear.insert(scope);
                }
            }
        }
        if blocks.is_empty() {
            return still_unclear;
        }
        self.0.commit_wait.pass().await;
        let mut watched = self.watched();
        for (scope, position, block) in blocks {
            // Another one, if everybody has gone meanwhile and somebody else has come.
            if let Some(topic) = watched.topics.get_mut(&scope).filter(|topic| topic.told() == Some(position)) {
                topic.push(block);
            }
        }
        still_unclear
    }

    async fn positions(&self, scopes: &[Scope]) -> Result<HashMap<Scope, Position>, AppError> {
        // In a box, because it is large, and a stream that waits should be small.
        let read = Box::pin(db::in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            positions(&mut connection, scopes).await
        }));
        Ok(read.await?)
    }

    /// What has happened to something since a position, from the table. Other replicas need not show it yet.
    async fn read_missed(&self, scope: Scope, board: &str, seen: Position) -> Result<Option<Block>, AppError> {
        // In a box for the same reason.
        let read = Box::pin(db::in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            let mut snapshot = connection.snapshot().await?;
            let now = positions(&mut snapshot, &[scope]).await?.remove(&scope);
            let rows = since(&mut snapshot, scope, seen.version, MOST_MISSED + 1).await?;
            Ok((now, rows))
        }));
        let (now, rows) = read.await?;
        Ok(match now {
            Some(now) if now == seen => None,
            Some(now) => Some(Block::missed(scope, board, seen, now, &rows)),
            None => Some(Block::gone(scope, board, seen)),
        })
    }
}

/// Visitors are told apart by address; with IPv6, everybody has a network.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The changes of every board and thread that is concerned, in order.
fn by_scope(changes: &[Published]) -> HashMap<Scope, Vec<&Published>> {
    let mut by_scope: HashMap<Scope, Vec<&Published>> = HashMap::new();
    for change in changes {
        if let Some(thread) = change.thread {
            by_scope.entry(Scope::Thread(thread)).or_default().push(change);
        }
        if let Some(board) = change.board.filter(|_| change.board_version.is_some()) {
            by_scope.entry(Scope::Board(board)).or_default().push(change);
        }
    }
    by_scope
}

impl Stream {
    /// What to send next; waits until there is something. `None` when there is nothing left to watch. Whoever gives the
    /// wait up and asks again misses nothing.
    ///
    /// # Errors
    /// The database does not answer, and something is missing: whoever watches has to come back.
    pub async fn next(&mut self) -> Result<Option<Bytes>, AppError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        loop {
            self.news.mark_unchanged();
            match self.step() {
                Step::Send(text) => return Ok(Some(text)),
                Step::Wait => self.news.changed().await.map_err(|_| ended())?,
                Step::CatchUp => {
                    if let Some(text) = self.catch_up().await? {
                        return Ok(Some(text));
                    }
                }
                Step::End => return Ok(None),
            }
        }
    }

    fn step(&mut self) -> Step {
        let watched = self.streams.watched();
        watched.topics.get(&self.scope).map_or(Step::End, |topic| self.reader.read(topic))
    }

    /// What has happened since, from the table, as soon as every replica can show it.
    async fn catch_up(&mut self) -> Result<Option<Bytes>, AppError> {
        let block = self.streams.read_missed(self.scope, &self.board, self.reader.seen()).await?;
        if block.is_some() {
            self.streams.0.commit_wait.pass().await;
        }
        self.reader.caught_up(block.as_ref());
        Ok(block.map(|block| block.text))
    }
}

fn ended() -> AppError {
    AppError::Internal("the event streams have ended".to_owned())
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut watched = self.streams.watched();
        watched.streams -= 1;
        if let Some(from_here) = watched.by_address.get_mut(&self.address) {
            *from_here -= 1;
            if *from_here == 0 {
                watched.by_address.remove(&self.address);
            }
        }
        if let Some(topic) = watched.topics.get_mut(&self.scope) {
            topic.watchers -= 1;
            if topic.watchers == 0 {
                watched.topics.remove(&self.scope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_is_an_address_or_a_network_of_ipv6() {
        let network = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(network("198.51.100.7"), "198.51.100.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
