//! Answers with a page that is as new as the request: one version check, then a page that is kept for that version.

use std::sync::Arc;
use std::time::SystemTime;

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, ETAG, HttpDate, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use super::negotiate::{accepts_gzip, header};
use crate::db::versions::{Subject, Version};
use crate::domain::{Board, Refusal};
use crate::error::AppError;
use crate::live::{Boards, Page, PageKey};
use crate::state::AppState;

/// The list of boards, and the version of something, both of a moment after this call.
pub(super) async fn check(state: &AppState, subject: Subject) -> Result<(Arc<Boards>, Option<Version>), AppError> {
    let version = state.versions.check(subject).await?;
    let site = match version {
        Some(version) => version.site,
        None => state.versions.check(Subject::Site).await?.map_or(0, |version| version.site),
    };
    Ok((state.boards.at(site).await?, version))
}

/// A board by the name in its address, with its version.
pub(super) async fn board(state: &AppState, slug: &str) -> Result<(Arc<Boards>, Board, Version), AppError> {
    // A board that we have not heard of may have been made a moment ago.
    let boards = match state.boards.last_known().find(slug) {
        Ok(_) => state.boards.last_known(),
        Err(_) => check(state, Subject::Site).await?.0,
    };
    let id = boards.find(slug)?.id;
    let (boards, version) = check(state, Subject::Board(id)).await?;
    let board = boards.find(slug)?.clone();
    let version = version.ok_or_else(|| AppError::Internal(format!("the board {slug} has no state")))?;
    Ok((boards, board, version))
}

/// Answers with a kept page, or renders it.
pub(super) async fn page(
    request: &HttpRequest,
    state: &AppState,
    key: PageKey,
    version: Version,
    render: impl AsyncFnOnce() -> Result<Page, AppError>,
) -> Result<HttpResponse, AppError> {
    if let Some(unchanged) = unchanged(request, &state.face, &version) {
        return Ok(unchanged);
    }
    let page = state.pages.get(key, (version.site, version.number), render).await?;
    Ok(answer(request, &state.face, &version, &page))
}

/// Answers with a page that is made for this request alone and not kept.
pub(super) async fn unkept(
    request: &HttpRequest,
    state: &AppState,
    version: Version,
    render: impl AsyncFnOnce() -> Result<Page, AppError>,
) -> Result<HttpResponse, AppError> {
    match unchanged(request, &state.face, &version) {
        Some(unchanged) => Ok(unchanged),
        None => Ok(answer(request, &state.face, &version, &Box::pin(render()).await?)),
    }
}

/// What a page that could not be found says.
pub(super) fn no_thread(no: &str) -> AppError {
    Refusal::not_found("unknown_thread", format!("There is no thread No.{no} on this board. It may have been deleted."))
        .into()
}

fn answer(request: &HttpRequest, face: &str, version: &Version, page: &Page) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    validators(&mut answer, request, face, version);
    answer.content_type(page.content_type);
    if accepts_gzip(request) && !page.gzip.is_empty() {
        answer.insert_header((CONTENT_ENCODING, "gzip")).body(page.gzip.clone())
    } else {
        answer.body(page.plain.clone())
    }
}

/// 304, if what the client has is what it would get (RFC 9110, section 13.2.2).
fn unchanged(request: &HttpRequest, face: &str, version: &Version) -> Option<HttpResponse> {
    let tags = header(request, IF_NONE_MATCH);
    let same = if tags.is_empty() {
        let since = header(request, IF_MODIFIED_SINCE).parse::<HttpDate>().ok()?;
        version.settled && since == last_modified(version)
    } else {
        // Whichever encoding the client has: it is the same page.
        let bare = tag(face, version);
        tags.split(',')
            .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
            .any(|tag| tag == "*" || tag.strip_suffix("-gz").unwrap_or(tag) == bare)
    };
    same.then(|| {
        let mut answer = HttpResponse::NotModified();
        validators(&mut answer, request, face, version);
        answer.finish()
    })
}

fn validators(answer: &mut HttpResponseBuilder, request: &HttpRequest, face: &str, version: &Version) {
    let encoding = if accepts_gzip(request) { "-gz" } else { "" };
    answer
        .insert_header((ETAG, format!("\"{}{encoding}\"", tag(face, version))))
        .insert_header((LAST_MODIFIED, last_modified(version)))
        // May be kept, and has to be asked for again every time.
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((VARY, "Accept-Encoding"));
}

fn tag(face: &str, version: &Version) -> String {
    format!("{}.{}.{face}", version.site, version.number)
}

/// The second of the last change, for clients that know no tags.
///
/// A second in which a page has just changed may still see another change; a client that was told that second could
/// then be told "not modified" wrongly. Until the change is settled, the second before it is told, which no settled
/// change has, and no date is answered with "not modified": the next change may fall into the same second.
fn last_modified(version: &Version) -> HttpDate {
    let changed = version.changed_at.timestamp() - i64::from(!version.settled);
    let since_1970 = std::time::Duration::from_secs(u64::try_from(changed).unwrap_or_default());
    HttpDate::from(SystemTime::UNIX_EPOCH + since_1970)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use chrono::DateTime;

    use super::*;

    const FACE: &str = "face";

    fn version(number: i64, settled: bool) -> Version {
        let changed_at = DateTime::from_timestamp(1_700_000_000, 500_000_000).unwrap();
        Version { site: 1, number, changed_at, settled, board: None }
    }

    fn is_unchanged(name: actix_web::http::header::HeaderName, value: &str, version: &Version) -> bool {
        unchanged(&TestRequest::default().insert_header((name, value)).to_http_request(), FACE, version).is_some()
    }

    #[test]
    fn a_tag_matches_its_version_in_any_encoding() {
        let tag = tag(FACE, &version(7, true));
        for sent in [format!("\"{tag}\""), format!("W/\"{tag}-gz\""), format!("\"x\", \"{tag}\""), "*".to_owned()] {
            assert!(is_unchanged(IF_NONE_MATCH, &sent, &version(7, true)), "{sent}");
        }
        assert!(!is_unchanged(IF_NONE_MATCH, &format!("\"{tag}\""), &version(8, true)));
    }

    #[test]
    fn a_date_matches_only_once_the_second_is_over() {
        let date = last_modified(&version(7, true)).to_string();
        assert!(is_unchanged(IF_MODIFIED_SINCE, &date, &version(7, true)));
        assert!(!is_unchanged(IF_MODIFIED_SINCE, &date, &version(7, false)));
        let unsettled = last_modified(&version(7, false)).to_string();
        assert!(!is_unchanged(IF_MODIFIED_SINCE, &unsettled, &version(7, true)));
        assert!(!is_unchanged(IF_MODIFIED_SINCE, &unsettled, &version(8, false)));
    }
}
