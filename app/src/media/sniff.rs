//! Telling what a file is from its first bytes, and from nothing else.
//!
//! The four accepted formats are recognised by their signature at offset 0: a file that has one
//! elsewhere is something else. What is not accepted is recognised as well as is useful to tell the
//! visitor what they posted; nothing depends on that.

use super::MediaError;
use crate::domain::PictureKind;

/// What people try to post besides the four accepted formats, as far as it is worth telling them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignFormat {
    /// Portable Document Format.
    Pdf,
    /// PostScript.
    PostScript,
    /// Matroska, of which `WebM` is a kind.
    Matroska,
    /// TIFF, which most raw formats of cameras are too.
    TiffOrRaw,
    /// `BigTIFF`.
    Tiff,
    /// JPEG XL.
    JpegXl,
    /// JPEG 2000.
    Jpeg2000,
    /// A document of Photoshop.
    Photoshop,
    /// A document of GIMP.
    Gimp,
    /// An icon of Windows.
    Icon,
    /// A ZIP archive, which office documents are too.
    Zip,
    /// A RAR archive.
    Rar,
    /// A 7z archive.
    SevenZip,
    /// Something compressed by gzip.
    Gzip,
    /// Ogg, sound or video.
    Ogg,
    /// MPEG audio layer 3 with a tag.
    Mp3,
    /// FLAC.
    Flac,
    /// A program of Linux or Windows.
    Program,
    /// A Flash film.
    Flash,
    /// A Windows bitmap.
    Bmp,
    /// AVIF.
    Avif,
    /// HEIC, what iPhones store.
    Heic,
    /// MPEG-4 without pictures.
    Mpeg4Sound,
    /// A video of Apple's `QuickTime`.
    QuickTime,
    /// Any other MPEG-4 file.
    Mp4,
    /// An AVI video.
    Avi,
    /// WAVE sound.
    Wav,
    /// Scalable Vector Graphics.
    Svg,
    /// A web page.
    Html,
    /// Readable text.
    Text,
}

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
        Some(format) => MediaError::UnsupportedFormat { format },
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
fn binary(upload: &[u8]) -> Option<ForeignFormat> {
    const SIGNATURES: [(&[u8], ForeignFormat); 23] = [
        (b"%PDF-", ForeignFormat::Pdf),
        (b"%!PS", ForeignFormat::PostScript),
        (b"\x1a\x45\xdf\xa3", ForeignFormat::Matroska),
        (b"II*\0", ForeignFormat::TiffOrRaw),
        (b"MM\0*", ForeignFormat::TiffOrRaw),
        (b"II+\0", ForeignFormat::Tiff),
        (b"MM\0+", ForeignFormat::Tiff),
        (b"\xff\x0a", ForeignFormat::JpegXl),
        (b"\0\0\0\x0cJXL ", ForeignFormat::JpegXl),
        (b"\0\0\0\x0cjP  ", ForeignFormat::Jpeg2000),
        (b"8BPS", ForeignFormat::Photoshop),
        (b"gimp xcf", ForeignFormat::Gimp),
        (b"\0\0\x01\0", ForeignFormat::Icon),
        (b"PK\x03\x04", ForeignFormat::Zip),
        (b"Rar!\x1a\x07", ForeignFormat::Rar),
        (b"7z\xbc\xaf\x27\x1c", ForeignFormat::SevenZip),
        (b"\x1f\x8b", ForeignFormat::Gzip),
        (b"OggS", ForeignFormat::Ogg),
        (b"ID3", ForeignFormat::Mp3),
        (b"fLaC", ForeignFormat::Flac),
        (b"\x7fELF", ForeignFormat::Program),
        (b"MZ", ForeignFormat::Program),
        (b"CWS", ForeignFormat::Flash),
    ];
    if upload.starts_with(b"BM") && has_at(upload, 6, b"\0\0\0\0") {
        return Some(ForeignFormat::Bmp);
    }
    SIGNATURES.iter().find(|(signature, _)| upload.starts_with(signature)).map(|(_, format)| *format)
}

/// Formats that share a container: ISO base media files and RIFF.
fn container(upload: &[u8]) -> Option<ForeignFormat> {
    if has_at(upload, 4, b"ftyp") {
        return Some(match upload.get(8..12)? {
            b"avif" | b"avis" => ForeignFormat::Avif,
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => ForeignFormat::Heic,
            b"M4A " | b"M4B " => ForeignFormat::Mpeg4Sound,
            b"qt  " => ForeignFormat::QuickTime,
            _ => ForeignFormat::Mp4,
        });
    }
    if upload.starts_with(b"RIFF") {
        return match upload.get(8..12)? {
            b"AVI " => Some(ForeignFormat::Avi),
            b"WAVE" => Some(ForeignFormat::Wav),
            _ => None,
        };
    }
    None
}

/// Mark-up and other text, in UTF-8 or UTF-16.
fn text(upload: &[u8]) -> Option<ForeignFormat> {
    let beginning = upload.get(..TEXT_WINDOW).unwrap_or(upload);
    let text = beginning_as_text(beginning)?;
    let text = text.trim_start().to_ascii_lowercase();
    let is_markup = text.starts_with('<');
    if is_markup && (text.contains("<svg") || text.contains("<!doctype svg")) {
        return Some(ForeignFormat::Svg);
    }
    if is_markup && ["<!doctype html", "<html", "<head", "<body", "<script"].iter().any(|tag| text.contains(tag)) {
        return Some(ForeignFormat::Html);
    }
    let is_readable = !text.contains(|letter: char| letter.is_control() && !letter.is_whitespace());
    (is_readable && !text.is_empty()).then_some(ForeignFormat::Text)
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

    fn foreign(upload: &[u8]) -> ForeignFormat {
        let Err(MediaError::UnsupportedFormat { format }) = sniff(upload) else { panic!("{:?}", sniff(upload)) };
        format
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
            (&b"%PDF-1.7\n"[..], ForeignFormat::Pdf),
            (b"\0\0\0\x1cftypavif\0\0\0\0", ForeignFormat::Avif),
            (b"\0\0\0\x1cftypheic\0\0\0\0", ForeignFormat::Heic),
            (b"\0\0\0\x1cftypisom\0\0\0\0", ForeignFormat::Mp4),
            (b"\x1a\x45\xdf\xa3\x01", ForeignFormat::Matroska),
            (b"II*\0\x08\0\0\0", ForeignFormat::TiffOrRaw),
            (b"BM\x10\0\0\0\0\0\0\0\x36\0", ForeignFormat::Bmp),
            (b"PK\x03\x04\x14\0", ForeignFormat::Zip),
            (b"RIFF\0\0\0\0AVI LIST", ForeignFormat::Avi),
            (b"  \n<!DOCTYPE html><html>", ForeignFormat::Html),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", ForeignFormat::Svg),
            (b"\xef\xbb\xbf<?xml version='1.0'?><!-- x --><svg/>", ForeignFormat::Svg),
            (&utf16("<?xml version='1.0'?><svg/>", false), ForeignFormat::Svg),
            (&utf16("<svg onload=alert(1)>", true), ForeignFormat::Svg),
            (b"hello, world\r\n", ForeignFormat::Text),
            ("안녕하세요".as_bytes(), ForeignFormat::Text),
        ] {
            assert_eq!(foreign(upload), expected);
        }
    }

    #[test]
    fn a_text_may_be_cut_within_a_letter_by_the_window() {
        let long = "안".repeat(1000);
        assert_eq!(foreign(long.as_bytes()), ForeignFormat::Text);
    }
}
