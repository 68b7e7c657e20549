//! Readers who keep event streams open through the Ingress, and come back whenever one ends.
//!
//! A stream may end at any time. Whoever comes back with the position that was told last misses nothing: that is compared
//! with the books when everybody else has stopped.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use chrono::Utc;
use http_body_util::BodyExt as _;
use hyper::{StatusCode, body::Incoming};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    board::{Board, SLUG, thread_path},
    client::{Ask, Client, Failure, Opened, told},
    kubectl::LIMIT,
    ledger::{number, posts},
};
use crate::{
    events::Parser,
    http::JSON,
    watcher::{self, ThreadEvent},
};

/// Readers of the whole board.
const OF_BOARD: usize = 10;
/// Readers of one thread, each of another one.
const OF_THREAD: usize = 20;
/// Of the posts that a reader of a thread is told of, one in so many is fetched at once.
const FETCHED: usize = 10;
/// Before a replica has said how long to wait.
const RETRY: Duration = Duration::from_secs(2);
/// What is shown one by one of what went wrong.
const SHOWN: usize = 25;

/// Streams that are open. Dropping them ends them.
#[derive(Debug)]
pub(crate) struct Streams {
    readers: JoinSet<Told>,
    stop: watch::Sender<Option<Instant>>,
}

/// What all readers share.
#[derive(Debug)]
struct Shared {
    board: Board,
    /// Threads that are posted to while there are streams; their first posts are older.
    threads: Vec<i64>,
    /// A permit for each reader who has been told a position.
    ready: Semaphore,
    /// How long readers wait for what they have not been told when everybody else has stopped.
    patience: Duration,
}

/// A reader of the board, or of one thread.
#[derive(Debug)]
struct Reader {
    shared: Arc<Shared>,
    thread: Option<i64>,
    client: Client,
    /// Since when nobody posts any more.
    stopped: watch::Receiver<Option<Instant>>,
    /// Knows the position to continue from.
    parser: Parser,
    posts: BTreeSet<i64>,
    told: Told,
}

/// What readers were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    streams: usize,
    opened: usize,
    events: usize,
    reloads: usize,
    refused: usize,
    /// Requests that went wrong.
    failed: Vec<Failure>,
    /// What must not be, whatever happens to requests.
    wrong: Vec<String>,
    served_by: BTreeSet<String>,
}

impl Streams {
    /// Opens all of them, and waits until each has a position to continue from.
    pub(crate) async fn open(board: &Board, threads: &[i64]) -> Result<Self> {
        let of_threads = threads.iter().take(OF_THREAD).copied().map(Some);
        let subjects = std::iter::repeat_n(None, OF_BOARD).chain(of_threads).collect();
        Self::of(board, threads, subjects, LIMIT).await
    }

    async fn of(board: &Board, threads: &[i64], subjects: Vec<Option<i64>>, patience: Duration) -> Result<Self> {
        let (stop, stopped) = watch::channel(None);
        let ready = Semaphore::new(0);
        let shared = Arc::new(Shared { board: board.clone(), threads: threads.to_vec(), ready, patience });
        let number = u32::try_from(subjects.len())?;
        let mut readers = JoinSet::new();
        for thread in subjects {
            let reader = Reader {
                client: board.visitor(),
                shared: Arc::clone(&shared),
                thread,
                stopped: stopped.clone(),
                parser: Parser::default(),
                posts: BTreeSet::new(),
                told: Told { streams: 1, ..Told::default() },
            };
            readers.spawn(reader.run());
        }
        let streams = Self { readers, stop };
        if tokio::time::timeout(patience, shared.ready.acquire_many(number)).await.is_err() {
            // They have waited for long enough.
            let told = streams.collect(Instant::now().checked_sub(patience).unwrap_or_else(Instant::now)).await?;
            let ready = shared.ready.available_permits();
            let failed = told.failed.first().map_or_else(String::new, |failure| format!(": {failure}"));
            bail!("only {ready} of {number} event streams have told a position ({told}){failed}");
        }
        Ok(streams)
    }

    /// Nobody posts any more: lets each reader be told what is still missing.
    pub(crate) async fn end(self) -> Result<Told> {
        self.collect(Instant::now()).await
    }

