//! What the board knows of a picture, whoever stores or shows it.
//!
//! Must not know where bytes are kept or how they are decoded.

use uuid::Uuid;

/// A picture format that the board accepts, told from the bytes and from nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PictureKind {
    /// JPEG File Interchange Format, ITU-T T.81.
    Jpeg,
    /// Portable Network Graphics, animated (APNG) or not.
    Png,
    /// GIF87a or GIF89a, animated or not.
    Gif,
    /// WebP, lossy, lossless or animated.
    WebP,
}

impl PictureKind {
    /// Every kind, in the order in which a form names them.
    pub const ALL: [Self; 4] = [Self::Jpeg, Self::Png, Self::Gif, Self::WebP];

    /// The name people use for it: `JPEG`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
        }
    }

    /// The file extension without its dot; also how the database names the kind.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::WebP => "webp",
        }
    }

    /// The media type that is sent with the bytes.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
        }
    }

    /// The kind that [`extension`](Self::extension) names.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.extension() == extension)
    }
}

/// A stored picture together with its thumbnail. Never changes: other bytes are another picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Also the name of both objects in the blob store.
    pub id: Uuid,
    /// Format of the stored original.
    pub kind: PictureKind,
    /// Size of the stored original, in bytes.
    pub bytes: i64,
    /// MD5 of the stored original; image-board clients compare files by it. Display only, never identity.
    pub md5: [u8; 16],
    /// Width in pixels, as seen upright.
    pub width: i32,
    /// Height in pixels, as seen upright.
    pub height: i32,
    /// Format of the thumbnail.
    pub thumbnail_kind: PictureKind,
    /// Width of the thumbnail in pixels.
    pub thumbnail_width: i32,
    /// Height of the thumbnail in pixels.
    pub thumbnail_height: i32,
}

impl Picture {
    /// Path of the original: `/media/{uuid}.{ext}`.
    #[must_use]
    pub fn media_path(&self) -> String {
        format!("/media/{}.{}", self.id, self.kind.extension())
    }

    /// Path of the thumbnail: `/thumb/{uuid}.{ext}`.
    #[must_use]
    pub fn thumbnail_path(&self) -> String {
        format!("/thumb/{}.{}", self.id, self.thumbnail_kind.extension())
    }
}

/// A picture as one post carries it; the same [`Picture`] may hang on many posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Digits-only name of the file, unique on the whole site: Unix seconds × 10⁶ + a counter.
    pub tim: i64,
    /// The name that the poster's file had, cleaned for display, with its extension.
    pub file_name: String,
    /// Hidden behind a tile until asked for.
    pub spoiler: bool,
    /// `None` once the file was deleted and its post kept.
    pub picture: Option<Picture>,
}
