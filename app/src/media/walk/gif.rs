//! GIF: blocks behind a logical screen (Graphics Interchange Format, version 89a).
//!
//! Kept: the screen with its colour table, images with theirs, the graphic control before an image,
//! and the one loop count that browsers read. Dropped: comments, plain text, other applications'
//! extensions (XMP and colour profiles among them), unknown blocks.

use image::metadata::Orientation;

use super::super::limits::pixels;
use super::super::reader::FileReader;
use super::super::{Limits, MediaError};
use super::{Walked, with_room};
use crate::domain::PictureKind;

const TRAILER: u8 = 0x3b;
const IMAGE: u8 = 0x2c;
const EXTENSION: u8 = 0x21;
const GRAPHIC_CONTROL: u8 = 0xf9;
const PLAIN_TEXT: u8 = 0x01;
const APPLICATION: u8 = 0xff;

/// Walks through a GIF.
pub(super) fn walk(file: &[u8], limits: &Limits) -> Result<Walked, MediaError> {
    let mut walk = Walk {
        reader: FileReader::new(PictureKind::Gif, file),
        limits,
        stored: with_room(file),
        control: None,
        loops: false,
        frames: 0,
        biggest_frame: 0,
    };
    let (width, height) = walk.screen()?;
    loop {
        match walk.reader.u8()? {
            TRAILER => break,
            IMAGE => walk.image()?,
            EXTENSION => walk.extension()?,
            _ => return Err(walk.reader.corrupt("neither an image nor an extension")),
        }
    }
    if walk.frames == 0 {
        return Err(walk.reader.corrupt("no image"));
    }
    walk.stored.push(TRAILER);
    Ok(Walked {
        stored: walk.stored,
        width,
        height,
        orientation: Orientation::NoTransforms,
        frames: walk.frames,
        // The canvas and, when a frame does not cover it, the frame beside it, both in RGBA.
        decoded_bytes: (pixels(width, height) + walk.biggest_frame) * 4,
    })
}

struct Walk<'a> {
    reader: FileReader<'a>,
    limits: &'a Limits,
    stored: Vec<u8>,
    /// A graphic control speaks of the next image, and is kept only with it.
    control: Option<[u8; 4]>,
    /// The loop count was kept.
    loops: bool,
    frames: u32,
    /// In pixels.
    biggest_frame: u64,
}

impl<'a> Walk<'a> {
    fn screen(&mut self) -> Result<(u32, u32), MediaError> {
        let start = self.reader;
        self.reader.take(6)?;
        let width = u32::from(self.reader.u16_le()?);
        let height = u32::from(self.reader.u16_le()?);
        let [flags, _background, _aspect] = self.reader.array()?;
        if width == 0 || height == 0 {
            return Err(self.reader.corrupt("a screen without a pixel"));
        }
        self.limits.check_size(width, height)?;
        self.reader.take(colour_table_bytes(flags))?;
        self.stored.extend(self.reader.since(start));
        Ok((width, height))
    }

    /// A frame may reach over the screen's edge: there are such files, and all decoders crop.
    fn image(&mut self) -> Result<(), MediaError> {
        self.frames += 1;
        self.limits.check_frames(self.frames)?;
        if let Some(control) = self.control.take() {
            self.stored.extend([EXTENSION, GRAPHIC_CONTROL, 4]);
            self.stored.extend(control);
            self.stored.push(0);
        }
        self.stored.push(IMAGE);
        let start = self.reader;
        self.reader.take(4)?;
        let width = u32::from(self.reader.u16_le()?);
        let height = u32::from(self.reader.u16_le()?);
        if width == 0 || height == 0 {
            return Err(self.reader.corrupt("a frame without a pixel"));
        }
        self.limits.check_size(width, height)?;
        self.biggest_frame = self.biggest_frame.max(pixels(width, height));
        let flags = self.reader.u8()?;
        self.reader.take(colour_table_bytes(flags))?;
        let _code_size = self.reader.u8()?;
        self.skip_sub_blocks()?;
        self.stored.extend(self.reader.since(start));
        Ok(())
    }

