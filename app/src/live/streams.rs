//! Event streams: who watches a board or a thread, and what they are told.
//!
//! All who watch the same thing get the same bytes, in blocks that are made once for each tick of the feed. Versions have no
//! gaps, so a block that does not follow the one before shows that something is missing; then it is read from the table
//! of changes. So is what a stream has missed that comes back or falls behind. Must not know HTTP.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::feed::{Feed, Update, Watching};
use crate::config::StreamLimits;
use crate::db::changes::{Position, Published, What, position, since};
use crate::db::versions::Scope;
use crate::db::{self, PgPool};
use crate::domain::{PostNo, Refusal};
use crate::error::AppError;
use crate::freshness::CommitWait;
use crate::lifecycle::Lifecycle;
use crate::metrics::Counted;

/// Blocks that are kept of each board or thread, for streams that are a little behind.
const KEPT_BLOCKS: usize = 32;
/// Whoever has missed more changes than this loads the page anew.
const MOST_MISSED: i64 = 1000;

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

/// Something that somebody watches.
#[derive(Debug)]
struct Topic {
    /// What its events call the board.
    board: Arc<str>,
    /// As far as it was told, if that is known.
    told: Option<Position>,
    /// The last blocks, and how many there were before them.
    blocks: VecDeque<Block>,
    dropped: u64,
    watchers: usize,
    news: watch::Sender<()>,
}

/// What is told at a time.
#[derive(Debug, Clone)]
struct Block {
    /// As far as it goes.
    position: Position,
    text: Bytes,
    /// Who has read further in the table need not be told, unless this says that history is another one.
    is_reload: bool,
    /// There is nothing left to watch.
    is_last: bool,
}

/// What has happened to one thread, as a stream tells it.
#[derive(Debug, Serialize)]
struct Event<'a> {
    board: &'a str,
    thread: PostNo,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    posted: Vec<PostNo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<PostNo>,
    /// Posts whose pictures were deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<PostNo>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    archived: bool,
    /// The whole thread was deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

