//! What passed, as an address asks for it: `?days={number}`, of all boards or of one.

use std::sync::Arc;

use actix_web::http::header::{CONTENT_ENCODING, VARY};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::http::caching::CachePolicy;
use super::http::negotiation::prefers_gzip;
use super::lookup;
use super::views::traffic::DEFAULT_DAYS;
use crate::domain::report::{MOST_DAYS, Report};
use crate::domain::{Board, Refusal};
use crate::error::AppError;
use crate::live::{Boards, Checked};
use crate::representation::Representation;
use crate::state::AppState;
use crate::trace::waits::{self, Wait};

/// The query of whoever wants another time than the usual one.
#[derive(Debug, Deserialize)]
pub(crate) struct DaysQuery {
    days: Option<String>,
}

impl DaysQuery {
    fn days(&self) -> Result<u16, Refusal> {
        let Some(days) = &self.days else { return Ok(DEFAULT_DAYS) };
        // More than digits, such as a sign, is understood by `parse`, but not by us.
        let number = if days.bytes().all(|digit| digit.is_ascii_digit()) { days.parse().ok() } else { None };
        number.filter(|days| (1..=MOST_DAYS).contains(days)).ok_or(Refusal::BadDays { most: MOST_DAYS })
    }
}

/// What was asked for.
pub(crate) struct Asked {
    checked: Checked,
    /// The boards.
    pub(crate) boards: Arc<Boards>,
    /// What passed.
    pub(crate) report: Arc<Report>,
    slug: Option<String>,
}

impl Asked {
    /// The board, if it is about one.
    pub(crate) fn board(&self) -> Result<Option<&Board>, AppError> {
        self.slug.as_deref().map(|slug| self.boards.find(slug)).transpose()
    }
}

/// Finds what an address asks for. Where nobody may see it, there is no such address.
pub(crate) async fn find(state: &AppState, slug: Option<String>, query: &DaysQuery) -> Result<Asked, AppError> {
    if !state.config.traffic.is_public {
        return Err(Refusal::NothingHere.into());
    }
    let days = query.days()?;
    let (board, checked) = match &slug {
        Some(slug) => {
            let found = lookup::board(state, slug).await?;
            (Some(found.id), found.checked)
        }
        None => (None, lookup::site(state).await?),
    };
    let boards = state.boards.at(checked.version.site).await?;
    let report = state.reports.get(days, board).await?;
    Ok(Asked { checked, boards, report, slug })
}

/// Answers with something that is made of it.
pub(crate) async fn answer(
    request: &HttpRequest,
    state: &AppState,
    asked: Asked,
    render: impl FnOnce(&Asked) -> Result<Representation, AppError> + Send + 'static,
) -> Result<HttpResponse, AppError> {
    let version = asked.checked.version;
    let _waiting = waits::begin(Wait::Page);
    let made = state.pages.render(|| async move { Ok((version, asked)) }, move |_, asked| render(&asked)).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header(CachePolicy::Never.header()).insert_header((VARY, "Accept-Encoding"));
    answer.content_type(made.body.content_type);
    if prefers_gzip(request) && !made.body.gzip.is_empty() {
        return Ok(answer.insert_header((CONTENT_ENCODING, "gzip")).body(made.body.gzip));
    }
    Ok(answer.body(made.body.plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_days_is_one_to_a_year() {
        let days = |text: Option<&str>| DaysQuery { days: text.map(str::to_owned) }.days().ok();
        assert_eq!(days(None), Some(30));
        for (text, wanted) in [("1", Some(1)), ("7", Some(7)), ("366", Some(366)), ("007", Some(7))] {
            assert_eq!(days(Some(text)), wanted, "{text}");
        }
        for text in ["", "0", "367", "400", "-1", "+7", " 7", "1.5", "x", "７", "99999999999999999999"] {
            assert_eq!(days(Some(text)), None, "{text}");
        }
    }
}
