//! Who may keep an answer, and for how long (RFC 9111). Every answer has one of these policies.

use actix_web::http::header::{CACHE_CONTROL, HeaderName};

/// The header `Cache-Control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CachePolicy {
    /// May be kept, and has to be asked for again every time.
    Revalidate,
    /// The same, but it holds something for one visitor: nobody but their browser may keep it.
    RevalidatePrivately,
    /// What is under this address stays what it is, and is nobody's secret: a year, without asking again.
    Immutable,
    /// The same for a browser. A cache that many share asks again after half a minute, so that a deleted picture is gone
    /// from it within the minute that `README.md` promises; nginx in front keeps one for as long.
    Picture,
    /// A redirect that stays true as long as its address means anything.
    LongRedirect,
    /// A redirect to something that can be deleted.
    ShortRedirect,
    /// Nobody keeps it.
    Never,
}

impl CachePolicy {
    /// The header and its value.
    pub(crate) fn header(self) -> (HeaderName, &'static str) {
        let value = match self {
            Self::Revalidate => "no-cache",
            Self::RevalidatePrivately => "private, no-cache",
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::Picture => "public, max-age=31536000, immutable, s-maxage=30",
            Self::LongRedirect => "public, max-age=3600",
            Self::ShortRedirect => "public, max-age=60",
            Self::Never => "no-store",
        };
        (CACHE_CONTROL, value)
    }
}
