//! `?after={no}`: of a thread, only what is newer than a post.

use serde::Deserialize;

use crate::domain::{PostNo, Refusal};

/// The query of whoever has a part of a thread and wants what is newer.
#[derive(Debug, Deserialize)]
pub(crate) struct AfterQuery {
    after: Option<String>,
}

impl AfterQuery {
    /// The post after which everything is wanted; `None` if all of the thread is.
    pub(crate) fn post(&self) -> Result<Option<PostNo>, Refusal> {
        let number = self.after.as_deref().map(|number| number.parse().ok().filter(|no| *no >= 0));
        number.map(|number| number.map(PostNo).ok_or(Refusal::BadPostNumber)).transpose()
    }
}
