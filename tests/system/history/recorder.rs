//! What all clients share: the clock, the history, and the threads that are there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use rand::{rngs::StdRng, seq::IteratorRandom as _};
use triptych_tests::history::{Cut, Deletion, Down, History, Moment, No, Post, Read, Shown, Stream, pages};

/// The boards that are posted to.
pub(super) const BOARDS: [&str; 2] = ["b", "art"];

/// A thread as its writers know it.
#[derive(Debug, Clone)]
pub(super) struct Thread {
    pub(super) board: &'static str,
    pub(super) no: No,
    /// Replies that are not deleted, and whether they have a picture.
    pub(super) replies: BTreeMap<No, bool>,
    /// Replies that were ever sent.
    pub(super) sent: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Recorder {
    start: Instant,
    wanted_reads: usize,
    wanted_faults: usize,
    reads: AtomicUsize,
    replica_faults: AtomicUsize,
    postgres_faults: AtomicUsize,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    done: Done,
    threads: Vec<Thread>,
    /// Where something has happened last: what is read at once afterwards is most likely to be stale.
    latest: Option<(&'static str, No)>,
    contents: BTreeMap<(Arc<str>, Arc<str>), Arc<Shown>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) history: History,
    /// Readings that were answered with "not modified".
    pub(super) unchanged: usize,
    /// Pages that say of themselves that they may be old.
    pub(super) as_of: usize,
}

/// What is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disturbed {
    Replica,
    Postgres,
}

