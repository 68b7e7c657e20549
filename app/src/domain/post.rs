//! Posts and threads as they are read.

use chrono::{DateTime, Utc};

use super::picture::Attachment;

/// Number of a post, unique on the whole site. A thread has the number of its opening post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PostNo(pub i32);

impl std::fmt::Display for PostNo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One post as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Its number.
    pub no: PostNo,
    /// The thread it stands in; its own number for an opening post.
    pub thread: PostNo,
    /// When it was committed.
    pub created_at: DateTime<Utc>,
    /// `None` is shown as "Anonymous".
    pub name: Option<String>,
    /// Subject line.
    pub subject: Option<String>,
    /// Did not bump its thread.
    pub sage: bool,
    /// The comment as safe HTML, made by `markup` when it was posted. May be empty.
    pub html: String,
    /// The comment as it was typed. May be empty.
    pub comment: String,
    /// In the order in which they were posted.
    pub attachments: Vec<Attachment>,
    /// Later posts of the same thread that quote this one, ascending.
    pub backlinks: Vec<PostNo>,
}

impl Post {
    /// Whether this is the first post of its thread.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.no == self.thread
    }
}

/// The most replies of a thread that one page or document ever shows, and so the highest limit that can be set: beyond
/// it people could write what nobody can read.
pub const MOST_REPLIES_SHOWN: i64 = 5_000;

/// Why a thread takes no replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It fell off the last page.
    Archived,
    /// Somebody locked it.
    Locked,
    /// It has as many replies as a thread may have.
    Full,
}

/// What holds for a thread as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Number of its opening post.
    pub no: PostNo,
    /// Stays on top of its board.
    pub sticky: bool,
    /// Somebody locked it.
    pub locked: bool,
    /// When it fell off the last page, if it did.
    pub archived_at: Option<DateTime<Utc>>,
    /// Replies, the opening post not counted.
    pub replies: i32,
    /// The most replies that it may have by now. It has more if it got them under a higher limit.
    pub reply_limit: i32,
    /// Pictures in replies and opening post together.
    pub pictures: i32,
    /// When it was last bumped; `None` when archived.
    pub bumped_at: Option<DateTime<Utc>>,
    /// When anything that its page shows last changed, in seconds since 1970. Each change makes it greater: several within
    /// one second run ahead of the clock.
    pub last_modified: i64,
}

impl Thread {
    /// Why it takes no replies; `None` if it does.
    ///
    /// Whether it is full follows from the count and the limit alone. Nothing is stored that would have to be mended
    /// when the limit is changed or a reply is deleted.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        if self.archived_at.is_some() {
            Some(Closed::Archived)
        } else if self.locked {
            Some(Closed::Locked)
        } else if self.replies >= self.reply_limit {
            Some(Closed::Full)
        } else {
            None
        }
    }
}

/// A thread with its posts: the opening post first, then the newest replies in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadPosts {
    /// The thread as a whole.
    pub thread: Thread,
    /// Its first post.
    pub opening: Post,
    /// On its own page all of them or as many as a page can show, on an index page the last few; ascending.
    pub replies: Vec<Post>,
}

impl ThreadPosts {
    /// How many replies the thread has beyond those at hand.
    #[must_use]
    pub fn omitted_replies(&self) -> i32 {
        let shown = i32::try_from(self.replies.len()).unwrap_or(i32::MAX);
        (self.thread.replies - shown).max(0)
    }

    /// How many pictures hang on the replies that are not at hand.
    #[must_use]
    pub fn omitted_pictures(&self) -> i32 {
        let shown: usize = std::iter::once(&self.opening)
            .chain(&self.replies)
            .map(|post| post.attachments.iter().filter(|a| a.picture.is_some()).count())
            .sum();
        (self.thread.pictures - i32::try_from(shown).unwrap_or(i32::MAX)).max(0)
    }
}
