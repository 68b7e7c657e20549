//! A post and its pictures, as index and thread pages show them.

use super::text;
use crate::domain::{Attachment, Board, Closed, Picture, Post, PostNo, Thread, ThreadPosts};

/// Longest side of a lone picture in a post, in CSS pixels.
const LONE: i32 = 250;
/// Longest side of one picture among several.
const STRIP: i32 = 160;
/// Comments longer than this are folded on an index page.
const LONG_CHARS: usize = 1_600;
/// Comments with more lines than this are folded on an index page.
const LONG_LINES: usize = 24;

/// The page that a post stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Among the last replies on an index page.
    Index,
    /// On the page of its thread.
    Thread,
}

/// A thread as a page shows it.
#[derive(Debug, Clone)]
pub struct ThreadView<'a> {
    posts: &'a ThreadPosts,
    board: &'a Board,
    /// Its first post.
    pub opening: PostView<'a>,
    /// The replies at hand.
    pub replies: Vec<PostView<'a>>,
}

impl<'a> ThreadView<'a> {
    /// `eager` posts from the top on have their pictures loaded at once.
    #[must_use]
    pub fn new(posts: &'a ThreadPosts, board: &'a Board, place: Place, eager: usize) -> Self {
        let view =
            |post: &'a Post, at: usize| PostView { post, thread: &posts.thread, board, place, eager: at < eager };
        Self {
            posts,
            board,
            opening: view(&posts.opening, 0),
            replies: posts.replies.iter().enumerate().map(|(at, post)| view(post, at + 1)).collect(),
        }
    }

    /// Address of the thread's page.
    #[must_use]
    pub fn url(&self) -> String {
        thread_url(&self.board.slug, self.posts.thread.no)
    }

    /// Its number.
    #[must_use]
    pub fn no(&self) -> PostNo {
        self.posts.thread.no
    }

    /// `19 replies and 6 pictures are not shown.`; `None` when all of it is.
    #[must_use]
    pub fn omitted_text(&self) -> Option<String> {
        let (replies, pictures) = (self.posts.omitted_replies(), self.posts.omitted_pictures());
        if replies == 0 {
            return None;
        }
        let replies_text = text::count(replies, "reply", "replies");
        Some(match (replies, pictures) {
            (1, 0) => format!("{replies_text} is not shown."),
            (_, 0) => format!("{replies_text} are not shown."),
            _ => format!("{replies_text} and {} are not shown.", text::count(pictures, "picture", "pictures")),
        })
    }

    /// `23 of 1,000 replies, 9 pictures.`
    #[must_use]
    pub fn counts_text(&self) -> String {
        let Thread { replies, reply_limit, pictures, .. } = self.posts.thread;
        let replies = if replies > reply_limit {
            text::count(replies, "reply", "replies")
        } else {
            format!("{} of {}", text::number(replies), text::count(reply_limit, "reply", "replies"))
        };
        format!("{replies}, {}.", text::count(pictures, "picture", "pictures"))
    }
}

/// What the badge of a thread says that takes no replies.
#[must_use]
pub const fn closed_badge(closed: Closed) -> &'static str {
    match closed {
        Closed::Archived => "Archived",
        Closed::Locked => "Locked",
        Closed::Full => "Full",
    }
}

/// Address of the page of thread `no`.
#[must_use]
pub fn thread_url(slug: &str, no: PostNo) -> String {
    format!("/{slug}/res/{no}.html")
}

/// A post as a page shows it.
#[derive(Debug, Clone, Copy)]
pub struct PostView<'a> {
    post: &'a Post,
    thread: &'a Thread,
    board: &'a Board,
    place: Place,
    eager: bool,
}

impl<'a> PostView<'a> {
    /// Its number.
    #[must_use]
    pub fn no(&self) -> PostNo {
        self.post.no
    }

