//! What the media layer lets in, what it stores of it, and what thumbnails look like.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test says what is wrong by failing")]

#[path = "media/animation.rs"]
mod animation;
#[path = "media/hostile.rs"]
mod hostile;
#[path = "media/limits.rs"]
mod limits;
#[path = "media/metadata.rs"]
mod metadata;
#[path = "media/orientation.rs"]
mod orientation;
#[path = "media/pool.rs"]
mod pool;
#[path = "media/samples.rs"]
mod samples;
#[path = "media/thumbnails.rs"]
mod thumbnails;
