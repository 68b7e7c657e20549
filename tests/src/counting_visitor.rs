//! A visitor who asks for everything that a board has, and counts what goes over its own socket, for each kind of traffic.
//!
//! Knows which kind an address belongs to, and nothing of how a board counts.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    pictures::{self, Picture},
    raw_form::{RAW_FORM, raw_form},
    wire::{Wire, WireAnswer},
};

/// Requests, bytes in and bytes out, as the server sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Requests.
    pub requests: i64,
    /// Bytes that the visitor sent.
    pub bytes_in: i64,
    /// Bytes that the visitor received.
    pub bytes_out: i64,
}

impl Counted {
    /// Adds bytes that were counted on a socket.
    pub fn add(&mut self, requests: i64, bytes_in: u64, bytes_out: u64) -> Result<()> {
        *self += Self { requests, bytes_in: i64::try_from(bytes_in)?, bytes_out: i64::try_from(bytes_out)? };
        Ok(())
    }
}

impl std::ops::AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

/// What passed, by kind and board; no board is "".
pub type Kinds = BTreeMap<(String, String), Counted>;

/// How often somebody who watches looks whether it is over.
const LOOK: Duration = Duration::from_millis(200);

/// Of all boards together.
#[must_use]
pub fn by_kind(kinds: &Kinds) -> BTreeMap<String, Counted> {
    let mut by_kind = BTreeMap::<String, Counted>::new();
    for ((kind, _), counted) in kinds {
        *by_kind.entry(kind.clone()).or_default() += *counted;
    }
    by_kind
}

/// Adds what one visitor has counted to what others have.
pub fn add(all: &mut Kinds, kinds: Kinds) {
    for (of, counted) in kinds {
        *all.entry(of).or_default() += counted;
    }
}

/// The visitor, on one connection at a time.
#[derive(Debug)]
pub struct CountingVisitor {
    address: String,
    host: String,
    /// The connection.
    pub wire: Wire,
    /// What went over it and those before.
    pub kinds: Kinds,
}

impl CountingVisitor {
    /// Connects to `address:port`.
    pub async fn open(address: &str) -> Result<Self> {
        Self::open_as(address, address).await
    }

    /// Connects to `address:port`, to ask for another host.
    pub async fn open_as(address: &str, host: &str) -> Result<Self> {
        let wire = Wire::connect_as(address, host).await?;
        Ok(Self { address: address.to_owned(), host: host.to_owned(), wire, kinds: Kinds::new() })
    }

    /// Notes what went over the wire since the last time.
    pub fn note(&mut self, kind: &str, board: &str) -> Result<()> {
        let (sent, received) = (std::mem::take(&mut self.wire.sent), std::mem::take(&mut self.wire.received));
        self.kinds.entry((kind.to_owned(), board.to_owned())).or_default().add(1, sent, received)
    }

