//! Files that were cut, damaged or made up: an error or a picture, never a panic, never for long.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use triptych::media::{Limits, MediaError, inspect, thumbnail};

use crate::samples::{PNG_SIGNATURE, chunk, corners, jpeg, png, png_header, refused, segment, small, zlib};

/// Small enough that a damaged size costs little.
const SMALL: Limits = Limits { max_side: 4_000, max_pixels: 1_000_000, max_decoded_bytes: 8_000_000, max_frames: 20 };

/// Goes both steps; the code of the error, if any.
fn try_all(name: &str, upload: &[u8]) -> Option<&'static str> {
    let result = inspect(upload, &SMALL).and_then(|picture| {
        let again = inspect(&picture.bytes, &SMALL).map(|again| again.bytes);
        assert_eq!(again.as_ref(), Ok(&picture.bytes), "{name}: stored bytes are not stable");
        thumbnail(&picture, &SMALL)
    });
    match result {
        Ok(thumbnail) => {
            assert!((1..=250).contains(&thumbnail.width) && (1..=250).contains(&thumbnail.height));
            None
        }
        Err(error) => {
            assert!(!matches!(error, MediaError::ThumbnailFailed { .. }), "{name}: {error:?}");
            Some(error.code())
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_at_the_first_gate() {
    for (name, upload) in small() {
        let whole = inspect(&upload, &SMALL).map(|picture| picture.bytes).expect("a good picture");
        for end in 0..upload.len() {
            let cut = &upload[..end];
            // One writer leaves bytes after the end; without those the picture is still whole.
            if let Ok(picture) = inspect(cut, &SMALL) {
                assert_eq!(picture.bytes, whole, "{name} cut at {end}");
                assert!(end >= whole.len(), "{name} cut at {end}");
            }
        }
        for end in 0..whole.len() {
            assert!(inspect(&whole[..end], &SMALL).is_err(), "{name} cut at {end}");
        }
        let error = refused(&whole[..whole.len() - 1]);
        assert_eq!(error.code(), "truncated_picture", "{name}");
    }
}

#[test]
fn a_byte_changed_anywhere_never_panics() {
    for (name, upload) in small() {
        for place in 0..upload.len() {
            for change in [0x01, 0x10, 0x80, 0xff] {
                let mut changed = upload.clone();
                changed[place] ^= change;
                let name = format!("{name} with byte {place} ^ {change}");
                assert_ne!(try_all(&name, &changed), Some("decoder_panicked"), "{name}");
            }
        }
    }
}

/// A PNG's checksums stop damage at the first gate; an attacker writes them anew.
#[test]
fn a_byte_changed_under_a_right_checksum_never_panics() {
    for (name, upload) in small().into_iter().filter(|(_, upload)| upload.starts_with(PNG_SIGNATURE)) {
        for place in PNG_SIGNATURE.len()..upload.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = upload.clone();
                changed[place] ^= change;
                try_all(&format!("{name} with byte {place} ^ {change}"), &with_right_checksums(&changed));
            }
        }
    }
}

fn with_right_checksums(png: &[u8]) -> Vec<u8> {
    let mut fixed = png[..PNG_SIGNATURE.len()].to_vec();
    let mut rest = &png[PNG_SIGNATURE.len()..];
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let length = usize::try_from(length).expect("64 bits");
        let Some((data, after)) = after.split_at_checked(length).filter(|(_, after)| after.len() >= 4) else {
            break;
        };
        fixed.extend(chunk([header[4], header[5], header[6], header[7]], data));
        rest = &after[4..];
    }
    fixed.extend(rest);
    fixed
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut upload = png(&corners(4, 4));
    let end = upload.len();
    upload[end - 14] ^= 1;
    assert_eq!(refused(&upload).code(), "corrupt_picture");
}

