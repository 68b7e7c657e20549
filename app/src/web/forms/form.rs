//! What a form held.

use crate::domain::{Missing, Refusal};
use crate::error::AppError;
use crate::memory::Share;
use crate::service::posting::Upload;

/// What a form held.
#[derive(Debug, Default)]
pub(crate) struct Form {
    pub(super) fields: Vec<(String, String)>,
    /// The files, in order; none when anything is wrong.
    pub(crate) uploads: Vec<Upload>,
    /// The first thing that was wrong; everything else was read nevertheless.
    pub(crate) problem: Option<AppError>,
    /// What of the fields is not there.
    pub(crate) missing: Missing,
    /// To be held for as long as the uploads are.
    pub(crate) upload_memory: Option<Share>,
    /// To be held for as long as the fields are, and the page that shows them again.
    pub(crate) text_memory: Option<Share>,
}

impl Form {
    /// The first field of this name; empty when there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// Takes the first field of this name out of the form.
    pub(crate) fn take(&mut self, name: &str) -> String {
        self.fields
            .iter_mut()
            .find(|(field, _)| field == name)
            .map(|(_, value)| std::mem::take(value))
            .unwrap_or_default()
    }

    /// Every field of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Whether a box was ticked.
    pub(crate) fn ticked(&self, name: &str) -> bool {
        !matches!(self.field(name), "" | "0" | "false" | "off")
    }

    /// Remembers the first thing that is wrong. The files are dropped: they are of no use from then on.
    pub(super) fn refuse(&mut self, problem: impl Into<AppError>) {
        self.problem.get_or_insert(problem.into());
        self.uploads.clear();
    }

    /// Something of a text is not kept, and that is why.
    pub(super) fn cut(&mut self, refusal: Refusal) {
        let missing = match refusal {
            Refusal::TextTooLarge { .. } => Missing::TooLong,
            Refusal::NotUtf8 => Missing::Nothing,
            _ => Missing::Unread,
        };
        if self.missing == Missing::Nothing {
            self.missing = missing;
        }
        self.refuse(refusal);
    }
}
