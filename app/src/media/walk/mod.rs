//! Walking through a file's structure, one room a format.
//!
//! A walker copies the parts that are on its list and nothing else: what nobody thought of is
//! dropped, not kept. It reads no compressed pixel, and every length it meets is checked against
//! the bytes that are there. Shared rules:
//!
//! * The file's own end must be found; bytes after it are cut. Bytes missing before it are an error.
//! * A size is checked against the limits as soon as it is read, wherever the format states one.
//! * Of EXIF only the orientation is read. Unless the picture is upright anyway, an EXIF block made
//!   by us that says only this is written, because browsers turn the stored original by it.

mod gif;
mod jpeg;
mod png;
mod webp;

use image::metadata::Orientation;

use super::{Limits, MediaError};
use crate::domain::PictureKind;

/// Colour profiles longer than this are dropped, in bytes. Real ones take 0.5 kB to 600 kB.
const MAX_ICC_BYTES: usize = 1024 * 1024;

/// What our own EXIF block takes, and what has no place of its own in every file: markers, lengths.
const ROOM: usize = 256;

/// Where a walk gathers what it keeps. It never has to grow, so that there is one copy of the file and not more: what comes
/// to stand at the front is known last, and the rest is moved to make room for it.
fn with_room(file: &[u8]) -> Vec<u8> {
    Vec::with_capacity(file.len() + ROOM)
}

/// What a walk through a file found.
pub(super) struct Walked {
    /// The file without what is not on the list.
    pub(super) stored: Vec<u8>,
    /// Pixels, as the header has them: not yet turned upright.
    pub(super) width: u32,
    /// Pixels, as the header has them.
    pub(super) height: u32,
    pub(super) orientation: Orientation,
    /// At least 1.
    pub(super) frames: u32,
    /// What [`Limits::max_decoded_bytes`] limits.
    pub(super) decoded_bytes: u64,
}

pub(super) fn walk(kind: PictureKind, file: &[u8], limits: &Limits) -> Result<Walked, MediaError> {
    match kind {
        PictureKind::Jpeg => jpeg::walk(file, limits),
        PictureKind::Png => png::walk(file, limits),
        PictureKind::Gif => gif::walk(file, limits),
        PictureKind::WebP => webp::walk(file, limits),
    }
}
