//! PNG and APNG: a signature and chunks (PNG, third edition: sections 4.6, 5 and 11).
//!
//! Kept: the chunks that tell pixels and colours, physical size, background, and the animation.
//! Dropped: text, times, EXIF, everything unknown or of the wrong length. Every chunk's CRC must be
//! right, whether it is kept or not: a file that was damaged on its way should not be stored.

use std::io::Read;

use flate2::Crc;
use flate2::read::ZlibDecoder;
use image::metadata::Orientation;

use super::super::limits::pixels;
use super::super::reader::FileReader;
use super::super::{Limits, MediaError, exif};
use super::{MAX_ICC_BYTES, Walked, with_room};
use crate::domain::PictureKind;

const SIGNATURE_BYTES: usize = 8;

/// Walks through a PNG.
pub(super) fn walk(file: &[u8], limits: &Limits) -> Result<Walked, MediaError> {
    let mut reader = FileReader::new(PictureKind::Png, file);
    let signature = reader.take(SIGNATURE_BYTES)?;
    let first = Chunk::read(&mut reader)?;
    let header = Header::parse(&first)?;
    limits.check_size(header.width, header.height)?;
    let mut walk = Walk {
        reader,
        limits,
        header,
        seen: Vec::new(),
        palette: None,
        transparent: false,
        data: Data::Before,
        orientation: None,
        animation: None,
        body: with_room(file),
    };
    loop {
        let chunk = Chunk::read(&mut walk.reader)?;
        if chunk.name == *b"IEND" {
            walk.finish_animation()?;
            return walk.finish(signature, &first, &chunk);
        }
        walk.chunk(&chunk)?;
    }
}

struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
    /// Length, name, data and CRC.
    whole: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn read(reader: &mut FileReader<'a>) -> Result<Self, MediaError> {
        let start = *reader;
        let length = reader.u32_be()?;
        if length > 0x7fff_ffff {
            return Err(reader.corrupt("a chunk longer than any"));
        }
        let checked = *reader;
        let name = reader.array()?;
        let data = reader.take(reader.length(length)?)?;
        let mut crc = Crc::new();
        crc.update(reader.since(checked));
        if reader.u32_be()? != crc.sum() {
            return Err(reader.corrupt("a chunk with a wrong checksum"));
        }
        Ok(Self { name, data, whole: reader.since(start) })
    }

    /// A decoder that does not know the chunk may not show the picture (section 5.4).
    fn is_critical(&self) -> bool {
        self.name.first().is_some_and(u8::is_ascii_uppercase)
    }
}

/// Section 11.2.1.
struct Header {
    width: u32,
    height: u32,
    depth: u8,
    colour: u8,
}

impl Header {
    fn parse(chunk: &Chunk<'_>) -> Result<Self, MediaError> {
        let mut reader = FileReader::new(PictureKind::Png, chunk.data);
        if chunk.name != *b"IHDR" || chunk.data.len() != 13 {
            return Err(reader.corrupt("the first chunk is no header"));
        }
        let width = reader.u32_be()?;
        let height = reader.u32_be()?;
        let [depth, colour, compression, filter, interlace] = reader.array()?;
        if width == 0 || height == 0 || width > 0x7fff_ffff || height > 0x7fff_ffff {
            return Err(reader.corrupt("a size outside 1 to 2³¹ − 1"));
        }
        let depth_fits = match colour {
            0 => matches!(depth, 1 | 2 | 4 | 8 | 16),
            3 => matches!(depth, 1 | 2 | 4 | 8),
            2 | 4 | 6 => matches!(depth, 8 | 16),
            _ => false,
        };
        if !depth_fits || compression != 0 || filter != 0 || interlace > 1 {
            return Err(reader.corrupt("a header that no version of PNG allows"));
        }
        Ok(Self { width, height, depth, colour })
    }

    /// Palettes are decoded to RGB, depths below 8 bits to 8, and `tRNS` becomes an alpha channel.
    fn decoded_bytes(&self, transparent: bool) -> u64 {
        let channels = match self.colour {
            0 => 1,
            4 => 2,
            6 => 4,
            _ => 3,
        };
        let channels = if transparent { channels + 1 } else { channels };
        pixels(self.width, self.height) * channels * if self.depth == 16 { 2 } else { 1 }
    }

    fn channels(&self) -> usize {
        match self.colour {
            0 => 1,
            4 => 2,
            6 => 4,
            _ => 3,
        }
    }
}

