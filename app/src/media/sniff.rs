//! Telling what a file is from its first bytes, and from nothing else.
//!
//! The four accepted formats are recognised by their signature at offset 0: a file that has one
//! elsewhere is something else. What is not accepted is recognised as well as is useful to tell the
//! visitor what they posted; nothing depends on that.

use super::MediaError;
use crate::domain::PictureKind;

/// How much of a text is read to tell what it is.
const TEXT_WINDOW: usize = 1024;

/// Tells the format of a picture, or what else the file seems to be.
pub(super) fn sniff(upload: &[u8]) -> Result<PictureKind, MediaError> {
    if upload.is_empty() {
        return Err(MediaError::EmptyFile);
    }
    if let Some(kind) = picture_kind(upload) {
        return Ok(kind);
    }
    Err(match binary(upload).or_else(|| container(upload)).or_else(|| text(upload)) {
        Some(what) => MediaError::UnsupportedFormat { what },
        None => MediaError::UnknownFormat,
    })
}

/// Signatures: JPEG, ITU-T T.81 B.1.1.3 (start of image, then a marker); PNG, third edition 5.2;
/// GIF, version 89a, section 17; WebP, RFC 9649 section 2.4.
fn picture_kind(upload: &[u8]) -> Option<PictureKind> {
    if upload.starts_with(b"\xff\xd8\xff") {
        Some(PictureKind::Jpeg)
    } else if upload.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(PictureKind::Png)
    } else if upload.starts_with(b"GIF87a") || upload.starts_with(b"GIF89a") {
        Some(PictureKind::Gif)
    } else if upload.starts_with(b"RIFF") && has_at(upload, 8, b"WEBP") {
        Some(PictureKind::WebP)
    } else {
        None
    }
}

/// Formats with a signature of their own at offset 0.
fn binary(upload: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 23] = [
        (b"%PDF-", "a PDF, not a picture"),
        (b"%!PS", "a PostScript document, not a picture"),
        (b"\x1a\x45\xdf\xa3", "a WebM or Matroska video, not a picture"),
        (b"II*\0", "a TIFF or raw camera picture"),
        (b"MM\0*", "a TIFF or raw camera picture"),
        (b"II+\0", "a TIFF picture"),
        (b"MM\0+", "a TIFF picture"),
        (b"\xff\x0a", "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
        (b"8BPS", "a Photoshop document"),
        (b"gimp xcf", "a GIMP document"),
        (b"\0\0\x01\0", "an icon"),
        (b"PK\x03\x04", "a ZIP archive or an office document, not a picture"),
        (b"Rar!\x1a\x07", "a RAR archive, not a picture"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive, not a picture"),
        (b"\x1f\x8b", "a gzip archive, not a picture"),
        (b"OggS", "an Ogg sound or video, not a picture"),
        (b"ID3", "an MP3 sound, not a picture"),
        (b"fLaC", "a FLAC sound, not a picture"),
        (b"\x7fELF", "a program, not a picture"),
        (b"MZ", "a program, not a picture"),
        (b"CWS", "a Flash film, not a picture"),
    ];
    if upload.starts_with(b"BM") && has_at(upload, 6, b"\0\0\0\0") {
        return Some("a BMP picture");
    }
    SIGNATURES.iter().find(|(signature, _)| upload.starts_with(signature)).map(|(_, what)| *what)
}

/// Formats that share a container: ISO base media files and RIFF.
fn container(upload: &[u8]) -> Option<&'static str> {
    if has_at(upload, 4, b"ftyp") {
        return Some(match upload.get(8..12)? {
            b"avif" | b"avis" => "an AVIF picture",
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => "a HEIC picture",
            b"M4A " | b"M4B " => "an MPEG-4 sound, not a picture",
            b"qt  " => "a QuickTime video, not a picture",
            _ => "an MP4 video, not a picture",
        });
    }
    if upload.starts_with(b"RIFF") {
        return match upload.get(8..12)? {
            b"AVI " => Some("an AVI video, not a picture"),
            b"WAVE" => Some("a WAV sound, not a picture"),
            _ => None,
        };
    }
    None
}