#[test]
fn chunks_and_segments_in_the_wrong_order_are_refused() {
    let header = png_header(4, 4, 8, 3);
    let palette = chunk(*b"PLTE", &[1, 2, 3]);
    let data = chunk(*b"IDAT", &zlib(&[0; 20]));
    let end = chunk(*b"IEND", b"");
    let other = chunk(*b"gAMA", &[0, 0, 0, 1]);
    let png = |chunks: &[&[u8]]| [&[PNG_SIGNATURE], chunks].concat().concat();
    assert!(inspect(&png(&[&header, &palette, &data, &end]), &SMALL).is_ok());
    let wrong: [&[&[u8]]; 9] = [
        &[&palette, &header, &data, &end],
        &[&header, &data, &palette, &end],
        &[&header, &palette, &palette, &data, &end],
        &[&header, &palette, &end],
        &[&header, &header, &palette, &data, &end],
        &[&header, &palette, &data, &other, &data, &end],
        &[&header, &palette, &data],
        &[&header, &palette, &chunk(*b"CRIT", b""), &data, &end],
        &[&header, &chunk(*b"PLTE", &[1, 2]), &data, &end],
    ];
    for chunks in wrong {
        assert!(inspect(&png(chunks), &SMALL).is_err());
    }

    let good = jpeg(&corners(8, 8));
    let place = |marker: u8| good.windows(2).position(|pair| pair == [0xff, marker]).expect("it is there");
    let (frame, scan) = (place(0xc0), place(0xda));
    let frame_header = &good[frame..frame + 19];
    for upload in [
        [&good[..scan], frame_header, &good[scan..]].concat(),
        [&good[..frame], &good[scan..]].concat(),
        [&good[..frame], b"\xff\xd9", &good[frame..]].concat(),
        [&good[..frame], b"\xff\xd8", &good[frame..]].concat(),
        [&good[..frame], b"\xff\x01", &good[frame..]].concat(),
        [&good[..frame], b"\xff\xe5\0\x01", &good[frame..]].concat(),
        [&good[..frame], b"\xff\xe5\xff\xff", &good[frame..]].concat(),
        [&good[..frame], &segment(0xdc, &[0, 8]), &good[frame..]].concat(),
        b"\xff\xd8\xff\xd9".to_vec(),
        b"\xff\xd8\xff\xff\xff\xff".to_vec(),
    ] {
        assert!(inspect(&upload, &SMALL).is_err());
    }
}

/// Eight megabytes of the smallest thing that each walker steps over. A walker that looked back
/// would take minutes.
#[test]
fn the_first_gate_takes_linear_time() {
    const BYTES: usize = 8_000_000;
    let fill = |front: &[u8], piece: &[u8]| [front, &piece.repeat(BYTES / piece.len())].concat();
    let png_front = [PNG_SIGNATURE, &png_header(4, 4, 8, 0)].concat();
    let jpeg_front = jpeg(&corners(8, 8));
    let in_scan = &jpeg_front[..jpeg_front.len() - 2];
    let extended = b"RIFF\xff\xff\x7f\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x03\0\0\x03\0\0";
    for upload in [
        fill(&png_front, &chunk(*b"teXt", b"")),
        fill(&png_front, &chunk(*b"IDAT", b"")),
        fill(&png_front, &chunk(*b"eXIf", b"II*\0\x08\0\0\0\xff\xff")),
        fill(b"\xff\xd8", b"\xff"),
        fill(b"\xff\xd8\xff", b"\xe2\0\x10ICC_PROFILE\0\x01\x01\xff"),
        fill(b"\xff\xd8", b"\xff\0"),
        fill(b"\xff\xd8\xff\xfe", b"\0\x02\xff\xfe"),
        fill(in_scan, b"\xff\0"),
        fill(in_scan, b"\xff"),
        fill(b"GIF89a\x04\0\x04\0\0\0\0", b"\x21\xfe\0"),
        fill(b"GIF89a\x04\0\x04\0\0\0\0\x21\xfe", b"\x01x"),
        fill(b"GIF89a\x04\0\x04\0\0\0\0", b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\0"),
        fill(extended, b"what\0\0\0\0"),
        fill(extended, b"EXIF\0\0\0\0"),
        vec![b'<'; BYTES],
        vec![0xff; BYTES],
    ] {
        let start = Instant::now();
        assert!(inspect(&upload, &Limits::default()).is_err());
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
}

fn signature() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(vec![
        &b""[..],
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
        b"GIF89a\x04\0\x04\0",
        b"RIFF\x80\0\0\0WEBPVP8X\x0a\0\0\0",
        b"RIFF\x80\0\0\0WEBPVP8L",
        b"\xef\xbb\xbf<",
    ])
}

// Here a decoder may panic, as long as nobody notices: zune-jpeg 0.5.15 does on some good pictures.
proptest! {
    #[test]
    fn any_bytes_never_panic(
        front in signature(),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        try_all("any bytes", &[front, &bytes].concat());
    }

    #[test]
    fn a_mutated_picture_never_panics(
        sample in 0_usize..15,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        copy in any::<prop::sample::Index>(),
    ) {
        let (name, mut upload) = small().swap_remove(sample);
        // A part of it twice, then some bytes changed.
        let (from, to) = (cut.index(upload.len()), copy.index(upload.len()));
        let part = upload[from.min(to)..from.max(to)].to_vec();
        upload.splice(from..from, part);
        for (place, value) in changes {
            let place = place.index(upload.len());
            upload[place] = value;
        }
        try_all(name, &upload);
        if upload.starts_with(PNG_SIGNATURE) {
            try_all(name, &with_right_checksums(&upload));
        }
    }
}
