//! Fresh and fast: what lets a page be kept in memory and still never be stale.
//!
//! [`versions`] asks Postgres how far a page has changed, once for all requests that wait; [`page_cache`] keeps each page
//! as it was rendered for one version; [`boards`] keeps the list of boards by the same rule. Nothing here is told of
//! a change: every request asks, so there is nothing that could be missed.

pub mod boards;
pub mod page_cache;
pub mod versions;

pub use boards::{BoardDirectory, Boards};
pub use page_cache::{KeptPage, PageCache, PageKey};
pub use versions::Versions;
