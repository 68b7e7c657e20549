//! Headers that promise too much, refused before anything is decoded, and what the visitor is told.

use std::time::{Duration, Instant};

use image::{DynamicImage, Rgba, RgbaImage};
use triptych::media::{Limits, MediaError, inspect, thumbnail};

use crate::samples::{
    CMYK_JPEG, DECODER_PANICS_JPEG, PNG_SIGNATURE, PROGRESSIVE_JPEG, bitstream, chunk, corners, gif, inspected, jpeg,
    png, png_header, refused, riff, segment, vp8x, webp, with_segments, zlib,
};

fn assert_refused(code: &str, upload: &[u8]) -> MediaError {
    let start = Instant::now();
    let error = refused(upload);
    assert!(start.elapsed() < Duration::from_millis(200), "{code} took {:?}", start.elapsed());
    assert_eq!(error.code(), code, "{error}");
    error
}

/// A whole PNG with a header that lies.
fn png_of(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    let header = png_header(width, height, depth, colour);
    [PNG_SIGNATURE, &header, &chunk(*b"IDAT", &zlib(&[0; 100])), &chunk(*b"IEND", b"")].concat()
}

/// A whole JPEG with a frame header that lies.
fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = jpeg(&corners(8, 8));
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame");
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

#[test]
fn sides_are_limited_and_the_visitor_is_told() {
    let error = assert_refused("picture_too_wide", &png_of(60_000, 60_000, 1, 0));
    assert_eq!(error, MediaError::PictureTooWide { width: 60_000, height: 60_000, limit: 10_000 });
    assert_refused("picture_too_wide", &jpeg_of(65_535, 65_535));
    assert_refused("picture_too_high", &jpeg_of(10, 10_001));
    assert_refused("picture_too_wide", &png_of(0x7fff_ffff, 0x7fff_ffff, 16, 6));
    assert_refused("picture_too_wide", &png_of(65_536, 65_536, 8, 2));
}

#[test]
fn a_bare_frame_header_of_200_bytes_is_refused() {
    let frame = segment(0xc0, &[8, 255, 255, 255, 255, 1, 1, 0x11, 0]);
    let padding = segment(0xdb, &[0; 180]);
    let upload = [b"\xff\xd8", &padding[..], &frame].concat();
    assert!(upload.len() < 210);
    assert_refused("picture_too_wide", &upload);
}

#[test]
fn pixels_are_limited() {
    let error = assert_refused("too_many_pixels", &png_of(8_000, 6_000, 1, 0));
    assert_eq!(error, MediaError::TooManyPixels { width: 8_000, height: 6_000, limit: 40_000_000 });
    assert_refused("too_many_pixels", &jpeg_of(8_000, 6_000));
}

#[test]
fn decoded_bytes_are_limited_before_decoding() {
    // 39.7 megapixels of 8 bytes.
    let error = assert_refused("too_many_decoded_bytes", &png_of(6_300, 6_300, 16, 6));
    assert!(matches!(error, MediaError::TooManyDecodedBytes { needed: 317_520_000, .. }), "{error}");
    // 8 bits of grey are 39.7 MB, of RGB 119 MB.
    let limits = Limits { max_decoded_bytes: 100_000_000, ..Limits::default() };
    assert!(inspect(&png_of(6_300, 6_300, 8, 0), &limits).is_ok());
    assert!(inspect(&png_of(6_300, 6_300, 8, 2), &limits).is_err());
}

#[test]
fn a_thumbnail_is_held_to_its_own_limits() {
    let picture = inspected(&png(&corners(300, 200)));
    for limits in [
        Limits { max_side: 299, ..Limits::default() },
        Limits { max_pixels: 59_999, ..Limits::default() },
        Limits { max_decoded_bytes: 179_999, ..Limits::default() },
    ] {
        assert!(thumbnail(&picture, &limits).is_err(), "{limits:?}");
    }
    let exact = Limits { max_side: 300, max_pixels: 60_000, max_decoded_bytes: 180_000, max_frames: 1 };
    assert!(thumbnail(&picture, &exact).is_ok());
}

#[test]
fn coefficients_of_a_progressive_jpeg_count() {
    let limits = |max_decoded_bytes| Limits { max_decoded_bytes, ..Limits::default() };
    // 16×12 in RGB, and one unit of 16×16 with 4:2:0: 6 blocks of 64 coefficients of 2 bytes.
    let needed = 16 * 12 * 3 + 6 * 64 * 2;
    assert!(inspect(PROGRESSIVE_JPEG, &limits(needed)).is_ok());
    let refused = inspect(PROGRESSIVE_JPEG, &limits(needed - 1)).map_err(|error| error.code());
    assert_eq!(refused.map(|_| ()), Err("too_many_decoded_bytes"));
    assert!(inspect(&jpeg(&corners(16, 12)), &limits(16 * 12 * 3)).is_ok());
    assert!(inspect(CMYK_JPEG, &limits(16 * 12 * 3)).is_ok());
    // Not progressive, but one scan a component: the decoder must collect them too.
    assert!(inspect(DECODER_PANICS_JPEG, &limits(16 * 12 * 3)).is_err());
    assert!(inspect(DECODER_PANICS_JPEG, &limits(16 * 12 * 3 + 10 * 64 * 2)).is_ok());
}

