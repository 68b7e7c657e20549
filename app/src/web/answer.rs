//! Answers with a page that is as new as the request: its version is known, the page is kept for it or made now. While
//! the database does not answer, a page that is kept is sent with the time that it is of.

use std::future::Future;
use std::time::{Duration, SystemTime};

use actix_web::http::header::{CONTENT_ENCODING, HeaderName, HttpDate, VARY};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use super::http::caching::CachePolicy;
use super::http::conditional::Validators;
use super::http::negotiation::prefers_gzip;
use super::views::with_as_of;
use crate::db::versions::Version;
use crate::error::AppError;
use crate::live::{Checked, KeptPage, PageKey};
use crate::representation::Representation;
use crate::state::AppState;
use crate::trace::waits::{self, Wait};

/// Says as of when an answer is that may be older than the request.
pub(crate) const AS_OF: HeaderName = HeaderName::from_static("x-as-of");

/// Answers with a page: one that is kept, or made now and kept from now on. Without a key it is made for this request.
pub(crate) async fn page<T, F>(
    request: &HttpRequest,
    state: &AppState,
    key: Option<PageKey>,
    checked: &Checked,
    load: impl FnOnce() -> F,
    render: impl FnOnce(&Version, T) -> Result<Representation, AppError> + Send + 'static,
) -> Result<HttpResponse, AppError>
where
    T: Send + 'static,
    F: Future<Output = Result<(Version, T), AppError>> + Send + 'static,
{
    let Checked { version, as_of } = checked;
    if let Some(as_of) = as_of {
        let page = key.and_then(|key| state.pages.kept(&key, version)).ok_or_else(AppError::not_kept)?;
        return Ok(older(&page.body, *as_of));
    }
    let gzip = prefers_gzip(request);
    let tags = tags(gzip, &state.fingerprint, version);
    if let Some(unchanged) = unchanged(request, &tags, version) {
        return Ok(unchanged);
    }
    let Some(key) = key else {
        let _waiting = waits::begin(Wait::Page);
        let page = state.pages.render(load, render).await?;
        return Ok(whole(gzip, &state.fingerprint, version, tags, &page));
    };
    let page = state.pages.get(key, version, load, render).await?;
    Ok(whole(gzip, &state.fingerprint, version, tags, &page))
}

/// A page that may have changed since. Nobody may keep it, and it has no tag: with the line that says so it is another
/// content, and without it a client would be told that its own copy is current.
fn older(body: &Representation, as_of: SystemTime) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header(CachePolicy::Never.header()).insert_header((AS_OF, HttpDate::from(as_of).to_string()));
    answer.content_type(body.content_type);
    // A part of a page has no place for the line.
    let page = std::str::from_utf8(&body.plain).ok().filter(|_| body.content_type.starts_with("text/html"));
    match page.and_then(|page| with_as_of(page, as_of)) {
        Some(marked) => answer.body(marked),
        None => answer.body(body.plain.clone()),
    }
}

/// `tags` are those of the version that was checked.
fn whole(gzip: bool, fingerprint: &str, checked: &Version, tags: [String; 2], page: &KeptPage) -> HttpResponse {
    // The same version, but only the check knows how long ago it was made.
    let (version, tags) = if page.version.stamp() == checked.stamp() {
        (checked, tags)
    } else {
        (&page.version, self::tags(gzip, fingerprint, &page.version))
    };
    let mut answer = HttpResponse::Ok();
    head(&mut answer, &validators(&tags, version), None);
    answer.content_type(page.body.content_type);
    if gzip && !page.body.gzip.is_empty() {
        answer.insert_header((CONTENT_ENCODING, "gzip")).body(page.body.gzip.clone())
    } else {
        answer.body(page.body.plain.clone())
    }
}

/// 304, if what the client has is what it would get.
fn unchanged(request: &HttpRequest, tags: &[String], version: &Version) -> Option<HttpResponse> {
    let validators = validators(tags, version);
    let matched = validators.matched(request)?;
    let mut answer = HttpResponse::NotModified();
    head(&mut answer, &validators, Some(matched));
    Some(answer.finish())
}

fn head(answer: &mut HttpResponseBuilder, validators: &Validators<'_>, matched: Option<&str>) {
    validators.write(answer, matched);
    answer.insert_header(CachePolicy::Revalidate.header()).insert_header((VARY, "Accept-Encoding"));
}

/// The tags of a page: that of the encoding that a request gets, then that of the other one.
fn tags(gzip: bool, fingerprint: &str, version: &Version) -> [String; 2] {
    let plain = format!("{}.{fingerprint}", version.stamp());
    let compressed = format!("{plain}-gz");
    if gzip { [compressed, plain] } else { [plain, compressed] }
}

fn validators<'a>(tags: &'a [String], version: &Version) -> Validators<'a> {
    Validators { tags, modified: Some(last_modified(version)), date_is_exact: version.settled }
}

/// The second of the last change, for clients that know no tags.
///
/// A second in which a page has just changed may still see another change; a client that was told that second could
/// then be told "not modified" wrongly. Until the change is settled, the second before it is told, which no settled
/// change has, and no date is answered with "not modified": the next change may fall into the same second.
fn last_modified(version: &Version) -> HttpDate {
    let changed = version.changed_at.timestamp() - i64::from(!version.settled);
    let since_1970 = Duration::from_secs(u64::try_from(changed).unwrap_or_default());
    HttpDate::from(SystemTime::UNIX_EPOCH + since_1970)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH};
    use actix_web::test::TestRequest;
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::db::versions::SiteStamp;

    const FINGERPRINT: &str = "fingerprint";

    fn version(number: i64, settled: bool) -> Version {
        let changed_at = DateTime::from_timestamp(1_700_000_000, 500_000_000).unwrap();
        Version { site: SiteStamp::default(), number, changed_at, settled, board: None }
    }

    fn asked_with(name: HeaderName, value: &str, version: &Version) -> Option<HttpResponse> {
        let request = TestRequest::default().insert_header((name, value)).to_http_request();
        unchanged(&request, &tags(false, FINGERPRINT, version), version)
    }

    #[test]
    fn a_tag_matches_its_version_in_any_encoding_and_is_named() {
        let [plain, gzip] = tags(false, FINGERPRINT, &version(7, true));
        for tag in [plain, gzip] {
            let unchanged = asked_with(IF_NONE_MATCH, &format!("W/\"{tag}\""), &version(7, true)).unwrap();
            assert_eq!(unchanged.headers().get(ETAG).unwrap(), &format!("\"{tag}\""));
            assert!(asked_with(IF_NONE_MATCH, &format!("\"{tag}\""), &version(8, true)).is_none());
        }
    }

    #[test]
    fn a_number_that_comes_back_is_another_version() {
        let [tag, _] = tags(false, FINGERPRINT, &version(7, true));
        let mut restored = version(7, true);
        restored.changed_at += TimeDelta::seconds(1);
        assert!(asked_with(IF_NONE_MATCH, &format!("\"{tag}\""), &restored).is_none());
    }

    #[test]
    fn a_date_matches_only_once_the_second_is_over() {
        let is_unchanged = |date: &str, version: &Version| asked_with(IF_MODIFIED_SINCE, date, version).is_some();
        let date = last_modified(&version(7, true)).to_string();
        assert!(is_unchanged(&date, &version(7, true)));
        assert!(!is_unchanged(&date, &version(7, false)));
        let unsettled = last_modified(&version(7, false)).to_string();
        assert!(!is_unchanged(&unsettled, &version(7, true)));
        assert!(!is_unchanged(&unsettled, &version(8, false)));
    }
}
