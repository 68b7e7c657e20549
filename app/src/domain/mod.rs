//! Pure types and rules of the board. Nothing here does I/O or knows who calls it.

pub mod board;
pub mod picture;
pub mod post;
pub mod refusal;
pub mod report;
pub mod submission;
pub mod traffic;

pub use board::{Board, BoardId, BoardSettings, ConfiguredBoards};
pub use picture::{Attachment, Picture, PictureKind};
pub use post::{Closed, MOST_REPLIES_SHOWN, Post, PostNo, Thread, ThreadPosts};
pub use refusal::{Refusal, RefusalKind};
pub use submission::{Destination, Draft, Missing, PostLimits, PostText};
