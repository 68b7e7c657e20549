//! From stored bytes to the pixels of the first frame, within the limits.
//!
//! Must not be the first to look at a file: it decodes what [`inspect`](super::inspect()) let
//! through, and trusts the decoders no further than needed. `DynamicImage::from_decoder` reserves
//! whatever the header asks for, whatever limits the decoder was given (image 0.25.10, measured: 4 GB
//! for 240 bytes), so the size is compared once more before it is called.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageError};

use super::{Inspected, Limits, MediaError};
use crate::domain::PictureKind;

/// Decodes the first frame as the file has it: composed on its canvas, not yet turned upright, in
/// the depth and with the channels of the file. Palettes become RGB, CMYK becomes RGB.
pub(super) fn first_frame(picture: &Inspected, limits: &Limits) -> Result<DynamicImage, MediaError> {
    let (width, height) = picture.coded_size();
    limits.check_size(width, height)?;
    let file = Cursor::new(&picture.bytes);
    let decoder_limits = decoder_limits(limits);
    let failed = |error: ImageError| MediaError::corrupt(picture.kind, error.to_string());
    match picture.kind {
        PictureKind::Jpeg => from_decoder(JpegDecoder::new(file).map_err(failed)?, picture, limits),
        PictureKind::Png => {
            let decoder = PngDecoder::with_limits(file, decoder_limits).map_err(failed)?;
            from_decoder(decoder, picture, limits)
        }
        PictureKind::Gif => from_decoder(GifDecoder::new(file).map_err(failed)?, picture, limits),
        PictureKind::WebP => from_decoder(WebPDecoder::new(file).map_err(failed)?, picture, limits),
    }
}

fn from_decoder(
    mut decoder: impl ImageDecoder,
    picture: &Inspected,
    limits: &Limits,
) -> Result<DynamicImage, MediaError> {
    let failed = |error: ImageError| MediaError::corrupt(picture.kind, error.to_string());
    if decoder.dimensions() != picture.coded_size() {
        return Err(MediaError::corrupt(picture.kind, "the decoder found another size"));
    }
    limits.check_decoded_bytes(decoder.total_bytes())?;
    decoder.set_limits(decoder_limits(limits)).map_err(failed)?;
    DynamicImage::from_decoder(decoder).map_err(failed)
}

/// Second to the walkers, who know every limit that a decoder does.
fn decoder_limits(limits: &Limits) -> image::Limits {
    let mut decoder_limits = image::Limits::default();
    decoder_limits.max_image_width = Some(limits.max_side);
    decoder_limits.max_image_height = Some(limits.max_side);
    decoder_limits.max_alloc = Some(limits.max_decoded_bytes);
    decoder_limits
}
