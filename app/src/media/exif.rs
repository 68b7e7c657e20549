//! The one thing that is read from EXIF, and the only EXIF that is ever written: the orientation.
//!
//! EXIF is a TIFF file: a byte order, the offset of a directory, and in the directory entries of
//! twelve bytes (Exif 2.32, section 4.6; TIFF 6.0, section 2). `image` reads it.

use image::metadata::Orientation;

/// Stands before the TIFF file in a JPEG, and by mistake sometimes in PNG and WebP.
pub(super) const JPEG_PREFIX: &[u8] = b"Exif\0\0";

const TAG_ORIENTATION: u16 = 0x0112;
/// How the picture must be turned to be upright, if the EXIF says so. What cannot be read says nothing.
pub(super) fn orientation(exif: &[u8]) -> Option<Orientation> {
    Orientation::from_exif_chunk(exif.strip_prefix(JPEG_PREFIX).unwrap_or(exif))
}

/// The smallest TIFF file that says how to turn a picture, and nothing else.
pub(super) fn minimal(orientation: Orientation) -> [u8; 26] {
    let [.., tag_high, tag_low] = TAG_ORIENTATION.to_be_bytes();
    [
        b'M',
        b'M',
        0,
        b'*', // big endian
        0,
        0,
        0,
        8, // the directory begins at offset 8
        0,
        1, // and has one entry:
        tag_high,
        tag_low,
        0,
        3, // the orientation, a SHORT,
        0,
        0,
        0,
        1, // one of them,
        0,
        orientation.to_exif(),
        0,
        0, // which is this
        0,
        0,
        0,
        0, // no further directory
    ]
}

/// Whether the sides change places when the picture is turned upright.
pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn little(entries: &[[u8; 12]], count: u16) -> Vec<u8> {
        let mut tiff = b"II*\0\x08\0\0\0".to_vec();
        tiff.extend(count.to_le_bytes());
        tiff.extend(entries.concat());
        tiff
    }

    const OTHER: [u8; 12] = [0x0f, 0x01, 2, 0, 4, 0, 0, 0, b'C', b'a', b'm', 0];

    fn turned(value: u8) -> [u8; 12] {
        [0x12, 0x01, 3, 0, 1, 0, 0, 0, value, 0, 0, 0]
    }

    #[test]
    fn what_is_written_is_read_back() {
        for written in (1..=8).filter_map(Orientation::from_exif) {
            assert_eq!(orientation(&minimal(written)), Some(written));
            let prefixed = [JPEG_PREFIX, &minimal(written)].concat();
            assert_eq!(orientation(&prefixed), Some(written));
        }
    }

    #[test]
    fn little_endian_is_read_too() {
        assert_eq!(orientation(&little(&[OTHER, turned(6)], 2)), Some(Orientation::Rotate90));
    }

    #[test]
    fn nonsense_says_nothing() {
        assert_eq!(orientation(&[]), None);
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), None);
        assert_eq!(orientation(&little(&[turned(0)], 1)), None);
        assert_eq!(orientation(&little(&[turned(9)], 1)), None);
        // More entries promised than there are.
        assert_eq!(orientation(&little(&[OTHER], 65_535)), None);
        // The wrong type, and four thousand million values.
        assert_eq!(orientation(&little(&[[0x12, 1, 4, 0, 1, 0, 0, 0, 6, 0, 0, 0]], 1)), None);
        assert_eq!(orientation(&little(&[[0x12, 1, 3, 0, 255, 255, 255, 255, 6, 0, 0, 0]], 1)), None);
    }
}
