//! Reading a page through one replica, against nginx that serves the same bytes from a file.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use reqwest::{StatusCode, header};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, MissedTickBehavior};

use super::{
    Spread,
    content::Writer,
    float,
    load::{Seen, Wrk},
    machine::processor_seconds,
    reference::Reference,
};
use crate::Stack;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
/// Rounds with a writer; each has a thread of its own, so that all of them read pages of the same length.
const WRITER_ROUNDS: usize = 3;
const WRITER_ROUND: Duration = Duration::from_secs(4);
/// Posts a second.
const WRITER_RATE: u32 = 20;

/// How a page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Gzip,
    Plain,
    Unchanged,
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// What was read.
    pub what: String,
    /// Bytes of the body.
    pub bytes: usize,
    /// Answers a second of the replica.
    pub ours: Spread,
    /// Answers a second of nginx.
    pub theirs: Spread,
    /// Ours by theirs, round by round.
    pub ratio: Spread,
    /// The 99th percentile of the replica's answers, in milliseconds.
    pub p99: Spread,
    /// The same of nginx.
    pub p99_theirs: Spread,
    /// Processor time of the replica and Postgres for one answer, in microseconds.
    pub processor: Spread,
    /// The same of nginx.
    pub processor_theirs: Spread,
    /// How much of its processor the replica's side took, in percent.
    pub busy: Spread,
    /// The same of nginx. Well below a hundred, it was waiting for wrk, and could have answered more.
    pub busy_theirs: Spread,
}

#[derive(Default)]
struct Rounds {
    ours: Vec<(Seen, f64)>,
    theirs: Vec<(Seen, f64)>,
}

impl Rounds {
    fn row(&self, what: String, bytes: usize) -> Result<Row> {
        let of = |rounds: &[(Seen, f64)], number: fn(&(Seen, f64)) -> f64| Spread::of(rounds.iter().map(number));
        Ok(Row {
            what,
            bytes,
            ours: of(&self.ours, |(seen, _)| seen.rate)?,
            theirs: of(&self.theirs, |(seen, _)| seen.rate)?,
            ratio: Spread::of(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours.0.rate / theirs.0.rate))?,
            p99: of(&self.ours, |(seen, _)| seen.p99)?,
            p99_theirs: of(&self.theirs, |(seen, _)| seen.p99)?,
            processor: of(&self.ours, |(seen, seconds)| seconds * 1e6 / float(seen.requests))?,
            processor_theirs: of(&self.theirs, |(seen, seconds)| seconds * 1e6 / float(seen.requests))?,
            busy: of(&self.ours, |(seen, seconds)| seconds * 1e2 * seen.rate / float(seen.requests))?,
            busy_theirs: of(&self.theirs, |(seen, seconds)| seconds * 1e2 * seen.rate / float(seen.requests))?,
        })
    }
}

/// The parts of a measurement.
#[derive(Debug)]
pub struct Reads<'a> {
    stack: &'a Stack,
    reference: &'a Reference,
    writer: &'a Writer,
    wrk: Wrk,
    client: reqwest::Client,
}

impl<'a> Reads<'a> {
    /// Compares the first replica of a stack.
    pub fn new(stack: &'a Stack, reference: &'a Reference, writer: &'a Writer) -> Result<Self> {
        let client = reqwest::Client::builder().no_gzip().no_proxy().http1_only().build()?;
        Ok(Self { stack, reference, writer, wrk: Wrk::new()?, client })
    }

