//! Somebody who watches a board or a thread, and understands what its event stream tells. Does not come back by itself when
//! the stream ends, so that a test sees what happened.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::header::{self, HeaderMap};
use serde::Deserialize;

use crate::{
    events::{Event, EventSource, EventStream, Opened},
    http::Visitor,
};

/// What a stream tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Something has happened to a thread.
    Thread(ThreadEvent),
    /// The page has to be loaded anew.
    Reload,
}

impl Told {
    /// What an event tells.
    pub fn of(event: &Event) -> Result<Self> {
        match event.kind.as_str() {
            "message" => serde_json::from_str(&event.data).map(Self::Thread).with_context(|| event.data.clone()),
            "reload" => Ok(Self::Reload),
            other => bail!("nobody knows the event {other:?}"),
        }
    }
}

/// What has happened to a thread.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadEvent {
    /// The board.
    pub board: String,
    /// The thread.
    pub thread: i64,
    /// Posts that were made.
    #[serde(default)]
    pub posted: Vec<i64>,
    /// Posts that were deleted.
    #[serde(default)]
    pub deleted: Vec<i64>,
    /// Posts whose pictures were deleted.
    #[serde(default)]
    pub changed: Vec<i64>,
    /// The thread was archived.
    #[serde(default)]
    pub archived: bool,
    /// The thread was deleted.
    #[serde(default)]
    pub gone: bool,
}

/// Somebody with an open stream.
#[derive(Debug)]
pub struct Watcher {
    source: EventSource,
    stream: EventStream,
    events: VecDeque<Event>,
    position: String,
}

impl Watcher {
    /// Opens a stream, and waits until it has told its position or something that has happened. `position` is where the
    /// stream before had got to.
    pub async fn open(visitor: &Visitor, path: &str, position: Option<&str>) -> Result<Self> {
        let mut source = EventSource::after(path, position.unwrap_or_default());
        let stream = match source.open(visitor).await? {
            Opened::Stream(stream) => stream,
            Opened::Refused(answer) => bail!("GET {path}: {} {}", answer.status, answer.text()),
        };
        let declared = stream.headers().get(header::CONTENT_TYPE);
        ensure!(declared.is_some_and(|declared| declared == "text/event-stream"), "no stream: {:?}", stream.headers());
        let mut watcher =
            Self { source, stream, events: VecDeque::new(), position: position.unwrap_or_default().to_owned() };
        // Whoever has a position may be told nothing but that it is still the last one.
        while watcher.events.is_empty() && watcher.source.last_id().is_empty() {
            ensure!(watcher.receive().await?, "the stream ends before it begins");
        }
        watcher.move_on(None);
        Ok(watcher)
    }

    /// What is told next; `None` when the stream has ended.
    pub async fn next(&mut self) -> Result<Option<Told>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                let told = Told::of(&event)?;
                self.move_on(Some(event.id));
                return Ok(Some(told));
            }
            if !self.receive().await? {
                return Ok(None);
            }
        }
    }

    /// The next thing that is told, which is about a thread.
    pub async fn next_of_thread(&mut self) -> Result<ThreadEvent> {
        match self.next().await?.context("the stream has ended")? {
            Told::Thread(event) => Ok(event),
            Told::Reload => bail!("the client is told to load the page anew"),
        }
    }

    /// How far the stream has got, for whoever comes back.
    #[must_use]
    pub fn position(&self) -> &str {
        &self.position
    }

    /// After which time the client is to come back.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.source.retry()
    }

    /// The headers of the answer.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.stream.headers()
    }

    /// Waits for a comment, which says nothing but that the stream is alive.
    pub async fn heartbeat(&mut self) -> Result<()> {
        let before = self.source.comments();
        while self.source.comments() == before {
            ensure!(self.receive().await?, "the stream has ended");
        }
        Ok(())
    }

    /// Notes how far it was told; without further events, as far as anything says.
    fn move_on(&mut self, told: Option<String>) {
        if self.events.is_empty() {
            self.source.last_id().clone_into(&mut self.position);
        } else if let Some(id) = told {
            self.position = id;
        }
    }

    /// Whether more has come. `false`: the stream has ended, in whatever way: a replica that was killed says nothing.
    async fn receive(&mut self) -> Result<bool> {
        match self.source.more(&mut self.stream).await {
            Ok(Some(events)) => self.events.extend(events),
            Err(error) if error.is::<tokio::time::error::Elapsed>() => return Err(error),
            Ok(None) | Err(_) => return Ok(false),
        }
        Ok(true)
    }
}
