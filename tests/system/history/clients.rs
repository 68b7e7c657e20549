//! Clients that read and write at one site, or at any, and have the recorder note when and what came of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use reqwest::{Method, RequestBuilder, StatusCode, header};
use triptych_tests::{
    Answer, Form, Visitor,
    history::{Cut, Deletion, Moment, No, Post, Read, Shown, pages},
    http::{HTML, JSON, Posted},
};

use super::{
    RULES,
    recorder::{BOARDS, Recorder},
    watchers::Marker,
};
use crate::board::small_picture;

/// Index pages are that long unless a setting says otherwise. The writers keep to fewer threads.
const THREADS_PER_PAGE: usize = 15;
/// Threads of a board, so many at the least and as a rule not many more.
const FEWEST_THREADS: usize = 4;
const MOST_THREADS: usize = 8;
/// Replies after which a thread is deleted, so that pages stay small.
const LONGEST_THREAD: usize = 60;
/// What everybody deletes with.
const PASSWORD: &str = "of all writers";
/// After an attempt that failed.
const PAUSE: Duration = Duration::from_millis(20);
/// Attempts after which nobody believes any more that the board will answer.
const MOST_ATTEMPTS: usize = 2000;

/// What is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum View {
    ThreadPage,
    ThreadDocument,
    /// Only the posts behind this one.
    NewsPage(No),
    NewsDocument(No),
    Index,
    Catalog,
}

impl View {
    fn path(self, board: &str, thread: No) -> String {
        match self {
            Self::ThreadPage => format!("/{board}/res/{thread}.html"),
            Self::ThreadDocument => format!("/{board}/res/{thread}.json"),
            Self::NewsPage(after) => format!("/{board}/res/{thread}.html?after={after}"),
            Self::NewsDocument(after) => format!("/{board}/res/{thread}.json?after={after}"),
            Self::Index => format!("/{board}/0.json"),
            Self::Catalog => format!("/{board}/catalog.json"),
        }
    }

    fn shown(self, board: &'static str, thread: No, answer: &Answer) -> Result<Shown> {
        Ok(match self {
            Self::ThreadPage => pages::thread_page(thread, None, &answer.text()),
            Self::ThreadDocument => pages::thread_document(thread, None, &answer.body)?,
            Self::NewsPage(after) => pages::thread_page(thread, Some(after), &answer.text()),
            Self::NewsDocument(after) => pages::thread_document(thread, Some(after), &answer.body)?,
            Self::Index => pages::index_document(board, THREADS_PER_PAGE, &answer.body)?,
            Self::Catalog => pages::catalog_document(board, &answer.body)?,
        })
    }
}

/// An answer, and when it was asked for and there.
struct Exchange {
    begin: Moment,
    end: Moment,
    answer: Answer,
}

/// See the module. Does one thing after the other.
pub(super) struct Client<'a> {
    recorder: &'a Recorder,
    sites: Vec<Visitor>,
    site: usize,
    random: StdRng,
    /// When each site's connection was last known to stand.
    stood: Vec<Moment>,
    /// What it has of each path: the tag, and what the page showed.
    held: BTreeMap<Arc<str>, (Arc<str>, Arc<Shown>)>,
}

impl<'a> Client<'a> {
    /// A client at a site, with connections of its own.
    pub(super) fn new(recorder: &'a Recorder, sites: &[String], site: usize, random: StdRng) -> Result<Self> {
        let sites = sites.iter().map(|site| Visitor::new(site)).collect::<Result<Vec<_>>>()?;
        let stood = vec![recorder.now(); sites.len()];
        Ok(Self { recorder, sites, site, random, stood, held: BTreeMap::new() })
    }

    /// Reads at its site until enough was read by all.
    pub(super) async fn keep_reading(mut self) -> Result<()> {
        while !self.recorder.is_enough() {
            let latest = self.recorder.latest().filter(|_| self.random.random_bool(0.6));
            let board = self.board()?;
            let any = || Some((board, self.recorder.some_thread(board, &mut self.random)?));
            let Some((board, thread)) = latest.or_else(any) else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let view = match self.random.random_range(0..10) {
                0..4 => View::ThreadDocument,
                4..6 => View::ThreadPage,
                6..8 => View::Index,
                _ => View::Catalog,
            };
            self.read(self.site, view, board, thread).await?;
        }
        Ok(())
    }

    /// Reads everything that there is at its site, however long it takes.
    pub(super) async fn read_everything(mut self) -> Result<()> {
        for board in BOARDS {
            let threads = self.recorder.threads(board);
            let views = threads
                .iter()
                .flat_map(|thread| [View::ThreadPage, View::ThreadDocument].map(|view| (view, thread.no)));
            for (view, thread) in views.chain([(View::Index, 0), (View::Catalog, 0)]) {
                let mut attempts = 0;
                while !self.read(self.site, view, board, thread).await? {
                    attempts += 1;
                    ensure!(attempts < MOST_ATTEMPTS, "{} is never answered", view.path(board, thread));
                }
            }
        }
        Ok(())
    }

