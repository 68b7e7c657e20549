//! WebP: a RIFF file with a bitstream, or an extended header and chunks (RFC 9649, section 2).
//!
//! Kept: the bitstreams with their alpha planes, the animation, the colour profile. Dropped: EXIF,
//! XMP and unknown chunks, within frames too. The extended header's flags and the RIFF length are
//! written anew to say what is really there.

use image::metadata::Orientation;

use super::super::limits::pixels;
use super::super::reader::FileReader;
use super::super::{Limits, MediaError, exif};
use super::{MAX_ICC_BYTES, Walked, with_room};
use crate::domain::PictureKind;

const FLAG_PROFILE: u8 = 0x20;
const FLAG_ALPHA: u8 = 0x10;
const FLAG_EXIF: u8 = 0x08;
const FLAG_ANIMATION: u8 = 0x02;

/// Walks through a WebP.
pub(super) fn walk(file: &[u8], limits: &Limits) -> Result<Walked, MediaError> {
    let mut reader = FileReader::new(PictureKind::WebP, file);
    reader.take(4)?;
    let length = reader.u32_le()?;
    let mut reader = FileReader::new(PictureKind::WebP, reader.take(reader.length(length)?)?);
    reader.take(4)?;
    let first = Chunk::read(&mut reader)?;
    if first.name == *b"VP8X" {
        return Extended::start(reader, limits, first.data, with_room(file))?.walk();
    }
    let image = Bitstream::parse(&first, limits)?;
    let mut chunks = with_room(file);
    put_chunk(&mut chunks, first.name, first.data);
    Ok(Walked {
        stored: riff(Vec::new(), chunks),
        width: image.width,
        height: image.height,
        orientation: Orientation::NoTransforms,
        frames: 1,
        decoded_bytes: still_bytes(&image, image.alpha, false),
    })
}

struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The byte that pads an odd chunk may be missing at the very end, as some encoders leave it.
    fn read(reader: &mut FileReader<'a>) -> Result<Self, MediaError> {
        let name = reader.array()?;
        let length = reader.u32_le()?;
        let data = reader.take(reader.length(length)?)?;
        if length % 2 == 1 && !reader.is_empty() {
            reader.take(1)?;
        }
        Ok(Self { name, data })
    }
}

/// The size that a bitstream itself claims.
struct Bitstream {
    lossless: bool,
    width: u32,
    height: u32,
    /// The lossless stream's own flag.
    alpha: bool,
}

impl Bitstream {
    /// VP8: RFC 6386, section 9.1. VP8L: RFC 9649, section 3.4.
    fn parse(chunk: &Chunk<'_>, limits: &Limits) -> Result<Self, MediaError> {
        let mut reader = FileReader::new(PictureKind::WebP, chunk.data);
        let image = match &chunk.name {
            b"VP8 " => {
                let [tag, _, _, code @ ..] = reader.array::<6>()?;
                let width = u32::from(reader.u16_le()? & 0x3fff);
                let height = u32::from(reader.u16_le()? & 0x3fff);
                if tag & 1 != 0 || code != [0x9d, 0x01, 0x2a] || width == 0 || height == 0 {
                    return Err(reader.corrupt("a lossy stream without a key frame"));
                }
                Self { lossless: false, width, height, alpha: false }
            }
            b"VP8L" => {
                let signature = reader.u8()?;
                let bits = reader.u32_le()?;
                if signature != 0x2f || bits >> 29 != 0 {
                    return Err(reader.corrupt("a lossless stream of an unknown version"));
                }
                Self {
                    lossless: true,
                    width: (bits & 0x3fff) + 1,
                    height: (bits >> 14 & 0x3fff) + 1,
                    alpha: bits >> 28 & 1 == 1,
                }
            }
            _ => return Err(reader.corrupt("neither a lossy nor a lossless stream")),
        };
        limits.check_size(image.width, image.height)?;
        Ok(image)
    }
}

/// A file with an extended header (section 2.7).
struct Extended<'a> {
    reader: FileReader<'a>,
    limits: &'a Limits,
    width: u32,
    height: u32,
    /// Of those the file claims, the ones that decoders go by.
    flags: u8,
    profile: Option<&'a [u8]>,
    control: Option<&'a [u8]>,
    orientation: Option<Orientation>,
    alpha: Option<&'a [u8]>,
    still: Option<(Chunk<'a>, Bitstream)>,
    /// The chunks of all frames, then also what stands before and behind them.
    images: Vec<u8>,
    frame_count: u32,
    /// What decoding the dearest frame takes beside the canvas.
    frame_bytes: u64,
}

