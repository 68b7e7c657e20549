//! Pictures to test with: made by the encoders of `image`, or built by hand byte for byte.
//!
//! What neither can make lies in `samples/`, 16×12 pixels each, the left half (200, 40, 20) and the
//! right half (20, 40, 200): encoded by libwebp 1.x (`webp` crate) and the `jpeg-encoder` crate.

use std::io::Cursor;

use flate2::Crc;
use image::codecs::gif::{GifEncoder, Repeat};
use image::{DynamicImage, Frame, ImageFormat, Rgb, RgbImage, RgbaImage};
use triptych::media::{Inspected, Limits, MediaError, Thumbnail, inspect, thumbnail};

pub(crate) const LOSSY_WEBP: &[u8] = include_bytes!("samples/lossy.webp");
/// Its right half is transparent: VP8X, ALPH, VP8.
pub(crate) const ALPHA_WEBP: &[u8] = include_bytes!("samples/alpha.webp");
/// Two frames: that of [`ALPHA_WEBP`], then all blue. Three rounds.
pub(crate) const ANIMATED_WEBP: &[u8] = include_bytes!("samples/animated.webp");
/// 4:2:0 with many scans.
pub(crate) const PROGRESSIVE_JPEG: &[u8] = include_bytes!("samples/progressive.jpg");
/// All (0, 200, 220, 30) in CMYK, which is about (225, 48, 31) in RGB.
pub(crate) const CMYK_JPEG: &[u8] = include_bytes!("samples/cmyk.jpg");
/// A good CMYK picture whose first component is not the finest, in a scan a component: zune-jpeg
/// 0.5.15 panics on it.
pub(crate) const DECODER_PANICS_JPEG: &[u8] = include_bytes!("samples/decoder_panics.jpg");
/// The same as [`CMYK_JPEG`] with the colours turned to YCCK.
pub(crate) const YCCK_JPEG: &[u8] = include_bytes!("samples/ycck.jpg");

pub(crate) const RED: [u8; 3] = [220, 30, 30];
pub(crate) const GREEN: [u8; 3] = [30, 200, 30];
pub(crate) const BLUE: [u8; 3] = [30, 30, 220];
pub(crate) const YELLOW: [u8; 3] = [230, 220, 30];

/// Red and green above, blue and yellow below.
pub(crate) fn corners(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb(match (x < width / 2, y < height / 2) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => YELLOW,
        })
    })
    .into()
}

pub(crate) fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("the encoder takes these pixels");
    bytes.into_inner()
}

pub(crate) fn jpeg(picture: &DynamicImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Jpeg)
}

pub(crate) fn png(picture: &DynamicImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Png)
}

pub(crate) fn webp(picture: &DynamicImage) -> Vec<u8> {
    encoded(picture, ImageFormat::WebP)
}

pub(crate) fn gif(frames: Vec<RgbaImage>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    if frames.len() > 1 {
        encoder.set_repeat(Repeat::Infinite).expect("writing to memory");
    }
    encoder.encode_frames(frames.into_iter().map(Frame::new)).expect("the encoder takes these");
    drop(encoder);
    bytes
}

/// A small picture of each kind and variety, none with metadata.
pub(crate) fn small() -> Vec<(&'static str, Vec<u8>)> {
    let picture = corners(16, 12);
    let grey = DynamicImage::from(picture.to_luma8());
    let see_through = see_through(16, 12);
    vec![
        ("colour JPEG", jpeg(&picture)),
        ("grey JPEG", jpeg(&grey)),
        ("progressive JPEG", PROGRESSIVE_JPEG.to_vec()),
        ("CMYK JPEG", CMYK_JPEG.to_vec()),
        ("colour PNG", png(&picture)),
        ("transparent PNG", png(&see_through)),
        ("16-bit PNG", png(&see_through.to_rgba16().into())),
        ("palette PNG", palette_png()),
        ("animated PNG", animated_png(2)),
        ("GIF", gif(vec![picture.to_rgba8()])),
        ("animated GIF", gif(vec![picture.to_rgba8(), see_through.to_rgba8()])),
        ("lossless WebP", webp(&see_through)),
        ("lossy WebP", LOSSY_WEBP.to_vec()),
        ("transparent WebP", ALPHA_WEBP.to_vec()),
        ("animated WebP", ANIMATED_WEBP.to_vec()),
    ]
}

/// [`corners`] with the right half invisible.
pub(crate) fn see_through(width: u32, height: u32) -> DynamicImage {
    let mut picture = corners(width, height).to_rgba8();
    for (x, _, pixel) in picture.enumerate_pixels_mut() {
        if x >= width / 2 {
            pixel[3] = 0;
        }
    }
    picture.into()
}

pub(crate) fn inspected(upload: &[u8]) -> Inspected {
    inspect(upload, &Limits::default()).expect("a good picture")
}

