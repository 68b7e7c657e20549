//! The line on a page that may be older than the request for it.

use std::time::SystemTime;

use askama::Template;
use chrono::{DateTime, Utc};

use super::text;

#[derive(Template)]
#[template(path = "partials/as_of.html")]
struct Notice {
    as_of: DateTime<Utc>,
}

/// Says as of when a page is while the database does not answer.
#[must_use]
pub fn as_of_notice(as_of: SystemTime) -> String {
    // Writing to a string cannot fail; should it, the header says the same.
    Notice { as_of: as_of.into() }.render().unwrap_or_default()
}
