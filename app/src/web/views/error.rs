//! What went wrong, and the post that was typed.

use askama::Template;

use super::form::PostForm;
use super::layout::{Layout, PageMeta};
use crate::domain::{Board, Draft, Missing};

/// Any answer of 400 and above, as a page.
#[derive(Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    /// The frame.
    pub layout: Layout<'a>,
    /// HTTP status.
    pub status: u16,
    /// What happened, in a few words.
    pub title: &'a str,
    /// What to do about it.
    pub detail: &'a str,
    /// Finds this answer in the logs.
    pub request_id: &'a str,
    /// The post that was refused, filled in again.
    pub form: Option<PostForm<'a>>,
    /// What was typed into a form that cannot be shown again, because there is no such board: to be copied.
    pub typed: Option<&'a Draft>,
    /// Where the visitor came from.
    pub back: Option<&'a str>,
}

impl ErrorPage<'_> {
    /// The post that was refused, wherever it is shown.
    fn draft(&self) -> Option<&Draft> {
        self.form.as_ref().map(|form| form.draft).or(self.typed)
    }
}

impl PageMeta for ErrorPage<'_> {
    fn title(&self) -> String {
        format!("{} · {}", self.title, self.layout.site)
    }

    fn description(&self) -> String {
        self.detail.to_owned()
    }

    fn board(&self) -> Option<&Board> {
        self.form.as_ref().map(|form| form.board)
    }
}
