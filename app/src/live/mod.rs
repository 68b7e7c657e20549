//! Fresh and fast: what lets a page be kept in memory and still never be stale.
//!
//! [`feed`] asks Postgres what has changed, at most once in an interval for the whole site; [`versions`] knows from it how far
//! each page has changed; [`page_cache`] keeps each page as it was rendered for one version; [`boards`] keeps the list of
//! boards by the same rule; [`streams`] tells those who watch; [`reports`] keeps what is told of the traffic. Nothing here is sent a message about a change: the feed
//! asks, so there is none to be lost.

pub mod boards;
pub mod feed;
pub mod page_cache;
pub mod reports;
pub mod streams;
pub mod versions;

pub use boards::{BoardDirectory, Boards};
pub use feed::{Feed, FeedConfig};
pub use page_cache::{KeptPage, PageCache, PageKey};
pub use reports::Reports;
pub use streams::{Stream, Streams};
pub use versions::{Checked, Versions};
