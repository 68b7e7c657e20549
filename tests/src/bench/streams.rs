//! Event streams: when an event arrives that a post on another replica has caused, what a post pays for that, and what
//! ten thousand streams cost that have nothing to tell.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

use super::{
    Spread,
    content::sentence,
    machine::{memory, processor_seconds},
};
use crate::{Form, Replica, Stack, Visitor, pictures, replica, scratch::Scratch, watcher::ThreadEvent};

/// Posts of which each is waited for.
pub const POSTS: usize = 200;
/// Streams that are open at the same time, if there are as many file descriptors.
const STREAMS: u64 = 10_000;
/// What else needs file descriptors.
const OTHER_FILES: u64 = 500;
/// Streams that are opened at a time.
const AT_ONCE: usize = 32;
/// How long streams are left alone. Every one of them gets a heartbeat in this time.
pub const IDLE: Duration = Duration::from_secs(20);
/// Posts of which all streams are told.
pub const TOLD: usize = 20;
const LIMIT: Duration = Duration::from_secs(30);

/// How long something takes, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The median.
    pub median: f64,
    /// 99 of 100 are below.
    pub p99: f64,
}

/// Streams of which nobody hears anything.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Of the processor, in percent: of the replica.
    pub replica: f64,
    /// Of Postgres.
    pub postgres: f64,
}

/// What was measured.
#[derive(Debug)]
pub struct Streams {
    /// From sending a post to one replica to its event on a stream of another.
    pub from_sending: Times,
    /// From the answer to the post to this event.
    pub from_answer: Times,
    /// From sending a post to its answer.
    pub answer: Times,
    /// The same of a replica whose posts wait for nothing.
    pub answer_at_once: Times,
    /// How much longer the one is than the other.
    pub commit_wait: Spread,
    /// How many streams were open for the rest.
    pub open: u64,
    /// MiB that the replica had in memory before they were opened.
    pub before: f64,
    /// And with them.
    pub with_all: f64,
    /// One stream.
    pub idle_one: Idle,
    /// All of them.
    pub idle_all: Idle,
    /// Milliseconds from sending a post until all streams have told of it.
    pub all_from_sending: Spread,
    /// From its answer until then.
    pub all_from_answer: Spread,
    /// Milliseconds of the replica's processor time for it.
    pub processor: Spread,
}

/// What a stream has told.
#[derive(Debug)]
enum Told {
    Event { at: Instant, posted: Vec<i64> },
    Heartbeat,
    End(String),
}

/// Streams that are read all the time. What they tell comes out at one place, in the order of arrival.
struct Watching {
    told: mpsc::UnboundedReceiver<Told>,
    teller: mpsc::UnboundedSender<Told>,
    streams: JoinSet<()>,
}

impl Watching {
    fn new() -> Self {
        let (teller, told) = mpsc::unbounded_channel();
        Self { told, teller, streams: JoinSet::new() }
    }

    /// Opens more streams of the same thing.
    async fn open(&mut self, replica: &Replica, path: &str, number: u64) -> Result<()> {
        let address = &replica.address();
        let opened = stream::iter(0..number).map(|_| open(address, path)).buffer_unordered(AT_ONCE);
        let opened: Vec<_> = opened.try_collect().await.with_context(|| format!("cannot open {number} streams"))?;
        for stream in opened {
            self.streams.spawn(watch(stream, self.teller.clone()));
        }
        Ok(())
    }

    /// When each of the streams told of a post, and of nothing else.
    async fn all_told_of(&mut self, post: i64) -> Result<Vec<Instant>> {
        let all = async {
            let mut times = Vec::new();
            while times.len() < self.streams.len() {
                match self.told.recv().await.context("somebody watches")? {
                    Told::Event { at, posted } if posted == [post] => times.push(at),
                    Told::Event { posted, .. } => bail!("a stream tells of {posted:?}, and not of post {post}"),
                    Told::Heartbeat => {}
                    Told::End(how) => bail!("a stream has ended: {how}"),
                }
            }
            Ok(times)
        };
        tokio::time::timeout(LIMIT, all).await.with_context(|| format!("not all streams have told of post {post}"))?
    }

    /// Leaves the streams alone for a while, and makes sure that all of them are alive.
    async fn idle(&mut self, replica: &Replica, stack: &Stack) -> Result<Idle> {
        self.heartbeats()?;
        let replica = replica.pid().context("the replica does not run")?;
        let postgres = stack.postgres.pid().context("Postgres does not run")?;
        let (of_replica, of_postgres) = (processor_seconds(replica)?, processor_seconds(postgres)?);
        let start = Instant::now();
        tokio::time::sleep(IDLE).await;
        let share = |before, after: f64| (after - before) * 1e2 / start.elapsed().as_secs_f64();
        let idle = Idle {
            replica: share(of_replica, processor_seconds(replica)?),
            postgres: share(of_postgres, processor_seconds(postgres)?),
        };
        let heartbeats = self.heartbeats()?;
        let streams = self.streams.len();
        // One of each stream; some a little before this time or after it.
        let expected = streams * 9 / 10..=streams * 11 / 10 + 1;
        ensure!(expected.contains(&heartbeats), "{heartbeats} heartbeats of {streams} streams came in {IDLE:?}");
        Ok(idle)
    }

