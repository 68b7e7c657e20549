//! From uploaded files to stored pictures: check, look for the same bytes, make a thumbnail, put both objects.
//!
//! Objects are put under a new name for every attempt and before any row is written. What happens in between can
//! leave objects without a row, and never a row without its objects.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::picture_turns::{PictureTurns, Turns};
use crate::db::{self, PgPool, blobs};
use crate::domain::Refusal;
use crate::error::AppError;
use crate::lifecycle::Lifecycle;
use crate::media::{self, Inspected, MediaError, PoolError};
use crate::memory::Share;
use crate::store::{Content, Object, Store};
use crate::trace::waits::{self, Wait};

/// How long a post waits for another one that carries the same picture.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How long a post waits for a replica that starts.
const LONGEST_WAIT_FOR_BUCKET: Duration = Duration::from_secs(3);

/// A file as it was uploaded.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its name, cleaned for display.
    pub file_name: String,
    /// All of it, in pieces as it was kept; nothing once it was inspected.
    pub pieces: Vec<Vec<u8>>,
    /// SHA-256 of the whole, taken as it arrived.
    pub sha256: [u8; 32],
}

/// A picture that a post can carry.
#[derive(Debug)]
pub(super) struct Prepared {
    /// SHA-256 of what is stored.
    pub(super) sha256: [u8; 32],
    /// The objects that this attempt has put; `None` when the same bytes are stored already.
    pub(super) put: Option<blobs::NewBlob>,
}

/// Pictures that a post can carry, once its transaction is committed.
#[derive(Debug)]
pub(super) struct PreparedPictures {
    /// In the order of the files.
    pub(super) list: Vec<Prepared>,
    /// Held until the transaction is over: whoever is next finds the rows.
    _turns: Turns,
}

/// Stores pictures.
#[derive(Debug, Clone)]
pub struct PictureStorage {
    pool: PgPool,
    store: Store,
    lifecycle: Lifecycle,
    decoding: Arc<media::Pool>,
    turns: Arc<PictureTurns>,
}

impl PictureStorage {
    /// Puts the parts together.
    #[must_use]
    pub fn new(pool: PgPool, store: Store, lifecycle: Lifecycle, decoding: Arc<media::Pool>) -> Self {
        Self { pool, store, lifecycle, decoding, turns: Arc::default() }
    }

    /// Checks every file, in order, before the first one costs anything. What was uploaded is dropped file by file, so
    /// that of each only what is stored stays in memory.
    pub(super) async fn inspect(
        &self,
        uploads: &mut [Upload],
        memory: Option<&mut Share>,
    ) -> Result<Vec<Arc<Inspected>>, AppError> {
        let files = uploads.len();
        let mut inspected = Vec::with_capacity(files);
        for (index, upload) in uploads.iter_mut().enumerate() {
            let picture = self.inspect_one(std::mem::take(&mut upload.pieces)).await?;
            inspected.push(Arc::new(picture.map_err(|error| refused(error, upload, index, files))?));
        }
        if let Some(memory) = memory {
            memory.shrink_to(inspected.iter().map(|picture| picture.bytes.len()).sum());
        }
        Ok(inspected)
    }

    /// Stores every picture that is not stored yet, in order. Whatever was put is named in `put`, also when a later one
    /// fails, so that the caller can take it back.
    pub(super) async fn prepare(
        &self,
        uploads: &[Upload],
        inspected: &[Arc<Inspected>],
        put: &mut Vec<Uuid>,
    ) -> Result<PreparedPictures, AppError> {
        let turns = self.turns.wait(inspected.iter().map(|picture| picture.sha256));
        let turns = waits::until(Wait::Turn, tokio::time::timeout(LONGEST_WAIT, turns));
        let turns = turns.await.map_err(|_| Refusal::Busy)?;
        let mut prepared: Vec<Prepared> = Vec::with_capacity(uploads.len());
        let mut seen = HashSet::new();
        for (index, (picture, upload)) in inspected.iter().zip(uploads).enumerate() {
            let sha256 = picture.sha256;
            let stored = !seen.insert(sha256) || {
                let mut connection = self.pool.acquire().await?;
                db::in_time(blobs::exists(&mut connection, &sha256)).await?
            };
            let blob = if stored {
                None
            } else {
                self.wait_for_bucket().await?;
                let thumbnail = self.decoding.thumbnail(Arc::clone(picture)).await.map_err(|error| match error {
                    PoolError::Busy => Refusal::Busy.into(),
                    PoolError::Media(error) => refused(error, upload, index, uploads.len()),
                })?;
                Some(self.put(picture, thumbnail, put).await?)
            };
            prepared.push(Prepared { sha256, put: blob });
        }
        Ok(PreparedPictures { list: prepared, _turns: turns })
    }

