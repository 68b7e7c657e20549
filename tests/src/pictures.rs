//! Pictures for tests: small landscapes, the same for the same seed and different for different ones.
//!
//! They have what pictures have (large soft areas, edges, grain), so sizes and times are those of real
//! ones. Knows the encoders, not what the application accepts.

use std::{f32::consts::TAU, io::Cursor};

use anyhow::{Context, Result};
use bytes::Bytes;
use image::{
    ExtendedColorType, Frame, ImageEncoder as _, ImageFormat, Rgb, RgbImage,
    codecs::{gif::GifEncoder, jpeg::JpegEncoder},
    imageops,
};

/// A picture as a browser would upload it.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Its file name.
    pub name: String,
    /// The type that the browser declares.
    pub declared: &'static str,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A JPEG.
pub fn jpeg(seed: u64, width: u32, height: u32) -> Result<Picture> {
    encode_jpeg(seed, &landscape(seed, width, height, 10), 85)
}

/// A PNG.
pub fn png(seed: u64, width: u32, height: u32) -> Result<Picture> {
    let bytes = encode(&landscape(seed, width, height, 2), ImageFormat::Png)?;
    Ok(picture(seed, "png", "image/png", bytes))
}

/// A WebP (lossless).
pub fn webp(seed: u64, width: u32, height: u32) -> Result<Picture> {
    let bytes = encode(&landscape(seed, width, height, 2), ImageFormat::WebP)?;
    Ok(picture(seed, "webp", "image/webp", bytes))
}

/// An animated GIF in which the view moves from frame to frame; one frame is a still one.
pub fn gif(seed: u64, width: u32, height: u32, frames: u32) -> Result<Picture> {
    let wide = landscape(seed, width.saturating_add(frames.saturating_mul(4)), height, 2);
    let mut bytes = Vec::new();
    {
        let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
        for frame in 0..frames {
            let view = imageops::crop_imm(&wide, frame * 4, 0, width, height).to_image();
            let view = image::DynamicImage::ImageRgb8(view).into_rgba8();
            encoder.encode_frame(Frame::new(view)).context("cannot make a GIF")?;
        }
    }
    Ok(picture(seed, "gif", "image/gif", bytes))
}

/// A JPEG of about 2 MB with the sides and the grain of a telephone's photograph.
pub fn photograph(seed: u64) -> Result<Picture> {
    encode_jpeg(seed, &landscape(seed, 3264, 2448, 20), 80)
}

/// A PNG that claims any sides and has almost no bytes: what a decoder must look at before it decodes.
#[must_use]
pub fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    for chunk in [header, b"IDAT".to_vec(), b"IEND".to_vec()] {
        let length = u32::try_from(chunk.len().saturating_sub(4)).unwrap_or_default();
        bytes.extend(length.to_be_bytes());
        bytes.extend(&chunk);
        bytes.extend(crc32(&chunk).to_be_bytes());
    }
    bytes
}

/// The view itself: a sky with a sun, ridges of hills in front of each other, and grain over all of it.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides and colours of pictures are far below the limits of these types"
)]
pub fn landscape(seed: u64, width: u32, height: u32, grain: u8) -> RgbImage {
    const RIDGES: u64 = 5;
    let number = |what: u64| (mix(seed, what) >> 40) as f32 / (1_u64 << 24) as f32;
    let hue = number(1) * TAU;
    let (sun_x, sun_y, sun_radius) = (number(2), 0.1 + 0.3 * number(3), 0.04 + 0.06 * number(4));
    let (sides, shape) = ((width as f32, height as f32), width as f32 / height.max(1) as f32);

    // The height of every ridge at every column, so that a pixel costs no sine.
    let ridge_at = |ridge: u64, x: f32| {
        let wave = |harmonic: u64| {
            let phase = number(10 + ridge * 8 + harmonic) * TAU;
            ((x * (1.5 + harmonic as f32 * 2.3) + phase).sin()) / (harmonic as f32 + 1.0)
        };
        0.35 + ridge as f32 * 0.13 + (0..5).map(wave).sum::<f32>() * 0.05
    };
    let columns: Vec<Vec<f32>> =
        (0..width).map(|x| (0..RIDGES).map(|ridge| ridge_at(ridge, x as f32 / sides.0 * TAU)).collect()).collect();
    let tint = |depth: f32, offset: f32| 0.5 + 0.5 * (hue + depth * 1.6 + offset).cos();

    let mut noise = mix(seed, 7) | 1;
    let mut column = columns.iter().cycle();
    RgbImage::from_fn(width, height, |x, y| {
        let (across, down) = (x as f32 / sides.0, y as f32 / sides.1);
        let ridges = column.next().map(Vec::as_slice).unwrap_or_default();
        let front = ridges.iter().rposition(|top| down > *top);
        let (depth, light) = match front {
            Some(ridge) => {
                let depth = (ridge + 1) as f32 / RIDGES as f32;
                (depth, 0.75 - 0.55 * depth + 0.1 * (down * 37.0).sin())
            }
            None => (0.0, 1.0 - 0.35 * down),
        };
        let distance = ((across - sun_x) * shape).hypot(down - sun_y);
        let glow = match front {
            None if distance < sun_radius => 1.0,
            None => (1.0 - distance * 1.5).max(0.0) * 0.35,
            Some(_) => 0.0,
        };
        // Marsaglia's xorshift: grain need not be good, it must be quick.
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        let speck = ((noise >> 32) as f32 / u32::MAX as f32 - 0.5) * 2.0 * f32::from(grain);
        let channel = |offset: f32| {
            let value = tint(depth, offset) * light * 0.75 + light * 0.2;
            ((value + (1.0 - value) * glow) * 255.0 + speck).clamp(0.0, 255.0) as u8
        };
        Rgb([channel(0.0), channel(2.1), channel(4.2)])
    })
}

fn encode_jpeg(seed: u64, view: &RgbImage, quality: u8) -> Result<Picture> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .write_image(view.as_raw(), view.width(), view.height(), ExtendedColorType::Rgb8)
        .context("cannot make a JPEG")?;
    Ok(picture(seed, "jpg", "image/jpeg", bytes))
}

fn encode(view: &RgbImage, format: ImageFormat) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    view.write_to(&mut bytes, format).with_context(|| format!("cannot make a picture as {format:?}"))?;
    Ok(bytes.into_inner())
}

fn picture(seed: u64, extension: &str, declared: &'static str, bytes: Vec<u8>) -> Picture {
    Picture { name: format!("landscape-{seed}.{extension}"), declared, bytes: bytes.into() }
}

/// `SplitMix64`: a well mixed number for every pair of numbers.
fn mix(seed: u64, what: u64) -> u64 {
    let mut value = seed.wrapping_add(what.wrapping_mul(0xd1b5_4a32_d192_ed03)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn crc32(bytes: &[u8]) -> u32 {
    let value = bytes.iter().fold(u32::MAX, |value, byte| {
        (0..8).fold(value ^ u32::from(*byte), |value, _| (value >> 1) ^ (0xedb8_8320 & (value & 1).wrapping_neg()))
    });
    !value
}