    /// How many have come, and nothing else.
    fn heartbeats(&mut self) -> Result<usize> {
        let mut heartbeats = 0;
        while let Ok(told) = self.told.try_recv() {
            match told {
                Told::Heartbeat => heartbeats += 1,
                Told::Event { posted, .. } => bail!("a stream tells of {posted:?}, and nobody has posted"),
                Told::End(how) => bail!("a stream has ended: {how}"),
            }
        }
        Ok(heartbeats)
    }
}

/// Opens a stream, and reads until the position from which on it tells everything.
async fn open(address: &str, path: &str) -> Result<BufReader<TcpStream>> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    // There are many of them, and what they tell is short.
    let mut stream = BufReader::with_capacity(512, socket);
    let mut head = String::new();
    let begun = async {
        loop {
            let start = head.len();
            ensure!(stream.read_line(&mut head).await? > 0, "the answer breaks off");
            if !head.starts_with("HTTP/1.1 200 ") {
                stream.read_to_string(&mut head).await?;
                bail!("this is no stream");
            }
            if head.get(start..).is_some_and(|line| line.starts_with("id: ")) {
                return Ok(());
            }
        }
    };
    let begun = tokio::time::timeout(LIMIT, begun).await.context("it does not begin");
    begun.flatten().with_context(|| format!("what has come is {head:?}"))?;
    Ok(stream)
}

/// Tells what a stream tells, until it ends. Nobody is left to be told when the streams are closed from this side.
async fn watch(mut stream: BufReader<TcpStream>, teller: mpsc::UnboundedSender<Told>) {
    let mut line = String::new();
    loop {
        line.clear();
        let end = match stream.read_line(&mut line).await {
            Ok(0) => Some("the connection was closed".to_owned()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        let at = Instant::now();
        let told = if let Some(how) = end {
            Told::End(how)
        } else if let Some(data) = line.strip_prefix("data: ") {
            match serde_json::from_str::<ThreadEvent>(data) {
                Ok(event) => Told::Event { at, posted: event.posted },
                Err(error) => Told::End(format!("{line} {error}")),
            }
        } else if line == ":\n" {
            Told::Heartbeat
        } else {
            continue;
        };
        let ended = matches!(told, Told::End(_));
        if teller.send(told).is_err() || ended {
            return;
        }
    }
}

/// A board of two replicas, and a third one whose posts wait for nothing.
#[derive(Debug)]
pub struct Board {
    stack: Stack,
    at_once: Replica,
    streams: u64,
    _scratch: Scratch,
}

impl Board {
    /// Starts it.
    pub async fn start() -> Result<Self> {
        let streams = raise_file_limit()?;
        let most = streams.to_string();
        let stack = Stack::builder()
            .replicas(2)
            .env("TRIPTYCH_MAX_STREAMS", &most)
            .env("TRIPTYCH_MAX_STREAMS_PER_ADDRESS", &most)
            .start()
            .await?;
        let scratch = Scratch::new("streams")?;
        let mut environment = stack.environment().clone();
        environment.push(("TRIPTYCH_FEED_INTERVAL".to_owned(), "0ms".to_owned()));
        let at_once = Replica::new("at-once", &replica::binary()?, &environment, scratch.path())?;
        at_once.start()?;
        at_once.wait_ready().await?;
        Ok(Self { stack, at_once, streams, _scratch: scratch })
    }

    /// Measures it.
    pub async fn run(self) -> Result<Streams> {
        let (here, there) = (self.stack.replica(0)?, self.stack.replica(1)?);
        let (answer, answer_at_once) = answers(here, &self.at_once).await?;
        let commit_wait = Spread::of(answer.iter().zip(&answer_at_once).map(|(waits, at_once)| waits - at_once))?;
        // While it runs, others cannot use an answer of Postgres for longer than it waits, which is not at all.
        self.at_once.kill()?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (from_sending, from_answer) = seen(here, there).await?;
        there.kill()?;

        let poster = Poster::new(here).await?;
        let mut watching = Watching::new();
        watching.open(here, "/b/events", 1).await?;
        let idle_one = watching.idle(here, &self.stack).await?;
        let pid = here.pid().context("the replica does not run")?;
        let before = memory(pid)?.now;
        watching.open(here, "/b/events", self.streams - 1).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let with_all = memory(pid)?.now;
        let idle_all = watching.idle(here, &self.stack).await?;
        let (mut all_from_sending, mut all_from_answer, mut processor) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..TOLD {
            let before = processor_seconds(pid)?;
            let post = poster.post(number).await?;
            let last = watching.all_told_of(post.no).await?.into_iter().max().context("there are streams")?;
            all_from_sending.push(milliseconds(post.sent, last));
            all_from_answer.push(milliseconds(post.answered, last));
            tokio::time::sleep(Duration::from_millis(100)).await;
            processor.push((processor_seconds(pid)? - before) * 1e3);
        }
        drop(watching);
        self.stack.stop().await?;
        Ok(Streams {
            from_sending: Times::of(from_sending)?,
            from_answer: Times::of(from_answer)?,
            answer: Times::of(answer)?,
            answer_at_once: Times::of(answer_at_once)?,
            commit_wait,
            open: self.streams,
            before,
            with_all,
            idle_one,
            idle_all,
            all_from_sending: Spread::of(all_from_sending)?,
            all_from_answer: Spread::of(all_from_answer)?,
            processor: Spread::of(processor)?,
        })
    }
}

/// As many file descriptors for this process, and what it starts from now on, as all streams need. Answers how many
/// streams there can be.
fn raise_file_limit() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    // No number: as many as anybody wants.
    let possible = limit.maximum.map_or(STREAMS + OTHER_FILES, |maximum| maximum.min(STREAMS + OTHER_FILES));
    let current = limit.current.map(|current| current.max(possible));
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).context("cannot raise the limit of open files")?;
    let streams = possible.saturating_sub(OTHER_FILES);
    ensure!(streams > 1, "{possible} open files are too few");
    Ok(streams)
}