    async fn collect(mut self, stopped: Instant) -> Result<Told> {
        self.stop.send_replace(Some(stopped));
        let mut all = Told::default();
        while let Some(told) = self.readers.join_next().await {
            let Told { streams, opened, events, reloads, refused, failed, wrong, served_by } = told?;
            all.streams += streams;
            all.opened += opened;
            all.events += events;
            all.reloads += reloads;
            all.refused += refused;
            all.failed.extend(failed);
            all.wrong.extend(wrong);
            all.served_by.extend(served_by);
        }
        all.failed.sort_by_key(|failure| failure.at);
        Ok(all)
    }
}

impl Told {
    /// Judges what readers were told. They may always be refused politely; whether requests may also fail is the step's to say.
    pub(crate) fn judge(&self, may_fail: bool) -> Result<()> {
        let (failed, wrong) = (self.failed.len(), self.wrong.len());
        let failures = self.failed.iter().map(ToString::to_string).filter(|_| !may_fail);
        let shown: Vec<String> = self.wrong.iter().cloned().chain(failures).take(SHOWN).collect();
        ensure!(
            shown.is_empty(),
            "{wrong} things are wrong with event streams, and {failed} requests for them failed ({self}):\n  {}",
            shown.join("\n  ")
        );
        Ok(())
    }
}

impl fmt::Display for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { streams, opened, events, reloads, refused, failed, served_by, .. } = self;
        write!(
            formatter,
            "{streams} event streams opened {opened} times at {} pods told {events} events",
            served_by.len()
        )?;
        for (number, what) in [(*reloads, "to load anew"), (*refused, "refused politely"), (failed.len(), "failed")] {
            if number > 0 {
                write!(formatter, ", {number} {what}")?;
            }
        }
        Ok(())
    }
}

impl Reader {
    async fn run(mut self) -> Told {
        while !self.is_done() {
            let wait = self.follow().await;
            if !self.is_done() {
                tokio::time::sleep(wait).await;
            }
        }
        let missing = self.missing();
        if !missing.is_empty() {
            self.told.wrong.push(format!("{}: nothing was told of {missing:?}", self.path()));
        }
        self.told
    }

    fn path(&self) -> String {
        match self.thread {
            Some(thread) => format!("/{SLUG}/res/{thread}/events"),
            None => format!("/{SLUG}/events"),
        }
    }

    /// The threads that this reader is told of.
    fn threads(&self) -> &[i64] {
        self.thread.as_ref().map_or(&self.shared.threads, std::slice::from_ref)
    }

    /// What was acknowledged so far and was not told.
    fn missing(&self) -> Vec<i64> {
        let ledger = &self.shared.board.ledger;
        let acknowledged = self.threads().iter().flat_map(|thread| {
            // The first post is older than the stream.
            ledger.so_far(*thread).into_iter().filter(move |no| no != thread)
        });
        acknowledged.filter(|no| !self.posts.contains(no)).collect()
    }

    /// Whether everybody else has stopped, and this reader knows everything or has waited for long enough.
    fn is_done(&self) -> bool {
        let stopped = *self.stopped.borrow();
        stopped.is_some_and(|since| since.elapsed() > self.shared.patience || self.missing().is_empty())
    }

    /// Opens the stream and follows it to its end; answers how long to wait before it is opened again.
    async fn follow(&mut self) -> Duration {
        self.parser.reconnect();
        let ask = Ask::events(&self.path(), &self.parser.last_id);
        let at = Utc::now();
        match self.client.open(&ask).await {
            Ok(Opened::Stream { body, served_by }) => {
                self.told.opened += 1;
                self.told.served_by.insert(served_by);
                self.listen(body).await;
                self.retry()
            }
            Ok(Opened::Other(answer)) => {
                if answer.expect_polite_refusal(JSON).is_ok() {
                    self.told.refused += 1;
                } else {
                    self.told.failed.push(self.client.judged(at, &ask, &told(&answer)));
                }
                answer.header("Retry-After").parse().map_or(self.retry(), Duration::from_secs)
            }
            Err(failure) => {
                self.told.failed.push(failure);
                self.retry()
            }
        }
    }