impl<'a> Extended<'a> {
    fn start(reader: FileReader<'a>, limits: &'a Limits, data: &[u8], images: Vec<u8>) -> Result<Self, MediaError> {
        let mut header = FileReader::new(PictureKind::WebP, data);
        let [flags, _, _, _] = header.array()?;
        let width = header.u24_le()? + 1;
        let height = header.u24_le()? + 1;
        limits.check_size(width, height)?;
        Ok(Self {
            reader,
            limits,
            width,
            height,
            flags: flags & (FLAG_ALPHA | FLAG_ANIMATION),
            profile: None,
            control: None,
            orientation: None,
            alpha: None,
            still: None,
            images,
            frame_count: 0,
            frame_bytes: 0,
        })
    }

    fn walk(mut self) -> Result<Walked, MediaError> {
        while !self.reader.is_empty() {
            let chunk = Chunk::read(&mut self.reader)?;
            self.chunk(chunk)?;
        }
        self.finish()
    }

    fn is_animated(&self) -> bool {
        self.flags & FLAG_ANIMATION != 0
    }

    /// Of every chunk that may come once the first counts, as for libwebp.
    fn chunk(&mut self, chunk: Chunk<'a>) -> Result<(), MediaError> {
        match &chunk.name {
            b"ICCP" if chunk.data.len() <= MAX_ICC_BYTES => {
                self.profile = self.profile.or(Some(chunk.data));
            }
            b"EXIF" => {
                self.orientation = self.orientation.or_else(|| exif::orientation(chunk.data));
            }
            b"ANIM" if self.is_animated() && chunk.data.len() == 6 => {
                self.control = self.control.or(Some(chunk.data));
            }
            b"ANMF" if self.is_animated() => self.frame(chunk.data)?,
            // The plane belongs to the lossy stream that follows it.
            b"ALPH" if !self.is_animated() && self.still.is_none() => {
                self.alpha = self.alpha.or(Some(chunk.data));
            }
            b"VP8 " | b"VP8L" if !self.is_animated() && self.still.is_none() => {
                let image = Bitstream::parse(&chunk, self.limits)?;
                if (image.width, image.height) != (self.width, self.height) {
                    return Err(self.reader.corrupt("a canvas of another size than its picture"));
                }
                self.still = Some((chunk, image));
            }
            _ => {}
        }
        Ok(())
    }

    /// Section 2.7.1.1: position, size, duration and flags in 16 bytes, then chunks.
    fn frame(&mut self, data: &'a [u8]) -> Result<(), MediaError> {
        self.frame_count += 1;
        self.limits.check_frames(self.frame_count)?;
        let mut reader = FileReader::new(PictureKind::WebP, data);
        let header = reader.array::<16>()?;
        let mut place = FileReader::new(PictureKind::WebP, &header);
        let [x, y] = [place.u24_le()? * 2, place.u24_le()? * 2];
        let [width, height] = [place.u24_le()? + 1, place.u24_le()? + 1];
        self.limits.check_size(width, height)?;
        if x + width > self.width || y + height > self.height {
            return Err(self.reader.corrupt("a frame outside its canvas"));
        }
        let mut alpha = None;
        let (chunk, image) = loop {
            let chunk = Chunk::read(&mut reader)?;
            match &chunk.name {
                b"ALPH" => alpha = alpha.or(Some(chunk.data)),
                b"VP8 " | b"VP8L" => {
                    let image = Bitstream::parse(&chunk, self.limits)?;
                    break (chunk, image);
                }
                _ => {}
            }
        };
        if (image.width, image.height) != (width, height) {
            return Err(self.reader.corrupt("a frame of another size than its picture"));
        }
        let alpha = alpha.filter(|_| !image.lossless);
        // What the first frame leaves uncovered is transparent too. Browsers see this without the
        // flag; our decoder would show black.
        let uncovered = self.frame_count == 1 && (width, height) != (self.width, self.height);
        if image.alpha || alpha.is_some() || uncovered {
            self.flags |= FLAG_ALPHA;
        }
        let kept = header.len() + alpha.map_or(0, chunk_bytes) + chunk_bytes(chunk.data);
        self.images.extend(b"ANMF");
        self.images.extend(length(kept));
        self.images.extend(header);
        if let Some(alpha) = alpha {
            put_chunk(&mut self.images, *b"ALPH", alpha);
        }
        put_chunk(&mut self.images, chunk.name, chunk.data);
        let bytes = pixels(width, height) * 4 + planes_bytes(&image, alpha.is_some());
        self.frame_bytes = self.frame_bytes.max(bytes);
        Ok(())
    }

