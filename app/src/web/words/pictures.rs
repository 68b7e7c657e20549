//! What is said of a picture that cannot be posted.

use crate::media::{ForeignFormat, MediaError, UnsupportedFeature};

const ACCEPTED: &str = "JPEG, PNG, GIF and WebP are accepted.";

pub(super) fn detail(error: &MediaError) -> String {
    match error {
        MediaError::EmptyFile => "This file is empty. Choose a picture and post it again.".to_owned(),
        MediaError::UnknownFormat => format!("This file is not a picture that the board knows. {ACCEPTED}"),
        MediaError::UnsupportedFormat { format } => format!("This is {}. {ACCEPTED}", foreign(*format)),
        MediaError::UnsupportedPicture { kind, feature } => {
            let (kind, feature) = (kind.name(), unsupported(*feature));
            format!(
                "This {kind} uses {feature}, which browsers cannot show. Save it as an ordinary {kind} and post it again."
            )
        }
        MediaError::TruncatedPicture { kind } => format!(
            "This {} ends too early: a part of the file is missing. Get the whole file and post it again.",
            kind.name()
        ),
        MediaError::CorruptPicture { kind, .. } => format!(
            "This {} is damaged and cannot be shown. Open it in a picture editor, save it anew and post that.",
            kind.name()
        ),
        MediaError::PictureTooWide { width, height, limit } | MediaError::PictureTooHigh { width, height, limit } => {
            format!(
                "This picture is {width}×{height}; the limit is {limit} pixels a side. Make it smaller and post it again."
            )
        }
        MediaError::TooManyPixels { width, height, limit } => format!(
            "This picture is {width}×{height}, which makes {} million pixels; the limit is {} million. Make it smaller and post it again.",
            millions(u64::from(*width) * u64::from(*height)),
            millions(*limit)
        ),
        MediaError::TooManyDecodedBytes { needed, limit } => format!(
            "Showing this picture takes {} million bytes of memory; the limit is {} million. Make it smaller, or save it with 8 bits per colour and without progressive coding, and post it again.",
            millions(*needed),
            millions(*limit)
        ),
        MediaError::TooManyFrames { limit } => {
            format!("This animation has more than {limit} frames, which is the limit. Shorten it and post it again.")
        }
        MediaError::DecoderPanicked { kind } => {
            format!("This {} could not be read. Open it in a picture editor, save it anew and post that.", kind.name())
        }
        MediaError::ThumbnailFailed { .. } => {
            "A preview of this picture could not be made. Open it in a picture editor, save it anew and post that."
                .to_owned()
        }
    }
}

/// What a file is, with its article.
const fn foreign(format: ForeignFormat) -> &'static str {
    match format {
        ForeignFormat::Pdf => "a PDF, not a picture",
        ForeignFormat::PostScript => "a PostScript document, not a picture",
        ForeignFormat::Matroska => "a WebM or Matroska video, not a picture",
        ForeignFormat::TiffOrRaw => "a TIFF or raw camera picture",
        ForeignFormat::Tiff => "a TIFF picture",
        ForeignFormat::JpegXl => "a JPEG XL picture",
        ForeignFormat::Jpeg2000 => "a JPEG 2000 picture",
        ForeignFormat::Photoshop => "a Photoshop document",
        ForeignFormat::Gimp => "a GIMP document",
        ForeignFormat::Icon => "an icon",
        ForeignFormat::Zip => "a ZIP archive or an office document, not a picture",
        ForeignFormat::Rar => "a RAR archive, not a picture",
        ForeignFormat::SevenZip => "a 7z archive, not a picture",
        ForeignFormat::Gzip => "a gzip archive, not a picture",
        ForeignFormat::Ogg => "an Ogg sound or video, not a picture",
        ForeignFormat::Mp3 => "an MP3 sound, not a picture",
        ForeignFormat::Flac => "a FLAC sound, not a picture",
        ForeignFormat::Program => "a program, not a picture",
        ForeignFormat::Flash => "a Flash film, not a picture",
        ForeignFormat::Bmp => "a BMP picture",
        ForeignFormat::Avif => "an AVIF picture",
        ForeignFormat::Heic => "a HEIC picture",
        ForeignFormat::Mpeg4Sound => "an MPEG-4 sound, not a picture",
        ForeignFormat::QuickTime => "a QuickTime video, not a picture",
        ForeignFormat::Mp4 => "an MP4 video, not a picture",
        ForeignFormat::Avi => "an AVI video, not a picture",
        ForeignFormat::Wav => "a WAV sound, not a picture",
        ForeignFormat::Svg => "an SVG drawing",
        ForeignFormat::Html => "an HTML page, not a picture",
        ForeignFormat::Text => "text, not a picture",
    }
}

const fn unsupported(feature: UnsupportedFeature) -> &'static str {
    match feature {
        UnsupportedFeature::LosslessCoding => "lossless or hierarchical coding",
        UnsupportedFeature::ArithmeticCoding => "arithmetic coding",
        UnsupportedFeature::DeepColour => "more than 8 bits per colour",
    }
}

/// `12.5` for 12 500 000; whole millions without a fraction. Rounds up, so that a number over a limit reads so.
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
    use crate::domain::PictureKind;

    #[test]
    fn messages_carry_the_numbers_and_what_to_do() {
        let wide = MediaError::PictureTooWide { width: 60_000, height: 60_000, limit: 10_000 };
        assert_eq!(
            detail(&wide),
            "This picture is 60000×60000; the limit is 10000 pixels a side. Make it smaller and post it again."
        );
        let many = MediaError::TooManyPixels { width: 9_000, height: 5_000, limit: 40_000_000 };
        assert_eq!(
            detail(&many),
            "This picture is 9000×5000, which makes 45 million pixels; the limit is 40 million. Make it smaller and post it again."
        );
        let foreign = MediaError::UnsupportedFormat { format: ForeignFormat::Pdf };
        assert_eq!(detail(&foreign), "This is a PDF, not a picture. JPEG, PNG, GIF and WebP are accepted.");
    }

    #[test]
    fn what_a_decoder_said_is_not_shown_to_the_visitor() {
        let error = MediaError::CorruptPicture { kind: PictureKind::Png, detail: "zlib said no".into() };
        assert!(!detail(&error).contains("zlib"));
    }

    #[test]
    fn millions_round_up_so_that_a_number_over_the_limit_reads_so() {
        assert_eq!(millions(40_000_000), "40");
        assert_eq!(millions(40_000_001), "40.1");
        assert_eq!(millions(12_500_000), "12.5");
        assert_eq!(millions(0), "0");
    }
}
