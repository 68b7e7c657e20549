//! JPEG: marker segments and entropy-coded scans (ITU-T T.81, annex B).
//!
//! Kept: tables, frame, scans, restart interval; of the application segments JFIF (without its
//! preview picture), Adobe's colour transform and an ICC profile. These are rebuilt at the front, in
//! this order. Dropped: EXIF, XMP, IPTC, comments, MPF with its second picture, all else.
//!
//! Bytes between segments that belong to none are skipped and dropped, as libjpeg does.
//!
//! A scan that stops early although the end marker is there is let through, as browsers show such a
//! picture with its lower part grey – down to [`MIN_BITS_A_BLOCK`], below which there is no picture.

use image::metadata::Orientation;

use super::super::error::UnsupportedFeature;
use super::super::limits::pixels;
use super::super::reader::FileReader;
use super::super::{Limits, MediaError, exif};
use super::{MAX_ICC_BYTES, Walked, with_room};
use crate::domain::PictureKind;

/// No Huffman code is shorter than a bit and every 8×8 block takes at least one, so fewer bits than
/// blocks cannot be a whole picture. Refuses the file of a hundred bytes that decodes to 40
/// megapixels of grey.
const MIN_BITS_A_BLOCK: u64 = 1;
/// Encoders write about ten. A hostile file makes the decoder go over the whole picture each time.
const MAX_SCANS: u32 = 100;

const ICC_PREFIX: &[u8] = b"ICC_PROFILE\0";

/// Walks through a JPEG.
pub(super) fn walk(file: &[u8], limits: &Limits) -> Result<Walked, MediaError> {
    let mut walk = Walk {
        reader: FileReader::new(PictureKind::Jpeg, file),
        limits,
        jfif: None,
        adobe: None,
        icc: Vec::new(),
        orientation: None,
        frame: None,
        scans: Scans::default(),
        body: with_room(file),
    };
    walk.reader.take(2)?;
    loop {
        let marker = walk.next_marker()?;
        if marker == END_OF_IMAGE {
            return walk.finish();
        }
        walk.segment(marker)?;
    }
}

const END_OF_IMAGE: u8 = 0xd9;

struct Walk<'a> {
    reader: FileReader<'a>,
    limits: &'a Limits,
    /// Version, units and density.
    jfif: Option<[u8; 7]>,
    /// Version, flags and colour transform.
    adobe: Option<[u8; 7]>,
    /// Payloads behind the prefix: number, count, piece of the profile.
    icc: Vec<&'a [u8]>,
    orientation: Option<Orientation>,
    frame: Option<Frame>,
    scans: Scans,
    body: Vec<u8>,
}

#[derive(Default)]
struct Scans {
    count: u32,
    /// Some scan does not hold all components, so the decoder must collect coefficients.
    partial: bool,
    entropy_bytes: u64,
}

impl<'a> Walk<'a> {
    fn next_marker(&mut self) -> Result<u8, MediaError> {
        loop {
            while self.reader.u8()? != 0xff {}
            let mut code = self.reader.u8()?;
            while code == 0xff {
                code = self.reader.u8()?;
            }
            if code != 0 {
                return Ok(code);
            }
        }
    }

    fn segment(&mut self, marker: u8) -> Result<(), MediaError> {
        match marker {
            0xc0..=0xc2 => self.frame(marker),
            0xda => self.scan(),
            // Huffman tables, quantisation tables, restart interval.
            0xc4 | 0xdb | 0xdd => {
                let payload = self.payload()?;
                put_segment(&mut self.body, marker, &[payload]);
                Ok(())
            }
            0xe0..=0xef => {
                let payload = self.payload()?;
                if self.scans.count == 0 {
                    self.application(marker, payload);
                }
                Ok(())
            }
            0xfe => self.payload().map(|_| ()),
            0xc3 | 0xc5..=0xc7 | 0xdc | 0xde | 0xdf => Err(unsupported(UnsupportedFeature::LosslessCoding)),
            0xc8..=0xcf => Err(unsupported(UnsupportedFeature::ArithmeticCoding)),
            0xd8 => Err(self.reader.corrupt("a second start of image")),
            _ => Err(self.reader.corrupt("a marker that belongs to no picture")),
        }
    }