impl Recorder {
    pub(super) fn new(wanted_reads: usize, wanted_faults: usize) -> Self {
        Self {
            start: Instant::now(),
            wanted_reads,
            wanted_faults,
            reads: AtomicUsize::new(0),
            replica_faults: AtomicUsize::new(0),
            postgres_faults: AtomicUsize::new(0),
            books: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// Whether enough was read, and enough has happened meanwhile.
    pub(super) fn is_enough(&self) -> bool {
        let faults = [&self.replica_faults, &self.postgres_faults];
        self.reads() >= self.wanted_reads
            && faults.iter().all(|faults| faults.load(Ordering::Acquire) >= self.wanted_faults)
    }

    /// So many readings that all disturbances of a kind come to pass.
    pub(super) fn reads_between_faults(&self) -> usize {
        self.wanted_reads / self.wanted_faults.max(1)
    }

    /// Readings so far.
    pub(super) fn reads(&self) -> usize {
        self.reads.load(Ordering::Acquire)
    }

    pub(super) fn disturbed(&self, what: Disturbed) {
        let faults = if what == Disturbed::Replica { &self.replica_faults } else { &self.postgres_faults };
        faults.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn down(&self, down: Down) {
        self.books().done.history.downs.push(down);
    }

    pub(super) fn cut(&self, cut: Cut) {
        self.books().done.history.cuts.push(cut);
    }

    pub(super) fn wrong(&self, what: String) {
        self.books().done.history.wrong.push(what);
    }

    pub(super) fn as_of(&self) {
        self.books().done.as_of += 1;
    }

    /// Pages so far that say of themselves that they may be old.
    pub(super) fn pages_as_of(&self) -> usize {
        self.books().done.as_of
    }

    /// Notes a reading. Pages with the same tag and content are kept once.
    pub(super) fn read(&self, mut read: Read, unchanged: bool) -> Arc<Shown> {
        let mut books = self.books();
        if let Some(tag) = &read.tag {
            let key = (Arc::clone(&read.path), Arc::clone(tag));
            let kept = books.contents.entry(key).or_insert_with(|| Arc::clone(&read.shown));
            if **kept == *read.shown {
                read.shown = Arc::clone(kept);
            }
        }
        let shown = Arc::clone(&read.shown);
        books.done.history.reads.push(read);
        books.done.unchanged += usize::from(unchanged);
        self.reads.fetch_add(1, Ordering::AcqRel);
        shown
    }

    /// Notes that a thread was not there.
    pub(super) fn no_thread(&self, site: usize, begin: Moment, thread: No) {
        let shown = Arc::new(pages::no_thread(thread));
        let path = format!("the stream of thread {thread}").into();
        self.read(Read { site, path, begin, end: self.now(), tag: None, shown }, false);
    }

    /// Notes what a stream has told.
    pub(super) fn stream(&self, stream: Stream) {
        self.books().done.history.streams.push(stream);
    }

    /// Has everybody look at a thread.
    pub(super) fn news(&self, board: &'static str, thread: No) {
        self.books().latest = Some((board, thread));
    }

    /// Notes a post, whatever became of it.
    pub(super) fn post(&self, post: Post) {
        let mut books = self.books();
        if let Some((_, no)) = post.acknowledged {
            let thread = post.thread.unwrap_or(no);
            books.latest = Some((post.board, thread));
            match post.thread {
                None => books.threads.push(Thread { board: post.board, no, replies: BTreeMap::new(), sent: 0 }),
                Some(_) => books.with_thread(thread, |thread| {
                    thread.replies.insert(no, post.pictured);
                }),
            }
        }
        books.done.history.posts.push(post);
    }

    /// Notes a deletion, whatever became of it.
    pub(super) fn deletion(&self, board: &'static str, thread: No, deletion: Deletion) {
        let mut books = self.books();
        if deletion.acknowledged.is_some() {
            books.latest = Some((board, thread));
        }
        books.done.history.deletions.push(deletion);
    }

    /// The threads of a board that nobody deletes.
    pub(super) fn threads(&self, board: &str) -> Vec<Thread> {
        self.books().threads.iter().filter(|thread| thread.board == board).cloned().collect()
    }

    /// One of them.
    pub(super) fn some_thread(&self, board: &str, random: &mut StdRng) -> Option<No> {
        let books = self.books();
        books.threads.iter().filter(|thread| thread.board == board).map(|thread| thread.no).choose(random)
    }

    /// Whether nobody deletes this thread.
    pub(super) fn has_thread(&self, no: No) -> bool {
        self.books().threads.iter().any(|thread| thread.no == no)
    }

    /// Whether nobody deletes this reply.
    pub(super) fn has_reply(&self, thread: No, no: No) -> bool {
        self.books().threads.iter().any(|known| known.no == thread && known.replies.contains_key(&no))
    }

    /// Where something has happened last.
    pub(super) fn latest(&self) -> Option<(&'static str, No)> {
        self.books().latest
    }

    /// Counts a reply that is about to be sent.
    pub(super) fn sending(&self, thread: No) {
        self.books().with_thread(thread, |thread| thread.sent += 1);
    }

    /// Takes a thread away from all other writers, because it is to be deleted.
    pub(super) fn take_thread(&self, no: No) -> bool {
        let mut books = self.books();
        let before = books.threads.len();
        books.threads.retain(|thread| thread.no != no);
        books.threads.len() < before
    }

    /// Takes a reply away, because it is to be deleted.
    pub(super) fn take_reply(&self, thread: No, no: No) -> bool {
        let mut taken = false;
        self.books().with_thread(thread, |thread| taken = thread.replies.remove(&no).is_some());
        taken
    }

    /// Notes that a reply is left without its picture.
    pub(super) fn take_picture(&self, thread: No, no: No) -> bool {
        let mut taken = false;
        self.books().with_thread(thread, |thread| {
            if let Some(pictured) = thread.replies.get_mut(&no) {
                taken = std::mem::take(pictured);
            }
        });
        taken
    }

    /// Everything that was recorded.
    pub(super) fn finish(self) -> Done {
        self.books.into_inner().unwrap_or_else(PoisonError::into_inner).done
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn with_thread(&mut self, no: No, change: impl FnOnce(&mut Thread)) {
        if let Some(thread) = self.threads.iter_mut().find(|thread| thread.no == no) {
            change(thread);
        }
    }
}
