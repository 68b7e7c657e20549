//! What every page has around it: head, bar and footer.

use crate::domain::Board;

/// The frame of a page.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// Title of the site.
    pub site: &'a str,
    /// The boards, as the bar lists them.
    pub boards: &'a [Board],
    /// Address of the style sheet: `/static/style.<hash>.css`.
    pub style: &'a str,
    /// Address of the icon: `/static/icon.<hash>.svg`.
    pub icon: &'a str,
    /// Whether the page about the traffic can be seen.
    pub has_traffic: bool,
}

/// What `base.html` asks of the page inside it.
pub trait PageMeta {
    /// Text of `<title>`.
    fn title(&self) -> String;

    /// One sentence for search engines and link previews.
    fn description(&self) -> String;

    /// The board that the page belongs to.
    fn board(&self) -> Option<&Board> {
        None
    }

    /// Whether `board` is the one that the page belongs to.
    fn is_at(&self, board: &Board) -> bool {
        PageMeta::board(self).is_some_and(|here| here.id == board.id)
    }
}