    /// The segment's bytes behind its length, which counts itself.
    fn payload(&mut self) -> Result<&'a [u8], MediaError> {
        let length = self.reader.u16_be()?;
        let Some(length) = length.checked_sub(2) else {
            return Err(self.reader.corrupt("a segment shorter than its length"));
        };
        self.reader.take(usize::from(length))
    }

    /// The last one of its sort counts, as it does for decoders; of EXIF the first.
    fn application(&mut self, marker: u8, payload: &'a [u8]) {
        match marker {
            0xe0 => {
                if let Some(jfif) = payload.strip_prefix(b"JFIF\0").and_then(|rest| rest.first_chunk()) {
                    self.jfif = Some(*jfif);
                }
            }
            0xe1 if payload.starts_with(exif::JPEG_PREFIX) => {
                self.orientation = self.orientation.or_else(|| exif::orientation(payload));
            }
            0xe2 => self.icc.extend(payload.strip_prefix(ICC_PREFIX)),
            0xee => {
                if let Some(adobe) = payload.strip_prefix(b"Adobe").and_then(|rest| rest.first_chunk()) {
                    self.adobe = Some(*adobe);
                }
            }
            _ => {}
        }
    }

    fn frame(&mut self, marker: u8) -> Result<(), MediaError> {
        if self.frame.is_some() {
            return Err(self.reader.corrupt("a second frame"));
        }
        let payload = self.payload()?;
        let frame = Frame::parse(marker, payload)?;
        self.limits.check_size(frame.width, frame.height)?;
        put_segment(&mut self.body, marker, &[payload]);
        self.frame = Some(frame);
        Ok(())
    }

    fn scan(&mut self) -> Result<(), MediaError> {
        let payload = self.payload()?;
        let (Some(frame), Some(&components)) = (&self.frame, payload.first()) else {
            return Err(self.reader.corrupt("a scan before its frame"));
        };
        if components == 0
            || usize::from(components) > frame.components.len()
            || payload.len() != 4 + 2 * usize::from(components)
        {
            return Err(self.reader.corrupt("a scan header of the wrong length"));
        }
        self.scans.count += 1;
        if self.scans.count > MAX_SCANS {
            return Err(self.reader.corrupt("too many scans"));
        }
        self.scans.partial |= usize::from(components) < frame.components.len();
        put_segment(&mut self.body, 0xda, &[payload]);
        let Some(length) = entropy_length(self.reader.rest()) else {
            return Err(self.reader.truncated());
        };
        let coded = self.reader.take(length)?;
        self.body.extend(coded);
        self.scans.entropy_bytes += coded.len() as u64;
        Ok(())
    }

    fn finish(self) -> Result<Walked, MediaError> {
        let Some(frame) = self.frame.as_ref().filter(|_| self.scans.count > 0) else {
            return Err(self.reader.corrupt("no picture before the end of image"));
        };
        if self.scans.entropy_bytes * 8 < frame.blocks() * MIN_BITS_A_BLOCK {
            return Err(self.reader.truncated());
        }
        let orientation = self.orientation.unwrap_or(Orientation::NoTransforms);
        let mut front = vec![0xff, 0xd8];
        if let Some(jfif) = self.jfif {
            put_segment(&mut front, 0xe0, &[b"JFIF\0", &jfif, &[0, 0]]);
        }
        if orientation != Orientation::NoTransforms {
            put_segment(&mut front, 0xe1, &[exif::JPEG_PREFIX, &exif::minimal(orientation)]);
        }
        for piece in icc_pieces(&self.icc) {
            put_segment(&mut front, 0xe2, &[ICC_PREFIX, piece]);
        }
        if let Some(adobe) = self.adobe {
            put_segment(&mut front, 0xee, &[b"Adobe", &adobe]);
        }
        let mut stored = self.body;
        stored.splice(0..0, front);
        stored.extend([0xff, END_OF_IMAGE]);
        Ok(Walked {
            stored,
            width: frame.width,
            height: frame.height,
            orientation,
            frames: 1,
            decoded_bytes: frame.decoded_bytes(self.scans.partial),
        })
    }
}

/// T.81 B.2.2.
struct Frame {
    progressive: bool,
    width: u32,
    height: u32,
    components: Vec<Component>,
}

/// How finely a component is sampled, in blocks a unit: 1 to 4 each way.
struct Component {
    horizontal: u64,
    vertical: u64,
}

