//! `installation`: the id that tells this installation from every other one.

use uuid::Uuid;

use super::{Error, PgConnection};

/// The id of the installation that this database belongs to.
pub async fn id(connection: &mut PgConnection) -> Result<Uuid, Error> {
    sqlx::query_scalar!("select id from installation").fetch_one(connection).await
}
