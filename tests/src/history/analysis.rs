//! What in a history cannot be true of a board that keeps its promises. Pure functions: the same history, the same
//! findings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use super::{
    Cut, Excerpt, History, Moment, No, Read, Rules, Shown, Stream,
    knowledge::{Existence, Knowledge, Known},
};

/// What cannot be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A read began after this was answered, seen or told, and does not show it.
    Stale {
        /// What is missing.
        what: String,
        /// Where, and when.
        read: String,
    },
    /// A read began after this was deleted, and shows it.
    Returned {
        /// What is back.
        what: String,
        /// Where, and when.
        read: String,
    },
    /// A read counts fewer replies than there must be, or more than there can be.
    Miscounted {
        /// What is counted.
        what: String,
        /// Where, and when.
        read: String,
    },
    /// The same tag for two contents.
    Tag(String),
    /// A stream has not told of this.
    Untold(String),
    /// A request without an answer, of a site that was there.
    Cut(String),
    /// What was answered as it never may be.
    Wrong(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { what, read } => write!(formatter, "stale: {what} is missing, {read}"),
            Self::Returned { what, read } => write!(formatter, "returned: {what} is back, {read}"),
            Self::Miscounted { what, read } => write!(formatter, "miscounted: {what}, {read}"),
            Self::Tag(what) => write!(formatter, "one tag, two contents: {what}"),
            Self::Untold(what) => write!(formatter, "lost event: {what}"),
            Self::Cut(what) => write!(formatter, "cut off: {what}"),
            Self::Wrong(what) => write!(formatter, "wrong answer: {what}"),
        }
    }
}

/// Everything in a history that cannot be true.
#[must_use]
pub fn violations(history: &History, rules: Rules) -> Vec<Violation> {
    let knowledge = Knowledge::of(history, rules);
    let reads = history.reads.iter().flat_map(|read| contradictions(read, &knowledge));
    let streams = history.streams.iter().flat_map(|stream| untold(stream, history, &knowledge));
    let cuts = history.cuts.iter().filter(|cut| !is_excused(cut, history));
    let cuts = cuts.map(|cut| Violation::Cut(format!("{} (site {}, at {:?})", cut.what, cut.site, cut.end)));
    let wrong = history.wrong.iter().cloned().map(Violation::Wrong);
    reads.chain(tags(&history.reads)).chain(streams).chain(cuts).chain(wrong).collect()
}

/// What a read shows although it must not, and the other way round.
fn contradictions(read: &Read, knowledge: &Knowledge) -> Vec<Violation> {
    let mut found = Vec::new();
    for excerpt in &read.shown.threads {
        check_excerpt(read, excerpt, knowledge, &mut found);
    }
    let unlisted = read.shown.whole_board.into_iter().flat_map(|board| knowledge.threads(board));
    for thread in unlisted.filter(|thread| read.shown.threads.iter().all(|excerpt| excerpt.thread != **thread)) {
        let required = knowledge.post(*thread, *thread).filter(|known| known.post.is_required(read));
        found.extend(required.map(|known| stale(&format!("thread {thread}"), &known.post, read)));
    }
    found
}

fn check_excerpt(read: &Read, excerpt: &Excerpt, knowledge: &Knowledge, found: &mut Vec<Violation>) {
    let thread = excerpt.thread;
    let missing =
        |known: &&Known| known.no >= excerpt.from && known.post.is_required(read) && excerpt.find(known.no).is_none();
    found.extend(
        knowledge
            .posts(thread)
            .filter(missing)
            .map(|known| stale(&format!("No.{} of thread {thread}", known.no), &known.post, read)),
    );
    for listed in &excerpt.posts {
        let Some(known) = knowledge.post(thread, listed.no) else { continue };
        let picture = || format!("the picture of No.{} of thread {thread}", listed.no);
        if known.post.is_gone(read) {
            found.push(returned(&format!("No.{} of thread {thread}", listed.no), &known.post, read));
        }
        if listed.pictured && known.picture.is_gone(read) {
            found.push(returned(&picture(), &known.picture, read));
        }
        if !listed.pictured && known.picture.is_required(read) {
            found.push(stale(&picture(), &known.picture, read));
        }
    }
    if let Some(counted) = excerpt.replies {
        let (least, most) = knowledge.replies(thread, read);
        if !(least..=most).contains(&counted) {
            let what = format!("{counted} replies of thread {thread}, which has {least} to {most}");
            found.push(Violation::Miscounted { what, read: place(read) });
        }
    }
}

fn stale(what: &str, existence: &Existence, read: &Read) -> Violation {
    let since = existence.required_from.unwrap_or_default();
    Violation::Stale { what: format!("{what}, there since {since:?},"), read: place(read) }
}

fn returned(what: &str, existence: &Existence, read: &Read) -> Violation {
    let since = existence.gone_from.unwrap_or_default();
    Violation::Returned { what: format!("{what}, gone since {since:?},"), read: place(read) }
}