    /// Reads at any site.
    pub(super) async fn read_anywhere(&mut self, view: View, board: &'static str, thread: No) -> Result<bool> {
        let site = self.random.random_range(0..self.sites.len());
        self.read(site, view, board, thread).await
    }

    /// Reads, with the tag it has of this path every other time. Whether there was an answer that promises to be fresh.
    async fn read(&mut self, site: usize, view: View, board: &'static str, thread: No) -> Result<bool> {
        let path: Arc<str> = view.path(board, thread).into();
        let accept = if matches!(view, View::ThreadPage | View::NewsPage(_)) { HTML } else { JSON };
        let visitor = self.visitor(site)?.accepting(accept);
        let mut request = visitor.request(Method::GET, &path);
        let held = self.held.get(&path).cloned().filter(|_| self.random.random_bool(0.5));
        if let Some((tag, _)) = &held {
            request = request.header(header::IF_NONE_MATCH, &**tag);
        }
        let what = format!("GET {path}");
        let Some(Exchange { begin, end, answer }) = self.exchange(site, &what, accept, request).await? else {
            return Ok(false);
        };
        if answer.is_older() {
            // A part of a page has no line that says so.
            let accept = if matches!(view, View::ThreadPage) { HTML } else { JSON };
            match answer.expect_older(accept) {
                Ok(()) => self.recorder.as_of(),
                Err(error) => self.recorder.wrong(format!("{what} of site {site}: {error:#}")),
            }
            tokio::time::sleep(PAUSE).await;
            return Ok(false);
        }
        let tag: Option<Arc<str>> = Some(answer.header("ETag")).filter(|tag| !tag.is_empty()).map(Into::into);
        let is_thread = !matches!(view, View::Index | View::Catalog);
        let (tag, shown) = match (answer.status, &held) {
            (StatusCode::OK, _) => {
                let shown = view.shown(board, thread, &answer).with_context(|| format!("{what}: {}", answer.text()))?;
                (tag, Arc::new(shown))
            }
            (StatusCode::NOT_MODIFIED, Some((tag, shown))) => (Some(Arc::clone(tag)), Arc::clone(shown)),
            (StatusCode::NOT_FOUND, _) if is_thread => (None, Arc::new(pages::no_thread(thread))),
            _ => {
                self.wrong(site, &what, &answer);
                return Ok(false);
            }
        };
        let unchanged = answer.status == StatusCode::NOT_MODIFIED;
        let read = Read { site, path: Arc::clone(&path), begin, end, tag: tag.clone(), shown };
        let shown = self.recorder.read(read, unchanged);
        if let Some(tag) = tag {
            self.held.insert(path, (tag, shown));
        }
        Ok(true)
    }

