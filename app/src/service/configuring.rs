//! Making the boards that an operator wants, and saying what face replicas give to pages.

use crate::db::{self, PgPool, boards};
use crate::domain::{BoardSettings, Refusal, RefusalKind};
use crate::error::AppError;

/// Makes the boards, and brings those that exist up to date; boards that are not named stay as they are. Answers
/// whether anything changed. Any number of replicas may do this at once.
pub async fn configure_boards(pool: &PgPool, wanted: &[BoardSettings]) -> Result<bool, AppError> {
    let configured = async {
        let mut connection = pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        let changed = boards::configure(&mut transaction, wanted).await?;
        transaction.commit().await?;
        Ok(changed)
    };
    db::in_time(configured).await.map_err(|error| {
        if !db::is_exhausted(&error) {
            return error.into();
        }
        let detail = format!("No board can be added: the ids of boards end at {}, and all are given.", i16::MAX);
        Refusal::new(RefusalKind::Exhausted, "board_ids_exhausted", detail).into()
    })
}

/// Says what face replicas give to pages from now on; with another one than before, every page has changed.
pub async fn show_face(pool: &PgPool, face: &str) -> Result<(), AppError> {
    let shown = async { boards::show_face(&mut *pool.acquire().await?, face).await };
    Ok(db::in_time(shown).await?)
}
