//! Reading a file's structure from front to back, never past its end.

use super::MediaError;
use crate::domain::PictureKind;

/// What is left of a file. Asking for more than that is [`MediaError::TruncatedPicture`].
#[derive(Clone, Copy)]
pub(super) struct FileReader<'a> {
    kind: PictureKind,
    rest: &'a [u8],
}

impl<'a> FileReader<'a> {
    pub(super) fn new(kind: PictureKind, bytes: &'a [u8]) -> Self {
        Self { kind, rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// What was read since `earlier`, a copy of this reader made then.
    pub(super) fn since(&self, earlier: Self) -> &'a [u8] {
        let count = earlier.rest.len().saturating_sub(self.rest.len());
        earlier.rest.get(..count).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], MediaError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.truncated());
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], MediaError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<COUNT>() else {
            return Err(self.truncated());
        };
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, MediaError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u16_be(&mut self) -> Result<u16, MediaError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u16_le(&mut self) -> Result<u16, MediaError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u24_le(&mut self) -> Result<u32, MediaError> {
        let [low, middle, high] = self.array()?;
        Ok(u32::from_le_bytes([low, middle, high, 0]))
    }

    pub(super) fn u32_be(&mut self) -> Result<u32, MediaError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u32_le(&mut self) -> Result<u32, MediaError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A length that was read from the file, as a count of bytes to [`take`](Self::take).
    pub(super) fn length(&self, length: u32) -> Result<usize, MediaError> {
        usize::try_from(length).map_err(|_| self.truncated())
    }

    pub(super) fn truncated(&self) -> MediaError {
        MediaError::TruncatedPicture { kind: self.kind }
    }

    pub(super) fn corrupt(&self, detail: &'static str) -> MediaError {
        MediaError::corrupt(self.kind, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_and_stops_at_the_end() {
        let mut reader = FileReader::new(PictureKind::Gif, &[1, 2, 3, 4, 5, 6, 7]);
        let start = reader;
        assert_eq!(reader.u16_be(), Ok(0x0102));
        assert_eq!(reader.since(start), [1, 2]);
        assert_eq!(reader.u24_le(), Ok(0x05_0403));
        let truncated = Err(MediaError::TruncatedPicture { kind: PictureKind::Gif });
        assert_eq!(reader.u32_le(), truncated);
        assert_eq!(reader.take(2), Ok(&[6, 7][..]));
        assert!(reader.is_empty());
        assert!(reader.u8().is_err());
    }
}
