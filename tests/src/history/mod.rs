//! A history: what the clients of a board asked and were told, and when. [`violations`] finds what in it cannot be true
//! of a board that keeps its promises; [`pages`] reads from an answer what it shows.
//!
//! One process observes everything and has one monotonic clock, so "before" needs no more than a comparison. A request
//! begins before its first byte is sent and ends after the last byte of its answer was read: what the board did lies
//! in between.
//!
//! The rules:
//!
//! 1. A read that began after a post or a deletion was answered shows it.
//! 2. What such a read did not have to show any more never comes back.
//! 3. A post whose sender was told nothing certain may exist or not. Once a read has shown it, every read that begins
//!    [`Rules::settling`] later shows it; in between its sender still waits, and two readers may disagree. A deletion
//!    with an unknown outcome likewise.
//! 4. A stream of events tells of every post and every deletion in its scope that began after the stream did, or has
//!    its client load the page anew.
//! 5. An event is as good as an answer: a read that began after it arrived shows what it told.
//!
//! And two that have no number: one tag names one content, and whoever is not answered is refused politely, or was
//! connected to a replica that was just stopped.

mod analysis;
mod knowledge;
pub mod pages;

use std::{sync::Arc, time::Duration};

pub use analysis::{Violation, violations};

/// The number of a post.
pub type No = i64;

/// A time on the one clock: how long after the beginning of the history.
pub type Moment = Duration;

/// What the analysis takes for granted.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How long after somebody has seen a change everybody sees it, even if its sender was told nothing. Longer than a
    /// replica may serve a page without asking anew.
    pub settling: Duration,
}

/// Everything that was observed.
#[derive(Debug, Default)]
pub struct History {
    /// Posts that somebody tried to make.
    pub posts: Vec<Post>,
    /// Deletions that somebody tried.
    pub deletions: Vec<Deletion>,
    /// Reads that were answered and that promise to be fresh.
    pub reads: Vec<Read>,
    /// Requests without an answer.
    pub cuts: Vec<Cut>,
    /// When which site could not be expected to answer.
    pub downs: Vec<Down>,
    /// What was answered as it never may be, in words.
    pub wrong: Vec<String>,
    /// Streams of events.
    pub streams: Vec<Stream>,
}

/// A post that somebody tried to make, once or, with the same key, several times.
#[derive(Debug, Clone)]
pub struct Post {
    /// The board.
    pub board: &'static str,
    /// The thread that it answers; `None` if it was to open one.
    pub thread: Option<No>,
    /// Whether it has a picture.
    pub pictured: bool,
    /// When it was first sent.
    pub begin: Moment,
    /// When it was acknowledged and its number, if it was.
    pub acknowledged: Option<(Moment, No)>,
}

/// A deletion that somebody tried, once or several times.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// The post; an opening post takes its thread with it.
    pub post: No,
    /// Only its pictures.
    pub pictures_only: bool,
    /// When it was first sent.
    pub begin: Moment,
    /// When it was acknowledged, if it was.
    pub acknowledged: Option<Moment>,
}

/// A page or document that was read.
#[derive(Debug, Clone)]
pub struct Read {
    /// Which site answered, by its place in a list.
    pub site: usize,
    /// What was asked for.
    pub path: Arc<str>,
    /// When it was asked for.
    pub begin: Moment,
    /// When the whole answer was there.
    pub end: Moment,
    /// Its tag, if it has one.
    pub tag: Option<Arc<str>>,
    /// What it shows; after a "not modified" what the page with that tag showed.
    pub shown: Arc<Shown>,
}

/// What a page shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// The threads on it.
    pub threads: Vec<Excerpt>,
    /// The board all of whose threads it lists, if it does.
    pub whole_board: Option<&'static str>,
}

/// What a page shows of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The number of the thread.
    pub thread: No,
    /// From this number on every post is listed; an opening post may be listed besides.
    pub from: No,
    /// How many replies it says that there are.
    pub replies: Option<usize>,
    /// What is listed, in ascending order; nothing if the thread does not exist.
    pub posts: Vec<Listed>,
}

impl Excerpt {
    /// A post, if it is listed.
    fn find(&self, no: No) -> Option<&Listed> {
        let place = self.posts.binary_search_by_key(&no, |listed| listed.no).ok()?;
        self.posts.get(place)
    }
}

/// A post on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub no: No,
    /// Whether it is shown with a picture.
    pub pictured: bool,
}

/// A request whose answer never came, or broke off.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Which site was asked.
    pub site: usize,
    /// When the same connection was last known to stand: the beginning of the last exchange on it that succeeded.
    pub since: Moment,
    /// When it was cut.
    pub end: Moment,
    /// What was asked, and the error.
    pub what: String,
}

/// A while during which a site cut its connections and took no new ones.
#[derive(Debug, Clone, Copy)]
pub struct Down {
    /// Which site.
    pub site: usize,
    /// Before it was stopped.
    pub begin: Moment,
    /// After it was ready again.
    pub end: Moment,
}

/// A stream of events that a client kept open, over any number of connections.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The board.
    pub board: &'static str,
    /// The thread, if it is not the whole board's.
    pub thread: Option<No>,
    /// When its client first knew a position to continue from; without one it was promised nothing.
    pub opened: Option<Moment>,
    /// Posts and deletions that were acknowledged later are not waited for.
    pub closed: Moment,
    /// What it told.
    pub told: Vec<Told>,
    /// When the client, told to do so, asked for the page anew.
    pub reloaded: Vec<Moment>,
}

/// An event.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// When it arrived.
    pub at: Moment,
    /// The thread that it is about.
    pub thread: No,
    /// Posts that were made.
    pub posted: Vec<No>,
    /// Posts that were deleted.
    pub deleted: Vec<No>,
    /// Posts whose pictures were deleted.
    pub changed: Vec<No>,
    /// The whole thread was deleted.
    pub gone: bool,
}