/// The time that answers take of two replicas, in turn.
async fn answers(here: &Replica, at_once: &Replica) -> Result<(Vec<f64>, Vec<f64>)> {
    let posters = [Poster::new(here).await?, Poster::new(at_once).await?];
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..POSTS {
        let order = if number.is_multiple_of(2) { [0, 1] } else { [1, 0] };
        for which in order {
            let (poster, times) = (posters.get(which), times.get_mut(which));
            let post = poster.context("there are two")?.post(number).await?;
            times.context("there are two")?.push(milliseconds(post.sent, post.answered));
        }
    }
    let [waits, of_at_once] = times;
    Ok((waits, of_at_once))
}

/// Posts to one replica, and waits for the event on a stream of another: how long after sending, and after the answer.
async fn seen(here: &Replica, there: &Replica) -> Result<(Vec<f64>, Vec<f64>)> {
    let poster = Poster::new(here).await?;
    let mut watching = Watching::new();
    watching.open(there, &format!("/b/res/{}/events", poster.thread), 1).await?;
    let (mut from_sending, mut from_answer) = (Vec::new(), Vec::new());
    for number in 0..POSTS {
        // Otherwise all would be sent at the same moment between two questions of the feed.
        tokio::time::sleep(Duration::from_millis(u64::try_from(number)? * 7 % 23)).await;
        let post = poster.post(number).await?;
        for at in watching.all_told_of(post.no).await? {
            from_sending.push(milliseconds(post.sent, at));
            from_answer.push(milliseconds(post.answered, at));
        }
    }
    Ok((from_sending, from_answer))
}

/// Somebody who posts to a thread of their own.
struct Poster {
    visitor: Visitor,
    thread: i64,
}

/// A post, and when it was sent and answered.
struct Posted {
    no: i64,
    sent: Instant,
    answered: Instant,
}

impl Poster {
    async fn new(replica: &Replica) -> Result<Self> {
        let visitor = Visitor::new(&replica.url())?;
        let thread = visitor.must_post("b", &Form::thread("Streams").picture(&pictures::jpeg(1, 64, 48)?)).await?.no;
        Ok(Self { visitor, thread })
    }

    async fn post(&self, number: usize) -> Result<Posted> {
        let form = Form::reply(self.thread, &sentence(number, 30));
        let sent = Instant::now();
        let no = self.visitor.must_post("b", &form).await?.no;
        Ok(Posted { no, sent, answered: Instant::now() })
    }
}

/// Less than nothing when it was the other way round.
fn milliseconds(from: Instant, to: Instant) -> f64 {
    let later = to.saturating_duration_since(from).as_secs_f64();
    (later - from.saturating_duration_since(to).as_secs_f64()) * 1e3
}

impl Times {
    fn of(mut milliseconds: Vec<f64>) -> Result<Self> {
        milliseconds.sort_by(f64::total_cmp);
        let below = milliseconds.len() * 99 / 100;
        let p99 = *milliseconds.get(below.saturating_sub(1)).context("nothing was measured")?;
        Ok(Self { median: Spread::of(milliseconds)?.median, p99 })
    }
}
