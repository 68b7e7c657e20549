//! Animations: all frames are kept, the first is shown, and their number and size are limited.

use image::{AnimationDecoder, DynamicImage, RgbaImage};
use triptych::domain::PictureKind;
use triptych::media::{Limits, inspect};

use crate::samples::{
    ANIMATED_WEBP, animated_png, bitstream, chunk, contains, corners, decoded, gif, inspected, refused, riff,
    thumbnailed, vp8x, webp,
};

fn limited(frames: u32) -> Limits {
    Limits { max_frames: frames, ..Limits::default() }
}

#[test]
fn frames_are_counted_and_limited() {
    let frame = corners(4, 4).to_rgba8();
    for upload in [gif(vec![frame; 3]), animated_png(3), animated_webp(&[(0, 0); 3])] {
        assert_eq!(inspected(&upload).frames, 3);
        assert!(inspect(&upload, &limited(3)).is_ok());
        let refused = inspect(&upload, &limited(2)).map_err(|error| error.code());
        assert_eq!(refused.map(|_| ()), Err("too_many_frames"));
    }
    assert_eq!(inspected(ANIMATED_WEBP).frames, 2);
}

/// 4×4 frames of one lossless picture on an 8×8 canvas.
fn animated_webp(places: &[(u8, u8)]) -> Vec<u8> {
    let picture = webp(&corners(4, 4));
    let image = bitstream(&picture);
    let stream = riff(&[image])[12..].to_vec();
    let frames: Vec<Vec<u8>> = places
        .iter()
        .map(|(x, y)| {
            let header = [*x, 0, 0, *y, 0, 0, 3, 0, 0, 3, 0, 0, 50, 0, 0, 2];
            [&header[..], &stream].concat()
        })
        .collect();
    let header = vp8x(0x02, 8, 8);
    let mut chunks: Vec<(&[u8; 4], &[u8])> = vec![(b"VP8X", &header), (b"ANIM", &[0; 6])];
    chunks.extend(frames.iter().map(|frame| (b"ANMF", &frame[..])));
    riff(&chunks)
}

#[test]
fn a_webp_frame_must_lie_on_its_canvas() {
    assert_eq!(inspected(&animated_webp(&[(0, 0), (2, 2)])).frames, 2);
    assert_eq!(refused(&animated_webp(&[(0, 0), (3, 0)])).code(), "corrupt_picture");
    assert_eq!(refused(&animated_webp(&[(0, 0), (255, 255)])).code(), "corrupt_picture");
    assert_eq!(refused(&animated_webp(&[])).code(), "corrupt_picture");
}

#[test]
fn all_frames_of_a_webp_survive_and_unknown_chunks_in_them_do_not() {
    let plain = animated_webp(&[(0, 0), (2, 2)]);
    let picture = webp(&corners(4, 4));
    let tail = riff(&[bitstream(&picture), (b"what", b"canary")])[12..].to_vec();
    let frame = [&[0, 0, 0, 0, 0, 0, 3, 0, 0, 3, 0, 0, 50, 0, 0, 2][..], &tail].concat();
    let upload = riff(&[(b"VP8X", &vp8x(0x02, 8, 8)), (b"ANIM", &[0; 6]), (b"ANMF", &frame)]);
    let stored = inspected(&upload).bytes;
    assert!(contains(&upload, b"canary") && !contains(&stored, b"canary"));
    for file in [&plain[..], ANIMATED_WEBP] {
        let frames = |bytes: &[u8]| {
            let decoder = image::codecs::webp::WebPDecoder::new(std::io::Cursor::new(bytes));
            decoder.and_then(|decoder| decoder.into_frames().collect_frames()).map(|all| {
                let pixels = |frame: image::Frame| DynamicImage::from(frame.into_buffer()).to_rgb8();
                all.into_iter().map(pixels).collect::<Vec<_>>()
            })
        };
        let stored = frames(&inspected(file).bytes).expect("an animation");
        assert_eq!(stored.len(), 2);
        assert_eq!(stored, frames(file).expect("an animation"));
    }
}

#[test]
fn an_apng_must_have_the_frames_it_promises() {
    let plain = animated_png(2);
    assert_eq!(inspected(&plain).bytes, plain);
    let data = plain.windows(4).position(|name| name == b"fdAT").expect("a second frame") - 4;
    let end = chunk(*b"IEND", b"");
    let without_data = [&plain[..data], &end].concat();
    assert_eq!(refused(&without_data).code(), "corrupt_picture");
    let control = plain.windows(4).rposition(|name| name == b"fcTL").expect("a second frame") - 4;
    let without_frame = [&plain[..control], &end].concat();
    assert_eq!(refused(&without_frame).code(), "corrupt_picture");
    let long = chunk(*b"fcTL", &[&plain[control + 8..control + 34], b"secret"].concat());
    let longer = [&plain[..control], &long, &plain[control + 38..]].concat();
    assert_eq!(refused(&longer).code(), "corrupt_picture");
    let doubled = [&plain[..control], &plain[control..data], &plain[control..]].concat();
    assert_eq!(refused(&doubled).code(), "corrupt_picture");
}

#[test]
fn the_thumbnail_shows_the_first_frame_on_its_canvas() {
    let red = RgbaImage::from_pixel(8, 8, image::Rgba([200, 40, 20, 255]));
    let blue = RgbaImage::from_pixel(8, 8, image::Rgba([20, 40, 200, 255]));
    let small = thumbnailed(&gif(vec![red, blue]));
    assert_eq!(small.kind, PictureKind::Jpeg);
    assert!(decoded(&small.bytes).to_rgb8().get_pixel(4, 4)[0] > 150);

    // The frame covers the lower right quarter; the rest of the canvas is transparent.
    let small = thumbnailed(&animated_webp(&[(2, 2)]));
    assert_eq!((small.width, small.height), (8, 8));
    let pixels = decoded(&small.bytes).to_rgba8();
    assert_eq!(pixels.get_pixel(0, 0)[3], 0);
    assert_eq!(pixels.get_pixel(4, 4).0, [220, 30, 30, 255]);

    let small = thumbnailed(ANIMATED_WEBP);
    assert_eq!(small.kind, PictureKind::WebP);
    let pixels = decoded(&small.bytes).to_rgba8();
    assert_eq!(pixels.get_pixel(15, 6)[3], 0);
    assert!(pixels.get_pixel(2, 6)[0] > 150 && pixels.get_pixel(2, 6)[3] == 255);
}

#[test]
fn a_gif_frame_smaller_than_its_screen_stands_in_its_place() {
    let mut upload = gif(vec![corners(4, 4).to_rgba8()]);
    upload[6..10].copy_from_slice(&[12, 0, 10, 0]);
    let frame = upload.windows(5).position(|bytes| bytes == [0x2c, 0, 0, 0, 0]).expect("a frame");
    upload[frame + 1] = 6;
    upload[frame + 3] = 4;
    let small = thumbnailed(&upload);
    assert_eq!((small.kind, small.width, small.height), (PictureKind::WebP, 12, 10));
    let pixels = decoded(&small.bytes).to_rgba8();
    assert_eq!(pixels.get_pixel(0, 0)[3], 0);
    assert_eq!(pixels.get_pixel(6, 4)[3], 255);
    assert!(pixels.get_pixel(6, 4)[0] > 150, "red");
    assert_eq!(pixels.get_pixel(10, 8)[3], 0);
}
