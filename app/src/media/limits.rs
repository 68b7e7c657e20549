//! How big a picture may be. Checked from headers, before any pixel is decoded.

use super::MediaError;

/// What one picture may cost. Every number is inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest side in pixels: of the picture, its canvas and every frame.
    pub max_side: u32,
    /// Width × height in pixels: of the picture, its canvas and every frame.
    pub max_pixels: u64,
    /// Bytes that decoding the first frame may hold at once: the pixels in the depth and with the
    /// channels they are decoded to, and the decoder's own buffers as far as they grow with the
    /// picture (coefficients of a progressive JPEG, planes of a WebP, the frame beside its canvas).
    /// Permits of the [`Pool`](super::Pool) × this number bounds the memory that pictures take.
    pub max_decoded_bytes: u64,
    /// Frames of an animation.
    pub max_frames: u32,
}

impl Default for Limits {
    /// Room for a 40-megapixel camera; 170 MB decoded.
    fn default() -> Self {
        Self { max_side: 10_000, max_pixels: 40_000_000, max_decoded_bytes: 170_000_000, max_frames: 1_000 }
    }
}

impl Limits {
    pub(super) fn check_size(&self, width: u32, height: u32) -> Result<(), MediaError> {
        let limit = self.max_side;
        if width > limit {
            return Err(MediaError::PictureTooWide { width, height, limit });
        }
        if height > limit {
            return Err(MediaError::PictureTooHigh { width, height, limit });
        }
        if pixels(width, height) > self.max_pixels {
            return Err(MediaError::TooManyPixels { width, height, limit: self.max_pixels });
        }
        Ok(())
    }

    pub(super) fn check_decoded_bytes(&self, needed: u64) -> Result<(), MediaError> {
        if needed > self.max_decoded_bytes {
            return Err(MediaError::TooManyDecodedBytes { needed, limit: self.max_decoded_bytes });
        }
        Ok(())
    }

    pub(super) fn check_frames(&self, frames: u32) -> Result<(), MediaError> {
        if frames > self.max_frames {
            return Err(MediaError::TooManyFrames { limit: self.max_frames });
        }
        Ok(())
    }
}

/// Cannot overflow: 2³² × 2³² does not occur, both are at most 2³² − 1.
pub(super) fn pixels(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_inclusive_and_do_not_overflow() {
        let limits = Limits::default();
        assert_eq!(limits.check_size(10_000, 4_000), Ok(()));
        assert_eq!(limits.check_size(10_001, 1).map_err(|e| e.code()), Err("picture_too_wide"));
        assert_eq!(limits.check_size(1, 10_001).map_err(|e| e.code()), Err("picture_too_high"));
        assert_eq!(limits.check_size(10_000, 4_001).map_err(|e| e.code()), Err("too_many_pixels"));
        let endless = Limits { max_side: u32::MAX, ..limits };
        assert_eq!(endless.check_size(u32::MAX, u32::MAX).map_err(|e| e.code()), Err("too_many_pixels"));
        // 65536 × 65536 is 0 in 32 bits.
        assert_eq!(endless.check_size(65_536, 65_536).map_err(|e| e.code()), Err("too_many_pixels"));
        assert_eq!(limits.check_decoded_bytes(170_000_000), Ok(()));
        assert!(limits.check_decoded_bytes(170_000_001).is_err());
        assert_eq!(limits.check_frames(1_000), Ok(()));
        assert!(limits.check_frames(1_001).is_err());
    }
}
