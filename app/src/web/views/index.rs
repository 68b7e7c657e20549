//! One page of a board: threads in bump order with their last replies.

use askama::Template;

use super::form::PostForm;
use super::layout::{Layout, PageMeta};
use super::post::{Place, ThreadView};
use crate::domain::{Board, ThreadPosts};

/// Threads from the top on whose opening post loads its pictures at once.
const EAGER: usize = 2;
/// Pages shown to either side of the current one.
const NEAR: u32 = 2;

/// `GET /{board}/` and `/{board}/{page}.html`
#[derive(Debug, Template)]
#[template(path = "index.html")]
pub struct IndexPage<'a> {
    /// The frame.
    pub layout: Layout<'a>,
    /// The board.
    pub board: &'a Board,
    /// The threads on this page.
    pub threads: &'a [ThreadPosts],
    /// This page, from 1.
    pub page: u32,
    /// How many pages there are.
    pub pages: u32,
    /// Starts a thread; not shown on a locked board.
    pub form: PostForm<'a>,
}

/// A step in the page navigation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The page it leads to.
    pub page: u32,
    /// Address of that page.
    pub url: String,
    /// Whether pages are left out before it.
    pub after_gap: bool,
}

impl PageMeta for IndexPage<'_> {
    fn title(&self) -> String {
        let Board { slug, title, .. } = self.board;
        match self.page {
            1 => format!("/{slug}/ {title} · {}", self.layout.site),
            page => format!("/{slug}/ {title}, page {page} · {}", self.layout.site),
        }
    }

    fn description(&self) -> String {
        let Board { slug, title, description, .. } = self.board;
        match description.as_str() {
            "" => format!("Threads on /{slug}/ {title}, newest replies first."),
            description => format!("/{slug}/ {title}: {description}"),
        }
    }

    fn board(&self) -> Option<&Board> {
        Some(self.board)
    }
}

impl IndexPage<'_> {
    /// The threads, ready to be shown.
    #[must_use]
    pub fn sheets(&self) -> Vec<ThreadView<'_>> {
        self.threads
            .iter()
            .enumerate()
            .map(|(at, posts)| ThreadView::new(posts, self.board, Place::Index, usize::from(at < EAGER)))
            .collect()
    }

    /// Address of the page before this one.
    #[must_use]
    pub fn previous(&self) -> Option<String> {
        self.page.checked_sub(1).filter(|page| *page > 0).map(|page| self.url_of(page))
    }

    /// Address of the page after this one.
    #[must_use]
    pub fn next(&self) -> Option<String> {
        self.page.checked_add(1).filter(|page| *page <= self.pages).map(|page| self.url_of(page))
    }

    /// First page, last page and those near this one.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let near = self.page.saturating_sub(NEAR)..=self.page.saturating_add(NEAR);
        let mut steps: Vec<Step> = Vec::new();
        for page in (1..=self.pages).filter(|page| *page == 1 || *page == self.pages || near.contains(page)) {
            let after_gap = steps.last().is_some_and(|last| last.page + 1 < page);
            steps.push(Step { page, url: self.url_of(page), after_gap });
        }
        steps
    }

    fn url_of(&self, page: u32) -> String {
        match page {
            0 | 1 => format!("/{}/", self.board.slug),
            page => format!("/{}/{page}.html", self.board.slug),
        }
    }
}
