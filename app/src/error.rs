//! What a request may end with instead of an answer. `web` turns it into a page or problem JSON, with a status and words.

use crate::domain::Refusal;
use crate::media::MediaError;
use crate::{db, store};

/// The one error of use cases and handlers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppError {
    /// Refused, and the sender is told why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A file cannot be posted, and the sender is told why.
    #[error("a picture was refused: {error}")]
    PictureRefused {
        /// What is wrong with it.
        error: MediaError,
        /// Which of several files it was: its position from 1, and its name, cleaned for display.
        file: Option<(usize, String)>,
    },
    /// Something we need does not answer. Told as "come back in a moment", logged with the cause.
    #[error("{what} is not available: {cause}")]
    Unavailable {
        /// What does not answer, as a visitor may be told: "The database".
        what: &'static str,
        /// For the log.
        cause: String,
    },
    /// The database went away while it was told to commit a post or a deletion. The sender is told that sending it again
    /// is safe.
    #[error("nobody knows whether it was committed: {0}")]
    OutcomeUnknown(String),
    /// A defect of ours. The sender is told the request id and nothing else.
    #[error("internal error: {0}")]
    Internal(String),
}

impl AppError {
    /// The database does not answer.
    #[must_use]
    pub fn no_database(cause: impl Into<String>) -> Self {
        Self::Unavailable { what: "The database", cause: cause.into() }
    }

    /// The database does not answer, and what was asked for is not in memory either.
    #[must_use]
    pub fn not_kept() -> Self {
        Self::no_database("it does not answer, and this page is not kept")
    }

    /// The stable code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::PictureRefused { error, .. } => error.code(),
            Self::Unavailable { .. } => "unavailable",
            Self::OutcomeUnknown(_) => "outcome_unknown",
            Self::Internal(_) => "internal",
        }
    }
}

impl From<db::Error> for AppError {
    fn from(error: db::Error) -> Self {
        if db::is_passing(&error) {
            Self::no_database(error.to_string())
        } else {
            Self::Internal(format!("database: {error}"))
        }
    }
}

impl From<store::Error> for AppError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(cause) | store::Error::Refused(cause) => {
                Self::Unavailable { what: "The picture store", cause }
            }
            // A row implies its objects: this must not happen.
            store::Error::Missing => Self::Internal("an object is missing in the blob store".to_owned()),
        }
    }
}