#[test]
fn a_jpeg_with_fewer_bits_than_blocks_is_no_picture() {
    // Within every limit, and 119 MB of grey if it were decoded.
    assert_refused("truncated_picture", &jpeg_of(6_300, 6_300));
}

#[test]
fn a_jpeg_may_have_a_hundred_scans() {
    let bytes = PROGRESSIVE_JPEG;
    let scan = bytes.windows(2).rposition(|pair| pair == [0xff, 0xda]).expect("a scan");
    let (front, last) = bytes.split_at(scan);
    let last = &last[..last.len() - 2];
    let upload = [front, &last.repeat(100), b"\xff\xd9"].concat();
    assert_refused("corrupt_picture", &upload);
}

#[test]
fn a_gif_frame_is_limited_as_its_screen_is() {
    let mut upload = gif(vec![corners(10, 10).to_rgba8(); 2]);
    let second = upload.windows(5).rposition(|bytes| bytes == [0x2c, 0, 0, 0, 0]).expect("two");
    upload[second + 5..second + 9].copy_from_slice(&[255, 255, 255, 255]);
    assert_refused("picture_too_wide", &upload);
    let mut upload = gif(vec![corners(10, 10).to_rgba8()]);
    upload[6..10].copy_from_slice(&[255, 255, 255, 255]);
    assert_refused("picture_too_wide", &upload);
    upload[6..10].copy_from_slice(&[0, 0, 10, 0]);
    assert_refused("corrupt_picture", &upload);
}

#[test]
fn a_webp_canvas_must_be_as_big_as_its_picture() {
    let plain = webp(&corners(4, 4));
    let with = |header: Vec<u8>| riff(&[(b"VP8X", &header), bitstream(&plain)]);
    assert_refused("corrupt_picture", &with(vp8x(0, 1_000, 1_000)));
    assert_refused("corrupt_picture", &with(vp8x(0, 2, 2)));
    assert_refused("picture_too_wide", &with(vp8x(0, 10_001, 10_000)));
    assert_refused("picture_too_wide", &with(vp8x(0, 1 << 24, 1 << 24)));
    assert_eq!(inspected(&with(vp8x(0, 4, 4))).width, 4);
    // The stream lies instead: 16384×16384 in 4×4.
    let stream = [0x2f, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
    assert_refused("picture_too_wide", &riff(&[(b"VP8X", &vp8x(0, 4, 4)), (b"VP8L", &stream)]));
    assert_refused("picture_too_wide", &riff(&[(b"VP8L", &stream)]));
}

#[test]
fn other_files_are_named() {
    for (upload, expected) in [
        (&b""[..], "empty_file"),
        (b"just some words", "unsupported_format: Text"),
        (b"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "unsupported_format: Svg"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "unsupported_format: Pdf"),
        (b"\0\x01\x02\x03", "unknown_format"),
    ] {
        let error = refused(upload);
        assert!(error.to_string() == expected, "{error}");
    }
}

#[test]
fn varieties_that_browsers_do_not_show_are_named() {
    let plain = jpeg(&corners(8, 8));
    for (marker, code) in [(0xc3, "unsupported_picture"), (0xc9, "unsupported_picture")] {
        let payload = [8, 0, 8, 0, 8, 1, 1, 0x11, 0];
        assert_refused(code, &with_segments(&plain, &[(marker, &payload)]));
    }
    let twelve_bits = with_segments(&plain, &[(0xc1, &[12, 0, 8, 0, 8, 1, 1, 0x11, 0])]);
    assert_refused("unsupported_picture", &twelve_bits);
}

/// Beyond the 50 MB that the GIF decoder would allow itself, within our own limit.
#[test]
fn a_big_gif_within_limits_is_decoded() {
    let picture = RgbaImage::from_pixel(4_000, 4_000, Rgba([20, 200, 20, 255]));
    let small = crate::samples::thumbnailed(&gif(vec![picture]));
    assert_eq!((small.width, small.height), (250, 250));
}

/// A bomb of zeros behind one pixel: the decoder stops when it has the pixel.
#[test]
fn image_data_beyond_the_picture_is_not_inflated() {
    let header = png_header(1, 1, 8, 0);
    let data = chunk(*b"IDAT", &zlib(&vec![0; 100_000_000]));
    let upload = [PNG_SIGNATURE, &header, &data, &chunk(*b"IEND", b"")].concat();
    let picture = inspected(&upload);
    let start = Instant::now();
    // Either answer is right, as long as it comes soon.
    let _ = thumbnail(&picture, &Limits::default());
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn lossless_webp_counts_the_decoder_s_own_copy() {
    let upload = webp(&DynamicImage::from(corners(16, 12).to_rgb8()));
    let limits = |max_decoded_bytes| Limits { max_decoded_bytes, ..Limits::default() };
    assert!(inspect(&upload, &limits(16 * 12 * 7)).is_ok());
    assert!(inspect(&upload, &limits(16 * 12 * 7 - 1)).is_err());
}
