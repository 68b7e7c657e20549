//! Why a request is not granted, said so that the person who sent it knows what to do.

/// What kind of refusal; the edge turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request cannot be read (400).
    Malformed,
    /// Not from here, or not allowed (403).
    Forbidden,
    /// Not there, or no longer (404).
    NotFound,
    /// There, but not with this method (405).
    MethodNotAllowed,
    /// More bytes than are taken (413).
    TooLarge,
    /// Not a format that is taken (415).
    UnsupportedMedia,
    /// Readable, and against a rule (422).
    Invalid,
    /// May work a little later (503).
    Unavailable,
    /// There is no room for it, now or later (507).
    Exhausted,
}

/// A refusal with its stable code and its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// What kind.
    pub kind: RefusalKind,
    /// Stable, `snake_case`, for programs.
    pub code: &'static str,
    /// Whole sentences, for people.
    pub detail: String,
}

impl Refusal {
    /// A refusal of any kind.
    pub fn new(kind: RefusalKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into() }
    }

    /// Something sent breaks a rule.
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid, code, detail)
    }

    /// Something asked for is not there.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, code, detail)
    }
}
