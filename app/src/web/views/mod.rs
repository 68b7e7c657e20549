//! The pages as plain data, and how that data reads in words.
//!
//! Owns: one struct per page for the template of the same name in `app/templates`, the words, numbers and dates on it,
//! and which element stands where. The templates hold no logic but loops, conditions and calls of methods found here.
//!
//! Must not know: the database, the object store, HTTP, the clock or the configuration. What a page shows is handed to it;
//! the same values always render the same bytes, which is what lets a page be kept per version.
//!
//! Everything is escaped by askama, with one exception: [`post::PostView::comment_html`].

pub mod catalog;
pub mod error;
pub mod form;
pub mod home;
pub mod index;
pub mod layout;
pub mod notice;
pub mod post;
pub mod text;
pub mod thread;
pub mod traffic;

pub use catalog::{CatalogPage, CatalogSort};
pub use error::ErrorPage;
pub use form::{Draft, PostForm, PostLimits};
pub use home::{HomePage, NewPicture, Totals};
pub use index::IndexPage;
pub use layout::{Layout, PageMeta};
pub use notice::with_as_of;
pub use thread::{NewPosts, ThreadPage};
pub use traffic::TrafficPage;
