//! `attachment`: which picture hangs on which post.

use std::collections::HashMap;

use uuid::Uuid;

use super::blobs::PictureRow;
use super::{Error, PgConnection, blobs};
use crate::domain::{Attachment, BoardId, PostNo};

/// Hangs a picture on a post.
pub async fn insert(
    connection: &mut PgConnection,
    post: PostNo,
    position: i16,
    picture: Uuid,
    file_name: &str,
    spoiler: bool,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into attachment (post_no, position, blob_id, file_name, spoiler) values ($1, $2, $3, $4, $5)",
        post.0,
        position,
        picture,
        file_name,
        spoiler,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Takes the pictures off a post and leaves the places where they hung. Answers how many there were.
pub async fn remove_pictures(connection: &mut PgConnection, post: PostNo) -> Result<u64, Error> {
    sqlx::query!("update attachment set blob_id = null where post_no = $1 and blob_id is not null", post.0)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
}

/// What hangs on each of these posts, in order.
pub async fn of_posts(
    connection: &mut PgConnection,
    posts: &[PostNo],
) -> Result<HashMap<PostNo, Vec<Attachment>>, Error> {
    let numbers: Vec<i32> = posts.iter().map(|no| no.0).collect();
    let rows = sqlx::query!(
        r#"select attachment.post_no, attachment.tim, attachment.file_name, attachment.spoiler,
                  blob.id as "id?", blob.md5 as "md5?", blob.kind as "kind?", blob.bytes as "bytes?",
                  blob.width as "width?", blob.height as "height?", blob.thumbnail_kind as "thumbnail_kind?",
                  blob.thumbnail_width as "thumbnail_width?", blob.thumbnail_height as "thumbnail_height?"
           from unnest($1::integer[]) as post (no)
           join attachment on attachment.post_no = post.no
           left join blob on blob.id = attachment.blob_id
           order by attachment.post_no, attachment.position"#,
        &numbers,
    )
    .fetch_all(connection)
    .await?;
    let mut attachments: HashMap<PostNo, Vec<Attachment>> = HashMap::new();
    for row in rows {
        // All of these columns are null, or none.
        let picture = (|| {
            Some(PictureRow {
                id: row.id?,
                md5: row.md5?,
                kind: row.kind?,
                bytes: row.bytes?,
                width: row.width?,
                height: row.height?,
                thumbnail_kind: row.thumbnail_kind?,
                thumbnail_width: row.thumbnail_width?,
                thumbnail_height: row.thumbnail_height?,
            })
        })();
        let picture = picture.map(PictureRow::read).transpose()?;
        attachments.entry(PostNo(row.post_no)).or_default().push(Attachment {
            tim: row.tim,
            file_name: row.file_name,
            spoiler: row.spoiler,
            picture,
        });
    }
    Ok(attachments)
}

/// The newest pictures of the whole site that are no spoilers: board, thread, post, and what hangs there.
pub async fn newest(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Vec<(String, PostNo, PostNo, Attachment)>, Error> {
    let rows = sqlx::query!(
        r#"select board.slug, post.thread_no, attachment.post_no, attachment.tim, attachment.file_name,
                  blob.id, blob.md5, blob.kind, blob.bytes, blob.width, blob.height,
                  blob.thumbnail_kind, blob.thumbnail_width, blob.thumbnail_height
           from (
               select * from attachment where not spoiler and blob_id is not null
               order by post_no desc, position limit $1
           ) attachment
           join blob on blob.id = attachment.blob_id
           join post on post.no = attachment.post_no
           join thread on thread.no = post.thread_no
           join board on board.id = thread.board_id
           order by attachment.post_no desc, attachment.position"#,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let newest = rows.into_iter().map(|row| {
        let picture = PictureRow {
            id: row.id,
            md5: row.md5,
            kind: row.kind,
            bytes: row.bytes,
            width: row.width,
            height: row.height,
            thumbnail_kind: row.thumbnail_kind,
            thumbnail_width: row.thumbnail_width,
            thumbnail_height: row.thumbnail_height,
        };
        let picture = Some(picture.read()?);
        let attachment = Attachment { tim: row.tim, file_name: row.file_name, spoiler: false, picture };
        Ok((row.slug, PostNo(row.thread_no), PostNo(row.post_no), attachment))
    });
    newest.collect()
}

/// The picture that clients know by its `tim`, if it hangs on a post of this board.
pub async fn find_by_tim(
    connection: &mut PgConnection,
    board: BoardId,
    tim: i64,
) -> Result<Option<blobs::Stored>, Error> {
    let id = sqlx::query_scalar!(
        r#"select attachment.blob_id as "id!"
           from attachment
           join post on post.no = attachment.post_no
           join thread on thread.no = post.thread_no
           where attachment.tim = $1 and thread.board_id = $2 and attachment.blob_id is not null"#,
        tim,
        board.0,
    )
    .fetch_optional(&mut *connection)
    .await?;
    match id {
        Some(id) => blobs::find_shown(connection, id).await,
        None => Ok(None),
    }
}
