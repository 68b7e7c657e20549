//! The home page: the boards, what is new, how much there is.

use askama::Template;

use super::layout::{Layout, PageMeta};
use super::post::{FileView, thread_url};
use super::text;
use crate::domain::{Attachment, PostNo};

/// Pictures that are loaded at once; the rest when they come near.
const EAGER: usize = 6;

/// A picture that was posted a moment ago.
#[derive(Debug, Clone, Copy)]
pub struct NewPicture<'a> {
    /// Slug of its board.
    pub board: &'a str,
    /// Its thread.
    pub thread: PostNo,
    /// Its post.
    pub no: PostNo,
    /// The picture.
    pub attachment: &'a Attachment,
}

impl NewPicture<'_> {
    /// Address of its post.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}#{}", thread_url(self.board, self.thread), self.no)
    }
}

/// How much there is on the whole site.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Threads.
    pub threads: i64,
    /// Posts.
    pub posts: i64,
    /// Pictures.
    pub pictures: i64,
}

/// `GET /`
#[derive(Debug, Template)]
#[template(path = "home.html")]
pub struct HomePage<'a> {
    /// The frame.
    pub layout: Layout<'a>,
    /// The newest pictures, newest first.
    pub newest: &'a [NewPicture<'a>],
    /// How much there is.
    pub totals: Totals,
}

impl PageMeta for HomePage<'_> {
    fn title(&self) -> String {
        self.layout.site.to_owned()
    }

    fn description(&self) -> String {
        let boards: Vec<&str> = self.layout.boards.iter().take(8).map(|board| board.title.as_str()).collect();
        match boards.as_slice() {
            [] => format!("{}, an image board.", self.layout.site),
            some => format!("Pictures, and what people say about them: {}.", some.join(", ")),
        }
    }
}

impl<'a> HomePage<'a> {
    /// The newest pictures, each with its tile.
    #[must_use]
    pub fn tiles(&self) -> Vec<(&'a NewPicture<'a>, FileView<'a>)> {
        let tile = |(at, new): (usize, &'a NewPicture<'a>)| (new, FileView::tile(new.attachment, at < EAGER));
        self.newest.iter().enumerate().map(tile).collect()
    }

    /// `Six boards, no account.`
    #[must_use]
    pub fn boards_text(&self) -> String {
        format!("{}, no account.", text::count_in_words(self.layout.boards.len(), "board", "boards"))
    }

    /// The totals: each number and what it counts.
    #[must_use]
    pub fn totals(&self) -> [(String, &'static str); 3] {
        let total = |value: i64, one, many| (text::number(value), if value == 1 { one } else { many });
        [
            total(self.totals.threads, "thread", "threads"),
            total(self.totals.posts, "post", "posts"),
            total(self.totals.pictures, "picture", "pictures"),
        ]
    }
}