    /// Posts and deletes until enough was read by all.
    pub(super) async fn keep_writing(mut self) -> Result<()> {
        while !self.recorder.is_enough() {
            let board = self.board()?;
            let threads = self.recorder.threads(board);
            let full = threads.iter().find(|thread| thread.sent >= LONGEST_THREAD);
            let roll = self.random.random_range(0..100);
            if threads.len() < FEWEST_THREADS || roll < 4 {
                self.post(board, None, true).await?;
            } else if let Some(thread) = full {
                self.delete(board, thread.no, thread.no, false).await?;
            } else {
                let thread = threads.choose(&mut self.random).context("no threads")?;
                let pictured = |(no, pictured): (&No, &bool)| pictured.then_some(*no);
                match roll {
                    4..70 => {
                        self.post(board, Some(thread.no), roll < 20).await?;
                    }
                    70..85 => {
                        if let Some(no) = thread.replies.keys().next_back() {
                            self.delete(board, thread.no, *no, false).await?;
                        }
                    }
                    85..95 => {
                        if let Some(no) = thread.replies.iter().find_map(pictured) {
                            self.delete(board, thread.no, no, true).await?;
                        }
                    }
                    _ if threads.len() > MOST_THREADS => self.delete(board, thread.no, thread.no, false).await?,
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(self.random.random_range(5..60))).await;
        }
        Ok(())
    }

    /// Posts once more to every thread.
    pub(super) async fn mark(&mut self) -> Result<Vec<Marker>> {
        let mut markers = Vec::new();
        for board in BOARDS {
            for thread in self.recorder.threads(board) {
                let (thread, begin) = (thread.no, self.recorder.now());
                if let Some(no) = self.post(board, Some(thread), false).await? {
                    markers.push(Marker { board, thread, no, begin });
                }
            }
        }
        Ok(markers)
    }

    /// Posts, and sends it again, as a rule, when the outcome is unknown. The number, if it was acknowledged.
    pub(super) async fn post(&mut self, board: &'static str, thread: Option<No>, pictured: bool) -> Result<Option<No>> {
        let key = format!("{:016x}", self.random.random::<u64>());
        let mut form = thread.map_or_else(Form::new, |thread| Form::new().field("resto", &thread.to_string()));
        form = form.field("com", &key).field("key", &key).field("pwd", PASSWORD);
        if pictured {
            form = form.picture(&small_picture(self.random.random())?);
        }
        if let Some(thread) = thread {
            self.recorder.sending(thread);
        }
        let begin = self.recorder.now();
        let mut acknowledged = None;
        for attempt in 0.. {
            ensure!(attempt < MOST_ATTEMPTS, "a post is never answered");
            let site = if attempt == 0 { self.site } else { self.random.random_range(0..self.sites.len()) };
            let what = format!("a post to {}", thread.map_or_else(|| board.to_owned(), |no| format!("thread {no}")));
            let visitor = self.visitor(site)?.accepting(JSON);
            let request = visitor.request(Method::POST, &format!("/{board}/post")).multipart(form.multipart()?);
            match self.exchange(site, &what, JSON, request).await? {
                Some(Exchange { end, answer, .. }) if answer.status == StatusCode::CREATED => {
                    acknowledged = Some((end, answer.json::<Posted>()?.no));
                    break;
                }
                Some(Exchange { answer, .. }) => {
                    // Whoever deletes a thread takes it away before.
                    let deleted = thread.is_some_and(|thread| !self.recorder.has_thread(thread));
                    if answer.status != StatusCode::NOT_FOUND || !deleted {
                        self.wrong(site, &what, &answer);
                    }
                    break;
                }
                // A thread that nobody knows of would not be deleted by anybody.
                None if thread.is_some() && self.random.random_bool(0.3) => break,
                None => {}
            }
        }
        self.recorder.post(Post { board, thread, pictured, begin, acknowledged });
        Ok(acknowledged.map(|(_, no)| no))
    }

    /// Deletes something, unless somebody else does; sends it again, as a rule, when the outcome is unknown.
    async fn delete(&mut self, board: &'static str, thread: No, no: No, pictures_only: bool) -> Result<()> {
        let taken = match (no == thread, pictures_only) {
            (true, _) => self.recorder.take_thread(no),
            (false, true) => self.recorder.take_picture(thread, no),
            (false, false) => self.recorder.take_reply(thread, no),
        };
        if !taken {
            return Ok(());
        }
        let mut form = Form::new().field("no", &no.to_string()).field("pwd", PASSWORD);
        if pictures_only {
            form = form.field("file_only", "on");
        }
        let begin = self.recorder.now();
        let mut acknowledged = None;
        for attempt in 0.. {
            ensure!(attempt < MOST_ATTEMPTS, "a deletion is never answered");
            let site = if attempt == 0 { self.site } else { self.random.random_range(0..self.sites.len()) };
            let what = format!("the deletion of No.{no} of thread {thread}");
            let visitor = self.visitor(site)?.accepting(JSON);
            let request = visitor.request(Method::POST, &format!("/{board}/delete")).multipart(form.multipart()?);
            match self.exchange(site, &what, JSON, request).await? {
                Some(Exchange { end, answer, .. }) if answer.status == StatusCode::OK => {
                    acknowledged = Some(end);
                    break;
                }
                Some(Exchange { end, answer, .. }) => {
                    // An earlier attempt did it, or somebody deletes the whole thread, or the post with its picture.
                    let smaller = pictures_only && !self.recorder.has_reply(thread, no);
                    let expected = attempt > 0 || smaller || !self.recorder.has_thread(thread);
                    if answer.status == StatusCode::NOT_FOUND && expected {
                        // It only says what its replica has seen.
                        acknowledged = Some(end + RULES.settling);
                    } else {
                        self.wrong(site, &what, &answer);
                    }
                    break;
                }
                None if no != thread && self.random.random_bool(0.2) => break,
                None => {}
            }
        }
        self.recorder.deletion(board, thread, Deletion { post: no, pictures_only, begin, acknowledged });
        Ok(())
    }

    fn board(&mut self) -> Result<&'static str> {
        BOARDS.choose(&mut self.random).copied().context("no boards")
    }

    fn visitor(&self, site: usize) -> Result<&Visitor> {
        self.sites.get(site).context("there is no such site")
    }

    /// Sends a request. Nothing comes back if the connection was cut, or if the answer is to come again.
    async fn exchange(
        &mut self,
        site: usize,
        what: &str,
        accept: &str,
        request: RequestBuilder,
    ) -> Result<Option<Exchange>> {
        let visitor = self.visitor(site)?.clone();
        let begin = self.recorder.now();
        let sent = visitor.send(request).await;
        let end = self.recorder.now();
        let stood = self.stood.get_mut(site).context("there is no such site")?;
        match sent {
            Ok(answer) => {
                *stood = begin;
                if !answer.status.is_server_error() {
                    return Ok(Some(Exchange { begin, end, answer }));
                }
                if let Err(error) = answer.expect_polite_refusal(accept) {
                    self.recorder.wrong(format!("{what} of site {site}: {error:#}"));
                }
            }
            Err(error) => self.recorder.cut(Cut { site, since: *stood, end, what: format!("{what}: {error:#}") }),
        }
        tokio::time::sleep(PAUSE).await;
        Ok(None)
    }

    fn wrong(&self, site: usize, what: &str, answer: &Answer) {
        self.recorder.wrong(format!("{what} of site {site} is answered with {}: {}", answer.status, answer.text()));
    }
}
