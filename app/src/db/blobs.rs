//! `blob`: the stored pictures, each of them once. `released_blob`: those that may be unused.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::unreadable;
use super::{Error, PgConnection};
use crate::domain::{Picture, PictureKind};

/// A picture whose objects were put and whose row is about to be written.
#[derive(Debug, Clone)]
pub struct NewBlob {
    /// The name of its objects.
    pub id: Uuid,
    /// SHA-256 of the original.
    pub sha256: [u8; 32],
    /// MD5 of the original.
    pub md5: [u8; 16],
    /// Format, size in bytes, width and height of the original.
    pub original: Shape,
    /// The same of the thumbnail.
    pub thumbnail: Shape,
}

/// Format and size of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Format.
    pub kind: PictureKind,
    /// Size in bytes.
    pub bytes: i64,
    /// Width in pixels.
    pub width: i32,
    /// Height in pixels.
    pub height: i32,
}

/// A picture that can be served.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The name of its objects.
    pub id: Uuid,
    /// The original.
    pub original: Shape,
    /// The thumbnail.
    pub thumbnail: Shape,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// A board on which a post shows it.
    pub board: String,
}

/// What a page needs to know of a picture, as columns of its row.
pub(super) struct PictureRow {
    pub(super) id: Uuid,
    pub(super) md5: Vec<u8>,
    pub(super) kind: String,
    pub(super) bytes: i64,
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) thumbnail_kind: String,
    pub(super) thumbnail_width: i32,
    pub(super) thumbnail_height: i32,
}

impl PictureRow {
    /// The picture, unless a later version has written something that this one cannot show.
    pub(super) fn read(self) -> Result<Picture, Error> {
        let Self { id, bytes, width, height, thumbnail_width, thumbnail_height, .. } = self;
        Ok(Picture {
            id,
            kind: kind("blob.kind", id, &self.kind)?,
            bytes,
            md5: self.md5.try_into().map_err(|md5| unreadable("blob.md5", id, md5))?,
            width,
            height,
            thumbnail_kind: kind("blob.thumbnail_kind", id, &self.thumbnail_kind)?,
            thumbnail_width,
            thumbnail_height,
        })
    }
}

/// The kind that a column of a row names.
fn kind(column: &str, id: Uuid, name: &str) -> Result<PictureKind, Error> {
    PictureKind::from_extension(name).ok_or_else(|| unreadable(column, id, name))
}

/// Writes a blob unless its bytes are stored already; waits for another transaction that is storing the same bytes.
/// Answers whether the row is ours.
pub async fn insert(connection: &mut PgConnection, blob: &NewBlob) -> Result<bool, Error> {
    let done = sqlx::query!(
        "insert into blob (id, sha256, md5, kind, bytes, width, height,
                           thumbnail_kind, thumbnail_bytes, thumbnail_width, thumbnail_height)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (sha256) do nothing",
        blob.id,
        &blob.sha256[..],
        &blob.md5[..],
        blob.original.kind.extension(),
        blob.original.bytes,
        blob.original.width,
        blob.original.height,
        blob.thumbnail.kind.extension(),
        blob.thumbnail.bytes,
        blob.thumbnail.width,
        blob.thumbnail.height,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Whether bytes with this hash are stored.
pub async fn exists(connection: &mut PgConnection, sha256: &[u8; 32]) -> Result<bool, Error> {
    sqlx::query_scalar!(r#"select exists(select from blob where sha256 = $1) as "exists!""#, &sha256[..])
        .fetch_one(connection)
        .await
}

/// The blob with this hash, kept from being collected until the transaction ends.
pub async fn keep(connection: &mut PgConnection, sha256: &[u8; 32]) -> Result<Option<Uuid>, Error> {
    sqlx::query_scalar!("select id from blob where sha256 = $1 for key share", &sha256[..])
        .fetch_optional(connection)
        .await
}

/// A blob that hangs on at least one post. One that hangs on none was deleted, even while its bytes are still there.
pub async fn find_shown(connection: &mut PgConnection, id: Uuid) -> Result<Option<Stored>, Error> {
    let row = sqlx::query!(
        "select kind, bytes, width, height, thumbnail_kind, thumbnail_bytes, thumbnail_width, thumbnail_height,
                blob.created_at, slug
         from blob join attachment on blob_id = blob.id join post on no = post_no join thread on thread.no = thread_no
              join board on board.id = board_id
         where blob.id = $1 limit 1",
        id,
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let original =
        Shape { kind: kind("blob.kind", id, &row.kind)?, bytes: row.bytes, width: row.width, height: row.height };
    let thumbnail = Shape {
        kind: kind("blob.thumbnail_kind", id, &row.thumbnail_kind)?,
        bytes: row.thumbnail_bytes,
        width: row.thumbnail_width,
        height: row.thumbnail_height,
    };
    Ok(Some(Stored { id, original, thumbnail, created_at: row.created_at, board: row.slug }))
}

/// Which of these names have a row.
pub async fn known(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    sqlx::query_scalar!("select blob.id from unnest($1::uuid[]) as wanted (id) join blob using (id)", ids)
        .fetch_all(connection)
        .await
}

/// A blob that an attachment has let go of. It may hang on another one, or be gone.
#[derive(Debug, Clone, Copy)]
pub struct Released {
    /// Grows with time.
    pub id: i64,
    /// The blob.
    pub blob: Uuid,
}

/// How much is looked at in one transaction.
pub const MOST_RELEASED: i64 = 50;

/// Locks what attachments have let go of, from behind `after` on. Passes over what another collection is looking at.
pub async fn lock_released(connection: &mut PgConnection, after: i64) -> Result<Vec<Released>, Error> {
    sqlx::query_as!(
        Released,
        "select id, blob_id as blob from released_blob where id > $1 order by id limit $2 for update skip locked",
        after,
        MOST_RELEASED,
    )
    .fetch_all(connection)
    .await
}

/// Locks those of these blobs that hang on no post and are older than the grace time. Those that a posting transaction
/// is just taking up again are passed over.
pub async fn lock_unused(connection: &mut PgConnection, ids: &[Uuid], grace_seconds: f64) -> Result<Vec<Uuid>, Error> {
    sqlx::query_scalar!(
        "select blob.id from unnest($1::uuid[]) as released (id) join blob using (id)
         where blob.created_at < clock_timestamp() - make_interval(secs => $2)
           and not exists (select from attachment where blob_id = blob.id)
         order by blob.id for update of blob skip locked",
        ids,
        grace_seconds,
    )
    .fetch_all(connection)
    .await
}

/// Removes locked blobs, but none that a post took up between the look and the lock: the first statement cannot see
/// that, this one can. Answers those that are gone.
pub async fn delete_unused(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    sqlx::query_scalar!(
        "delete from blob using unnest($1::uuid[]) as unused (id)
         where blob.id = unused.id and not exists (select from attachment where blob_id = blob.id) returning blob.id",
        ids,
    )
    .fetch_all(connection)
    .await
}

/// Forgets what was let go of and is in use, or gone. What is neither stays for the next collection. An attachment that
/// lets go at this moment is no matter: it has written a row of its own.
pub async fn forget_released(connection: &mut PgConnection, released: &[i64]) -> Result<(), Error> {
    sqlx::query!(
        "delete from released_blob as released using unnest($1::bigint[]) as seen (id)
         where released.id = seen.id
           and (exists (select from attachment where attachment.blob_id = released.blob_id)
                or not exists (select from blob where blob.id = released.blob_id))",
        released,
    )
    .execute(connection)
    .await
    .map(drop)
}
