//! The first gate: is it a picture, is it whole, is it within limits, and what of it is stored.

use std::fmt;

use bytes::Bytes;
use image::metadata::Orientation;
use md5::Md5;
use sha2::{Digest, Sha256};

use super::{Limits, MediaError, exif, sniff::sniff, walk};
use crate::domain::PictureKind;

/// What was uploaded: checked by its structure and stripped, not yet decoded. Cheap to clone.
#[derive(Clone)]
pub struct Inspected {
    /// The format, told from the bytes.
    pub kind: PictureKind,
    /// What is stored: the upload without metadata and without anything after the picture's end.
    /// Inspecting these bytes again gives these bytes again.
    pub bytes: Bytes,
    /// SHA-256 of [`bytes`](Self::bytes): the picture's identity.
    pub sha256: [u8; 32],
    /// MD5 of [`bytes`](Self::bytes), which clients show and search by; never identity.
    pub md5: [u8; 16],
    /// Width in pixels, as seen upright.
    pub width: u32,
    /// Height in pixels, as seen upright.
    pub height: u32,
    /// Frames of the animation; 1 for a still picture.
    pub frames: u32,
    pub(super) orientation: Orientation,
}

impl Inspected {
    /// Width and height in pixels as the file's own header has them, before turning upright.
    pub(super) fn coded_size(&self) -> (u32, u32) {
        upright(self.orientation, self.width, self.height)
    }
}

impl fmt::Debug for Inspected {
    /// Without the bytes, which are too many for a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Inspected")
            .field("kind", &self.kind)
            .field("len", &self.bytes.len())
            .field("width", &self.width)
            .field("height", &self.height)
            .field("frames", &self.frames)
            .field("orientation", &self.orientation)
            .finish_non_exhaustive()
    }
}

/// Checks an upload and cuts it down to what is stored, without decoding a pixel.
///
/// Total: never panics, takes time and memory linear in the upload. What it lets through is whole
/// (every format's own end was found) and within `limits` by everything its headers claim. That the
/// coded pixels themselves can be decoded shows only when the thumbnail is made.
pub fn inspect(upload: &[u8], limits: &Limits) -> Result<Inspected, MediaError> {
    let kind = sniff(upload)?;
    let mut walked = walk::walk(kind, upload, limits)?;
    walked.stored.shrink_to_fit();
    limits.check_decoded_bytes(walked.decoded_bytes)?;
    let (width, height) = upright(walked.orientation, walked.width, walked.height);
    Ok(Inspected {
        kind,
        sha256: Sha256::digest(&walked.stored).into(),
        md5: Md5::digest(&walked.stored).into(),
        bytes: walked.stored.into(),
        width,
        height,
        frames: walked.frames,
        orientation: walked.orientation,
    })
}

/// Its own inverse: turning back changes the sides' places again.
fn upright(orientation: Orientation, width: u32, height: u32) -> (u32, u32) {
    if exif::swaps_sides(orientation) { (height, width) } else { (width, height) }
}
