//! What is cut from an upload, and what must survive the cut.

use md5::Md5;
use sha2::{Digest, Sha256};
use triptych::domain::PictureKind;

use crate::samples::{
    bitstream, chunk, contains, corners, decoded, exif, gif, inspected, jpeg, png, riff, segment, small, vp8x, webp,
    with_chunks, with_segments, zlib,
};

const CANARY: &[u8] = b"GPS 48.8584N 2.2945E";

fn assert_clean(name: &str, upload: &[u8]) {
    assert!(contains(upload, CANARY), "{name}: the test is wrong");
    let picture = inspected(upload);
    assert!(!contains(&picture.bytes, CANARY), "{name}");
    assert_eq!(decoded(&picture.bytes), decoded(upload), "{name}: other pixels");
    assert_eq!(inspected(&picture.bytes).bytes, picture.bytes, "{name}: not stable");
}

#[test]
fn a_jpeg_loses_its_metadata() {
    let plain = jpeg(&corners(16, 12));
    let with = |marker, prefix: &[u8]| with_segments(&plain, &[(marker, &[prefix, CANARY].concat())]);
    let exif = [b"Exif\0\0", &exif(1, CANARY)[..]].concat();
    for (name, upload) in [
        ("EXIF", with_segments(&plain, &[(0xe1, &exif)])),
        ("XMP", with(0xe1, b"http://ns.adobe.com/xap/1.0/\0")),
        ("comment", with(0xfe, b"")),
        ("IPTC", with(0xed, b"Photoshop 3.0\0")),
        ("MPF", with(0xe2, b"MPF\0")),
        ("JFIF extension", with(0xe0, b"JFXX\0")),
        ("preview in JFIF", with(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\x02\x05")),
        ("Adobe's tail", with(0xee, b"Adobe\0\x64\0\0\0\0\x01")),
        ("unknown", with(0xe9, b"")),
        ("after the end", [&plain, CANARY].concat()),
        ("second picture", [&plain[..], &with(0xfe, b"")].concat()),
    ] {
        assert_clean(name, &upload);
    }
}

/// Comments may stand between scans too, and some writers leave bytes between segments.
#[test]
fn a_jpeg_loses_what_stands_between_its_parts() {
    let plain = crate::samples::PROGRESSIVE_JPEG;
    let last_scan = plain.windows(2).rposition(|pair| pair == b"\xff\xda").expect("a scan");
    let comment = segment(0xfe, CANARY);
    let between = [&plain[..last_scan], &comment, &plain[last_scan..]].concat();
    assert_clean("between scans", &between);
    let first = 4 + usize::from(plain[5]);
    let stray = [&plain[..first], CANARY, &b"\xff\xff"[..], &plain[first..]].concat();
    assert_eq!(inspected(&stray).bytes, inspected(plain).bytes);
}

#[test]
fn a_png_loses_its_metadata() {
    let plain = png(&corners(16, 12));
    let with = |name: &[u8; 4], prefix: &[u8]| with_chunks(&plain, &[(name, &[prefix, CANARY].concat())]);
    let end = plain.len() - 12;
    let late = chunk(*b"tEXt", &[b"Comment\0", CANARY].concat());
    for (name, upload) in [
        ("tEXt", with(b"tEXt", b"Comment\0")),
        ("iTXt", with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0")),
        // Not deflated, so that the canary can be seen going in.
        ("zTXt", with(b"zTXt", b"Comment\0\0")),
        ("eXIf", with(b"eXIf", &exif(1, b""))),
        ("tIME", with(b"tIME", b"")),
        ("unknown", with(b"prVt", b"")),
        ("gamma of the wrong length", with(b"gAMA", b"")),
        ("palette histogram", with(b"hIST", b"")),
        ("late text", [&plain[..end], &late, &plain[end..]].concat()),
        ("after the end", [&plain, CANARY].concat()),
    ] {
        assert_clean(name, &upload);
    }
    // Our decoder would refuse this one.
    let frames = with_chunks(&plain, &[(b"fcTL", &[0; 26]), (b"fdAT", CANARY)]);
    assert_eq!(inspected(&frames).bytes, plain, "frames without an animation");
}

#[test]
fn a_gif_loses_its_metadata() {
    let plain = gif(vec![corners(16, 12).to_rgba8(); 2]);
    let end = plain.len() - 1;
    let length = u8::try_from(CANARY.len()).expect("short");
    let with = |prefix: &[u8]| {
        let block = [prefix, &[length], CANARY, b"\0"].concat();
        [&plain[..end], &block, &plain[end..]].concat()
    };
    for (name, upload) in [
        ("comment", with(b"\x21\xfe")),
        ("XMP", with(b"\x21\xff\x0bXMP DataXMP")),
        ("colour profile", with(b"\x21\xff\x0bICCRGBG1012")),
        ("second loop block", with(b"\x21\xff\x0bNETSCAPE2.0")),
        ("plain text", with(b"\x21\x01\x0c............")),
        ("unknown", with(b"\x21\x77")),
        ("after the end", [&plain, CANARY].concat()),
    ] {
        assert_clean(name, &upload);
    }
    assert!(contains(&inspected(&plain).bytes, b"NETSCAPE2.0"), "it still loops");
}

#[test]
fn a_webp_loses_its_metadata() {
    let plain = webp(&corners(16, 12));
    let header = vp8x(0x0c, 16, 12);
    let exif = exif(1, CANARY);
    for (name, upload) in [
        ("EXIF", riff(&[(b"VP8X", &header), bitstream(&plain), (b"EXIF", &exif), (b"XMP ", b"x")])),
        ("XMP", riff(&[(b"VP8X", &header), bitstream(&plain), (b"XMP ", CANARY), (b"EXIF", b"x")])),
        ("unknown", riff(&[(b"VP8X", &vp8x(0, 16, 12)), (b"what", CANARY), bitstream(&plain)])),
        ("chunk of a simple file", riff(&[bitstream(&plain), (b"XMP ", CANARY)])),
        ("after the end", [&plain, CANARY].concat()),
    ] {
        assert_clean(name, &upload);
    }
    let extended = riff(&[(b"VP8X", &header), bitstream(&plain), (b"EXIF", &exif)]);
    assert_eq!(inspected(&extended).bytes[20], 0, "the header claims no metadata any more");
}

#[test]
fn pictures_without_metadata_keep_their_pixels_and_are_stable() {
    for (name, upload) in small() {
        let picture = inspected(&upload);
        // Not the alpha: the animated WebP leaves some canvas uncovered, which its flags deny.
        assert_eq!(decoded(&picture.bytes).to_rgb8(), decoded(&upload).to_rgb8(), "{name}");
        let again = inspected(&picture.bytes);
        assert_eq!(again.bytes, picture.bytes, "{name}");
        assert_eq!((again.sha256, again.md5), (picture.sha256, picture.md5), "{name}");
        assert_eq!((again.width, again.height, again.frames), (picture.width, picture.height, picture.frames));
    }
}

#[test]
fn hashes_are_those_of_the_stored_bytes() {
    let plain = gif(vec![corners(2, 2).to_rgba8()]);
    let stored = inspected(&plain);
    let longer = inspected(&[&plain[..], b"tail"].concat());
    assert_eq!((stored.sha256, stored.md5), (longer.sha256, longer.md5));
    assert_eq!(stored.kind, PictureKind::Gif);
    assert_eq!(stored.sha256[..], Sha256::digest(&stored.bytes)[..]);
    assert_eq!(stored.md5[..], Md5::digest(&stored.bytes)[..]);
}

#[test]
fn a_colour_profile_is_kept_unless_it_is_a_bomb() {
    let profile = b"a profile, as far as this layer knows".repeat(40);
    let keeps = |upload: &[u8], wanted: &[u8]| contains(&inspected(upload).bytes, wanted);

    let plain = jpeg(&corners(16, 12));
    let piece = |number, count, part: &[u8]| [b"ICC_PROFILE\0", &[number, count][..], part].concat();
    let (first, second) = profile.split_at(700);
    let two = [(0xe2, &piece(2, 2, second)[..]), (0xe2, &piece(1, 2, first)[..])];
    let stored = inspected(&with_segments(&plain, &two)).bytes;
    let at = |wanted: &[u8]| stored.windows(wanted.len()).position(|window| window == wanted);
    assert!(at(first).is_some() && at(first) < at(second), "both pieces, in order");
    let missing = [(0xe2, &piece(1, 2, first)[..])];
    assert!(!keeps(&with_segments(&plain, &missing), b"ICC_PROFILE"));
    let long = vec![7; 65_000];
    let many: Vec<Vec<u8>> = (1..=17).map(|number| piece(number, 17, &long)).collect();
    let many: Vec<(u8, &[u8])> = many.iter().map(|piece| (0xe2, &piece[..])).collect();
    assert!(!keeps(&with_segments(&plain, &many), b"ICC_PROFILE"));

    let plain = png(&corners(16, 12));
    let named = |data: &[u8]| [b"icc\0\0", &zlib(data)[..]].concat();
    assert!(keeps(&with_chunks(&plain, &[(b"iCCP", &named(&profile))]), b"iCCP"));
    let bomb = named(&vec![0; 100_000_000]);
    assert!(bomb.len() < 200_000);
    assert!(!keeps(&with_chunks(&plain, &[(b"iCCP", &bomb)]), b"iCCP"));
    assert!(!keeps(&with_chunks(&plain, &[(b"iCCP", b"icc\0\0not zlib")]), b"iCCP"));

    let plain = webp(&corners(16, 12));
    let header = vp8x(0x20, 16, 12);
    let upload = riff(&[(b"VP8X", &header), (b"ICCP", &profile), bitstream(&plain)]);
    assert!(keeps(&upload, &profile));
    assert_eq!(inspected(&upload).bytes[20], 0x20);
    let long = vec![7; 1024 * 1024 + 1];
    let upload = riff(&[(b"VP8X", &header), (b"ICCP", &long), bitstream(&plain)]);
    assert!(!keeps(&upload, b"ICCP"));
}

#[test]
fn chunks_that_tell_colours_and_size_are_kept() {
    let plain = png(&corners(16, 12));
    let upload = with_chunks(
        &plain,
        &[
            (b"gAMA", &[0, 0, 0xb1, 0x8f]),
            (b"sRGB", &[0]),
            (b"pHYs", &[0, 0, 0x0b, 0x13, 0, 0, 0x0b, 0x13, 1]),
            (b"sBIT", &[8, 8, 8]),
            (b"bKGD", &[0; 6]),
            (b"cICP", &[1, 13, 0, 1]),
            (b"cHRM", &[0; 32]),
        ],
    );
    assert_eq!(inspected(&upload).bytes, upload);
    let twice = with_chunks(&upload, &[(b"gAMA", &[0, 0, 0, 1])]);
    let stored = inspected(&twice).bytes;
    assert_eq!(stored.windows(4).filter(|window| window == b"gAMA").count(), 1);
}
