//! The version numbers on which the freshness of every page hangs.

use chrono::{DateTime, Utc};

use super::{Error, PgConnection};
use crate::domain::{BoardId, PostNo};

/// What has a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// All boards together.
    Site,
    /// The index and the catalogue of a board.
    Board(BoardId),
    /// One thread.
    Thread(PostNo),
}

/// How far something had changed at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Version of what every page shows: the boards, and the face of the site.
    pub site: i64,
    /// Grows with every change of the subject.
    pub number: i64,
    /// When the subject, or what every page shows, last changed.
    pub changed_at: DateTime<Utc>,
    /// The last change is more than ten seconds old: no transaction is still on its way to commit another change
    /// with an equal time, counted in seconds.
    pub settled: bool,
    /// The board that a thread stands on.
    pub board: Option<BoardId>,
}

/// The present version of each subject, all read in one statement; `None` for those that do not exist.
pub async fn current(connection: &mut PgConnection, subjects: &[Subject]) -> Result<Vec<Option<Version>>, Error> {
    let (mut threads, mut boards) = (Vec::new(), Vec::new());
    for subject in subjects {
        match subject {
            Subject::Thread(no) => threads.push(no.0),
            Subject::Board(id) => boards.push(id.0),
            Subject::Site => {}
        }
    }
    let whole_site = subjects.contains(&Subject::Site);
    let rows = sqlx::query!(
        r#"
        with changed as (
            select thread_no, board_id, version, changed_at from thread_state where thread_no = any($1)
            union all
            select null, board_id, version, changed_at from board_state where board_id = any($2)
            union all
            select null, null, coalesce(sum(version), 0)::bigint, coalesce(max(changed_at), clock_timestamp())
            from board_state where $3
        )
        select thread_no, board_id, changed.version as "version!",
               greatest(changed.changed_at, site.changed_at) as "changed_at!",
               greatest(changed.changed_at, site.changed_at) < clock_timestamp() - interval '10 seconds' as "settled!",
               site.version as "site!"
        from changed cross join site_state site
        "#,
        &threads,
        &boards,
        whole_site,
    )
    .fetch_all(connection)
    .await?;
    let version_of = |subject: &Subject| {
        let row = rows.iter().find(|row| match subject {
            Subject::Thread(no) => row.thread_no == Some(no.0),
            Subject::Board(id) => row.thread_no.is_none() && row.board_id == Some(id.0),
            Subject::Site => row.board_id.is_none(),
        })?;
        Some(Version {
            site: row.site,
            number: row.version,
            changed_at: row.changed_at,
            settled: row.settled,
            board: row.board_id.map(BoardId),
        })
    };
    Ok(subjects.iter().map(version_of).collect())
}
