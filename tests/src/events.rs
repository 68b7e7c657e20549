//! A client of server-sent events (HTML standard, section 9.2), as browsers are one.
//!
//! It does not come back by itself: whoever uses it decides where to and when. Knows nothing of what the events tell.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Method, Response, StatusCode, header};

use crate::http::{Answer, Visitor};

/// A stream has no end, so this is only longer than anybody watches.
const LIMIT: Duration = Duration::from_hours(24);
/// Heartbeats come every 20 seconds; without three of them the other end is gone.
const SILENCE: Duration = Duration::from_mins(1);

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its type: `message`, unless the stream says otherwise.
    pub kind: String,
    /// Its lines.
    pub data: String,
    /// Where the stream is to continue when it breaks off after this event.
    pub id: String,
}

/// What is to be watched, and how far it was seen. Outlives connections.
#[derive(Debug)]
pub struct EventSource {
    path: String,
    parser: Parser,
}

/// What came of a connection.
#[derive(Debug)]
pub enum Opened {
    /// Events follow.
    Stream(EventStream),
    /// There are none to be had.
    Refused(Answer),
}

/// A connection on which events come.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
}

impl EventSource {
    /// Watches a path from now on.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self::after(path, "")
    }

    /// Watches a path from where a stream had got to.
    #[must_use]
    pub fn after(path: &str, id: &str) -> Self {
        Self { path: path.to_owned(), parser: Parser { last_id: id.to_owned(), ..Parser::default() } }
    }

    /// Connects, and continues where the last connection ended.
    pub async fn open(&mut self, visitor: &Visitor) -> Result<Opened> {
        self.parser.reconnect();
        let mut request = visitor.request(Method::GET, &self.path).timeout(LIMIT);
        if !self.parser.last_id.is_empty() {
            request = request.header("Last-Event-ID", &self.parser.last_id);
        }
        let response = request.send().await?;
        if response.status() == StatusCode::OK {
            return Ok(Opened::Stream(EventStream { response }));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.context("the answer breaks off")?;
        Ok(Opened::Refused(Answer { status, headers, body }))
    }

    /// Waits until more has come, which need not be a whole event. `None`: the stream has ended.
    pub async fn more(&mut self, stream: &mut EventStream) -> Result<Option<Vec<Event>>> {
        let chunk = tokio::time::timeout(SILENCE, stream.response.chunk()).await.context("not even a heartbeat")?;
        Ok(chunk.context("the stream breaks off")?.map(|chunk| self.parser.read(&chunk)))
    }

    /// Where the next connection continues; empty if nothing has said so.
    #[must_use]
    pub fn last_id(&self) -> &str {
        &self.parser.last_id
    }

    /// How many comments have come, which say nothing but that the stream is alive.
    #[must_use]
    pub const fn comments(&self) -> usize {
        self.parser.comments
    }

    /// After which time a client is to come back, if the stream has said so.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry
    }
}

impl EventStream {
    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &header::HeaderMap {
        self.response.headers()
    }
}

/// Makes events of bytes, however they are cut.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    begun: bool,
    /// The last byte was a carriage return, whose line feed may follow.
    after_return: bool,
    line: Vec<u8>,
    kind: String,
    data: String,
    id: String,
    pub(crate) last_id: String,
    pub(crate) retry: Option<Duration>,
    comments: usize,
}

impl Parser {
    /// What was not complete is forgotten; how far the stream was seen and when to come back is not.
    pub(crate) fn reconnect(&mut self) {
        let last_id = std::mem::take(&mut self.last_id);
        let (retry, comments) = (self.retry, self.comments);
        *self = Self { id: last_id.clone(), last_id, retry, comments, ..Self::default() };
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in bytes {
            let follows_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if follows_return => {}
                b'\r' | b'\n' => events.extend(self.end_line()),
                byte => self.line.push(*byte),
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if self.begun { &*line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.begun = true;
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.bytes().all(|digit| digit.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            "" => self.comments += 1,
            // Something of a later standard.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.id.clone_into(&mut self.last_id);
        let (kind, mut data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        // The line feed behind the last line.
        data.pop()?;
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(Event { kind, data, id: self.last_id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str, id: &str) -> Event {
        Event { kind: kind.to_owned(), data: data.to_owned(), id: id.to_owned() }
    }

    const STREAM: &str = "\u{feff}retry: 3000\nid: 7\n\n: a comment\ndata: first\ndata\ndata:  third\nid\n\n\
        event: reload\r\ndata: {\u{e9}}\r\nid: 8\r\n\r\nevent: nothing\rid: 9\r\rretry: soon\nunknown: field\n\
        data:x\nid: no\0t this\n\ndata: incomplete\nid: 10\n";

    #[test]
    fn a_stream_is_read_as_the_standard_says() {
        let mut parser = Parser::default();
        let expected =
            [event("message", "first\n\n third", ""), event("reload", "{\u{e9}}", "8"), event("message", "x", "9")];
        assert_eq!(parser.read(STREAM.as_bytes()), expected);
        assert_eq!((parser.last_id.as_str(), parser.retry), ("9", Some(Duration::from_secs(3))));

        parser.reconnect();
        assert_eq!(parser.last_id, "9", "what was not dispatched is not seen");
        assert_eq!(parser.read(b"data: new\n\n"), [event("message", "new", "9")]);
    }

    #[test]
    fn it_does_not_matter_how_it_is_cut() {
        let whole = Parser::default().read(STREAM.as_bytes());
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let cut: Vec<Event> = STREAM.as_bytes().chunks(size).flat_map(|chunk| parser.read(chunk)).collect();
            assert_eq!(cut, whole, "in pieces of {size} bytes");
        }
    }

    #[test]
    fn a_position_without_data_is_no_event_and_still_one_to_continue_from() {
        let mut parser = Parser::default();
        assert_eq!(parser.read(b"retry: 2500\n\nid: 1.2\n\n:\n\n"), []);
        assert_eq!((parser.last_id.as_str(), parser.retry), ("1.2", Some(Duration::from_millis(2500))));
    }
}
