//! Why a picture is refused: a stable code for programs, a plain sentence for the visitor.

use std::borrow::Cow;

use crate::domain::PictureKind;

/// Why a picture was refused. `Display` is meant for the visitor who posted it; what a decoder had
/// to say is kept in `detail`, for logs only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// There are no bytes at all.
    #[error("This file is empty. Choose a picture and post it again.")]
    EmptyFile,
    /// The bytes begin like nothing we know.
    #[error("This file is not a picture that the board knows. {ACCEPTED}")]
    UnknownFormat,
    /// The bytes begin like something else that people often try to post.
    #[error("This is {what}. {ACCEPTED}")]
    UnsupportedFormat {
        /// With its article, to stand after "This is": `a PDF, not a picture`.
        what: &'static str,
    },
    /// The right format, in a variety that browsers do not show either.
    #[error("This {} uses {feature}, which browsers cannot show. Save it as an ordinary {} and post it again.", .kind.name(), .kind.name())]
    UnsupportedPicture {
        /// The format.
        kind: PictureKind,
        /// What it uses, to stand after "uses": `arithmetic coding`.
        feature: &'static str,
    },
    /// The file ends before the picture does.
    #[error("This {} ends too early: a part of the file is missing. Get the whole file and post it again.", .kind.name())]
    TruncatedPicture {
        /// The format.
        kind: PictureKind,
    },
    /// The file contradicts its format, or the decoder gave up on it.
    #[error("This {} is damaged and cannot be shown. Open it in a picture editor, save it anew and post that.", .kind.name())]
    CorruptPicture {
        /// The format.
        kind: PictureKind,
        /// What is wrong, for logs.
        detail: Cow<'static, str>,
    },
    /// Wider than [`Limits::max_side`](super::Limits::max_side).
    #[error("This picture is {width}×{height}; the limit is {limit} pixels a side. Make it smaller and post it again.")]
    PictureTooWide {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Pixels a side.
        limit: u32,
    },
    /// Higher than [`Limits::max_side`](super::Limits::max_side).
    #[error("This picture is {width}×{height}; the limit is {limit} pixels a side. Make it smaller and post it again.")]
    PictureTooHigh {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Pixels a side.
        limit: u32,
    },
    /// More pixels than [`Limits::max_pixels`](super::Limits::max_pixels).
    #[error("This picture is {width}×{height}, which makes {} million pixels; the limit is {} million. Make it smaller and post it again.", millions(u64::from(*.width) * u64::from(*.height)), millions(*.limit))]
    TooManyPixels {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Pixels.
        limit: u64,
    },
    /// Decoding would hold more than [`Limits::max_decoded_bytes`](super::Limits::max_decoded_bytes).
    #[error("Showing this picture takes {} million bytes of memory; the limit is {} million. Make it smaller, or save it with 8 bits a colour and without progressive coding, and post it again.", millions(*.needed), millions(*.limit))]
    TooManyDecodedBytes {
        /// Bytes.
        needed: u64,
        /// Bytes.
        limit: u64,
    },
    /// More frames than [`Limits::max_frames`](super::Limits::max_frames).
    #[error("This animation has more than {limit} frames, which is the limit. Shorten it and post it again.")]
    TooManyFrames {
        /// Frames.
        limit: u32,
    },
    /// A decoder panicked. The picture is to blame, but the decoder has a bug: worth an alert.
    #[error("This {} could not be read. Open it in a picture editor, save it anew and post that.", .kind.name())]
    DecoderPanicked {
        /// The format.
        kind: PictureKind,
    },
    /// The decoded picture could not be resized or encoded. Our fault, never seen.
    #[error("A preview of this picture could not be made. Open it in a picture editor, save it anew and post that.")]
    ThumbnailFailed {
        /// What went wrong, for logs.
        detail: String,
    },
}

const ACCEPTED: &str = "JPEG, PNG, GIF and WebP are accepted.";

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

    pub(super) fn corrupt(kind: PictureKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::CorruptPicture { kind, detail: detail.into() }
    }
}

/// `12.5` for 12 500 000; whole millions without a fraction.
fn millions(count: u64) -> String {
    let tenths = count.div_ceil(100_000);
    match tenths % 10 {
        0 => format!("{}", tenths / 10),
        tenth => format!("{}.{tenth}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_the_numbers_and_what_to_do() {
        let wide = MediaError::PictureTooWide { width: 60_000, height: 60_000, limit: 10_000 };
        assert_eq!(
            wide.to_string(),
            "This picture is 60000×60000; the limit is 10000 pixels a side. Make it smaller and post it again."
        );
        let many = MediaError::TooManyPixels { width: 9_000, height: 5_000, limit: 40_000_000 };
        assert_eq!(
            many.to_string(),
            "This picture is 9000×5000, which makes 45 million pixels; the limit is 40 million. Make it smaller and post it again."
        );
        let foreign = MediaError::UnsupportedFormat { what: "a PDF, not a picture" };
        assert_eq!(foreign.to_string(), "This is a PDF, not a picture. JPEG, PNG, GIF and WebP are accepted.");
    }

    #[test]
    fn a_detail_for_logs_is_not_shown_to_the_visitor() {
        let error = MediaError::corrupt(PictureKind::Png, "zlib said no");
        assert!(!error.to_string().contains("zlib"));
    }

    #[test]
    fn millions_round_up_so_that_a_number_over_the_limit_reads_so() {
        assert_eq!(millions(40_000_000), "40");
        assert_eq!(millions(40_000_001), "40.1");
        assert_eq!(millions(12_500_000), "12.5");
        assert_eq!(millions(0), "0");
    }
}
