//! Why a picture is refused, as data: a stable code for programs, and what was found. The words for visitors are made in
//! `web::words`.

use std::borrow::Cow;

use super::sniff::ForeignFormat;
use crate::domain::PictureKind;

/// A part of a format that browsers do not show, and neither do we.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsupportedFeature {
    /// Lossless or hierarchical JPEG, ITU-T T.81 annexes H and J.
    LosslessCoding,
    /// ITU-T T.81 annex D.
    ArithmeticCoding,
    /// More than 8 bits per colour.
    DeepColour,
}

/// Why a picture was refused. `Display` is for logs: the code, and what a decoder had to say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", self.code(), self.finding())]
pub enum MediaError {
    /// There are no bytes at all.
    EmptyFile,
    /// The bytes begin like nothing we know.
    UnknownFormat,
    /// The bytes begin like something else that people often try to post.
    UnsupportedFormat {
        /// What it seems to be.
        format: ForeignFormat,
    },
    /// The right format, in a variety that browsers do not show either.
    UnsupportedPicture {
        /// The format.
        kind: PictureKind,
        /// What it uses.
        feature: UnsupportedFeature,
    },
    /// The file ends before the picture does.
    TruncatedPicture {
        /// The format.
        kind: PictureKind,
    },
    /// The file contradicts its format, or the decoder gave up on it.
    CorruptPicture {
        /// The format.
        kind: PictureKind,
        /// What is wrong, for logs.
        detail: Cow<'static, str>,
    },
    /// Wider than [`Limits::max_side`](super::Limits::max_side).
    PictureTooWide {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Pixels a side.
        limit: u32,
    },
    /// Higher than [`Limits::max_side`](super::Limits::max_side).
    PictureTooHigh {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Pixels a side.
        limit: u32,
    },
    /// More pixels than [`Limits::max_pixels`](super::Limits::max_pixels).
    TooManyPixels {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Pixels.
        limit: u64,
    },
    /// Decoding would hold more than [`Limits::max_decoded_bytes`](super::Limits::max_decoded_bytes).
    TooManyDecodedBytes {
        /// Bytes.
        needed: u64,
        /// Bytes.
        limit: u64,
    },
    /// More frames than [`Limits::max_frames`](super::Limits::max_frames).
    TooManyFrames {
        /// Frames.
        limit: u32,
    },
    /// A decoder panicked. The picture is to blame, but the decoder has a bug: worth an alert.
    DecoderPanicked {
        /// The format.
        kind: PictureKind,
    },
    /// The decoded picture could not be resized or encoded. Our fault, never seen.
    ThumbnailFailed {
        /// What went wrong, for logs.
        detail: String,
    },
}

impl MediaError {
    /// Stable name of the reason, for programs. Never changes once released.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmptyFile => "empty_file",
            Self::UnknownFormat => "unknown_format",
            Self::UnsupportedFormat { .. } => "unsupported_format",
            Self::UnsupportedPicture { .. } => "unsupported_picture",
            Self::TruncatedPicture { .. } => "truncated_picture",
            Self::CorruptPicture { .. } => "corrupt_picture",
            Self::PictureTooWide { .. } => "picture_too_wide",
            Self::PictureTooHigh { .. } => "picture_too_high",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::TooManyDecodedBytes { .. } => "too_many_decoded_bytes",
            Self::TooManyFrames { .. } => "too_many_frames",
            Self::DecoderPanicked { .. } => "decoder_panicked",
            Self::ThumbnailFailed { .. } => "thumbnail_failed",
        }
    }

    /// What was found, for logs: `: zlib said no`. Numbers that the code explains by itself are left out.
    fn finding(&self) -> String {
        match self {
            Self::UnsupportedFormat { format } => format!(": {format:?}"),
            Self::UnsupportedPicture { kind, feature } => format!(": {} with {feature:?}", kind.name()),
            Self::TruncatedPicture { kind } | Self::DecoderPanicked { kind } => format!(": {}", kind.name()),
            Self::CorruptPicture { kind, detail } => format!(": {}: {detail}", kind.name()),
            Self::PictureTooWide { width, height, .. }
            | Self::PictureTooHigh { width, height, .. }
            | Self::TooManyPixels { width, height, .. } => format!(": {width}×{height}"),
            Self::TooManyDecodedBytes { needed, .. } => format!(": {needed} bytes"),
            Self::ThumbnailFailed { detail } => format!(": {detail}"),
            Self::EmptyFile | Self::UnknownFormat | Self::TooManyFrames { .. } => String::new(),
        }
    }

    pub(super) fn corrupt(kind: PictureKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::CorruptPicture { kind, detail: detail.into() }
    }
}