    /// Reads until the stream ends, in good order or not, or until there is nothing more to wait for.
    async fn listen(&mut self, mut body: Incoming) {
        let mut stopped = self.stopped.clone();
        loop {
            let since = *stopped.borrow_and_update();
            let giving_up = async {
                match since {
                    Some(since) => tokio::time::sleep_until((since + self.shared.patience).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                frame = body.frame() => {
                    let Some(Ok(frame)) = frame else { return };
                    self.take(frame.data_ref().map_or(&[], |data| data)).await;
                }
                // Everything may have been told already.
                _ = stopped.changed(), if since.is_none() => {}
                () = giving_up => return,
            }
            if self.is_done() {
                return;
            }
        }
    }

    async fn take(&mut self, bytes: &[u8]) {
        let knew_position = !self.parser.last_id.is_empty();
        for event in self.parser.read(bytes) {
            match watcher::Told::of(&event) {
                Ok(watcher::Told::Reload) => {
                    self.told.reloads += 1;
                    self.load_anew().await;
                }
                Ok(watcher::Told::Thread(ThreadEvent { thread, posted, .. })) => self.hear(thread, posted).await,
                Err(_) => self.told.wrong.push(format!("{}: {:?} with {}", self.path(), event.kind, event.data)),
            }
        }
        if !knew_position && !self.parser.last_id.is_empty() {
            self.shared.ready.add_permits(1);
        }
    }

    /// How long a reader waits before it comes back.
    fn retry(&self) -> Duration {
        self.parser.retry.unwrap_or(RETRY)
    }

    async fn hear(&mut self, thread: i64, posted: Vec<i64>) {
        self.told.events += 1;
        if self.thread.is_some_and(|own| own != thread) {
            self.told.wrong.push(format!("{} tells of No.{thread}", self.path()));
        }
        for no in posted {
            self.posts.insert(no);
            if self.thread.is_some() && self.posts.len().is_multiple_of(FETCHED) {
                self.fetch(thread, no).await;
            }
        }
    }

    /// What a stream has told can be read, whichever pod answers.
    async fn fetch(&mut self, thread: i64, no: i64) {
        let ask = Ask::json(&format!("{}?after={}", thread_path(thread, "json"), no - 1));
        match self.read(&ask).await {
            Ok(Some(read)) if !read.contains(&no) => {
                self.told.wrong.push(format!("{}: No.{no} was told of and could not be read", self.path()));
            }
            Ok(_) => {}
            Err(failure) => self.told.failed.push(failure),
        }
    }

    /// Reads everything that this reader would have been told of, for as long as it takes.
    async fn load_anew(&mut self) {
        for thread in self.threads().to_vec() {
            let ask = Ask::json(&thread_path(thread, "json"));
            let start = Instant::now();
            while start.elapsed() < self.shared.patience {
                match self.read(&ask).await {
                    Ok(Some(read)) => {
                        self.posts.extend(read);
                        break;
                    }
                    Ok(None) => {}
                    Err(failure) => self.told.failed.push(failure),
                }
                tokio::time::sleep(self.retry()).await;
            }
        }
    }

    /// The numbers of the posts in a document; nothing while Postgres is away, as a refusal or the document of before tells.
    async fn read(&mut self, ask: &Ask) -> Result<Option<BTreeSet<i64>>, Failure> {
        let at = Utc::now();
        let answer = self.client.send(ask).await?;
        if answer.status == StatusCode::OK
            && let Ok(document) = answer.json()
        {
            return Ok((!answer.is_older()).then(|| posts(&document).iter().map(number).collect()));
        }
        if answer.expect_polite_refusal(JSON).is_ok() {
            self.told.refused += 1;
            return Ok(None);
        }
        Err(self.client.judged(at, ask, &told(&answer)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        sync::mpsc,
    };

    use super::*;

    const POSITION: &str = "retry: 1\nid: a\n\n";
    const TOLD: &str = "id: b\ndata: {\"board\":\"b\",\"thread\":17,\"posted\":[18]}\n\n";
    const RELOAD: &str = "event: reload\ndata: {}\n\n";

    /// A stream that goes on.
    fn stream(events: &str) -> String {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n";
        format!("{head}\r\n{:x}\r\n{events}\r\n", events.len())
    }

    fn document(head: &str, body: &str) -> String {
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    fn refusal() -> String {
        let problem = r#"{"type":"about:blank","title":"Full","detail":"Full","code":"full","status":503}"#;
        document("503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1", problem)
    }

    /// What becomes of a connection after its answer.
    #[derive(PartialEq)]
    enum Then {
        Ends,
        Stays,
    }
    use Then::{Ends, Stays};

    /// Gives each connection its answer. Tells what was asked.
    async fn serve(answers: Vec<(String, Then)>) -> (Board, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut open = Vec::new();
            for (answer, then) in answers {
                let (mut next, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(next.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap();
                let position = head.lines().find_map(|line| line.strip_prefix("last-event-id: "));
                tell.send(format!("{path} {}", position.unwrap_or("from now on"))).unwrap();
                next.write_all(answer.as_bytes()).await.unwrap();
                if then == Stays {
                    open.push(next);
                }
            }
            std::future::pending::<()>().await;
            drop(open);
        });
        let board = Board::new(&address, "board.example", &address, "none");
        board.ledger.sent(17, "told", None);
        board.ledger.acknowledged("told", 18);
        (board, asked)
    }

    async fn all(mut asked: mpsc::UnboundedReceiver<String>) -> Vec<String> {
        let mut all = Vec::new();
        asked.recv_many(&mut all, 100).await;
        all
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_is_continued_after_a_polite_refusal_too() {
        let (board, asked) = serve(vec![(stream(POSITION), Ends), (refusal(), Ends), (stream(TOLD), Stays)]).await;
        let streams = Streams::of(&board, &[17], vec![None], LIMIT).await.unwrap();
        let told = streams.end().await.unwrap();
        told.judge(false).unwrap();
        assert_eq!((told.opened, told.refused, told.events), (2, 1, 1), "{told}");
        assert_eq!(all(asked).await, ["/b/events from now on", "/b/events a", "/b/events a"]);
    }

    #[tokio::test]
    async fn who_is_told_to_load_anew_knows_what_the_thread_shows() {
        let thread = document("200 OK", r#"{"posts":[{"no":17},{"no":18}]}"#);
        let (board, asked) = serve(vec![(stream(&format!("{POSITION}{RELOAD}")), Stays), (thread, Ends)]).await;
        let streams = Streams::of(&board, &[17], vec![Some(17)], LIMIT).await.unwrap();
        let told = streams.end().await.unwrap();
        told.judge(false).unwrap();
        assert_eq!(told.reloads, 1);
        assert_eq!(all(asked).await, ["/b/res/17/events from now on", "/b/res/17.json from now on"]);
    }

    #[tokio::test]
    async fn what_was_acknowledged_and_never_told_is_wrong_whatever_may_fail() {
        let (board, _asked) = serve(vec![(stream(POSITION), Stays)]).await;
        let streams = Streams::of(&board, &[17], vec![None], Duration::from_secs(3)).await.unwrap();
        let wrong = streams.end().await.unwrap().judge(true).unwrap_err().to_string();
        assert!(wrong.contains("/b/events: nothing was told of [18]"), "{wrong}");
    }

    #[tokio::test]
    async fn a_board_without_event_streams_is_told_of() {
        let (board, _asked) = serve(vec![(document("404 Not Found", "none"), Ends)]).await;
        let nothing = Streams::of(&board, &[17], vec![None], Duration::from_millis(500)).await.unwrap_err().to_string();
        assert!(nothing.starts_with("only 0 of 1 event streams") && nothing.contains("404 Not Found"), "{nothing}");
    }

    #[tokio::test]
    async fn any_other_answer_is_a_failure_unless_requests_may_fail() {
        let answers = vec![(stream(POSITION), Ends), (document("502 Bad Gateway", "bad"), Ends), (stream(TOLD), Stays)];
        let (board, _asked) = serve(answers).await;
        let told = Streams::of(&board, &[17], vec![None], LIMIT).await.unwrap().end().await.unwrap();
        told.judge(true).unwrap();
        let failed = told.judge(false).unwrap_err().to_string();
        assert!(failed.contains("GET /b/events: 502 Bad Gateway"), "{failed}");
    }
}
