//! What the tests of the promises share: a board when it is its turn, posts to make on it, and a look at the rows
//! and objects behind the pages.

use std::{
    collections::BTreeSet,
    ops::Deref,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Semaphore, SemaphorePermit},
};
use triptych_tests::{
    Answer, Form, Replica, S3, Stack, Visitor,
    http::{JSON, Posted},
    pictures::{self, Picture},
    raw_form::{RAW_FORM, raw_form},
    stack::Builder,
};
use uuid::Uuid;

/// Whole boards at a time: more of them on a small machine only wait for each other.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Nothing that a test waits for takes this long, unless it never happens.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// The boards that a fresh installation has.
pub(crate) const SLUGS: [&str; 3] = ["b", "art", "photo"];

/// A whole stack.
pub(crate) struct Board {
    stack: Stack,
    _turn: SemaphorePermit<'static>,
}

impl Deref for Board {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

impl Board {
    /// Three replicas that end as soon as they are told to.
    pub(crate) async fn start() -> Result<Self> {
        Self::with(Stack::builder().env("TRIPTYCH_DRAIN_DELAY", "0s")).await
    }

    /// As it is described.
    pub(crate) async fn with(builder: Builder) -> Result<Self> {
        let turn = TURNS.acquire().await?;
        let stack = builder.env("TRIPTYCH_LOG", "info").start().await?;
        Ok(Self { stack, _turn: turn })
    }

    /// Everywhere that a page can be read: through nginx, and from each replica.
    pub(crate) fn sites(&self) -> Result<Vec<Visitor>> {
        let mut sites = vec![Visitor::new(&self.url())?];
        for replica in self.replicas() {
            sites.push(Visitor::new(&replica.url())?);
        }
        Ok(sites)
    }

    /// What replicas and nginx have complained about, for the message of a test that fails.
    pub(crate) fn complaints(&self) -> String {
        let logs = self.replicas().iter().map(|replica| (replica.name(), replica.log()));
        let lines = logs.flat_map(|(name, log)| {
            let loud = log.lines().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""));
            loud.map(|line| format!("{name}: {line}\n")).collect::<Vec<_>>()
        });
        let nginx = self.nginx.error_log();
        lines.chain(nginx.lines().map(|line| format!("nginx: {line}\n"))).collect()
    }

    /// One number from the database.
    pub(crate) async fn count(&self, sql: &'static str) -> Result<i64> {
        let mut database = self.database().await?;
        sqlx::query_scalar(sql).fetch_one(&mut database).await.with_context(|| format!("cannot ask: {sql}"))
    }

    /// How many posts have exactly this comment.
    pub(crate) async fn posts_saying(&self, comment: &str) -> Result<i64> {
        let mut database = self.database().await?;
        posts_saying(&mut database, comment).await
    }

    /// A thread with a small picture, for replies.
    pub(crate) async fn thread(&self, slug: &str) -> Result<i64> {
        let visitor = Visitor::new(&self.replica(0)?.url())?;
        let form = Form::thread("a thread to answer").picture(&pictures::jpeg(1, 64, 48)?);
        Ok(visitor.must_post(slug, &form).await?.no)
    }

    /// Checks that every row of a picture has both its objects and that these are what the row says; answers the
    /// keys of those objects.
    pub(crate) async fn keys_of_rows(&self) -> Result<BTreeSet<String>> {
        let mut database = self.database().await?;
        let rows: Vec<(Uuid, Vec<u8>, i64, i64, i32, i32)> = sqlx::query_as(
            "select id, sha256, bytes, thumbnail_bytes, thumbnail_width, thumbnail_height from blob order by id",
        )
        .fetch_all(&mut database)
        .await?;
        let mut keys = BTreeSet::new();
        for (id, sha256, bytes, thumbnail_bytes, width, height) in rows {
            let (original, thumbnail) = (format!("original/{id}"), format!("thumbnail/{id}"));
            let stored = self.s3.get(&original).await.context("a row has no object")?;
            ensure!(Sha256::digest(&stored).as_slice() == sha256, "{original} has another hash than its row");
            ensure!(i64::try_from(stored.len())? == bytes, "{original} has another size than its row");
            let stored = self.s3.get(&thumbnail).await.context("a row has no thumbnail")?;
            ensure!(i64::try_from(stored.len())? == thumbnail_bytes, "{thumbnail} has another size than its row");
            let decoded = image::load_from_memory(&stored).with_context(|| format!("{thumbnail} is no picture"))?;
            let sides = (i32::try_from(decoded.width())?, i32::try_from(decoded.height())?);
            ensure!(sides == (width, height), "{thumbnail} is {sides:?}, its row says {width} × {height}");
            keys.extend([original, thumbnail]);
        }
        Ok(keys)
    }

    /// Objects that no row names.
    pub(crate) async fn orphans(&self) -> Result<BTreeSet<String>> {
        let known = self.keys_of_rows().await?;
        Ok(objects(&self.s3).await?.into_iter().filter(|key| !known.contains(key)).collect())
    }

    /// Checks that nothing contradicts itself: counters, attachments, and what belongs to a post.
    pub(crate) async fn nothing_is_half_done(&self) -> Result<()> {
        let contradictions = [
            (
                "threads without an opening post",
                "select count(*) from thread where not exists (select from post where post.no = thread.no)",
            ),
            (
                "threads whose counters are wrong",
                "select count(*) from thread_state
                 where replies <> (select count(*) - 1 from post where post.thread_no = thread_state.thread_no)
                    or pictures <> (select count(blob_id) from attachment join post on post.no = post_no
                                    where post.thread_no = thread_state.thread_no)",
            ),
            (
                "boards whose counters are wrong",
                "select count(*) from board_state
                 where threads <> (select count(*) from thread where thread.board_id = board_state.board_id)
                    or posts <> (select count(*) from post join thread on thread.no = thread_no
                                 where thread.board_id = board_state.board_id)
                    or pictures <> (select count(blob_id) from attachment join post on post.no = post_no
                                    join thread on thread.no = thread_no
                                    where thread.board_id = board_state.board_id)",
            ),
            (
                "threads that are neither live nor archived",
                "select count(*) from thread
                 where archived_at is null and not exists (select from bump where bump.thread_no = thread.no)",
            ),
            (
                "opening posts without a picture",
                "select count(*) from post where no = thread_no
                 and not exists (select from attachment where post_no = post.no)",
            ),
            // A submission whose post was deleted has none either; no test that looks here deletes posts before.
            ("submissions without a post", "select count(*) from submission where post_no is null"),
        ];
        for (what, sql) in contradictions {
            let found = self.count(sql).await?;
            ensure!(found == 0, "{found} {what}; none were expected");
        }
        Ok(())
    }

    /// Loads the picture and the thumbnail of a post from a site, as the thread's JSON names them.
    pub(crate) async fn loads_pictures(&self, visitor: &Visitor, posted: &Posted) -> Result<usize> {
        let document = json(&visitor.get(&thread_path(posted, "json")).await?)?;
        let post = find_post(&document, posted.no).with_context(|| format!("No.{} is not in its thread", posted.no))?;
        let mut loaded = 0;
        for (field, size) in [("media", post.get("fsize")), ("thumb", None)] {
            let path = text(post, field)?;
            let picture = visitor.get(&path).await?;
            picture.expect(StatusCode::OK).with_context(|| format!("{path} of No.{}", posted.no))?;
            if let Some(size) = size.and_then(Value::as_u64) {
                ensure!(u64::try_from(picture.body.len())? == size, "{path} is not as long as the JSON says");
            }
            image::load_from_memory(&picture.body).with_context(|| format!("{path} is no picture"))?;
            loaded += 1;
        }
        Ok(loaded)
    }
}

