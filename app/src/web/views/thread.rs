//! A thread, whole or as far as it is new.

use askama::Template;

use super::form::PostForm;
use super::layout::{Layout, PageMeta};
use super::post::{Place, PostView, ThreadView};
use super::text;
use crate::domain::{Board, Closed, ThreadPosts};

/// Posts from the top on that load their pictures at once.
const EAGER: usize = 4;

/// `GET /{board}/res/{no}.html`
#[derive(Debug, Template)]
#[template(path = "thread.html")]
pub struct ThreadPage<'a> {
    /// The frame.
    pub layout: Layout<'a>,
    /// The board.
    pub board: &'a Board,
    /// The thread with its replies.
    pub posts: &'a ThreadPosts,
    /// Replies to it; `None` when nobody may.
    pub form: Option<PostForm<'a>>,
}

impl PageMeta for ThreadPage<'_> {
    fn title(&self) -> String {
        format!("{} · /{}/ · {}", self.name(), self.board.slug, self.layout.site)
    }

    fn description(&self) -> String {
        match text::excerpt(&self.posts.opening.comment, 155) {
            nothing if nothing.is_empty() => format!("A thread on /{}/ {}.", self.board.slug, self.board.title),
            excerpt => excerpt,
        }
    }

    fn board(&self) -> Option<&Board> {
        Some(self.board)
    }
}

impl ThreadPage<'_> {
    /// The thread, ready to be shown.
    #[must_use]
    pub fn sheet(&self) -> ThreadView<'_> {
        ThreadView::new(self.posts, self.board, Place::Thread, EAGER)
    }

    /// What to call the thread: its subject, else how it begins, else its number.
    #[must_use]
    pub fn name(&self) -> String {
        let opening = &self.posts.opening;
        [opening.subject.as_deref().unwrap_or_default(), &opening.comment]
            .into_iter()
            .map(|words| text::excerpt(words, 70))
            .find(|words| !words.is_empty())
            .unwrap_or_else(|| format!("Thread {}", self.posts.thread.no))
    }

    /// Why there is no form.
    #[must_use]
    pub fn closed_text(&self) -> &'static str {
        match self.posts.thread.closed() {
            Some(Closed::Archived) => "This thread is archived. It can be read, but takes no more replies.",
            Some(Closed::Locked) => "This thread is locked. It can be read, but takes no more replies.",
            Some(Closed::Full) => "This thread is full. It can be read, but takes no more replies.",
            None => "This board is locked. It can be read, but nobody can post.",
        }
    }
}

/// `GET /{board}/res/{no}.html?after={no}`: no page, but the posts that are newer.
#[derive(Debug, Template)]
#[template(path = "new_posts.html")]
pub struct NewPosts<'a> {
    /// The board.
    pub board: &'a Board,
    /// The thread with those replies that are newer.
    pub posts: &'a ThreadPosts,
}

impl NewPosts<'_> {
    /// The posts, ready to be shown.
    #[must_use]
    pub fn replies(&self) -> Vec<PostView<'_>> {
        ThreadView::new(self.posts, self.board, Place::Thread, 0).replies
    }
}