fn place(read: &Read) -> String {
    format!("in {} of site {}, asked at {:?}, answered at {:?}", read.path, read.site, read.begin, read.end)
}

/// Tags that name two contents.
fn tags(reads: &[Read]) -> Vec<Violation> {
    let mut named: BTreeMap<(&str, &str), &Arc<Shown>> = BTreeMap::new();
    let mut found = Vec::new();
    for read in reads {
        let Some(tag) = &read.tag else { continue };
        let shown = *named.entry((&read.path, tag)).or_insert(&read.shown);
        if !Arc::ptr_eq(shown, &read.shown) && shown != &read.shown {
            found.push(Violation::Tag(format!("{tag} {}", place(read))));
        }
    }
    found
}

/// Whether the connection may have been one to a replica that was stopped.
fn is_excused(cut: &Cut, history: &History) -> bool {
    history.downs.iter().any(|down| down.site == cut.site && down.begin <= cut.end && down.end >= cut.since)
}

/// What a stream had to tell and has not told.
fn untold(stream: &Stream, history: &History, knowledge: &Knowledge) -> Vec<Violation> {
    let Some(opened) = stream.opened else { return Vec::new() };
    let has_to_tell = |begin: Moment, acknowledged: Moment| {
        // What began before the page was loaded anew is on it, or may have been told before.
        let reloaded = stream.reloaded.iter().any(|reloaded| begin < *reloaded);
        begin > opened && acknowledged < stream.closed && !reloaded
    };
    let in_scope = |board: &str, thread: No| stream.board == board && stream.thread.is_none_or(|only| only == thread);
    let told = ToldInAll::of(stream);
    let scope = stream.thread.map_or_else(|| stream.board.to_owned(), |thread| format!("thread {thread}"));
    let mut found = Vec::new();
    let mut miss = |what: String, acknowledged: Moment| {
        found.push(Violation::Untold(format!("{what}, acknowledged at {acknowledged:?}, in the stream of {scope}")));
    };

    let mut boards: BTreeMap<No, &str> = BTreeMap::new();
    for post in &history.posts {
        let Some((acknowledged, no)) = post.acknowledged else { continue };
        let thread = post.thread.unwrap_or(no);
        boards.insert(no, post.board);
        // One that was deleted at once need not be told of: what came and went between two events is nothing new.
        let deleted = knowledge.post(thread, no).is_some_and(|known| known.post.deletion_begun.is_some());
        let expected = in_scope(post.board, thread) && has_to_tell(post.begin, acknowledged) && !deleted;
        if expected && !told.posted.contains(&no) {
            miss(format!("No.{no}"), acknowledged);
        }
    }
    for deletion in &history.deletions {
        let no = deletion.post;
        let (Some(acknowledged), Some(thread)) = (deletion.acknowledged, knowledge.thread_of(no)) else { continue };
        let Some(board) = boards.get(&no) else { continue };
        // Whoever was never told of a post need not be told that it is gone.
        let known_before = told.posted.contains(&no) || made_before(history, no, opened);
        if !in_scope(board, thread) || !has_to_tell(deletion.begin, acknowledged) || !known_before {
            continue;
        }
        // When more than its picture was deleted, at any time, the smaller news may be left out.
        let thread_deleted = knowledge.post(thread, thread).is_some_and(|known| known.post.deletion_begun.is_some());
        let post_deleted = knowledge.post(thread, no).is_some_and(|known| known.post.deletion_begun.is_some());
        let is_told = if no == thread && !deletion.pictures_only {
            told.gone.contains(&thread)
        } else if deletion.pictures_only {
            post_deleted || told.changed.contains(&no)
        } else {
            thread_deleted || told.deleted.contains(&no)
        };
        if !is_told {
            miss(format!("the deletion of No.{no} (only its pictures: {})", deletion.pictures_only), acknowledged);
        }
    }
    found
}

/// Whether a post was acknowledged before a stream was opened.
fn made_before(history: &History, no: No, opened: Moment) -> bool {
    let acknowledged = history.posts.iter().filter_map(|post| post.acknowledged);
    acknowledged.into_iter().any(|(end, acknowledged)| acknowledged == no && end < opened)
}

/// What a stream told, whenever.
#[derive(Debug, Default)]
struct ToldInAll {
    posted: BTreeSet<No>,
    deleted: BTreeSet<No>,
    changed: BTreeSet<No>,
    gone: BTreeSet<No>,
}

impl ToldInAll {
    fn of(stream: &Stream) -> Self {
        let mut all = Self::default();
        for told in &stream.told {
            all.posted.extend(&told.posted);
            all.deleted.extend(&told.deleted);
            all.changed.extend(&told.changed);
            all.gone.extend(told.gone.then_some(told.thread));
        }
        all
    }
}

#[cfg(test)]
mod tests;
