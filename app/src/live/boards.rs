//! The list of boards, which every page shows and every address names.

use std::sync::{Arc, PoisonError, RwLock};

use crate::db::boards::list;
use crate::db::versions::SiteStamp;
use crate::db::{self, PgPool};
use crate::domain::{Board, Refusal};
use crate::error::AppError;

/// The boards as they were at one version of the site.
#[derive(Debug, Default)]
pub struct Boards {
    /// Version of the list.
    pub version: SiteStamp,
    /// In the order in which the site shows them.
    pub list: Vec<Board>,
}

impl Boards {
    /// The board with this name in its address.
    pub fn find(&self, slug: &str) -> Result<&Board, AppError> {
        let found = self.list.iter().find(|board| board.slug == slug);
        found.ok_or_else(|| Refusal::UnknownBoard { slug: slug.to_owned() }.into())
    }
}

/// Keeps the list, and reads it again when its version has changed.
#[derive(Debug)]
pub struct BoardDirectory {
    pool: PgPool,
    kept: RwLock<Arc<Boards>>,
}

impl BoardDirectory {
    /// Empty; the first request fills it.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool, kept: RwLock::default() }
    }

    /// The list as it was last read: good enough for a page that says that something else is wrong.
    #[must_use]
    pub fn last_known(&self) -> Arc<Boards> {
        Arc::clone(&self.kept.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The list at this version, or, if it has changed since, at a later one.
    pub async fn at(&self, version: SiteStamp) -> Result<Arc<Boards>, AppError> {
        let kept = self.last_known();
        // Not a comparison of numbers: those of a database that was restored begin again.
        if kept.version == version {
            return Ok(kept);
        }
        // In a box, because it is large, and every request would carry the room for it.
        let read = Box::pin(db::in_time(async {
            let mut connection = self.pool.acquire().await?;
            let mut snapshot = connection.snapshot().await?;
            list(&mut snapshot).await
        }));
        let (version, list) = read.await?;
        let boards = Arc::new(Boards { version, list });
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&boards);
        Ok(boards)
    }
}