    /// Sends a request, reads the answer and counts both. A kept connection that was closed before a byte of the answer came is
    /// opened again.
    async fn ask(
        &mut self,
        (kind, board): (&str, &str),
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<WireAnswer> {
        let mut attempts = 0;
        let answer = loop {
            attempts += 1;
            let asked = async {
                self.wire.begin(method, path, headers).await?;
                self.wire.send(body).await?;
                self.wire.answer(method).await
            };
            match asked.await {
                Ok(answer) => break answer,
                Err(_) if attempts == 1 && self.wire.received == 0 => self.connect().await?,
                Err(error) => return Err(error).with_context(|| format!("{method} {path}")),
            }
        };
        self.note(kind, board)?;
        if answer.header("connection") == Some("close") {
            self.connect().await?;
        }
        Ok(answer)
    }

    async fn connect(&mut self) -> Result<()> {
        self.wire = Wire::connect_as(&self.address, &self.host).await?;
        Ok(())
    }

    /// Reads something and counts it as this kind, on this board.
    pub async fn get(&mut self, of: (&str, &str), path: &str, headers: &[(&str, &str)]) -> Result<WireAnswer> {
        self.ask(of, ("GET", path), headers, b"").await
    }

    /// Reads something that has to be answered with this status.
    pub async fn status(&mut self, of: (&str, &str), path: &str, status: u16) -> Result<()> {
        let answer = self.get(of, path, &[]).await?;
        ensure!(answer.status == status, "{path} is answered with {}", answer.head);
        Ok(())
    }

    /// Posts a form.
    async fn post(&mut self, of: (&str, &str), body: &[u8]) -> Result<WireAnswer> {
        let (length, origin) = (body.len().to_string(), format!("http://{}", self.host));
        let headers = [
            ("accept", "application/json"),
            ("content-type", RAW_FORM),
            ("content-length", length.as_str()),
            ("origin", &origin),
        ];
        self.ask(of, ("POST", "/b/post"), &headers, body).await
    }

    /// Everything that a visitor can ask for, each thing at least once: 15 requests. Answers the addresses of a picture, its
    /// thumbnail and the style sheet.
    pub async fn visit(&mut self, seed: u64) -> Result<[String; 3]> {
        let form = raw_form(&[("com", "counted")], &[&pictures::jpeg(seed, 640, 480)?]);
        let posted = self.post(("upload", "b"), &form).await?;
        ensure!(posted.status == 201, "the post is answered with {}", posted.head);
        let posted: serde_json::Value = serde_json::from_slice(&posted.body)?;
        let no = posted.get("no").context("a post has a number")?;
        let thread = format!("/b/res/{no}.html");

        self.status(("page", ""), "/", 200).await?;
        self.status(("page", "b"), "/b/", 200).await?;
        self.status(("page", "b"), &format!("/b/thread/{no}"), 301).await?;
        let page = self.get(("page", "b"), &thread, &[]).await?;
        ensure!(page.status == 200, "{}", page.head);
        let compressed = self.get(("page", "b"), &thread, &[("accept-encoding", "gzip")]).await?;
        ensure!(compressed.header("content-encoding") == Some("gzip"), "{}", compressed.head);
        let tag = page.header("etag").context("a page has a tag")?.to_owned();
        let unchanged = self.get(("page", "b"), &thread, &[("if-none-match", &tag)]).await?;
        ensure!(unchanged.status == 304, "{}", unchanged.head);
        let head = self.ask(("page", "b"), ("HEAD", &thread), &[], b"").await?;
        ensure!(head.status == 200, "{}", head.head);
        self.status(("api", "b"), &format!("/b/res/{no}.json"), 200).await?;
        self.status(("api", ""), "/boards.json", 200).await?;
        self.status(("refused", "b"), "/b/res/2000000000.html", 404).await?;
        self.status(("refused", ""), "/none/", 404).await?;
        self.status(("refused", ""), "/nothing/at/all", 404).await?;
        let broken = Picture { name: "broken.jpg".into(), declared: "image/jpeg", bytes: (&b"no picture"[..]).into() };
        let form = raw_form(&[], &[&broken]);
        let broken = self.post(("refused", "b"), &form).await?;
        ensure!((400..500).contains(&broken.status), "{}", broken.head);
        let text = String::from_utf8(page.body)?;
        let address = |before: &str| -> Result<String> {
            let (_, rest) = text.split_once(before).with_context(|| format!("no {before} in the page"))?;
            Ok(format!("{before}{}", rest.split_once('"').context("an address ends")?.0))
        };
        Ok([address("/media/")?, address("/thumb/")?, address("/static/style.")?])
    }

    /// What does not change, each thing in the ways in which it is asked for: 7 requests.
    pub async fn visit_files(&mut self, [media, thumb, style]: &[String; 3]) -> Result<()> {
        self.status(("picture", "b"), media, 200).await?;
        let part = self.get(("picture", "b"), media, &[("range", "bytes=10-99")]).await?;
        ensure!(part.status == 206 && part.body.len() == 90, "{}", part.head);
        let tag = part.header("etag").context("a picture has a tag")?.to_owned();
        let unchanged = self.get(("picture", "b"), media, &[("if-none-match", &tag)]).await?;
        ensure!(unchanged.status == 304, "{}", unchanged.head);
        self.ask(("picture", "b"), ("HEAD", media), &[], b"").await?;
        self.status(("thumbnail", "b"), thumb, 200).await?;
        self.status(("asset", ""), style, 200).await?;
        self.status(("refused", ""), "/media/00000000-0000-0000-0000-000000000000.jpg", 404).await
    }

    /// Watches a board until it is over, again whenever the stream ends.
    pub async fn watch(&mut self, over: &AtomicBool) -> Result<()> {
        while !over.load(Ordering::Acquire) {
            self.wire.begin("GET", "/b/events", &[]).await?;
            let head = self.wire.head().await?;
            ensure!(head.status == 200, "{}", head.head);
            while !over.load(Ordering::Acquire) {
                // Looks up now and then.
                if let Ok(Err(_ended)) = tokio::time::timeout(LOOK, self.wire.read_some(1)).await {
                    break;
                }
            }
            let next = Wire::connect_as(&self.address, &self.host).await?;
            let (sent, received) = std::mem::replace(&mut self.wire, next).leave().await?;
            self.kinds.entry(("events".to_owned(), "b".to_owned())).or_default().add(1, sent, received)?;
        }
        Ok(())
    }

    /// Asks for a picture and goes away when it begins. What came is counted; what was sent beyond that is not known.
    pub async fn break_off(&mut self, media: &str) -> Result<()> {
        self.wire.begin("GET", media, &[]).await?;
        let head = self.wire.head().await?;
        ensure!(head.status == 200, "{}", head.head);
        self.note("picture", "b")?;
        self.connect().await
    }
}
