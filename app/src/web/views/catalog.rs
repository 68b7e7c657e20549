//! The catalogue: every thread of a board as a tile.

use askama::Template;

use super::layout::{Layout, PageMeta};
use super::post::{FileView, closed_badge, thread_url};
use super::text;
use crate::domain::{Board, ThreadPosts};

/// Tiles that load their picture at once.
const EAGER: usize = 8;
/// Longest text on a tile, in characters; the style sheet cuts it to a few lines.
const EXCERPT: usize = 160;

/// The order of the tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatalogSort {
    /// Last bumped first.
    #[default]
    Bump,
    /// Newest thread first.
    Newest,
    /// Most replies first.
    Replies,
}

impl CatalogSort {
    /// Every order, as the form lists them.
    pub const ALL: [Self; 3] = [Self::Bump, Self::Newest, Self::Replies];

    /// Value of `sort` in the address.
    #[must_use]
    pub const fn value(self) -> &'static str {
        match self {
            Self::Bump => "bump",
            Self::Newest => "new",
            Self::Replies => "replies",
        }
    }

    /// What the form calls it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bump => "Last reply",
            Self::Newest => "Newest",
            Self::Replies => "Most replies",
        }
    }

    /// The order that [`value`](Self::value) names.
    #[must_use]
    pub fn from_value(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.value() == value)
    }
}

/// `GET /{board}/catalog.html`
#[derive(Debug, Template)]
#[template(path = "catalog.html")]
pub struct CatalogPage<'a> {
    /// The frame.
    pub layout: Layout<'a>,
    /// The board.
    pub board: &'a Board,
    /// Its threads, sorted and filtered; their replies are not looked at.
    pub threads: &'a [ThreadPosts],
    /// The order they are in.
    pub sort: CatalogSort,
    /// The words they were filtered by; empty for none.
    pub filter: &'a str,
}

impl PageMeta for CatalogPage<'_> {
    fn title(&self) -> String {
        format!("/{}/ {}, catalogue · {}", self.board.slug, self.board.title, self.layout.site)
    }

    fn description(&self) -> String {
        format!("Every thread on /{}/ {} at a glance.", self.board.slug, self.board.title)
    }

    fn board(&self) -> Option<&Board> {
        Some(self.board)
    }
}

impl CatalogPage<'_> {
    /// The threads as tiles.
    #[must_use]
    pub fn tiles(&self) -> Vec<Tile<'_>> {
        self.threads
            .iter()
            .enumerate()
            .map(|(at, posts)| Tile { posts, slug: &self.board.slug, eager: at < EAGER })
            .collect()
    }

    /// `3 threads match`
    #[must_use]
    pub fn matches_text(&self) -> String {
        let found = i64::try_from(self.threads.len()).unwrap_or(i64::MAX);
        text::count(found, "thread matches", "threads match")
    }
}

/// A thread in the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    posts: &'a ThreadPosts,
    slug: &'a str,
    eager: bool,
}

impl<'a> Tile<'a> {
    /// Address of the thread.
    #[must_use]
    pub fn url(&self) -> String {
        thread_url(self.slug, self.posts.thread.no)
    }

    /// Its first picture.
    #[must_use]
    pub fn file(&self) -> Option<FileView<'a>> {
        self.posts.opening.attachments.first().map(|attachment| FileView::tile(attachment, self.eager))
    }

    /// Its subject.
    #[must_use]
    pub fn subject(&self) -> Option<&'a str> {
        self.posts.opening.subject.as_deref().filter(|subject| !subject.is_empty())
    }

    /// Whether its comment says anything.
    #[must_use]
    pub fn has_comment(&self) -> bool {
        !self.posts.opening.comment.trim().is_empty()
    }

    /// The beginning of its comment.
    #[must_use]
    pub fn excerpt(&self) -> String {
        text::excerpt(&self.posts.opening.comment, EXCERPT)
    }

    /// What names the thread when it has no subject.
    #[must_use]
    pub fn heading(&self) -> String {
        match self.excerpt() {
            nothing if nothing.is_empty() => format!("No.{}", self.posts.thread.no),
            excerpt => excerpt,
        }
    }

    /// The badges of the thread: `Pinned`, `Full`.
    #[must_use]
    pub fn badges(&self) -> Vec<&'static str> {
        let thread = &self.posts.thread;
        thread.sticky.then_some("Pinned").into_iter().chain(thread.closed().map(closed_badge)).collect()
    }

    /// `23 replies`
    #[must_use]
    pub fn replies_text(&self) -> String {
        text::count(self.posts.thread.replies, "reply", "replies")
    }

    /// `9 pictures`
    #[must_use]
    pub fn pictures_text(&self) -> String {
        text::count(self.posts.thread.pictures, "picture", "pictures")
    }
}