pub(crate) fn thumbnailed(upload: &[u8]) -> Thumbnail {
    thumbnail(&inspected(upload), &Limits::default()).expect("a picture that can be decoded")
}

pub(crate) fn refused(upload: &[u8]) -> MediaError {
    inspect(upload, &Limits::default()).expect_err("not a picture to let in")
}

pub(crate) fn decoded(bytes: &[u8]) -> DynamicImage {
    image::load_from_memory(bytes).expect("a picture that can be decoded")
}

pub(crate) fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Whether a colour is about this one, as far as lossy coding goes.
pub(crate) fn is_near(found: [u8; 3], wanted: [u8; 3]) -> bool {
    found.iter().zip(wanted).all(|(found, wanted)| found.abs_diff(wanted) <= 24)
}

/// Puts segments behind the start of image.
pub(crate) fn with_segments(jpeg: &[u8], segments: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    for (marker, payload) in segments {
        bytes.extend(segment(*marker, payload));
    }
    bytes.extend(&jpeg[2..]);
    bytes
}

pub(crate) fn segment(marker: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 2).expect("a short payload");
    [&[0xff, marker][..], &length.to_be_bytes(), payload].concat()
}

/// Puts chunks behind the header.
pub(crate) fn with_chunks(png: &[u8], chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = png[..33].to_vec();
    for (name, data) in chunks {
        bytes.extend(chunk(**name, data));
    }
    bytes.extend(&png[33..]);
    bytes
}

pub(crate) fn chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(&name);
    crc.update(data);
    let length = u32::try_from(data.len()).expect("a short chunk");
    [&length.to_be_bytes()[..], &name, data, &crc.sum().to_be_bytes()].concat()
}

pub(crate) const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

pub(crate) fn png_header(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    let data = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, colour, 0, 0, 0]].concat();
    chunk(*b"IHDR", &data)
}

pub(crate) fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, data).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// 16×12, two bits a pixel: red, green, and blue that is half transparent.
pub(crate) fn palette_png() -> Vec<u8> {
    let rows: Vec<u8> = [[0, 0x00, 0x55, 0xaa, 0xaa]; 12].concat();
    [
        PNG_SIGNATURE,
        &png_header(16, 12, 2, 3),
        &chunk(*b"PLTE", &[RED, GREEN, BLUE].concat()),
        &chunk(*b"tRNS", &[255, 255, 128]),
        &chunk(*b"IDAT", &zlib(&rows)),
        &chunk(*b"IEND", b""),
    ]
    .concat()
}

/// 4×4 in grey, each frame whole; the first is the image data.
pub(crate) fn animated_png(frames: u32) -> Vec<u8> {
    let rows = zlib(&[[0, 100, 100, 100, 100]; 4].concat());
    let mut sequence = 0_u32;
    let mut numbered = |name: &[u8; 4], data: &[u8]| {
        let bytes = chunk(*name, &[&sequence.to_be_bytes(), data].concat());
        sequence += 1;
        bytes
    };
    let control = [&[0, 0, 0, 4, 0, 0, 0, 4][..], &[0; 8], &[0, 1, 0, 10, 0, 0]].concat();
    let mut bytes = [PNG_SIGNATURE, &png_header(4, 4, 8, 0)].concat();
    bytes.extend(chunk(*b"acTL", &[frames.to_be_bytes(), 0_u32.to_be_bytes()].concat()));
    for frame in 0..frames {
        bytes.extend(numbered(b"fcTL", &control));
        bytes.extend(if frame == 0 { chunk(*b"IDAT", &rows) } else { numbered(b"fdAT", &rows) });
    }
    bytes.extend(chunk(*b"IEND", b""));
    bytes
}

pub(crate) fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (name, data) in chunks {
        body.extend(*name);
        body.extend(u32::try_from(data.len()).expect("a short chunk").to_le_bytes());
        body.extend(*data);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    let length = u32::try_from(body.len()).expect("a short file");
    [b"RIFF", &length.to_le_bytes()[..], &body].concat()
}

pub(crate) fn vp8x(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    [vec![flags, 0, 0, 0], side(width), side(height)].concat()
}

/// The one bitstream of a simple file.
pub(crate) fn bitstream(webp: &[u8]) -> (&[u8; 4], &[u8]) {
    let length = u32::from_le_bytes(webp[16..20].try_into().expect("four bytes"));
    let length = usize::try_from(length).expect("a short file");
    (webp[12..16].try_into().expect("four bytes"), &webp[20..20 + length])
}

/// A TIFF file with an orientation and a text that must not be stored.
pub(crate) fn exif(orientation: u8, text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a short text").to_le_bytes();
    [
        &b"II*\0\x08\0\0\0\x02\0"[..],
        &[0x0e, 0x01, 2, 0],
        &length,
        &[38, 0, 0, 0],
        &[0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0],
        &[0, 0, 0, 0],
        text,
    ]
    .concat()
}