/// Mark-up and other text, in UTF-8 or UTF-16.
fn text(upload: &[u8]) -> Option<&'static str> {
    let beginning = upload.get(..TEXT_WINDOW).unwrap_or(upload);
    let text = beginning_as_text(beginning)?;
    let text = text.trim_start().to_ascii_lowercase();
    let is_markup = text.starts_with('<');
    if is_markup && (text.contains("<svg") || text.contains("<!doctype svg")) {
        return Some("an SVG drawing");
    }
    if is_markup && ["<!doctype html", "<html", "<head", "<body", "<script"].iter().any(|tag| text.contains(tag)) {
        return Some("an HTML page, not a picture");
    }
    let is_readable = !text.contains(|letter: char| letter.is_control() && !letter.is_whitespace());
    (is_readable && !text.is_empty()).then_some("text, not a picture")
}

/// `None` for what is no text. The window may end within a letter.
fn beginning_as_text(bytes: &[u8]) -> Option<String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
        char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    if let Some(bytes) = bytes.strip_prefix(b"\xff\xfe") {
        return Some(utf16(bytes, u16::from_le_bytes));
    }
    if let Some(bytes) = bytes.strip_prefix(b"\xfe\xff") {
        return Some(utf16(bytes, u16::from_be_bytes));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.to_owned()),
        Err(error) if error.error_len().is_none() => {
            let whole = bytes.get(..error.valid_up_to())?;
            Some(String::from_utf8_lossy(whole).into_owned())
        }
        Err(_) => None,
    }
}

fn has_at(bytes: &[u8], offset: usize, expected: &[u8]) -> bool {
    bytes.get(offset..).is_some_and(|rest| rest.starts_with(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(upload: &[u8]) -> String {
        sniff(upload).map_or_else(|error| error.to_string(), |kind| kind.name().to_owned())
    }

    fn utf16(text: &str, big_endian: bool) -> Vec<u8> {
        let order = if big_endian { u16::to_be_bytes } else { u16::to_le_bytes };
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect()
    }

    #[test]
    fn pictures_are_known_by_their_signature_at_offset_0() {
        assert_eq!(sniff(b"\xff\xd8\xff\xe0"), Ok(PictureKind::Jpeg));
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n"), Ok(PictureKind::Png));
        assert_eq!(sniff(b"GIF87a"), Ok(PictureKind::Gif));
        assert_eq!(sniff(b"GIF89a"), Ok(PictureKind::Gif));
        assert_eq!(sniff(b"RIFF....WEBPVP8 "), Ok(PictureKind::WebP));
        assert_eq!(sniff(b"RIFF....WEBPVP8 <svg xmlns>"), Ok(PictureKind::WebP));
        assert_eq!(sniff(b"\0\xff\xd8\xff\xe0"), Err(MediaError::UnknownFormat));
        assert_eq!(sniff(b"GIF88a\x01\0"), Err(MediaError::UnknownFormat));
        assert_eq!(sniff(b""), Err(MediaError::EmptyFile));
    }

    #[test]
    fn other_things_are_named() {
        for (upload, expected) in [
            (&b"%PDF-1.7\n"[..], "a PDF"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF"),
            (b"\0\0\0\x1cftypheic\0\0\0\0", "a HEIC"),
            (b"\0\0\0\x1cftypisom\0\0\0\0", "an MP4"),
            (b"\x1a\x45\xdf\xa3\x01", "a WebM"),
            (b"II*\0\x08\0\0\0", "a TIFF"),
            (b"BM\x10\0\0\0\0\0\0\0\x36\0", "a BMP"),
            (b"PK\x03\x04\x14\0", "a ZIP"),
            (b"RIFF\0\0\0\0AVI LIST", "an AVI"),
            (b"  \n<!DOCTYPE html><html>", "an HTML"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
            (b"\xef\xbb\xbf<?xml version='1.0'?><!-- x --><svg/>", "an SVG"),
            (&utf16("<?xml version='1.0'?><svg/>", false), "an SVG"),
            (&utf16("<svg onload=alert(1)>", true), "an SVG"),
            (b"hello, world\r\n", "text"),
            ("안녕하세요".as_bytes(), "text"),
        ] {
            assert!(what(upload).contains(expected), "{expected}: {}", what(upload));
        }
    }

    #[test]
    fn a_text_may_be_cut_within_a_letter_by_the_window() {
        let long = "안".repeat(1000);
        assert!(what(long.as_bytes()).contains("text"));
    }
}
