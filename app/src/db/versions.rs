//! The version numbers on which the freshness of every page hangs.

use chrono::{DateTime, Utc};

use super::{Error, PgConnection};
use crate::domain::{BoardId, PostNo};

/// What has a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
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
    /// Version of what every page shows: the boards, and how replicas render.
    pub site: SiteStamp,
    /// Grows with every change of the scope.
    pub number: i64,
    /// When the scope, or what every page shows, last changed.
    pub changed_at: DateTime<Utc>,
    /// The last change is more than ten seconds old: no transaction is still on its way to commit another change
    /// with an equal time, counted in seconds.
    pub settled: bool,
    /// The board that a thread stands on.
    pub board: Option<BoardId>,
}

/// What tells one version of what every page shows from every other one, by its number and the time of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SiteStamp {
    version: i64,
    changed_at: i64,
}

impl SiteStamp {
    /// Of these columns of `site_state`.
    #[must_use]
    pub const fn new(version: i64, changed_at: DateTime<Utc>) -> Self {
        Self { version, changed_at: changed_at.timestamp_micros() }
    }
}

/// What tells one version of something from every other one. The time of the change belongs to it: a database that was
/// restored, or failed over to a replica that lagged behind, gives out numbers a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    site: SiteStamp,
    number: i64,
    changed_at: i64,
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{:x}", self.site.version, self.number, self.changed_at)
    }
}

impl Version {
    /// What tells it from every other version of the same thing.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        Stamp { site: self.site, number: self.number, changed_at: self.changed_at.timestamp_micros() }
    }
}

/// The numbers of the threads and those of the boards among these.
pub(super) fn numbers(scopes: &[Scope]) -> (Vec<i32>, Vec<i16>) {
    let (mut threads, mut boards) = (Vec::new(), Vec::new());
    for scope in scopes {
        match scope {
            Scope::Thread(no) => threads.push(no.0),
            Scope::Board(id) => boards.push(id.0),
            Scope::Site => {}
        }
    }
    (threads, boards)
}

/// The present version of each scope, all read in one statement; `None` for those that do not exist.
pub async fn current(connection: &mut PgConnection, scopes: &[Scope]) -> Result<Vec<Option<Version>>, Error> {
    let (threads, boards) = numbers(scopes);
    let whole_site = scopes.contains(&Scope::Site);
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
               site.version as "site!", site.changed_at as "site_changed_at!"
        from changed cross join site_state site
        "#,
        &threads,
        &boards,
        whole_site,
    )
    .fetch_all(connection)
    .await?;
    let version_of = |scope: &Scope| {
        let row = rows.iter().find(|row| match scope {
            Scope::Thread(no) => row.thread_no == Some(no.0),
            Scope::Board(id) => row.thread_no.is_none() && row.board_id == Some(id.0),
            Scope::Site => row.board_id.is_none(),
        })?;
        Some(Version {
            site: SiteStamp::new(row.site, row.site_changed_at),
            number: row.version,
            changed_at: row.changed_at,
            settled: row.settled,
            board: row.board_id.map(BoardId),
        })
    };
    Ok(scopes.iter().map(version_of).collect())
}
