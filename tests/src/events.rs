//! Somebody who watches: a client of event streams (server-sent events, HTML standard, section 9.2). It does not come back
//! by itself when its stream ends, so that a test sees what happened.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context as _, Result, ensure};
use reqwest::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName},
};
use serde::Deserialize;

use crate::http::Visitor;

/// Nothing that is waited for takes this long, unless it never happens.
const LIMIT: Duration = Duration::from_mins(1);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a stream tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Something has happened to a thread.
    Thread(ThreadEvent),
    /// The page has to be loaded anew.
    Reload,
}

/// What has happened to a thread.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThreadEvent {
    /// The board.
    pub board: String,
    /// The thread.
    pub thread: i64,
    /// Posts that were made.
    pub posted: Vec<i64>,
    /// Posts that were deleted.
    pub deleted: Vec<i64>,
    /// Posts whose pictures were deleted.
    pub changed: Vec<i64>,
    /// The thread was archived.
    pub archived: bool,
    /// The thread was deleted.
    pub gone: bool,
}

/// An open stream.
#[derive(Debug)]
pub struct Watcher {
    answer: reqwest::Response,
    parser: Parser,
    blocks: VecDeque<Block>,
    position: String,
    retry: Option<u64>,
}

impl Watcher {
    /// Opens a stream, and waits until it has told its position or something that has happened. `position` is where the
    /// stream before had got to.
    pub async fn open(visitor: &Visitor, path: &str, position: Option<&str>) -> Result<Self> {
        let mut request = visitor.request(Method::GET, path);
        if let Some(position) = position {
            request = request.header(LAST_EVENT_ID, position);
        }
        let answer = tokio::time::timeout(LIMIT, request.send()).await.context("no answer")??;
        let status = answer.status();
        if status != StatusCode::OK {
            anyhow::bail!("GET {path}: {status} {}", answer.text().await?);
        }
        let declared = answer.headers().get(header::CONTENT_TYPE);
        ensure!(declared.is_some_and(|declared| declared == "text/event-stream"), "no stream: {:?}", answer.headers());
        let mut watcher =
            Self { answer, parser: Parser::default(), blocks: VecDeque::new(), position: String::new(), retry: None };
        while watcher.blocks.iter().all(|block| block.id.is_none() && block.data.is_none()) {
            ensure!(watcher.receive().await?, "the stream ends before it begins");
        }
        watcher.position = position.unwrap_or_default().to_owned();
        watcher.pass_over();
        Ok(watcher)
    }

    /// What is told next; `None` when the stream has ended.
    pub async fn next(&mut self) -> Result<Option<Told>> {
        loop {
            self.pass_over();
            if let Some(block) = self.blocks.pop_front() {
                if let Some(id) = block.id {
                    self.position = id;
                }
                let data = block.data.unwrap_or_default();
                return match block.event.as_str() {
                    "" => serde_json::from_str(&data).map(|event| Some(Told::Thread(event))).context(data),
                    "reload" => Ok(Some(Told::Reload)),
                    other => Err(anyhow::anyhow!("nobody knows the event {other:?}")),
                };
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
            Told::Reload => Err(anyhow::anyhow!("the client is told to load the page anew")),
        }
    }

    /// How far the stream has got, for whoever comes back.
    #[must_use]
    pub fn position(&self) -> &str {
        &self.position
    }

    /// After how many milliseconds the client is to come back.
    #[must_use]
    pub const fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// The headers of the answer.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.answer.headers()
    }

    /// Waits for a comment, which says nothing but that the stream is alive.
    pub async fn heartbeat(&mut self) -> Result<()> {
        let before = self.parser.comments;
        while self.parser.comments == before {
            ensure!(self.receive().await?, "the stream has ended");
        }
        Ok(())
    }

    /// Blocks that tell nothing are not dispatched, but their position counts.
    fn pass_over(&mut self) {
        while let Some(block) = self.blocks.pop_front_if(|block| block.data.is_none()) {
            self.retry = block.retry.or(self.retry);
            if let Some(id) = block.id {
                self.position = id;
            }
        }
    }

    /// Whether more has come. `false`: the stream has ended, in whatever way.
    async fn receive(&mut self) -> Result<bool> {
        let chunk = tokio::time::timeout(LIMIT, self.answer.chunk()).await.context("nothing is told")?;
        // A replica that was killed ends its streams without a word.
        let Ok(Some(chunk)) = chunk else { return Ok(false) };
        self.blocks.extend(self.parser.feed(&chunk));
        Ok(true)
    }
}

/// What stands between two empty lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// Where to continue from.
    pub id: Option<String>,
    /// What kind of event it is; empty for the usual one.
    pub event: String,
    /// Without it nothing has happened.
    pub data: Option<String>,
    /// Milliseconds to wait before coming back.
    pub retry: Option<u64>,
}

/// Takes bytes as they arrive.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line that is not complete yet.
    line: Vec<u8>,
    block: Block,
    comments: usize,
}

impl Parser {
    /// The blocks that these bytes complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Block> {
        let mut blocks = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            match line.strip_suffix('\r').unwrap_or(&line) {
                "" => blocks.push(std::mem::take(&mut self.block)),
                line => self.take(line),
            }
        }
        blocks.retain(|block| *block != Block::default());
        blocks
    }

    fn take(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => self.comments += 1,
            "id" => self.block.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.block.event),
            "data" => match &mut self.block.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.block.data = Some(value.to_owned()),
            },
            "retry" => self.block.retry = value.parse().ok(),
            // What nobody knows.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_wherever_the_bytes_are_cut() {
        let text = "retry: 2500\nid: 1-7\n\n:\n\nid:2\r\ndata: {\"thread\":17,\r\ndata: \"posted\":[18]}\r\n\r\nevent: reload\ndata: {}\n\nid: 3\n";
        let wanted = [
            Block { id: Some("1-7".into()), retry: Some(2500), ..Block::default() },
            Block { id: Some("2".into()), data: Some("{\"thread\":17,\n\"posted\":[18]}".into()), ..Block::default() },
            Block { event: "reload".into(), data: Some("{}".into()), ..Block::default() },
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let blocks: Vec<Block> = text.as_bytes().chunks(size).flat_map(|bytes| parser.feed(bytes)).collect();
            assert_eq!(blocks, wanted, "in pieces of {size}");
            assert_eq!(parser.comments, 1);
        }
    }
}
