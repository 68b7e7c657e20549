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

/// Where the line goes in a page that is rendered already. In `base.html`, once.
const PLACE: &str = "<main id=\"main\" tabindex=\"-1\">";

/// The page with a line that says as of when it is while the database does not answer; `None` if it has no place for one.
#[must_use]
pub fn with_as_of(page: &str, as_of: SystemTime) -> Option<String> {
    let (before, after) = page.split_once(PLACE)?;
    // Writing to a string cannot fail; should it, the header says the same.
    let notice = Notice { as_of: as_of.into() }.render().ok()?;
    Some([before, PLACE, &notice, after].concat())
}