/// Where the walk is: the chunks of image data stand together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    Before,
    Within,
    After,
}

/// What `acTL` promised and what came of it (section 11.3.6).
struct Animation {
    promised: u32,
    frames: u32,
    /// Of the next `fcTL` or `fdAT`.
    sequence: u32,
    /// A frame was announced and its data is still to come.
    awaits_data: bool,
}

struct Walk<'a> {
    reader: FileReader<'a>,
    limits: &'a Limits,
    header: Header,
    /// Names of the kept chunks of which there may be one.
    seen: Vec<[u8; 4]>,
    /// Colours in it.
    palette: Option<usize>,
    /// There is a `tRNS`.
    transparent: bool,
    data: Data,
    orientation: Option<Orientation>,
    animation: Option<Animation>,
    body: Vec<u8>,
}

impl Walk<'_> {
    fn chunk(&mut self, chunk: &Chunk<'_>) -> Result<(), MediaError> {
        if chunk.name == *b"IDAT" {
            return self.image_data(chunk);
        }
        if self.data == Data::Within {
            self.data = Data::After;
        }
        match &chunk.name {
            b"PLTE" => self.colours(chunk),
            b"acTL" => self.start_animation(chunk),
            b"fcTL" => self.frame_control(chunk),
            b"fdAT" => self.frame_data(chunk),
            b"eXIf" => {
                self.orientation = self.orientation.or_else(|| exif::orientation(chunk.data));
                Ok(())
            }
            _ if chunk.is_critical() => Err(self.reader.corrupt("an unknown critical chunk")),
            _ => {
                self.ancillary(chunk);
                Ok(())
            }
        }
    }

    fn image_data(&mut self, chunk: &Chunk<'_>) -> Result<(), MediaError> {
        match self.data {
            Data::After => return Err(self.reader.corrupt("image data in two places")),
            Data::Before if self.header.colour == 3 && self.palette.is_none() => {
                return Err(self.reader.corrupt("a palette picture without its palette"));
            }
            Data::Before | Data::Within => self.data = Data::Within,
        }
        if let Some(animation) = &mut self.animation {
            animation.awaits_data = false;
        }
        self.keep(chunk);
        Ok(())
    }

    fn colours(&mut self, chunk: &Chunk<'_>) -> Result<(), MediaError> {
        let (colours, rest) = chunk.data.as_chunks::<3>();
        let fits = (1..=256).contains(&colours.len()) && rest.is_empty();
        let allowed = matches!(self.header.colour, 2 | 3 | 6);
        if !fits || !allowed || self.palette.is_some() || self.data != Data::Before {
            return Err(self.reader.corrupt("a palette that does not fit"));
        }
        self.palette = Some(colours.len());
        self.keep(chunk);
        Ok(())
    }

    /// Chunks that say how the pixels are meant. Browsers ignore one that comes twice, too late or
    /// in the wrong length, so it is dropped.
    fn ancillary(&mut self, chunk: &Chunk<'_>) {
        let length = chunk.data.len();
        let fits = match &chunk.name {
            b"tRNS" => self.transparency_fits(length),
            b"gAMA" | b"cICP" => length == 4,
            b"cHRM" => length == 32,
            b"sRGB" => length == 1,
            b"pHYs" => length == 9,
            b"sBIT" => length == self.header.channels(),
            b"bKGD" => matches!(length, 1 | 2 | 6),
            b"iCCP" => profile_fits(chunk.data),
            _ => false,
        };
        if fits && self.data == Data::Before && !self.seen.contains(&chunk.name) {
            self.seen.push(chunk.name);
            self.transparent |= chunk.name == *b"tRNS";
            self.keep(chunk);
        }
    }

    /// Section 11.3.1.1.
    fn transparency_fits(&self, length: usize) -> bool {
        match self.header.colour {
            0 => length == 2,
            2 => length == 6,
            3 => self.palette.is_some_and(|colours| (1..=colours).contains(&length)),
            _ => false,
        }
    }

    fn start_animation(&mut self, chunk: &Chunk<'_>) -> Result<(), MediaError> {
        let mut reader = FileReader::new(PictureKind::Png, chunk.data);
        let promised = reader.u32_be()?;
        if self.animation.is_some() || self.data != Data::Before || chunk.data.len() != 8 || promised == 0 {
            return Err(self.reader.corrupt("an animation header that does not fit"));
        }
        self.limits.check_frames(promised)?;
        self.animation = Some(Animation { promised, frames: 0, sequence: 0, awaits_data: false });
        self.keep(chunk);
        Ok(())
    }

    fn frame_control(&mut self, chunk: &Chunk<'_>) -> Result<(), MediaError> {
        let Some(animation) = &mut self.animation else { return Ok(()) };
        let mut reader = FileReader::new(PictureKind::Png, chunk.data);
        let sequence = reader.u32_be()?;
        let [width, height, x, y] = [reader.u32_be()?, reader.u32_be()?, reader.u32_be()?, reader.u32_be()?];
        let inside = u64::from(x) + u64::from(width) <= self.header.width.into()
            && u64::from(y) + u64::from(height) <= self.header.height.into();
        // The image data is the first frame if it is announced, and then fills the canvas.
        let whole = self.data != Data::Before || (width, height) == (self.header.width, self.header.height);
        if chunk.data.len() != 26
            || sequence != animation.sequence
            || animation.awaits_data
            || animation.frames == animation.promised
            || width == 0
            || height == 0
            || !inside
            || !whole
        {
            return Err(self.reader.corrupt("a frame that does not fit"));
        }
        animation.sequence += 1;
        animation.frames += 1;
        animation.awaits_data = true;
        self.keep(chunk);
        Ok(())
    }

    fn frame_data(&mut self, chunk: &Chunk<'_>) -> Result<(), MediaError> {
        let Some(animation) = &mut self.animation else { return Ok(()) };
        let sequence = FileReader::new(PictureKind::Png, chunk.data).u32_be()?;
        // Without a frame yet, or before the image data, there is nothing it could belong to.
        if sequence != animation.sequence || animation.frames == 0 || self.data != Data::After {
            return Err(self.reader.corrupt("frame data that does not fit"));
        }
        animation.sequence += 1;
        animation.awaits_data = false;
        self.keep(chunk);
        Ok(())
    }

    fn finish_animation(&self) -> Result<(), MediaError> {
        match &self.animation {
            Some(animation) if animation.frames != animation.promised || animation.awaits_data => {
                Err(self.reader.corrupt("frames are missing"))
            }
            _ => Ok(()),
        }
    }

    fn finish(self, signature: &[u8], header: &Chunk<'_>, end: &Chunk<'_>) -> Result<Walked, MediaError> {
        if self.data == Data::Before || !end.data.is_empty() {
            return Err(self.reader.corrupt("no image data before the end"));
        }
        let orientation = self.orientation.unwrap_or(Orientation::NoTransforms);
        let mut front = [signature, header.whole].concat();
        if orientation != Orientation::NoTransforms {
            put_chunk(&mut front, *b"eXIf", &exif::minimal(orientation));
        }
        let mut stored = self.body;
        stored.splice(0..0, front);
        stored.extend(end.whole);
        Ok(Walked {
            stored,
            width: self.header.width,
            height: self.header.height,
            orientation,
            frames: self.animation.map_or(1, |animation| animation.frames),
            decoded_bytes: self.header.decoded_bytes(self.transparent),
        })
    }

    fn keep(&mut self, chunk: &Chunk<'_>) {
        self.body.extend(chunk.whole);
    }
}

/// Whether a profile inflates, and to no more than [`MAX_ICC_BYTES`] (section 11.3.2.3: a name of
/// 1 to 79 bytes, a zero, the method 0, a zlib stream). Stops as soon as it is too long.
fn profile_fits(data: &[u8]) -> bool {
    let Some(end) = data.iter().take(80).position(|byte| *byte == 0) else { return false };
    let Some([0, compressed @ ..]) = data.get(end + 1..) else { return false };
    let limit = MAX_ICC_BYTES as u64 + 1;
    let inflated = std::io::copy(&mut ZlibDecoder::new(compressed).take(limit), &mut std::io::sink());
    end > 0 && compressed.len() <= MAX_ICC_BYTES && inflated.is_ok_and(|bytes| bytes < limit)
}

fn put_chunk(out: &mut Vec<u8>, name: [u8; 4], data: &[u8; 26]) {
    let mut crc = Crc::new();
    crc.update(&name);
    crc.update(data);
    out.extend(26_u32.to_be_bytes());
    out.extend(name);
    out.extend(data);
    out.extend(crc.sum().to_be_bytes());
}