    /// A thread and the catalogue: compressed, as they are, and unchanged since the last time.
    pub async fn quiet(&self, thread: i64) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (name, path) in [("thread", thread_path(thread)), ("catalogue", "/b/catalog.html".to_owned())] {
            self.copy(&path).await?;
            for form in [Form::Gzip, Form::Plain, Form::Unchanged] {
                let bytes = self.compare(&path, form).await?;
                let mut rounds = Rounds::default();
                for round in 0..ROUNDS {
                    self.round(&path, form, round, ROUND, &mut rounds).await?;
                }
                ensure!(self.compare(&path, form).await? == bytes, "{path} has changed while it was measured");
                let form = match form {
                    Form::Gzip => "gzip",
                    Form::Plain => "identity",
                    Form::Unchanged => "304",
                };
                rows.push(rounds.row(format!("{name}, {form}"), bytes)?);
            }
        }
        Ok(rows)
    }

    /// A thread that is posted to all the while. nginx serves the page as it was before: nobody writes its file.
    pub async fn while_written(&self) -> Result<Row> {
        let mut rounds = Rounds::default();
        let mut bytes = 0;
        for round in 0..WRITER_ROUNDS {
            let thread = self.writer.long_thread(1000 + round).await?;
            let path = thread_path(thread);
            self.copy(&path).await?;
            bytes = self.compare(&path, Form::Gzip).await?;
            let ours = self.measure_while_written(thread);
            let theirs = self.measure(false, &path, Form::Gzip, WRITER_ROUND);
            if round.is_multiple_of(2) {
                rounds.ours.push(ours.await?);
                rounds.theirs.push(theirs.await?);
            } else {
                rounds.theirs.push(theirs.await?);
                rounds.ours.push(ours.await?);
            }
        }
        rounds.row(format!("thread, gzip, {WRITER_RATE} posts/s"), bytes)
    }

    async fn measure_while_written(&self, thread: i64) -> Result<(Seen, f64)> {
        let until = Instant::now() + WRITER_ROUND;
        let writing = async {
            let mut tick = tokio::time::interval(Duration::from_secs(1) / WRITER_RATE);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut posts = Vec::new();
            while tick.tick().await < until {
                posts.push(self.writer.reply(thread, posts.len()).await?);
            }
            anyhow::Ok(posts)
        };
        let path = thread_path(thread);
        let (seen, posts) = tokio::try_join!(self.measure(true, &path, Form::Gzip, WRITER_ROUND), writing)?;
        let wanted = WRITER_ROUND.as_secs() * u64::from(WRITER_RATE);
        let made = u64::try_from(posts.len())?;
        ensure!(made * 10 >= wanted * 9, "the writer made {made} posts, {wanted} were wanted: nothing to compare");
        let page = self.ask(true, &path, Form::Plain).await?.1;
        let page = String::from_utf8_lossy(&page);
        let missing = posts.iter().find(|no| !page.contains(&format!("id=\"p{no}\"")));
        ensure!(missing.is_none(), "post {missing:?} is not on its page");
        Ok(seen)
    }

    async fn round(&self, path: &str, form: Form, round: usize, long: Duration, rounds: &mut Rounds) -> Result<()> {
        if round.is_multiple_of(2) {
            rounds.ours.push(self.measure(true, path, form, long).await?);
            rounds.theirs.push(self.measure(false, path, form, long).await?);
        } else {
            rounds.theirs.push(self.measure(false, path, form, long).await?);
            rounds.ours.push(self.measure(true, path, form, long).await?);
        }
        Ok(())
    }

    /// What wrk has seen, and how many seconds of processor time the servers took for it.
    async fn measure(&self, ours: bool, path: &str, form: Form, long: Duration) -> Result<(Seen, f64)> {
        let header = self.header(ours, path, form).await?;
        let before = self.processor_seconds(ours)?;
        let url = format!("{}{path}", self.site(ours)?);
        let seen = self.wrk.run(&url, (&header.0, &header.1), long).await?;
        Ok((seen, self.processor_seconds(ours)? - before))
    }

    fn processor_seconds(&self, ours: bool) -> Result<f64> {
        if !ours {
            return processor_seconds(self.reference.pid());
        }
        let replica = self.stack.replica(0)?.pid().context("the replica does not run")?;
        let postgres = self.stack.postgres.pid().context("Postgres does not run")?;
        Ok(processor_seconds(replica)? + processor_seconds(postgres)?)
    }

    fn site(&self, ours: bool) -> Result<String> {
        if ours { Ok(self.stack.replica(0)?.url()) } else { Ok(self.reference.url()) }
    }

    /// Gives nginx what the replica answers.
    async fn copy(&self, path: &str) -> Result<()> {
        let (_, plain) = self.ask(true, path, Form::Plain).await?;
        let (_, gzip) = self.ask(true, path, Form::Gzip).await?;
        self.reference.serve(path, &plain, &gzip)
    }

    /// Makes sure that both sides answer with the same bytes, and returns how many.
    async fn compare(&self, path: &str, form: Form) -> Result<usize> {
        let (encoding, ours) = self.ask(true, path, form).await?;
        let (encoding_theirs, theirs) = self.ask(false, path, form).await?;
        ensure!(encoding == encoding_theirs, "{path} is encoded as {encoding:?} and as {encoding_theirs:?}");
        ensure!(Sha256::digest(&ours) == Sha256::digest(&theirs), "the bytes of {path} differ ({form:?})");
        Ok(ours.len())
    }

    async fn ask(&self, ours: bool, path: &str, form: Form) -> Result<(String, Bytes)> {
        let (name, value) = self.header(ours, path, form).await?;
        let url = format!("{}{path}", self.site(ours)?);
        let answer = self.client.get(&url).header(&name, &value).send().await?;
        let wanted = if form == Form::Unchanged { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        ensure!(answer.status() == wanted, "{url} answers {}, not {wanted}", answer.status());
        let encoding = answer.headers().get(header::CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?"));
        let encoding = encoding.to_owned();
        ensure!((form == Form::Gzip) == (encoding == "gzip"), "{url} is encoded as {encoding:?}");
        Ok((encoding, answer.bytes().await?))
    }

    /// The one header that makes a request what it is.
    async fn header(&self, ours: bool, path: &str, form: Form) -> Result<(String, String)> {
        let header = |name: header::HeaderName, value: &str| (name.to_string(), value.to_owned());
        match form {
            Form::Gzip => Ok(header(header::ACCEPT_ENCODING, "gzip")),
            Form::Plain => Ok(header(header::ACCEPT_ENCODING, "identity")),
            Form::Unchanged => {
                let answer = self.client.get(format!("{}{path}", self.site(ours)?)).send().await?;
                let tag = answer.headers().get(header::ETAG).context("there is no ETag")?;
                Ok(header(header::IF_NONE_MATCH, tag.to_str()?))
            }
        }
    }
}

fn thread_path(thread: i64) -> String {
    format!("/b/res/{thread}.html")
}