/// One stream. Counted until it is dropped.
#[derive(Debug)]
pub struct Stream {
    streams: Streams,
    scope: Scope,
    address: IpAddr,
    board: Arc<str>,
    seen: Position,
    /// The number of the next block of the topic.
    next: u64,
    /// What is sent before anything else.
    first: Option<Bytes>,
    ended: bool,
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
        updates: mpsc::UnboundedReceiver<Update>,
    ) -> Self {
        let streams = Self(Arc::new(Shared { pool, feed, commit_wait, limits, open, watched: Mutex::default() }));
        let telling = streams.clone();
        lifecycle.supervise("event streams", |stopping| async move {
            stopping.run_until_cancelled(telling.tell(updates)).await;
            stopping.cancelled().await;
        });
        streams
    }

    /// Opens a stream of what happens to a board or thread from a position on; without one, from now on. `board` is what
    /// events call the board.
    ///
    /// # Errors
    /// Too many streams are open, there is no such thing, or the database does not answer.
    pub async fn open(
        &self,
        scope: Scope,
        board: &str,
        address: IpAddr,
        after: Option<Position>,
    ) -> Result<Option<Stream>, AppError> {
        // Listens first and reads then, so that nothing falls in between.
        let mut stream = self.listen(scope, board, address)?;
        let read = Box::pin(db::in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            position(&mut connection, scope).await
        }));
        let Some(now) = read.await? else { return Ok(None) };
        if let Some(topic) = self.watched().topics.get_mut(&scope) {
            topic.told.get_or_insert(now);
        }
        stream.seen = after.unwrap_or(now);
        if stream.seen == now {
            // Nothing to dispatch, but whoever comes back says how far it had got.
            stream.first = Some(format!("id: {now}\n\n").into());
        } else {
            stream.first = stream.catch_up().await?;
        }
        Ok(Some(stream))
    }

    fn listen(&self, scope: Scope, board: &str, address: IpAddr) -> Result<Stream, AppError> {
        let address = network(address);
        let mut watched = self.watched();
        let StreamLimits { most, per_address } = self.0.limits;
        if watched.streams >= most {
            return Err(Refusal::TooManyStreams { most: None }.into());
        }
        let from_here = watched.by_address.entry(address).or_default();
        if *from_here >= per_address {
            return Err(Refusal::TooManyStreams { most: Some(per_address) }.into());
        }
        *from_here += 1;
        watched.streams += 1;
        let topic = watched.topics.entry(scope).or_insert_with(|| Topic {
            board: board.into(),
            told: None,
            blocks: VecDeque::new(),
            dropped: 0,
            watchers: 0,
            news: watch::Sender::default(),
        });
        topic.watchers += 1;
        Ok(Stream {
            streams: self.clone(),
            scope,
            address,
            board: Arc::clone(&topic.board),
            seen: Position { version: 0, changed_at: 0 },
            next: topic.end(),
            first: None,
            ended: false,
            news: topic.news.subscribe(),
            _watching: self.0.feed.watch(),
            _counted: Counted::new(&self.0.open),
        })
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell(&self, mut updates: mpsc::UnboundedReceiver<Update>) {
        while let Some(update) = updates.recv().await {
            let unclear = {
                let mut watched = self.watched();
                match update {
                    Update::Changes(changes) => {
                        let mut concerned = by_scope(&changes);
                        concerned.retain(|scope, changes| {
                            watched.topics.get_mut(scope).is_some_and(|topic| !topic.tell(*scope, changes))
                        });
                        concerned.into_keys().collect()
                    }
                    Update::Anything => watched.topics.keys().copied().collect::<Vec<Scope>>(),
                }
            };
            for scope in unclear {
                self.read_on(scope).await;
            }
        }
    }

    /// Reads from the table what those who watch something have not been told yet.
    async fn read_on(&self, scope: Scope) {
        let known = {
            let mut watched = self.watched();
            let Some(topic) = watched.topics.get_mut(&scope) else { return };
            // Not known yet: whoever opens the first stream is reading it at this moment.
            topic.told.map(|told| (Arc::clone(&topic.board), told))
        };
        let missed = match known {
            Some((board, told)) => self.missed(scope, &board, told).await,
            None => Ok(None),
        };
        let mut watched = self.watched();
        let Some(topic) = watched.topics.get_mut(&scope) else { return };
        match missed {
            Ok(Some(block)) => topic.push(block),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "event streams find out for themselves what they have missed");
                topic.forget();
            }
        }
    }

    /// What has happened to something since a position, from the table, as soon as every replica can show it.
    async fn missed(&self, scope: Scope, board: &str, seen: Position) -> Result<Option<Block>, AppError> {
        // In a box, because it is large, and a stream that has nothing to catch up with should be small.
        let read = Box::pin(db::in_time(async {
            let mut connection = self.0.pool.acquire().await?;
            let mut snapshot = connection.snapshot().await?;
            let now = position(&mut snapshot, scope).await?;
            let changes = since(&mut snapshot, scope, seen.version, MOST_MISSED + 1).await?;
            Ok((now, changes))
        }));
        let (now, changes) = read.await?;
        if now == Some(seen) {
            return Ok(None);
        }
        self.0.commit_wait.pass().await;
        let Some(now) = now else { return Ok(Some(Block::gone(scope, board, seen))) };
        Ok(Some(Block::missed(scope, board, seen, now, &changes)))
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

impl Topic {
    /// The number that the next block will have.
    fn end(&self) -> u64 {
        self.dropped + self.blocks.len() as u64
    }

    fn push(&mut self, block: Block) {
        self.told = Some(block.position);
        if self.blocks.len() == KEPT_BLOCKS {
            self.blocks.pop_front();
            self.dropped += 1;
        }
        self.blocks.push_back(block);
        self.news.send_replace(());
    }

    /// Makes every stream read for itself what it has missed.
    fn forget(&mut self) {
        self.told = None;
        // One more than there were: even who has seen the last one has missed something.
        self.dropped = self.end() + 1;
        self.blocks.clear();
        self.news.send_replace(());
    }

    /// Tells what has changed. `false`: something is missing in between.
    fn tell(&mut self, scope: Scope, changes: &[&Published]) -> bool {
        if matches!(scope, Scope::Thread(_)) && changes.iter().any(|change| change.what == What::ThreadDeleted) {
            let told = self.told.unwrap_or_default();
            self.push(Block::gone(scope, &self.board, told));
            return true;
        }
        let mut positions = changes.iter().filter_map(|change| change.position(scope));
        let Some(first) = positions.next() else { return true };
        let position = positions.next_back().unwrap_or(first);
        if let Some(told) = self.told {
            // Read from the table already.
            if position.version <= told.version {
                return true;
            }
            if first.version != told.version + 1 {
                return false;
            }
        }
        let text = text(&self.board, changes, position).into();
        self.push(Block { position, text, is_reload: false, is_last: false });
        true
    }
}

impl Block {
    /// Says that a thread was deleted. A board is not, but its list may end.
    fn gone(scope: Scope, board: &str, seen: Position) -> Self {
        let text = match scope {
            Scope::Thread(thread) => data(&Event { gone: true, ..Event::of(board, thread) }),
            Scope::Board(_) | Scope::Site => reload(seen),
        };
        Self { position: seen, text: text.into(), is_reload: true, is_last: true }
    }

    /// What happened between two positions, if the table still has all of it and is of the same history.
    fn missed(scope: Scope, board: &str, seen: Position, now: Position, changes: &[Published]) -> Self {
        let placed: Vec<(Position, &Published)> =
            changes.iter().filter_map(|change| Some((change.position(scope)?, change))).collect();
        let same_history = placed.iter().all(|(at, _)| at.version != seen.version || *at == seen);
        let newer = placed.iter().filter(|(at, _)| at.version > seen.version);
        let mut last = seen;
        let is_complete = newer.clone().all(|(at, _)| {
            let follows = *at == last || at.version == last.version + 1 && at.changed_at > last.changed_at;
            last = *at;
            follows
        });
        if same_history && is_complete && last == now {
            let newer: Vec<&Published> = newer.map(|(_, change)| *change).collect();
            return Self { position: now, text: text(board, &newer, now).into(), is_reload: false, is_last: false };
        }
        Self { position: now, text: reload(now).into(), is_reload: true, is_last: false }
    }
}

impl<'a> Event<'a> {
    fn of(board: &'a str, thread: PostNo) -> Self {
        Self {
            board,
            thread,
            posted: Vec::new(),
            deleted: Vec::new(),
            changed: Vec::new(),
            archived: false,
            gone: false,
        }
    }
}

/// One event for each thread. The position stands behind the last one: who has seen some of them only comes back to all.
fn text(board: &str, changes: &[&Published], position: Position) -> String {
    let mut events: BTreeMap<PostNo, Event<'_>> = BTreeMap::new();
    let mut is_known = true;
    for change in changes {
        let Some(thread) = change.thread.filter(|_| change.what != What::Unknown) else {
            is_known = false;
            continue;
        };
        let event = events.entry(thread).or_insert_with(|| Event::of(board, thread));
        match change.what {
            What::Posted => event.posted.extend(change.post),
            What::Deleted => {
                event.posted.retain(|no| Some(*no) != change.post);
                event.changed.retain(|no| Some(*no) != change.post);
                event.deleted.extend(change.post);
            }
            What::PicturesDeleted => event.changed.extend(change.post),
            What::Archived => event.archived = true,
            What::ThreadDeleted => event.gone = true,
            What::Boards | What::Fingerprint | What::Unknown => {}
        }
    }
    let mut text = String::new();
    let last = events.len().saturating_sub(1);
    for (place, event) in events.values().enumerate() {
        if place == last && is_known {
            let _ = writeln!(text, "id: {position}");
        }
        text.push_str(&data(event));
    }
    if !is_known {
        text.push_str(&reload(position));
    }
    text
}

fn data(event: &Event<'_>) -> String {
    // Numbers and one short name always have a form in JSON.
    format!("data: {}\n\n", serde_json::to_string(event).unwrap_or_default())
}

/// Tells a client to load the page anew, because it is not known what has changed.
fn reload(position: Position) -> String {
    format!("event: reload\nid: {position}\ndata: {{}}\n\n")
}

impl Stream {
    /// What to send next; waits until there is something. `None` when there is nothing left to watch.
    ///
    /// # Errors
    /// The database does not answer, and something is missing: whoever watches has to come back.
    pub async fn next(&mut self) -> Result<Option<Bytes>, AppError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        while !self.ended {
            self.news.mark_unchanged();
            match self.step() {
                Step::Send(text) => return Ok(Some(text)),
                Step::Wait => self.news.changed().await.map_err(|_| ended())?,
                Step::CatchUp => {
                    if let Some(text) = self.catch_up().await? {
                        return Ok(Some(text));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The blocks that this stream has not sent yet.
    fn step(&mut self) -> Step {
        let watched = self.streams.watched();
        let Some(topic) = watched.topics.get(&self.scope) else { return Step::Wait };
        let (next, end) = (self.next, topic.end());
        self.next = end;
        let Some(behind) = next.checked_sub(topic.dropped) else { return Step::CatchUp };
        let mut text = Vec::new();
        for block in topic.blocks.iter().skip(usize::try_from(behind).unwrap_or(usize::MAX)) {
            self.ended |= block.is_last;
            if block.is_reload || block.position.version > self.seen.version {
                text.extend_from_slice(&block.text);
                self.seen = block.position;
            }
        }
        if text.is_empty() { Step::Wait } else { Step::Send(text.into()) }
    }

    /// What has happened since, from the table.
    async fn catch_up(&mut self) -> Result<Option<Bytes>, AppError> {
        let Some(block) = self.streams.missed(self.scope, &self.board, self.seen).await? else { return Ok(None) };
        self.seen = block.position;
        self.ended = block.is_last;
        Ok(Some(block.text))
    }
}

enum Step {
    Send(Bytes),
    Wait,
    CatchUp,
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