    /// Whether it opens its thread.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.post.is_opening()
    }

    /// Whether it stands on the page of its thread.
    #[must_use]
    pub fn is_on_thread_page(&self) -> bool {
        self.place == Place::Thread
    }

    /// The thread as a whole: its badges stand on the opening post.
    #[must_use]
    pub fn thread(&self) -> &'a Thread {
        self.thread
    }

    /// Whether its thread takes no replies.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.thread.closed().is_some() || self.board.locked
    }

    /// The badge that says why its thread takes no replies.
    #[must_use]
    pub fn closed_badge(&self) -> Option<&'static str> {
        self.thread.closed().map(closed_badge)
    }

    /// Who posted it.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.post.name.as_deref().unwrap_or("Anonymous")
    }

    /// Subject line.
    #[must_use]
    pub fn subject(&self) -> Option<&'a str> {
        self.post.subject.as_deref().filter(|subject| !subject.is_empty())
    }

    /// Whether it asked not to bump its thread.
    #[must_use]
    pub fn sage(&self) -> bool {
        self.post.sage
    }

    /// When it was posted, for `datetime`.
    #[must_use]
    pub fn posted_for_machines(&self) -> String {
        text::moment_for_machines(&self.post.created_at)
    }

    /// When it was posted, for `title`.
    #[must_use]
    pub fn posted_in_full(&self) -> String {
        text::moment_in_full(&self.post.created_at)
    }

    /// When it was posted, short.
    #[must_use]
    pub fn posted(&self) -> String {
        text::moment(&self.post.created_at)
    }

    /// Address of this post.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(self.post.no)
    }

    /// Address of another post of the same thread; a mere fragment where that is on the same page.
    fn url_of(&self, no: PostNo) -> String {
        match self.place {
            Place::Thread => format!("#{no}"),
            Place::Index => format!("{}#{no}", thread_url(&self.board.slug, self.post.thread)),
        }
    }

    /// Address of the page of its thread.
    #[must_use]
    pub fn thread_url(&self) -> String {
        thread_url(&self.board.slug, self.post.thread)
    }

    /// The posts that quote this one: numbers and addresses.
    #[must_use]
    pub fn backlinks(&self) -> Vec<(PostNo, String)> {
        self.post.backlinks.iter().map(|&no| (no, self.url_of(no))).collect()
    }

    /// The comment as the safe HTML that `markup` made of it when it was posted.
    ///
    /// The only text that templates write without escaping it (`|safe`), and so the only place where a mistake elsewhere
    /// could put script on a page. `markup` escapes everything and adds nothing but `<br>`, `<span class>` and `<a href rel class>`.
    #[must_use]
    pub fn comment_html(&self) -> &'a str {
        &self.post.html
    }

    /// Whether it says anything.
    #[must_use]
    pub fn has_comment(&self) -> bool {
        !self.post.html.is_empty()
    }

    /// Whether the comment is folded, for the page of the thread to show whole.
    #[must_use]
    pub fn is_folded(&self) -> bool {
        self.place == Place::Index
            && (self.post.comment.lines().count() > LONG_LINES || self.post.comment.chars().nth(LONG_CHARS).is_some())
    }

    /// Whether its pictures stand beside each other above the text.
    #[must_use]
    pub fn has_strip(&self) -> bool {
        self.post.attachments.len() > 1
    }

    /// Its pictures, deleted ones too.
    #[must_use]
    pub fn files(&self) -> Vec<FileView<'a>> {
        let side = if self.has_strip() { STRIP } else { LONE };
        self.post.attachments.iter().map(|attachment| FileView { attachment, side, eager: self.eager }).collect()
    }
}

/// A picture in a post, in the catalogue or on the home page.
#[derive(Debug, Clone, Copy)]
pub struct FileView<'a> {
    attachment: &'a Attachment,
    side: i32,
    eager: bool,
}

impl<'a> FileView<'a> {
    /// A picture that fills a tile.
    #[must_use]
    pub fn tile(attachment: &'a Attachment, eager: bool) -> Self {
        Self { attachment, side: LONE, eager }
    }

    /// The picture, unless it was deleted.
    #[must_use]
    pub fn picture(&self) -> Option<&'a Picture> {
        self.attachment.picture.as_ref()
    }

    /// Whether it is covered.
    #[must_use]
    pub fn is_spoiler(&self) -> bool {
        self.attachment.spoiler
    }

    /// Name of the file; also the best text there is in place of the picture.
    #[must_use]
    pub fn name(&self) -> &'a str {
        match self.attachment.file_name.as_str() {
            "" => "picture",
            name => name,
        }
    }

    /// `1.9 MB, 4032×2742`
    #[must_use]
    pub fn facts(&self) -> String {
        self.picture().map_or_else(String::new, |picture| {
            format!("{}, {}×{}", text::size(picture.bytes), picture.width, picture.height)
        })
    }

    /// Width of the thumbnail in CSS pixels: known before it arrives, so nothing moves.
    #[must_use]
    pub fn width(&self) -> i32 {
        self.fitted().0
    }

    /// Height of the thumbnail in CSS pixels.
    #[must_use]
    pub fn height(&self) -> i32 {
        self.fitted().1
    }

    /// Value of `loading`.
    #[must_use]
    pub fn loading(&self) -> &'static str {
        if self.eager { "eager" } else { "lazy" }
    }

    /// The thumbnail's sides, made to fit a square, never enlarged and never nothing.
    fn fitted(&self) -> (i32, i32) {
        let Some(picture) = self.picture() else { return (self.side, self.side) };
        let (width, height) = (i64::from(picture.thumbnail_width.max(1)), i64::from(picture.thumbnail_height.max(1)));
        let (longest, side) = (width.max(height), i64::from(self.side));
        if longest <= side {
            return (picture.thumbnail_width.max(1), picture.thumbnail_height.max(1));
        }
        let scaled = |edge: i64| i32::try_from((edge * side + longest / 2) / longest).unwrap_or(self.side).max(1);
        (scaled(width), scaled(height))
    }
}