    fn finish(mut self) -> Result<Walked, MediaError> {
        let mut control = None;
        let decoded_bytes = if self.is_animated() {
            control = self.control.filter(|_| self.frame_count > 0);
            if control.is_none() {
                return Err(self.reader.corrupt("an animation without a frame"));
            }
            // The canvas as the decoder composes it, and once more as it hands it out.
            pixels(self.width, self.height) * 8 + self.frame_bytes
        } else {
            let Some((chunk, image)) = &self.still else {
                return Err(self.reader.corrupt("no picture"));
            };
            let alpha = self.alpha.filter(|_| !image.lossless);
            if let Some(alpha) = alpha {
                put_chunk(&mut self.images, *b"ALPH", alpha);
            }
            put_chunk(&mut self.images, chunk.name, chunk.data);
            // Browsers go by the streams; our decoder goes by the flag, and fails if it lies.
            let transparent = image.alpha || alpha.is_some();
            self.flags = if transparent { FLAG_ALPHA } else { 0 };
            still_bytes(image, transparent, alpha.is_some())
        };
        Ok(Walked {
            width: self.width,
            height: self.height,
            orientation: self.orientation.unwrap_or(Orientation::NoTransforms),
            frames: self.frame_count.max(1),
            decoded_bytes,
            stored: self.assemble(control),
        })
    }

    fn assemble(self, control: Option<&[u8]>) -> Vec<u8> {
        let turned = self.orientation.filter(|found| *found != Orientation::NoTransforms);
        let mut flags = self.flags;
        if self.profile.is_some() {
            flags |= FLAG_PROFILE;
        }
        if turned.is_some() {
            flags |= FLAG_EXIF;
        }
        let [width_low, width_middle, width_high, _] = (self.width - 1).to_le_bytes();
        let [height_low, height_middle, height_high, _] = (self.height - 1).to_le_bytes();
        let header = [flags, 0, 0, 0, width_low, width_middle, width_high, height_low, height_middle, height_high];
        let mut front = Vec::new();
        put_chunk(&mut front, *b"VP8X", &header);
        if let Some(profile) = self.profile {
            put_chunk(&mut front, *b"ICCP", profile);
        }
        if let Some(control) = control {
            put_chunk(&mut front, *b"ANIM", control);
        }
        let mut chunks = self.images;
        if let Some(orientation) = turned {
            put_chunk(&mut chunks, *b"EXIF", &exif::minimal(orientation));
        }
        riff(front, chunks)
    }
}

/// RGB or RGBA, and what the decoder holds beside it.
fn still_bytes(image: &Bitstream, alpha: bool, alpha_plane: bool) -> u64 {
    let pixels = pixels(image.width, image.height);
    if image.lossless {
        // Always decoded to RGBA; without alpha it is then copied to RGB.
        return pixels * if alpha { 4 } else { 4 + 3 };
    }
    pixels * if alpha { 4 } else { 3 } + planes_bytes(image, alpha_plane)
}

/// The 4:2:0 planes of a lossy stream, and its alpha plane: decoded as RGBA, then as one byte.
fn planes_bytes(image: &Bitstream, alpha_plane: bool) -> u64 {
    let pixels = pixels(image.width, image.height);
    match (image.lossless, alpha_plane) {
        (true, _) => 0,
        (false, false) => pixels.div_ceil(2) * 3,
        (false, true) => pixels.div_ceil(2) * 3 + pixels * 5,
    }
}

/// The file of these chunks. The first ones are short, and so the rest is moved instead of copied.
fn riff(first: Vec<u8>, mut chunks: Vec<u8>) -> Vec<u8> {
    let [a, b, c, d] = length(4 + first.len() + chunks.len());
    let head = [b'R', b'I', b'F', b'F', a, b, c, d, b'W', b'E', b'B', b'P'];
    chunks.splice(0..0, head.into_iter().chain(first));
    chunks
}

/// What a chunk takes with its name, its length and its padding.
fn chunk_bytes(data: &[u8]) -> usize {
    8 + data.len().next_multiple_of(2)
}

fn put_chunk(out: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    out.extend(name);
    out.extend(length(data.len()));
    out.extend(data);
    if data.len() % 2 == 1 {
        out.push(0);
    }
}

/// What is written is no longer than the file that was read, but for our own EXIF block; a file of
/// 4 GiB does not come this far.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}
