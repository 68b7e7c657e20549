//! The second gate, and the picture that pages show: small, upright, without metadata.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use fast_image_resize::{FilterType, MulDiv, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, Pixel, PixelWithColorType};

use super::{Inspected, Limits, MediaError, decode};
use crate::domain::PictureKind;

/// Thumbnails fit into a square with this side, in pixels: what image-board clients expect.
pub const THUMBNAIL_SIDE: u32 = 250;

/// JPEG quality of opaque thumbnails. With 4:4:4 chroma, which is all the encoder writes.
const QUALITY: u8 = 80;

/// A small picture of the first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// JPEG if every pixel of the picture is opaque, otherwise (lossless) WebP.
    pub kind: PictureKind,
    /// The encoded picture, without metadata.
    pub bytes: Bytes,
    /// Width in pixels, 1 to [`THUMBNAIL_SIDE`].
    pub width: u32,
    /// Height in pixels, 1 to [`THUMBNAIL_SIDE`].
    pub height: u32,
}

/// Decodes the first frame and makes its thumbnail: in the picture's proportions, never larger than
/// the picture, turned upright.
///
/// Blocks and takes long (0.2 to 0.9 s for a big picture): call it through the
/// [`Pool`](super::Pool). A panic of a decoder is caught and becomes an error. Colour profiles are
/// not applied: the thumbnail of a wide-gamut picture comes out paler than the picture.
pub fn thumbnail(picture: &Inspected, limits: &Limits) -> Result<Thumbnail, MediaError> {
    // Safe to unwind through: nothing that is changed in there outlives it.
    catch_unwind(AssertUnwindSafe(|| {
        let frame = decode::first_frame(picture, limits)?;
        encode(shrink(frame, picture.orientation)?)
    }))
    .unwrap_or(Err(MediaError::DecoderPanicked { kind: picture.kind }))
}

/// Resizes and turns a decoded frame; drops an alpha channel that says nothing.
fn shrink(mut frame: DynamicImage, orientation: Orientation) -> Result<DynamicImage, MediaError> {
    let transparent = is_transparent(&frame);
    let (width, height) = fit(frame.width(), frame.height());
    let mut small = if (width, height) == (frame.width(), frame.height()) {
        frame
    } else {
        resize(&mut frame, width, height, transparent)?
    };
    // Turned when small: turning the big picture would take its memory twice.
    small.apply_orientation(orientation);
    let grey = !small.color().has_color();
    Ok(match (transparent, grey) {
        (true, _) => small.into_rgba8().into(),
        (false, true) => small.into_luma8().into(),
        (false, false) => small.into_rgb8().into(),
    })
}

fn resize(frame: &mut DynamicImage, width: u32, height: u32, transparent: bool) -> Result<DynamicImage, MediaError> {
    let alpha = MulDiv::new();
    if transparent {
        // In place: left to the resizer, it would make a second picture of the same size. Without
        // it, the invisible colour of transparent pixels would bleed into visible ones.
        alpha.multiply_alpha_inplace(frame).map_err(failed)?;
    }
    let mut small = DynamicImage::new(width, height, frame.color());
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).use_alpha(false);
    Resizer::new().resize(frame, &mut small, &options).map_err(failed)?;
    if transparent {
        alpha.divide_alpha_inplace(&mut small).map_err(failed)?;
    }
    Ok(small)
}

fn encode(small: DynamicImage) -> Result<Thumbnail, MediaError> {
    let (width, height) = (small.width(), small.height());
    let mut bytes = Vec::new();
    let kind = if small.color().has_alpha() { PictureKind::WebP } else { PictureKind::Jpeg };
    match small {
        DynamicImage::ImageLuma8(grey) => encode_jpeg(&grey, &mut bytes)?,
        DynamicImage::ImageRgb8(colour) => encode_jpeg(&colour, &mut bytes)?,
        other => other.write_with_encoder(WebPEncoder::new_lossless(&mut bytes)).map_err(failed)?,
    }
    Ok(Thumbnail { kind, bytes: bytes.into(), width, height })
}

fn encode_jpeg<P: PixelWithColorType + Pixel<Subpixel = u8> + 'static>(
    small: &image::ImageBuffer<P, Vec<u8>>,
    bytes: &mut Vec<u8>,
) -> Result<(), MediaError> {
    JpegEncoder::new_with_quality(bytes, QUALITY).encode_image(small).map_err(failed)
}

/// Whether any pixel lets something through. Most pictures with an alpha channel do not use it.
fn is_transparent(frame: &DynamicImage) -> bool {
    match frame {
        DynamicImage::ImageLumaA8(image) => image.pixels().any(|pixel| pixel.alpha() != u8::MAX),
        DynamicImage::ImageRgba8(image) => image.pixels().any(|pixel| pixel.alpha() != u8::MAX),
        DynamicImage::ImageLumaA16(image) => image.pixels().any(|pixel| pixel.alpha() != u16::MAX),
        DynamicImage::ImageRgba16(image) => image.pixels().any(|pixel| pixel.alpha() != u16::MAX),
        _ => false,
    }
}

/// The size of a picture scaled down to fit into the square: to the nearest pixel, at least 1.
fn fit(width: u32, height: u32) -> (u32, u32) {
    let longest = width.max(height);
    if longest <= THUMBNAIL_SIDE {
        return (width, height);
    }
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(THUMBNAIL_SIDE) + u64::from(longest) / 2;
        u32::try_from(side / u64::from(longest)).unwrap_or(THUMBNAIL_SIDE).max(1)
    };
    (scaled(width), scaled(height))
}

fn failed(error: impl std::fmt::Display) -> MediaError {
    MediaError::ThumbnailFailed { detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_fit_and_are_never_enlarged() {
        assert_eq!(fit(4000, 3000), (250, 188));
        assert_eq!(fit(3000, 4000), (188, 250));
        assert_eq!(fit(250, 250), (250, 250));
        assert_eq!(fit(251, 250), (250, 249));
        assert_eq!(fit(1, 1), (1, 1));
        assert_eq!(fit(10_000, 1), (250, 1));
        assert_eq!(fit(1, 10_000), (1, 250));
        assert_eq!(fit(u32::MAX, 1), (250, 1));
    }

    #[test]
    fn proportions_are_right_to_the_pixel() {
        for width in (1..2000).step_by(7) {
            for height in (1..2000).step_by(11) {
                let (small_width, small_height) = fit(width, height);
                assert!((1..=250).contains(&small_width) && (1..=250).contains(&small_height));
                assert!(small_width <= width && small_height <= height);
                let scale = f64::from(width.max(height).max(250)) / 250.0;
                assert!((f64::from(small_width) - f64::from(width) / scale).abs() <= 1.0);
                assert!((f64::from(small_height) - f64::from(height) / scale).abs() <= 1.0);
            }
        }
    }
}
