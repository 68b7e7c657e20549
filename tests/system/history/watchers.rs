//! Clients that keep a stream of events open, of a board or of a thread, and come back to another site when it ends.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use reqwest::StatusCode;
use tokio::{sync::watch, time::Instant};
use triptych_tests::{
    Visitor,
    events::{Event, EventSource, EventStream, Opened},
    history::{Cut, Moment, No, Stream, Told},
    http::JSON,
    watcher::ThreadEvent,
};

use super::{
    clients::{Client, View},
    recorder::{BOARDS, Recorder},
};
use crate::board::LIMIT;

/// Before the next connection. Shorter than streams ask for, so that a test sees many of them.
const PAUSE: std::ops::Range<u64> = 0..300;
/// Events after which a client goes away by itself, and comes back.
const PATIENCE: std::ops::Range<usize> = 5..100;

/// The last posts of all, one in every thread: whoever was told of them was told everything.
pub(super) type Markers = Option<Arc<Vec<Marker>>>;

/// See [`Markers`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Marker {
    pub(super) board: &'static str,
    pub(super) thread: No,
    pub(super) no: No,
    /// Before it was sent.
    pub(super) begin: Moment,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There is more to come on another one.
    Connection,
    /// There is nothing more to come.
    Stream,
}

/// See the module.
pub(super) struct Watcher<'a> {
    recorder: &'a Recorder,
    sites: Vec<Visitor>,
    random: StdRng,
    /// Reads what events tell of.
    reader: Client<'a>,
    markers: watch::Receiver<Markers>,
    source: EventSource,
    stream: Stream,
    /// The position of the last event.
    position: String,
    /// When the markers were there.
    closing: Option<Instant>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        recorder: &'a Recorder,
        sites: &[String],
        markers: &watch::Receiver<Markers>,
        mut random: StdRng,
    ) -> Result<Self> {
        let visitors = sites.iter().map(|site| Ok(Visitor::new(site)?.accepting(JSON)));
        let site = random.random_range(0..sites.len());
        Ok(Self {
            recorder,
            sites: visitors.collect::<Result<_>>()?,
            reader: Client::new(recorder, sites, site, fork(&mut random))?,
            random,
            markers: markers.clone(),
            source: EventSource::new(""),
            stream: stream("", None),
            position: String::new(),
            closing: None,
        })
    }

    /// Watches a board until the markers are told.
    pub(super) async fn watch_board(mut self, number: usize) -> Result<()> {
        let board = BOARDS.get(number % BOARDS.len()).context("no boards")?;
        self.watch(board, None).await
    }

    /// Watches one thread after the other until the markers are told.
    pub(super) async fn watch_threads(mut self) -> Result<()> {
        while self.markers.borrow().is_none() {
            let board = BOARDS.choose(&mut self.random).context("no boards")?;
            match self.recorder.some_thread(board, &mut self.random) {
                Some(thread) => self.watch(board, Some(thread)).await?,
                None => self.pause().await,
            }
        }
        Ok(())
    }

    async fn watch(&mut self, board: &'static str, thread: Option<No>) -> Result<()> {
        let path = thread.map_or_else(|| format!("/{board}/events"), |no| format!("/{board}/res/{no}/events"));
        self.source = EventSource::new(&path);
        self.stream = stream(board, thread);
        while self.connect().await? == End::Connection {
            self.pause().await;
        }
        let closed = self.recorder.now();
        self.recorder.stream(Stream { closed, ..std::mem::replace(&mut self.stream, stream(board, thread)) });
        Ok(())
    }

    async fn connect(&mut self) -> Result<End> {
        if self.is_told() {
            return Ok(End::Stream);
        }
        let site = self.random.random_range(0..self.sites.len());
        let visitor = self.sites.get(site).context("no such site")?.clone();
        let begin = self.recorder.now();
        let what = format!("the stream of {} {:?}", self.stream.board, self.stream.thread);
        let mut connection = match self.source.open(&visitor).await {
            Ok(Opened::Stream(connection)) => connection,
            Ok(Opened::Refused(answer)) if answer.status == StatusCode::NOT_FOUND && self.stream.thread.is_some() => {
                // As good as the event. That it was ever deleted is the reader's to check.
                let thread = self.stream.thread.unwrap_or_default();
                self.recorder.no_thread(site, begin, thread);
                self.stream.told.push(Told { at: self.recorder.now(), thread, gone: true, ..Told::default() });
                return Ok(End::Stream);
            }
            Ok(Opened::Refused(answer)) => {
                if let Err(error) = answer.expect_polite_refusal(JSON) {
                    self.recorder.wrong(format!("{what} of site {site}: {error:#}"));
                }
                return Ok(End::Connection);
            }
            Err(error) => {
                self.cut(site, begin, &what, &error);
                return Ok(End::Connection);
            }
        };
        for (name, value) in [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")] {
            let told = connection.headers().get(name).and_then(|told| told.to_str().ok()).unwrap_or_default();
            if !told.starts_with(value) {
                self.recorder.wrong(format!("{what} of site {site} has the {name} {told:?}"));
            }
        }
        match self.read(&mut connection).await {
            Ok(end) => Ok(end),
            Err(error) => {
                self.cut(site, begin, &what, &error);
                Ok(End::Connection)
            }
        }
    }

    fn cut(&self, site: usize, since: Moment, what: &str, error: &anyhow::Error) {
        self.recorder.cut(Cut { site, since, end: self.recorder.now(), what: format!("{what}: {error:#}") });
    }

    /// Reads a connection to its end, or until it has had enough.
    async fn read(&mut self, connection: &mut EventStream) -> Result<End> {
        let patience = self.random.random_range(PATIENCE);
        let mut seen = 0;
        while seen < patience {
            let (closing, mut markers) = (self.closing, self.markers.clone());
            let events = tokio::select! {
                events = self.source.more(connection) => events?,
                _ = markers.changed(), if closing.is_none() => {
                    self.markers = markers;
                    self.closing = Some(Instant::now());
                    if self.is_told() {
                        return Ok(End::Stream);
                    }
                    continue;
                }
                // What never comes is found by the analysis.
                () = tokio::time::sleep_until(closing.unwrap_or_else(Instant::now) + LIMIT), if closing.is_some() => {
                    return Ok(End::Stream);
                }
            };
            // A replica that is about to end ends its streams first.
            let Some(events) = events else { return Ok(End::Connection) };
            let at = self.recorder.now();
            if self.stream.opened.is_none() && !self.source.last_id().is_empty() {
                self.stream.opened = Some(at);
                self.source.last_id().clone_into(&mut self.position);
                let retry = self.source.retry().unwrap_or_default().as_millis();
                ensure_that(self.recorder, (2000..6000).contains(&retry), || format!("a retry of {retry} ms"));
            }
            seen += events.len();
            for event in &events {
                if self.tell(event, at).await? == End::Stream {
                    return Ok(End::Stream);
                }
            }
        }
        Ok(End::Connection)
    }

    async fn tell(&mut self, event: &Event, at: Moment) -> Result<End> {
        if event.kind == "reload" {
            let (board, thread) = (self.stream.board, self.stream.thread);
            let mut reloaded = self.recorder.now();
            let view = if thread.is_some() { View::ThreadDocument } else { View::Catalog };
            while !self.reader.read_anywhere(view, board, thread.unwrap_or_default()).await? {
                reloaded = self.recorder.now();
            }
            self.stream.reloaded.push(reloaded);
            return Ok(self.end(event));
        }
        let Ok(data) = serde_json::from_str::<ThreadEvent>(&event.data) else {
            self.recorder.wrong(format!("the event {event:?}"));
            return Ok(End::Connection);
        };
        let ThreadEvent { board, thread, posted, deleted, changed, gone, .. } = data;
        let in_scope = board == self.stream.board && self.stream.thread.is_none_or(|only| only == thread);
        ensure_that(self.recorder, in_scope, || format!("{event:?} in the stream of {:?}", self.stream.thread));
        let first = posted.iter().min().copied();
        self.stream.told.push(Told { at, thread, posted, deleted, changed, gone });
        self.recorder.news(self.stream.board, thread);
        // At once and anywhere: nobody is told before everybody can be shown.
        let board = self.stream.board;
        let view = match first {
            Some(no) if self.random.random() => View::NewsDocument(no - 1),
            Some(no) => View::NewsPage(no - 1),
            None => View::ThreadDocument,
        };
        self.reader.read_anywhere(view, board, thread).await?;
        if gone && self.stream.thread.is_some() {
            return Ok(End::Stream);
        }
        Ok(self.end(event))
    }

    /// Whether this event, the last of its tick, completes what is to be told.
    fn end(&mut self, event: &Event) -> End {
        let is_last_of_tick = self.position != event.id;
        event.id.clone_into(&mut self.position);
        if is_last_of_tick && self.is_told() { End::Stream } else { End::Connection }
    }

    /// Whether the markers are there and every one that this stream has to tell of is told.
    fn is_told(&self) -> bool {
        let markers = self.markers.borrow();
        let Some(markers) = &*markers else { return false };
        let Stream { board, thread, told, opened, reloaded, .. } = &self.stream;
        // A stream that was promised nothing has told everything.
        let Some(opened) = opened else { return true };
        let concerned = markers.iter().filter(|marker| {
            marker.board == *board
                && thread.is_none_or(|thread| thread == marker.thread)
                && marker.begin > *opened
                && !reloaded.iter().any(|reloaded| marker.begin < *reloaded)
        });
        let told: BTreeSet<No> = told.iter().flat_map(|told| &told.posted).copied().collect();
        concerned.into_iter().all(|marker| told.contains(&marker.no))
    }

    async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.random.random_range(PAUSE))).await;
    }
}

fn ensure_that(recorder: &Recorder, so: bool, otherwise: impl FnOnce() -> String) {
    if !so {
        recorder.wrong(otherwise());
    }
}

fn fork(random: &mut StdRng) -> StdRng {
    StdRng::seed_from_u64(random.random())
}

fn stream(board: &'static str, thread: Option<No>) -> Stream {
    Stream { board, thread, opened: None, closed: Moment::MAX, told: Vec::new(), reloaded: Vec::new() }
}
