//! The one thing that is read from EXIF, and the only EXIF that is ever written: the orientation.
//!
//! EXIF is a TIFF file: a byte order, the offset of a directory, and in the directory entries of
//! twelve bytes (Exif 2.32, section 4.6; TIFF 6.0, section 2). Only the first directory is read, no
//! offset is followed from it, and it never leads to an error: what cannot be read says nothing.

use image::metadata::Orientation;

/// Stands before the TIFF file in a JPEG, and by mistake sometimes in PNG and WebP.
pub(super) const JPEG_PREFIX: &[u8] = b"Exif\0\0";

const TAG_ORIENTATION: u16 = 0x0112;
const TYPE_SHORT: u16 = 3;
/// Cameras write a few dozen. A directory that claims more is not worth reading.
const MAX_ENTRIES: u16 = 256;

/// How the picture must be turned to be upright, if the EXIF says so.
pub(super) fn orientation(exif: &[u8]) -> Option<Orientation> {
    let tiff = exif.strip_prefix(JPEG_PREFIX).unwrap_or(exif);
    let order = match tiff.first_chunk()? {
        b"II*\0" => ByteOrder::Little,
        b"MM\0*" => ByteOrder::Big,
        _ => return None,
    };
    let offset = usize::try_from(order.u32(tiff.get(4..)?)?).ok()?;
    let directory = tiff.get(offset..)?;
    let count = order.u16(directory)?.min(MAX_ENTRIES);
    let entry = directory
        .get(2..)?
        .chunks_exact(12)
        .take(usize::from(count))
        .find(|entry| order.u16(entry) == Some(TAG_ORIENTATION))?;
    if order.u16(entry.get(2..)?)? != TYPE_SHORT || order.u32(entry.get(4..)?)? != 1 {
        return None;
    }
    Orientation::from_exif(u8::try_from(order.u16(entry.get(8..)?)?).ok()?)
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

#[derive(Clone, Copy)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    fn u16(self, bytes: &[u8]) -> Option<u16> {
        let bytes = *bytes.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(self, bytes: &[u8]) -> Option<u32> {
        let bytes = *bytes.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }
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
        // Behind more entries than are read.
        let mut many = vec![OTHER; 300];
        many.push(turned(6));
        assert_eq!(orientation(&little(&many, 301)), None);
    }
}
