//! Whose pictures are in the bucket. Keys say nothing of it, and a collection removes what its database does not know: with
//! a database that the pictures do not belong to, all of them. So database and bucket hold the same id.

use uuid::Uuid;

use super::pictures::without_row;
use crate::db::{self, PgPool};
use crate::store::{self, Listed, Object, Store};

/// Why nothing may be written to the bucket with this database. Completes a sentence that begins with the bucket.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// Nobody has claimed it.
    #[error("it does not say to which installation it belongs; run `triptych migrate`")]
    Unclaimed,
    /// It is of another installation.
    #[error(
        "it belongs to another installation: its object `installation` says {theirs:?}, and this database is {ours}. \
         Writing to it, or removing from it what this database does not know, would destroy the pictures of the other one. \
         Most likely the database or the bucket is not the one that was meant (TRIPTYCH_DATABASE_URL, TRIPTYCH_S3_BUCKET, \
         TRIPTYCH_S3_PREFIX). Two boards can share a bucket if each has a TRIPTYCH_S3_PREFIX of its own. {CLAIMING}"
    )]
    Foreign {
        /// What the bucket says.
        theirs: String,
        /// What the database says.
        ours: Uuid,
    },
    /// Nobody has claimed it, and most of what is there is not ours.
    #[error(
        "it holds pictures that this database does not know ({unknown} of the {seen} that were looked at), and does not say \
         to which installation they belong (this database is {ours}). Most likely the database or the bucket is not the one \
         that was meant (TRIPTYCH_DATABASE_URL, TRIPTYCH_S3_BUCKET, TRIPTYCH_S3_PREFIX). Two boards can share a bucket if each \
         has a TRIPTYCH_S3_PREFIX of its own. {CLAIMING}"
    )]
    Unknown {
        /// Objects that the database does not know.
        unknown: usize,
        /// Objects that were looked at.
        seen: usize,
        /// What the database says.
        ours: Uuid,
    },
    /// The bucket cannot be asked.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The database cannot be asked.
    #[error(transparent)]
    Database(#[from] db::Error),
}

/// What to do if it is meant to be so.
const CLAIMING: &str = "If the pictures are to belong to this database from now on, for instance because it was restored from \
    a backup that is older than these ids, run `triptych migrate --claim-bucket` once: nothing else can be \
    started on the bucket then, and `triptych gc` removes what this database does not know";

impl NotOurs {
    /// Whether it may be otherwise a little later without anybody doing anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Store(error) => !matches!(error, store::Error::Refused(_)),
            Self::Database(error) => db::is_passing(error),
            Self::Unclaimed | Self::Foreign { .. } | Self::Unknown { .. } => false,
        }
    }
}

/// Whether the bucket belongs to the installation of this database. A database that was restored is the same installation.
pub async fn verify(pool: &PgPool, store: &Store) -> Result<(), NotOurs> {
    let ours = ours(pool).await?;
    compare(ours, store.owner().await?)
}

/// Claims the bucket, if it is nobody's and either empty or full of what this database knows: then it is new, or from before
/// buckets were claimed. With `whoever`, claims it in any case. Any number may do this at once; one database wins.
pub async fn claim(pool: &PgPool, store: &Store, whoever: bool) -> Result<(), NotOurs> {
    let ours = ours(pool).await?;
    match store.owner().await? {
        Some(owner) if owner == ours.to_string() || !whoever => return compare(ours, Some(owner)),
        Some(owner) => tracing::warn!(%owner, %ours, "the bucket is taken from another installation"),
        None if !whoever => knows_the_objects(pool, store, ours).await?,
        None => {}
    }
    store.set_owner(&ours.to_string(), whoever).await?;
    // Another database may have been faster.
    compare(ours, store.owner().await?)?;
    tracing::info!(installation = %ours, "the bucket belongs to this installation from now on");
    Ok(())
}

async fn ours(pool: &PgPool) -> Result<Uuid, db::Error> {
    db::in_time(async { db::installation::id(&mut *pool.acquire().await?).await }).await
}

fn compare(ours: Uuid, owner: Option<String>) -> Result<(), NotOurs> {
    match owner {
        Some(owner) if owner == ours.to_string() => Ok(()),
        Some(theirs) => Err(NotOurs::Foreign { theirs, ours }),
        None => Err(NotOurs::Unclaimed),
    }
}

/// Looks at the first page of each folder, which are the oldest pictures, because ids begin with the time: an older backup
/// of the database knows them too. Half of them may be what uploads that were cut off have left.
async fn knows_the_objects(pool: &PgPool, store: &Store, ours: Uuid) -> Result<(), NotOurs> {
    let mut listed: Vec<Listed> = Vec::new();
    for folder in Object::FOLDERS {
        listed.extend(store.list(folder, None).await?.0);
    }
    let ids = listed.iter().map(|listed| listed.object.blob());
    let unknown = db::in_time(async { without_row(&mut *pool.acquire().await?, ids).await }).await?.len();
    let seen = listed.len();
    if unknown > seen / 2 { Err(NotOurs::Unknown { unknown, seen, ours }) } else { Ok(()) }
}