/// The keys of all originals and thumbnails, sorted; not that of the object which says whose they are.
pub(crate) async fn objects(s3: &S3) -> Result<Vec<String>> {
    Ok([s3.keys("original/").await?, s3.keys("thumbnail/").await?].concat())
}

/// How many posts have exactly this comment.
pub(crate) async fn posts_saying(database: &mut PgConnection, comment: &str) -> Result<i64> {
    let found = sqlx::query_scalar("select count(*) from post where comment = $1").bind(comment).fetch_one(database);
    Ok(found.await?)
}

/// The path of the thread that a post went to.
pub(crate) fn thread_path(posted: &Posted, extension: &str) -> String {
    let thread = if posted.resto == 0 { posted.no } else { posted.resto };
    format!("/{}/res/{thread}.{extension}", posted.board)
}

/// Posts so many threads, each with a picture of its own; the first one has this number.
pub(crate) async fn post_pictures(replica: &Replica, first: u64, pictures: u64) -> Result<()> {
    let visitor = Visitor::new(&replica.url())?;
    for number in first..first + pictures {
        visitor.must_post("b", &Form::thread("with a picture").picture(&small_picture(number)?)).await?;
    }
    Ok(())
}

/// A small picture that nobody else has.
pub(crate) fn small_picture(seed: u64) -> Result<Picture> {
    pictures::jpeg(seed, 160, 120)
}

/// The body of a successful answer as JSON.
pub(crate) fn json(answer: &Answer) -> Result<Value> {
    answer.expect(StatusCode::OK)?.json()
}

