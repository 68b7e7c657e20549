//! The form that posts, with what was typed into it.

use uuid::Uuid;

use super::text;
use crate::domain::{Board, PictureKind, PostNo};
pub use crate::domain::{Draft, PostLimits};

/// When a thread takes so few more replies, the form says so.
const FEW_LEFT: i32 = 50;

/// The form itself.
#[derive(Debug, Clone, Copy)]
pub struct PostForm<'a> {
    /// Where the post goes.
    pub board: &'a Board,
    /// The thread that is answered; `None` starts one.
    pub thread: Option<PostNo>,
    /// Makes a form that is sent twice one post.
    pub key: Uuid,
    /// What the fields hold.
    pub draft: &'a Draft,
    /// What the hints say.
    pub limits: &'a PostLimits,
    /// How many more replies the thread takes, where that is known.
    pub replies_left: Option<i32>,
    /// Unfolded.
    pub open: bool,
}

impl PostForm<'_> {
    /// Value of `resto`.
    #[must_use]
    pub fn resto(&self) -> i32 {
        self.thread.map_or(0, |no| no.0)
    }

    /// What the form does, as its heading says it.
    #[must_use]
    pub fn heading(&self) -> &'static str {
        if self.thread.is_some() { "Reply to this thread" } else { "Start a thread" }
    }

    /// Whether the draft asks not to bump its thread.
    #[must_use]
    pub fn is_sage(&self) -> bool {
        self.draft.email.trim().eq_ignore_ascii_case("sage")
    }

    /// `This thread takes 12 more replies.`; `None` while it takes many.
    #[must_use]
    pub fn room_hint(&self) -> Option<String> {
        let left = self.replies_left.filter(|left| *left <= FEW_LEFT)?;
        Some(format!("This thread takes {}.", text::count(left, "more reply", "more replies")))
    }

    /// `Up to 5,000 characters.`
    #[must_use]
    pub fn comment_hint(&self) -> String {
        let limit = i64::try_from(self.limits.comment_chars).unwrap_or(i64::MAX);
        format!("Up to {}.", text::count(limit, "character", "characters"))
    }

    /// `Up to 4 pictures, JPEG PNG GIF WebP, 8 MB each. Location data is removed.`
    #[must_use]
    pub fn pictures_hint(&self) -> String {
        let kinds = PictureKind::ALL.map(PictureKind::name).join(" ");
        let size = text::size(i64::try_from(self.limits.file_bytes).unwrap_or(i64::MAX));
        match self.limits.files {
            1 => format!("One picture, {kinds}, up to {size}. Location data is removed."),
            files => format!("Up to {files} pictures, {kinds}, {size} each. Location data is removed."),
        }
    }

    /// The media types that a file dialogue offers.
    #[must_use]
    pub fn accept(&self) -> String {
        PictureKind::ALL.map(PictureKind::media_type).join(",")
    }
}