    fn extension(&mut self) -> Result<(), MediaError> {
        match self.reader.u8()? {
            GRAPHIC_CONTROL => {
                let block = self.sub_block()?;
                let Ok(control) = <[u8; 4]>::try_from(block) else {
                    return Err(self.reader.corrupt("a graphic control of the wrong length"));
                };
                self.control = Some(control);
                self.skip_sub_blocks()
            }
            APPLICATION => self.application(),
            PLAIN_TEXT => {
                // The control before it spoke of the text.
                self.control = None;
                self.skip_sub_blocks()
            }
            _ => self.skip_sub_blocks(),
        }
    }

    /// Keeps the loop count of the Netscape extension: a sub-block `1, low, high`.
    fn application(&mut self) -> Result<(), MediaError> {
        let name = self.sub_block()?;
        let is_loop = name == b"NETSCAPE2.0" || name == b"ANIMEXTS1.0";
        if name.is_empty() {
            return Ok(());
        }
        loop {
            let block = self.sub_block()?;
            if block.is_empty() {
                return Ok(());
            }
            if let ([1, low, high], true, false) = (block, is_loop, self.loops) {
                self.loops = true;
                self.stored.extend([EXTENSION, APPLICATION, 11]);
                self.stored.extend(name);
                self.stored.extend([3, 1, *low, *high, 0]);
            }
        }
    }

    /// Empty at the end of a row of sub-blocks.
    fn sub_block(&mut self) -> Result<&'a [u8], MediaError> {
        let length = self.reader.u8()?;
        self.reader.take(usize::from(length))
    }

    fn skip_sub_blocks(&mut self) -> Result<(), MediaError> {
        while !self.sub_block()?.is_empty() {}
        Ok(())
    }
}

/// Of the table that the packed flags announce: three bytes for each of 2 to 256 colours.
fn colour_table_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 0x07) + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A GIF of one grey pixel a frame, with these blocks before the last frame.
    fn gif(blocks: &[u8]) -> Vec<u8> {
        let screen = b"GIF89a\x01\0\x01\0\x80\0\0\x80\x80\x80\0\0\0";
        let frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
        [&screen[..], blocks, frame, b"\x3b"].concat()
    }

    fn stored(file: &[u8]) -> Vec<u8> {
        walk(file, &Limits::default()).map(|walked| walked.stored).unwrap_or_default()
    }

    #[test]
    fn a_plain_gif_is_kept_to_the_byte() {
        assert_eq!(stored(&gif(b"")), gif(b""));
        let control = b"\x21\xf9\x04\x01\x0a\0\x01\0";
        assert_eq!(stored(&gif(control)), gif(control));
    }

    #[test]
    fn only_the_loop_count_of_an_application_is_kept() {
        let kept = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x05\0\0";
        assert_eq!(stored(&gif(kept)), gif(kept));
        let buffered = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x05\0\x05\x02secr\0";
        assert_eq!(stored(&gif(buffered)), gif(kept));
        let twice = [&kept[..], kept].concat();
        assert_eq!(stored(&gif(&twice)), gif(kept));
        assert_eq!(stored(&gif(b"\x21\xff\x0bXMP DataXMP\x03abc\0")), gif(b""));
    }

    #[test]
    fn comments_unknown_blocks_and_text_with_its_control_are_dropped() {
        assert_eq!(stored(&gif(b"\x21\xfe\x06secret\0")), gif(b""));
        assert_eq!(stored(&gif(b"\x21\x42\x06secret\0")), gif(b""));
        let text = b"\x21\xf9\x04\x01\x0a\0\x01\0\x21\x01\x0c123456789012\x02hi\0";
        assert_eq!(stored(&gif(text)), gif(b""));
    }

    #[test]
    fn a_gif_without_an_image_is_refused() {
        let empty = b"GIF89a\x01\0\x01\0\0\0\0\x3b";
        let error = walk(empty, &Limits::default()).map(|_| ()).map_err(|error| error.code());
        assert_eq!(error, Err("corrupt_picture"));
    }
}
