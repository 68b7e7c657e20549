//! What thumbnails look like.

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgba, RgbaImage};
use triptych::domain::PictureKind;

use crate::samples::{
    ALPHA_WEBP, BLUE, CMYK_JPEG, GREEN, LOSSY_WEBP, PROGRESSIVE_JPEG, RED, YCCK_JPEG, YELLOW, contains, corners,
    decoded, gif, inspected, is_near, jpeg, palette_png, png, see_through, small, thumbnailed, webp, with_segments,
};

#[test]
fn every_small_sample_has_a_thumbnail_of_its_own_size() {
    for (name, upload) in small() {
        let picture = inspected(&upload);
        let thumbnail = thumbnailed(&upload);
        assert_eq!((thumbnail.width, thumbnail.height), (picture.width, picture.height), "{name}");
        let pixels = decoded(&thumbnail.bytes);
        assert_eq!((pixels.width(), pixels.height()), (picture.width, picture.height), "{name}");
        assert_eq!(inspected(&thumbnail.bytes).kind, thumbnail.kind, "{name}");
        assert_eq!(thumbnail.kind == PictureKind::WebP, pixels.color().has_alpha(), "{name}");
    }
}

#[test]
fn big_pictures_shrink_in_proportion() {
    for (width, height, expected) in [
        (1000, 500, (250, 125)),
        (333, 1000, (83, 250)),
        (3000, 2, (250, 1)),
        (2, 3000, (1, 250)),
        (251, 251, (250, 250)),
    ] {
        let picture = corners(width, height);
        let uploads = [jpeg(&picture), png(&picture), webp(&picture), gif(vec![picture.to_rgba8()])];
        for upload in uploads {
            let thumbnail = thumbnailed(&upload);
            assert_eq!((thumbnail.width, thumbnail.height), expected);
            let pixels = decoded(&thumbnail.bytes);
            assert_eq!((pixels.width(), pixels.height()), expected);
        }
    }
}

#[test]
fn colours_stay_where_they_are() {
    let picture = corners(600, 400);
    let deep = DynamicImage::from(picture.to_rgb16());
    for upload in [jpeg(&picture), png(&picture), png(&deep), webp(&picture), gif(vec![picture.to_rgba8()])] {
        let thumbnail = thumbnailed(&upload);
        assert_eq!(thumbnail.kind, PictureKind::Jpeg);
        let pixels = decoded(&thumbnail.bytes).to_rgb8();
        for (x, y, colour) in [(5, 5, RED), (244, 5, GREEN), (5, 161, BLUE), (244, 161, YELLOW)] {
            let found = pixels.get_pixel(x, y).0;
            assert!(is_near(found, colour), "{found:?} for {colour:?}");
        }
    }
}

#[test]
fn grey_stays_grey_in_any_depth() {
    let grey = GrayImage::from_fn(400, 300, |x, _| Luma([if x < 200 { 40 } else { 210 }]));
    let deep = ImageBuffer::from_fn(400, 300, |x, _| Luma([if x < 200 { 40 * 257_u16 } else { 210 * 257 }]));
    for upload in [jpeg(&grey.clone().into()), png(&grey.into()), png(&deep.into())] {
        let thumbnail = thumbnailed(&upload);
        let pixels = decoded(&thumbnail.bytes);
        assert!(!pixels.color().has_color());
        let pixels = pixels.to_luma8();
        assert!(pixels.get_pixel(20, 90)[0].abs_diff(40) < 4);
        assert!(pixels.get_pixel(230, 90)[0].abs_diff(210) < 4);
    }
}

#[test]
fn cmyk_comes_out_in_its_colours() {
    for upload in [CMYK_JPEG, YCCK_JPEG] {
        let pixels = decoded(&thumbnailed(upload).bytes).to_rgb8();
        let found = pixels.get_pixel(8, 6).0;
        assert!(is_near(found, [225, 48, 31]), "{found:?}");
    }
}

/// Without the Adobe segment the decoder takes RGB for YCbCr: the segment must survive the cut.
#[test]
fn rgb_jpeg_keeps_its_colour_transform() {
    let adobe = b"Adobe\0\x64\0\0\0\0\0";
    let upload = with_segments(&jpeg(&corners(16, 12)), &[(0xee, adobe)]);
    assert_eq!(decoded(&inspected(&upload).bytes), decoded(&upload));
    assert_ne!(decoded(&upload), decoded(&jpeg(&corners(16, 12))));
}

