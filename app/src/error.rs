//! What a request may end with instead of an answer. The edge (`web::errors`) turns it into a page or problem JSON.

use crate::domain::{Refusal, RefusalKind};
use crate::{db, store};

/// The one error of use cases and handlers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppError {
    /// Refused, and the sender is told why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Something we need does not answer. Told as "come back in a moment", logged with the cause.
    #[error("{what} is not available: {cause}")]
    Unavailable {
        /// What does not answer, as a visitor may be told: "The database".
        what: &'static str,
        /// For the log.
        cause: String,
    },
    /// The database went away while it was told to commit a post. The sender is told that sending it again is safe.
    #[error("nobody knows whether the post was made: {0}")]
    OutcomeUnknown(String),
    /// A defect of ours. The sender is told the request id and nothing else.
    #[error("internal error: {0}")]
    Internal(String),
}

/// After how many seconds a client is asked to come back.
pub const RETRY_AFTER_SECONDS: u32 = 2;

impl AppError {
    /// Too much to do at this moment.
    #[must_use]
    pub fn busy() -> Self {
        Refusal::new(
            RefusalKind::Unavailable,
            "busy",
            "Too many pictures are being worked on at this moment. Nothing was posted; try again in a few seconds.",
        )
        .into()
    }

    /// Too many posts at this moment.
    #[must_use]
    pub fn overloaded() -> Self {
        Refusal::new(
            RefusalKind::Unavailable,
            "overloaded",
            "Too many people are posting at this moment. Nothing was posted; try again in a few seconds.",
        )
        .into()
    }

    /// Every post number is given. Not 503, which asks to come back in a moment: 507 says that the server has no room,
    /// and that nothing should be sent again by itself (RFC 4918, section 11.5).
    #[must_use]
    pub fn post_numbers_exhausted() -> Self {
        let detail = "This site has given every post number that it has. Nobody can post any more; \
                      what was posted can be read.";
        Refusal::new(RefusalKind::Exhausted, "post_numbers_exhausted", detail).into()
    }

    /// The status that the edge answers with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Refused(refusal) => match refusal.kind {
                RefusalKind::Malformed => 400,
                RefusalKind::Forbidden => 403,
                RefusalKind::NotFound => 404,
                RefusalKind::MethodNotAllowed => 405,
                RefusalKind::TooLarge => 413,
                RefusalKind::UnsupportedMedia => 415,
                RefusalKind::Invalid => 422,
                RefusalKind::Unavailable => 503,
                RefusalKind::Exhausted => 507,
            },
            Self::Unavailable { .. } | Self::OutcomeUnknown(_) => 503,
            Self::Internal(_) => 500,
        }
    }

    /// The stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Unavailable { .. } => "unavailable",
            Self::OutcomeUnknown(_) => "outcome_unknown",
            Self::Internal(_) => "internal",
        }
    }

    /// A heading.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self.status() {
            400 => "That request cannot be read",
            403 => "Not allowed",
            404 => "Not found",
            405 => "Not possible here",
            413 => "Too large",
            415 => "Not a picture we can show",
            422 => "Something is missing or wrong",
            503 => "Back in a moment",
            507 => "No room for more",
            _ => "Something went wrong",
        }
    }

    /// Whole sentences for people, without anything that only an operator should see.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.detail.clone(),
            Self::Unavailable { what, .. } => {
                format!("{what} does not answer at this moment. Nothing was lost; try again in a few seconds.")
            }
            Self::OutcomeUnknown(_) => {
                "The database went away in the moment in which your post was written. It may be \
                                        there or not; sending this form again is safe, it will not be there twice."
                    .to_owned()
            }
            Self::Internal(_) => "This is our fault. It has been logged under the number below.".to_owned(),
        }
    }
}

impl From<db::Error> for AppError {
    fn from(error: db::Error) -> Self {
        if db::is_passing(&error) {
            Self::Unavailable { what: "The database", cause: error.to_string() }
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