    /// Waits until the bucket was found to be ours. Not everything that stands in front asks whether a replica is ready, and
    /// while it starts that takes a moment.
    async fn wait_for_bucket(&self) -> Result<(), AppError> {
        let verified = tokio::time::timeout(LONGEST_WAIT_FOR_BUCKET, self.lifecycle.bucket_verified());
        waits::until(Wait::Bucket, verified).await.map_err(|_| {
            let cause = "it has not been verified yet that the bucket belongs to this database".to_owned();
            AppError::Unavailable { what: "The picture store", cause }
        })
    }

    /// Hashing eight megabytes takes milliseconds in which a page could have been served, hence the other thread.
    async fn inspect_one(&self, pieces: Vec<Vec<u8>>) -> Result<Result<Inspected, MediaError>, AppError> {
        let limits = *self.decoding.limits();
        let inspect = move || {
            let whole = pieces.concat();
            drop(pieces);
            media::inspect(&whole, &limits)
        };
        waits::until(Wait::Inspection, tokio::task::spawn_blocking(inspect))
            .await
            .map_err(|error| AppError::Internal(format!("inspecting a picture: {error}")))
    }

    async fn put(
        &self,
        picture: &Inspected,
        thumbnail: media::Thumbnail,
        put: &mut Vec<Uuid>,
    ) -> Result<blobs::NewBlob, AppError> {
        let id = Uuid::now_v7();
        put.push(id);
        let original =
            Content { bytes: picture.bytes.clone(), sha256: picture.sha256, media_type: picture.kind.media_type() };
        let small = Content {
            sha256: <sha2::Sha256 as sha2::Digest>::digest(&thumbnail.bytes).into(),
            bytes: thumbnail.bytes,
            media_type: thumbnail.kind.media_type(),
        };
        tokio::try_join!(
            self.store.put(Object::Original(id), &original),
            self.store.put(Object::Thumbnail(id), &small),
        )?;
        Ok(blobs::NewBlob {
            id,
            sha256: picture.sha256,
            md5: picture.md5,
            original: shape(picture.kind, &picture.bytes, picture.width, picture.height),
            thumbnail: shape(thumbnail.kind, &small.bytes, thumbnail.width, thumbnail.height),
        })
    }

    /// Takes back what was put for nothing. What is missed here is an orphan, which `triptych gc` removes.
    pub(super) async fn take_back(&self, ids: &[Uuid]) {
        if ids.is_empty() {
            return;
        }
        let objects: Vec<Object> = ids.iter().copied().flat_map(Object::both).collect();
        if let Err(error) = self.store.delete(&objects).await {
            tracing::warn!(%error, blobs = ?ids, "objects without a row were left behind for `triptych gc`");
        }
    }
}

fn shape(kind: crate::domain::PictureKind, bytes: &Bytes, width: u32, height: u32) -> blobs::Shape {
    // Both limits of a picture are far below what these columns hold.
    let pixels = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
    blobs::Shape {
        kind,
        bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        width: pixels(width),
        height: pixels(height),
    }
}

/// Says which file of several it was.
fn refused(error: MediaError, upload: &Upload, index: usize, files: usize) -> AppError {
    let file = (files > 1).then(|| (index + 1, upload.file_name.clone()));
    AppError::PictureRefused { error, file }
}

/// Which of these blobs have no row.
pub(super) async fn without_row(
    connection: &mut db::PgConnection,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<Uuid>, db::Error> {
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let known: HashSet<Uuid> = blobs::known(connection, &ids).await?.into_iter().collect();
    Ok(ids.into_iter().filter(|id| !known.contains(id)).collect())
}