#[test]
fn lossy_pictures_come_out_in_their_colours() {
    for upload in [LOSSY_WEBP, PROGRESSIVE_JPEG] {
        let pixels = decoded(&thumbnailed(upload).bytes).to_rgb8();
        assert!(is_near(pixels.get_pixel(2, 6).0, [200, 40, 20]));
        assert!(is_near(pixels.get_pixel(13, 6).0, [20, 40, 200]));
    }
    let pixels = decoded(&thumbnailed(ALPHA_WEBP).bytes).to_rgba8();
    assert_eq!((pixels.get_pixel(2, 6)[3], pixels.get_pixel(13, 6)[3]), (255, 0));
}

#[test]
fn transparency_is_kept_and_hidden_colours_do_not_bleed() {
    let mut picture = RgbaImage::from_pixel(500, 500, Rgba([255, 0, 0, 255]));
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        // A chequered half, invisible where it is green.
        if x >= 250 && (x + y) % 2 == 0 {
            *pixel = Rgba([0, 255, 0, 0]);
        }
    }
    let deep = DynamicImage::from(picture.clone()).to_rgba16();
    for upload in [png(&picture.clone().into()), png(&deep.into()), webp(&picture.into())] {
        let thumbnail = thumbnailed(&upload);
        assert_eq!(thumbnail.kind, PictureKind::WebP);
        let pixels = decoded(&thumbnail.bytes).to_rgba8();
        assert_eq!(pixels.get_pixel(50, 125).0, [255, 0, 0, 255]);
        let mixed = pixels.get_pixel(200, 125).0;
        assert!(mixed[0] > 250 && mixed[1] < 5 && mixed[3].abs_diff(128) < 8, "{mixed:?}");
    }
    let grey = DynamicImage::from(see_through(400, 400).to_luma_alpha8());
    let deep = DynamicImage::from(see_through(400, 400).to_luma_alpha16());
    for upload in [png(&grey), png(&deep)] {
        let pixels = decoded(&thumbnailed(&upload).bytes).to_rgba8();
        assert_eq!((pixels.get_pixel(20, 20)[3], pixels.get_pixel(230, 20)[3]), (255, 0));
    }
}

#[test]
fn palettes_keep_their_transparency() {
    let thumbnail = thumbnailed(&palette_png());
    assert_eq!(thumbnail.kind, PictureKind::WebP);
    let pixels = decoded(&thumbnail.bytes).to_rgba8();
    assert_eq!(pixels.get_pixel(0, 0).0, [220, 30, 30, 255]);
    assert_eq!(pixels.get_pixel(5, 0).0, [30, 200, 30, 255]);
    assert_eq!(pixels.get_pixel(15, 11).0, [30, 30, 220, 128]);
}

#[test]
fn an_alpha_channel_that_hides_nothing_makes_a_jpeg() {
    for side in [40, 400] {
        let picture = corners(side, side);
        let opaque = DynamicImage::from(picture.to_rgba8());
        let deep = DynamicImage::from(picture.to_rgba16());
        let grey = DynamicImage::from(picture.to_luma_alpha8());
        for upload in [png(&opaque), png(&deep), png(&grey), webp(&opaque)] {
            assert_eq!(thumbnailed(&upload).kind, PictureKind::Jpeg);
        }
    }
}

#[test]
fn thumbnails_carry_no_metadata() {
    let profile = [b"ICC_PROFILE\0\x01\x01", &[7; 300][..]].concat();
    let upload = with_segments(&jpeg(&corners(600, 400)), &[(0xe2, &profile), (0xfe, b"comment")]);
    let thumbnail = thumbnailed(&upload);
    assert!(!contains(&thumbnail.bytes, b"ICC_PROFILE") && !contains(&thumbnail.bytes, b"comment"));
    assert_eq!(inspected(&thumbnail.bytes).bytes, thumbnail.bytes);
}

/// A picture whose lower part is lost although its end marker is there: shown as far as it goes.
#[test]
fn a_jpeg_scan_that_ends_early_is_shown_as_browsers_do() {
    let whole = jpeg(&corners(400, 400));
    let scan = whole.windows(2).rposition(|pair| pair == [0xff, 0xda]).expect("a scan");
    let half = scan + (whole.len() - scan) / 2;
    let half = if whole[half - 1] == 0xff { half - 1 } else { half };
    let upload = [&whole[..half], b"\xff\xd9"].concat();
    let pixels = decoded(&thumbnailed(&upload).bytes).to_rgb8();
    assert!(is_near(pixels.get_pixel(9, 9).0, RED));
}
