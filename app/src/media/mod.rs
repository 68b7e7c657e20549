//! Pictures as bytes and pixels: what was uploaded, whether it is safe to decode, what is stored of
//! it, and its thumbnail.
//!
//! Knows nothing of HTTP, object stores or the database, and never looks at a file's name or at the
//! media type a client claims. A picture passes two gates:
//!
//! ```text
//! upload ──inspect──> Inspected ──thumbnail──> Thumbnail
//!          sniff, walk the structure,          decode the first frame, resize, turn upright,
//!          check limits, cut metadata, hash    encode
//!          (cheap: linear in the bytes)        (dear: run it through the Pool)
//! ```
//!
//! [`inspect`] decodes no pixel, so a picture whose header promises more than the [`Limits`] costs
//! nothing but the reading of its bytes. What it returns is what is stored: only the parts of the
//! file that a browser needs to show it, copied without re-encoding.

mod decode;
mod error;
mod exif;
mod inspect;
mod limits;
mod pool;
mod reader;
mod sniff;
mod thumbnail;
mod walk;

pub use error::{MediaError, UnsupportedFeature};
pub use inspect::{Inspected, inspect};
pub use limits::Limits;
pub use pool::{Pool, PoolError};
pub use sniff::ForeignFormat;
pub use thumbnail::{THUMBNAIL_SIDE, Thumbnail, thumbnail};
