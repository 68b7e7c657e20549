//! Pictures that must be turned: the stored one says so and nothing else, the thumbnail is upright.

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader};
use triptych::media::{Inspected, Thumbnail};

use crate::samples::{
    BLUE, GREEN, RED, YELLOW, bitstream, contains, corners, decoded, exif, inspected, is_near, jpeg, png, riff,
    thumbnailed, vp8x, webp, with_chunks, with_segments,
};

const CANARY: &[u8] = b"48.8584N 2.2945E";

fn orientations() -> impl Iterator<Item = (u8, Orientation)> {
    (1..=8).filter_map(|value| Some((value, Orientation::from_exif(value)?)))
}

/// What a camera held that way would store of an upright picture.
fn as_stored(mut upright: DynamicImage, orientation: Orientation) -> DynamicImage {
    upright.apply_orientation(match orientation {
        Orientation::Rotate90 => Orientation::Rotate270,
        Orientation::Rotate270 => Orientation::Rotate90,
        own_inverse => own_inverse,
    });
    upright
}

fn assert_upright(name: &str, picture: &Inspected, thumbnail: &Thumbnail) {
    assert_eq!((picture.width, picture.height), (400, 200), "{name}");
    assert_eq!((thumbnail.width, thumbnail.height), (250, 125), "{name}");
    let small = decoded(&thumbnail.bytes).to_rgb8();
    assert_eq!(small.dimensions(), (250, 125), "{name}");
    for (x, y, colour) in [(9, 9, RED), (240, 9, GREEN), (9, 115, BLUE), (240, 115, YELLOW)] {
        let found = small.get_pixel(x, y).0;
        assert!(is_near(found, colour), "{name} at {x},{y}: {found:?}");
    }
}

/// The stored bytes decode, and a browser that goes by their EXIF shows them upright.
fn assert_stored(name: &str, picture: &Inspected, orientation: Orientation) {
    assert!(!contains(&picture.bytes, CANARY), "{name}");
    let reader = ImageReader::new(std::io::Cursor::new(&picture.bytes));
    let mut decoder = reader.with_guessed_format().expect("in memory").into_decoder().expect("a picture");
    assert_eq!(decoder.orientation().ok(), Some(orientation), "{name}");
    let has_exif = decoder.exif_metadata().is_ok_and(|exif| exif.is_some());
    assert_eq!(has_exif, orientation != Orientation::NoTransforms, "{name}");
    let mut shown = DynamicImage::from_decoder(decoder).expect("a picture");
    shown.apply_orientation(orientation);
    assert_eq!((shown.width(), shown.height()), (400, 200), "{name}");
    assert!(is_near(shown.to_rgb8().get_pixel(10, 10).0, RED), "{name}");
    assert_eq!(inspected(&picture.bytes).bytes, picture.bytes, "{name}");
}

fn assert_turned(name: &str, upload: &[u8], orientation: Orientation) {
    let picture = inspected(upload);
    assert_upright(name, &picture, &thumbnailed(upload));
    assert_upright(name, &picture, &thumbnailed(&picture.bytes));
    assert_stored(name, &picture, orientation);
}

#[test]
fn jpeg_is_turned() {
    for (value, orientation) in orientations() {
        let stored = jpeg(&as_stored(corners(400, 200), orientation));
        let payload = [b"Exif\0\0", &exif(value, CANARY)[..]].concat();
        let upload = with_segments(&stored, &[(0xe1, &payload)]);
        assert_turned(&format!("JPEG {value}"), &upload, orientation);
    }
}

#[test]
fn png_is_turned() {
    for (value, orientation) in orientations() {
        let stored = png(&as_stored(corners(400, 200), orientation));
        let upload = with_chunks(&stored, &[(b"eXIf", &exif(value, CANARY))]);
        assert_turned(&format!("PNG {value}"), &upload, orientation);
    }
}

#[test]
fn webp_is_turned() {
    for (value, orientation) in orientations() {
        let picture = as_stored(corners(400, 200), orientation);
        let stored = webp(&picture);
        let header = vp8x(0x08, picture.width(), picture.height());
        let upload = riff(&[(b"VP8X", &header), bitstream(&stored), (b"EXIF", &exif(value, CANARY))]);
        assert_turned(&format!("WebP {value}"), &upload, orientation);
        let says_so = inspected(&upload).bytes[20] & 0x08 != 0;
        assert_eq!(says_so, orientation != Orientation::NoTransforms, "WebP {value}");
    }
}

#[test]
fn exif_that_makes_no_sense_turns_nothing() {
    let stored = jpeg(&corners(400, 200));
    for nonsense in [&b""[..], b"II*\0", b"MM\0*\xff\xff\xff\xff", &exif(0, b""), &exif(9, b"")] {
        let payload = [b"Exif\0\0", nonsense].concat();
        let picture = inspected(&with_segments(&stored, &[(0xe1, &payload)]));
        assert_eq!(picture.bytes, inspected(&stored).bytes);
    }
}
