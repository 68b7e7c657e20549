//! `board`, `board_state`, `site_state`.

use super::versions::SiteStamp;
use super::{Error, PgConnection};
use crate::domain::{Board, BoardId, BoardSettings};

/// Every board in the order of its configuration, and the version of that list.
pub async fn list(connection: &mut PgConnection) -> Result<(SiteStamp, Vec<Board>), Error> {
    let site = sqlx::query!("select version, changed_at from site_state").fetch_one(&mut *connection).await?;
    let boards = sqlx::query!("select id, slug, title, description, locked, worksafe from board order by position, id")
        .fetch_all(connection)
        .await?;
    let boards = boards
        .into_iter()
        .map(|row| Board {
            id: BoardId(row.id),
            slug: row.slug,
            title: row.title,
            description: row.description,
            locked: row.locked,
            worksafe: row.worksafe,
        })
        .collect();
    Ok((SiteStamp::new(site.version, site.changed_at), boards))
}

/// Makes the boards that are configured, and brings those that exist up to date. Boards that are not named stay.
/// Answers whether anything changed, which is to be published then.
pub async fn configure(connection: &mut PgConnection, boards: &[BoardSettings]) -> Result<bool, Error> {
    // Ten replicas may do this at once; the row of the site makes them take turns.
    sqlx::query!("select version from site_state for update").fetch_one(&mut *connection).await?;
    let present = sqlx::query!("select id, slug, title, description, position, locked, worksafe from board")
        .fetch_all(&mut *connection)
        .await?;
    let mut changed = false;
    for (position, board) in (0_i16..).zip(boards) {
        let wanted = (&board.title, &board.description, position, board.locked, board.worksafe);
        match present.iter().find(|row| row.slug == board.slug) {
            Some(row) if (&row.title, &row.description, row.position, row.locked, row.worksafe) == wanted => continue,
            Some(row) => update(connection, BoardId(row.id), position, board).await?,
            // Not `on conflict`: that takes an id from the sequence each time, whether the board is there or not.
            None => insert(connection, position, board).await?,
        }
        changed = true;
    }
    Ok(changed)
}

async fn insert(connection: &mut PgConnection, position: i16, board: &BoardSettings) -> Result<(), Error> {
    let id = sqlx::query_scalar!(
        "insert into board (slug, title, description, position, locked, worksafe) values ($1, $2, $3, $4, $5, $6) returning id",
        board.slug,
        board.title,
        board.description,
        position,
        board.locked,
        board.worksafe,
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query!("insert into board_state (board_id) values ($1)", id).execute(connection).await.map(drop)
}

async fn update(connection: &mut PgConnection, id: BoardId, position: i16, board: &BoardSettings) -> Result<(), Error> {
    // Posts find out under this lock whether the board is locked: those that did are waited for.
    lock(connection, id).await?;
    sqlx::query!(
        "update board set title = $2, description = $3, position = $4, locked = $5, worksafe = $6 where id = $1",
        id.0,
        board.title,
        board.description,
        position,
        board.locked,
        board.worksafe,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Keeps everybody else from changing what stands on a board until the transaction ends. Every post of the board needs
/// this row, so it is the last one that a transaction locks.
pub async fn lock(connection: &mut PgConnection, board: BoardId) -> Result<(), Error> {
    sqlx::query_scalar!("select board_id from board_state where board_id = $1 for update", board.0)
        .fetch_one(connection)
        .await
        .map(drop)
}

/// Whether nobody may post on a board.
pub async fn is_locked(connection: &mut PgConnection, board: BoardId) -> Result<bool, Error> {
    sqlx::query_scalar!("select locked from board where id = $1", board.0).fetch_one(connection).await
}

/// Threads, posts and pictures on all boards together.
pub async fn totals(connection: &mut PgConnection) -> Result<(i64, i64, i64), Error> {
    let row = sqlx::query!(
        r#"select coalesce(sum(threads), 0)::bigint as "threads!", coalesce(sum(posts), 0)::bigint as "posts!",
                  coalesce(sum(pictures), 0)::bigint as "pictures!"
           from board_state"#
    )
    .fetch_one(connection)
    .await?;
    Ok((row.threads, row.posts, row.pictures))
}
