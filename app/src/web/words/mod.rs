//! What errors say to whoever sent the request: whole sentences that tell what to do. The only place for such words,
//! so that another language is another version of this folder.
//!
//! Must not know how an answer is made; says nothing that only an operator should see.

mod pictures;
mod refusals;

use crate::error::AppError;

/// A heading.
pub(crate) fn title(error: &AppError, status: u16) -> &'static str {
    match (error, status) {
        (AppError::PictureRefused { .. }, 415) => "Not a picture we can show",
        (_, 400) => "That request cannot be read",
        (_, 403) => "Not allowed",
        (_, 404) => "Not found",
        (_, 405) => "Not possible here",
        (_, 408) => "That took too long",
        (_, 413) => "Too large",
        (_, 415) => "Not a form we can read",
        (_, 422) => "Something is missing or wrong",
        (_, 503) => "Back in a moment",
        (_, 507) => "No room for more",
        _ => "Something went wrong",
    }
}

/// What happened, and what to do about it.
pub(crate) fn detail(error: &AppError) -> String {
    match error {
        AppError::Refused(refusal) => refusals::detail(refusal),
        AppError::PictureRefused { error, file } => match file {
            Some((position, file_name)) => format!("File {position} ({file_name}): {}", pictures::detail(error)),
            None => pictures::detail(error),
        },
        AppError::Unavailable { what, .. } => {
            format!("{what} does not answer at this moment. Nothing was lost; try again in a few seconds.")
        }
        AppError::OutcomeUnknown(_) => {
            let said = "The database went away in the moment in which this was written. It may be done or not; sending \
                        this form again is safe, it will not be done twice.";
            said.to_owned()
        }
        AppError::Internal(_) => "This is our fault. It has been logged under the number below.".to_owned(),
    }
}