/// All posts in a JSON document of any of the shapes that there are: thread, index, catalogue.
pub(crate) fn posts(document: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    match document {
        Value::Array(list) => list.iter().for_each(|inner| found.extend(posts(inner))),
        Value::Object(fields) => {
            if fields.contains_key("no") {
                found.push(document);
            }
            for name in ["threads", "posts", "last_replies"] {
                found.extend(fields.get(name).map(posts).unwrap_or_default());
            }
        }
        _ => {}
    }
    found
}

/// A post in a JSON document.
pub(crate) fn find_post(document: &Value, no: i64) -> Option<&Value> {
    posts(document).into_iter().find(|post| number(post, "no") == Some(no))
}

/// A field of a JSON object that is a number.
pub(crate) fn number(object: &Value, field: &str) -> Option<i64> {
    object.get(field)?.as_i64()
}

/// A field of a JSON object that is text.
pub(crate) fn text(object: &Value, field: &str) -> Result<String> {
    let value = object.get(field).and_then(Value::as_str);
    value.map(str::to_owned).with_context(|| format!("no text {field:?} in {object}"))
}

/// Waits until something is so. The limit is for what never happens.
pub(crate) async fn wait_until<F>(what: &str, mut condition: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    let start = Instant::now();
    while !condition().await? {
        ensure!(start.elapsed() < LIMIT, "this has not happened within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Fails instead of hanging.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(LIMIT, work).await.with_context(|| format!("this takes longer than {LIMIT:?}: {what}"))?
}

/// A post with one picture, as the bytes of a form.
pub(crate) fn raw_post(fields: &[(&str, &str)], picture: &[u8]) -> Vec<u8> {
    let picture = Picture { name: "slow.jpg".into(), declared: "image/jpeg", bytes: Bytes::copy_from_slice(picture) };
    raw_form(fields, &[&picture])
}

/// An upload of which a test sends as much as it likes, when it likes.
pub(crate) struct RawPost {
    stream: TcpStream,
    body: Vec<u8>,
    sent: usize,
}

impl RawPost {
    /// Connects to a replica and sends the head of a post with a comment and one picture; no byte of the body yet.
    pub(crate) async fn open(replica: &Replica, slug: &str, fields: &[(&str, &str)], picture: &[u8]) -> Result<Self> {
        let body = raw_post(fields, picture);
        let head = format!(
            "POST /{slug}/post HTTP/1.1\r\nHost: {}\r\nAccept: {JSON}\r\n\
             Content-Type: {RAW_FORM}\r\nContent-Length: {}\r\n\r\n",
            replica.address(),
            body.len()
        );
        let mut stream = TcpStream::connect(replica.address()).await?;
        stream.set_nodelay(true)?;
        stream.write_all(head.as_bytes()).await?;
        Ok(Self { stream, body, sent: 0 })
    }

    /// How many bytes the body has.
    pub(crate) fn length(&self) -> usize {
        self.body.len()
    }

    /// Sends the body up to this byte.
    pub(crate) async fn send_to(&mut self, end: usize) -> Result<()> {
        let chunk = self.body.get(self.sent..end).context("this part of the body is sent already, or not there")?;
        self.stream.write_all(chunk).await?;
        self.stream.flush().await?;
        self.sent = end;
        Ok(())
    }

    /// Goes away as a client does that is gone for good: the connection is reset. (One that is merely closed may be
    /// half of one, whose other half still waits for the answer.)
    pub(crate) fn reset(self) -> Result<()> {
        Ok(self.stream.set_zero_linger()?)
    }

    /// Sends the rest and reads the answer: its status and all of its text.
    pub(crate) async fn finish(mut self) -> Result<(u16, String)> {
        self.send_to(self.body.len()).await?;
        in_time("the answer to an upload", async {
            let mut answer = Vec::new();
            let mut chunk = [0; 4096];
            // The head, and the body as far as it comes with it: whoever asks for JSON gets one small packet.
            while !answer.windows(4).any(|end| end == b"\r\n\r\n") || !answer.ends_with(b"}") {
                let read = self.stream.read(&mut chunk).await?;
                if read == 0 {
                    break;
                }
                answer.extend(chunk.get(..read).unwrap_or_default());
            }
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
            Ok((status.with_context(|| format!("this is no answer: {answer:?}"))?, answer))
        })
        .await
    }
}

/// What a replica measures under a name, added up over its labels.
pub(crate) async fn metric(replica: &Replica, name: &str) -> Result<f64> {
    let visitor = Visitor::new(replica.metrics_url().trim_end_matches("/metrics"))?;
    let answer = visitor.send(visitor.request(Method::GET, "/metrics")).await?;
    let text = answer.expect(StatusCode::OK)?.text();
    let values = text
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{')));
    let values: Vec<f64> =
        values.filter_map(|line| line.rsplit_once(' ')).filter_map(|(_, value)| value.parse().ok()).collect();
    ensure!(!values.is_empty(), "there is no metric {name} in:\n{text}");
    Ok(values.into_iter().sum())
}