impl Frame {
    fn parse(marker: u8, payload: &[u8]) -> Result<Self, MediaError> {
        let corrupt = |detail| Err(MediaError::corrupt(PictureKind::Jpeg, detail));
        let [precision, height_high, height_low, width_high, width_low, count, rest @ ..] = payload else {
            return corrupt("a frame header that is too short");
        };
        let width = u32::from(u16::from_be_bytes([*width_high, *width_low]));
        let height = u32::from(u16::from_be_bytes([*height_high, *height_low]));
        if *precision != 8 {
            return Err(unsupported(UnsupportedFeature::DeepColour));
        }
        if width == 0 || height == 0 {
            return corrupt("a frame without a pixel");
        }
        if !matches!(count, 1 | 3 | 4) || rest.len() != 3 * usize::from(*count) {
            return corrupt("neither grey nor colour nor CMYK");
        }
        let mut components = Vec::with_capacity(usize::from(*count));
        for [_id, sampling, _table] in rest.as_chunks::<3>().0 {
            let (horizontal, vertical) = (sampling >> 4, sampling & 0x0f);
            if !(1..=4).contains(&horizontal) || !(1..=4).contains(&vertical) {
                return corrupt("a sampling factor outside 1 to 4");
            }
            components.push(Component { horizontal: horizontal.into(), vertical: vertical.into() });
        }
        Ok(Self { progressive: marker == 0xc2, width, height, components })
    }

    /// The units (MCUs) that cover the picture, across and down.
    fn units(&self) -> (u64, u64) {
        let horizontal = self.components.iter().map(|component| component.horizontal).max();
        let vertical = self.components.iter().map(|component| component.vertical).max();
        (
            u64::from(self.width).div_ceil(8 * horizontal.unwrap_or(1)),
            u64::from(self.height).div_ceil(8 * vertical.unwrap_or(1)),
        )
    }

    /// The 8×8 blocks that the file codes at least, over all components.
    fn blocks(&self) -> u64 {
        let horizontal = self.components.iter().map(|component| component.horizontal).max();
        let vertical = self.components.iter().map(|component| component.vertical).max();
        let across = |component: &Component| {
            (u64::from(self.width) * component.horizontal).div_ceil(8 * horizontal.unwrap_or(1))
        };
        let down =
            |component: &Component| (u64::from(self.height) * component.vertical).div_ceil(8 * vertical.unwrap_or(1));
        self.components.iter().map(|component| across(component) * down(component)).sum()
    }

    /// The pixels in grey or RGB and, if the picture does not come in one go from top to bottom,
    /// every coefficient in two bytes until the last scan was read.
    fn decoded_bytes(&self, partial_scans: bool) -> u64 {
        let channels = if self.components.len() == 1 { 1 } else { 3 };
        let decoded = pixels(self.width, self.height) * channels;
        if !self.progressive && !partial_scans {
            return decoded;
        }
        let (across, down) = self.units();
        let blocks_a_unit: u64 =
            self.components.iter().map(|component| component.horizontal * component.vertical).sum();
        decoded + across * down * blocks_a_unit * 64 * 2
    }
}

/// The pieces in their order if they make one whole profile that is not too long, else none: a
/// browser ignores a profile with a hole too.
fn icc_pieces<'a>(found: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut pieces = found.to_vec();
    pieces.sort_by_key(|piece| piece.first().copied());
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    let whole = pieces.iter().zip(1..).all(|(piece, number)| {
        let count = piece.get(1).copied().map(usize::from);
        piece.first().copied().map(usize::from) == Some(number) && count == Some(found.len())
    });
    if whole && total <= MAX_ICC_BYTES { pieces } else { Vec::new() }
}

/// How far the entropy-coded data reaches: to the next marker that is not a restart. In it, `ff 00`
/// stands for the byte `ff`. `None` if no marker comes.
fn entropy_length(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += rest.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        at += match rest.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => 2,
            0xff => 1,
            _ => return Some(at),
        };
    }
}

/// The pieces come from a segment or are short, so that the length fits.
fn put_segment(out: &mut Vec<u8>, marker: u8, pieces: &[&[u8]]) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let length = u16::try_from(length + 2).unwrap_or(u16::MAX);
    out.extend([0xff, marker]);
    out.extend(length.to_be_bytes());
    for piece in pieces {
        out.extend(*piece);
    }
}

fn unsupported(feature: UnsupportedFeature) -> MediaError {
    MediaError::UnsupportedPicture { kind: PictureKind::Jpeg, feature }
}
