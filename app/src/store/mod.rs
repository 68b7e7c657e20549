//! The blob store: originals and thumbnails, in one private bucket of anything that speaks S3.
//!
//! Objects are named by [`Object`] alone and never change: other bytes have another name. Beside them is one that says to
//! which installation they belong. Must not know posts, boards or SQL.

mod s3;

use bytes::Bytes;
use uuid::Uuid;

pub use s3::{Download, Listed, Store};

/// The name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object {
    /// What was uploaded, without its metadata.
    Original(Uuid),
    /// What pages show.
    Thumbnail(Uuid),
}

impl Object {
    /// What the keys of all objects begin with, below the prefix of the installation.
    pub const FOLDERS: [&str; 2] = ["original/", "thumbnail/"];

    /// Both objects of a blob.
    #[must_use]
    pub const fn both(id: Uuid) -> [Self; 2] {
        [Self::Original(id), Self::Thumbnail(id)]
    }

    /// The key in the bucket.
    #[must_use]
    pub fn key(self) -> String {
        match self {
            Self::Original(id) => format!("original/{id}"),
            Self::Thumbnail(id) => format!("thumbnail/{id}"),
        }
    }

    /// The object that a key names; `None` for keys that are not ours.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        let (folder, id) = key.split_once('/')?;
        let object = match folder {
            "original" => Self::Original(id.parse().ok()?),
            "thumbnail" => Self::Thumbnail(id.parse().ok()?),
            _ => return None,
        };
        (object.key() == key).then_some(object)
    }

    /// The blob that the object belongs to.
    #[must_use]
    pub const fn blob(self) -> Uuid {
        match self {
            Self::Original(id) | Self::Thumbnail(id) => id,
        }
    }
}

/// What an object consists of.
#[derive(Debug, Clone)]
pub struct Content {
    /// All of it.
    pub bytes: Bytes,
    /// Sent to the store, so that it can tell when something was lost on the way.
    pub sha256: [u8; 32],
    /// Media type.
    pub media_type: &'static str,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("the object is not in the store")]
    Missing,
    /// The store cannot be reached, or does not answer in time, or refuses.
    #[error("the blob store does not answer: {0}")]
    Unavailable(String),
    /// The store answers that it will not, and would answer the same again: somebody has to change something.
    #[error("the blob store refuses: {0}")]
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_one_object_and_nothing_else_does() {
        let id = Uuid::from_u128(7);
        for object in Object::both(id) {
            assert_eq!(Object::from_key(&object.key()), Some(object));
        }
        for foreign in
            ["backup.tar", "original/", "original/x", &format!("other/{id}"), &format!("original/{}", id.simple())]
        {
            assert_eq!(Object::from_key(foreign), None, "{foreign}");
        }
    }
}
