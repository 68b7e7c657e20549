//! Conditional requests and ranges (RFC 9110, sections 13 and 14), for pages, pictures and assets alike.
//!
//! A representation has one tag for each encoding. A client that holds one of them holds the content, whatever encoding
//! it would get now; the 304 names the tag that matched, so that a cache updates the representation that it has.

use actix_web::http::Method;
use actix_web::http::header::{
    ETAG, EntityTag, Header, HttpDate, IF_MODIFIED_SINCE, IF_NONE_MATCH, IfModifiedSince, IfNoneMatch, IfRange,
    LAST_MODIFIED, RANGE, Range,
};
use actix_web::{HttpRequest, HttpResponseBuilder};

/// What tells one content from another.
#[derive(Debug, Clone)]
pub(crate) struct Validators<'a> {
    /// The tags of the content, one for each encoding, the first one being that of the answer; without quotes.
    pub(crate) tags: &'a [String],
    /// When the content last changed, in whole seconds.
    pub(crate) modified: Option<HttpDate>,
    /// Whether another change in that second is impossible, so that the date alone proves that a copy is current.
    pub(crate) date_is_exact: bool,
}

impl Validators<'_> {
    /// The tag that a client holds of this content, if it holds it (RFC 9110, section 13.2.2: `If-None-Match` first,
    /// `If-Modified-Since` only without it).
    pub(crate) fn matched(&self, request: &HttpRequest) -> Option<&str> {
        if request.headers().contains_key(IF_NONE_MATCH) {
            return match IfNoneMatch::parse(request).ok()? {
                IfNoneMatch::Any => self.tags.first().map(String::as_str),
                IfNoneMatch::Items(held) => {
                    self.tags.iter().find(|tag| held.iter().any(|held| held.tag() == tag.as_str())).map(String::as_str)
                }
            };
        }
        if !self.date_is_exact || !request.headers().contains_key(IF_MODIFIED_SINCE) {
            return None;
        }
        let since = IfModifiedSince::parse(request).ok()?;
        // Exactly that date, as nginx compares it: a later one may be of a database that has been restored since.
        (Some(since.0) == self.modified).then(|| self.tags.first().map(String::as_str))?
    }

    /// The headers of an answer with this content: 200 with the first tag, 304 with the one that matched.
    pub(crate) fn write(&self, answer: &mut HttpResponseBuilder, matched: Option<&str>) {
        if let Some(tag) = matched.or(self.tags.first().map(String::as_str)) {
            answer.insert_header((ETAG, EntityTag::new_strong(tag.to_owned())));
        }
        if let Some(modified) = self.modified {
            answer.insert_header((LAST_MODIFIED, modified));
        }
    }

    /// The part of the content that a request asks for.
    pub(crate) fn part(&self, request: &HttpRequest, length: u64) -> Part {
        if request.method() != Method::GET || !self.if_range_allows(request) {
            return Part::Whole;
        }
        // Anything but one range of bytes is answered with the whole, which section 14.2 allows.
        let header = request.headers().get(RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match header.parse::<Range>() {
            Ok(Range::Bytes(ranges)) if !header.contains(',') => match ranges.as_slice() {
                [range] => range
                    .to_satisfiable_range(length)
                    .map_or(Part::NotSatisfiable, |(first, last)| Part::Bytes(first, last)),
                _ => Part::Whole,
            },
            _ => Part::Whole,
        }
    }

    /// `If-Range` compares strongly: a part of one content must never be joined to another (section 13.1.5).
    fn if_range_allows(&self, request: &HttpRequest) -> bool {
        if !request.headers().contains_key(IfRange::name()) {
            return true;
        }
        match IfRange::parse(request) {
            Ok(IfRange::EntityTag(held)) => {
                self.tags.first().is_some_and(|tag| held.strong_eq(&EntityTag::new_strong(tag.clone())))
            }
            Ok(IfRange::Date(held)) => self.date_is_exact && Some(held) == self.modified,
            Err(_) => false,
        }
    }
}

/// Which part of a representation to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// From the first to the last byte, both included.
    Bytes(u64, u64),
    /// Nothing of what was asked for is there.
    NotSatisfiable,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use actix_web::http::header::{HeaderName, IF_RANGE};
    use actix_web::test::TestRequest;

    use super::*;

    fn date(seconds: u64) -> HttpDate {
        HttpDate::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn matched(headers: &[(HeaderName, String)], date_is_exact: bool) -> Option<String> {
        let mut request = TestRequest::default();
        for (name, value) in headers {
            request = request.append_header((name.clone(), value.as_str()));
        }
        let tags = ["7.x-gz".to_owned(), "7.x".to_owned()];
        let validators = Validators { tags: &tags, modified: Some(date(1_700_000_000)), date_is_exact };
        validators.matched(&request.to_http_request()).map(str::to_owned)
    }

    fn matches_tag(sent: &str) -> Option<String> {
        matched(&[(IF_NONE_MATCH, sent.to_owned())], true)
    }

    #[test]
    fn the_tag_that_matched_is_named() {
        assert_eq!(matches_tag("\"7.x\"").as_deref(), Some("7.x"));
        assert_eq!(matches_tag("W/\"7.x-gz\"").as_deref(), Some("7.x-gz"));
        assert_eq!(matches_tag("\"8.x\", \"7.x\"").as_deref(), Some("7.x"));
        assert_eq!(matches_tag("*").as_deref(), Some("7.x-gz"));
        for other in ["\"8.x\"", "7.x", "", "\"7.x-br\""] {
            assert_eq!(matches_tag(other), None, "{other}");
        }
    }

    #[test]
    fn a_date_counts_only_without_a_tag_and_when_it_is_exact() {
        let since = |seconds: u64| (IF_MODIFIED_SINCE, date(seconds).to_string());
        assert!(matched(&[since(1_700_000_000)], true).is_some());
        assert!(matched(&[since(1_700_000_001)], true).is_none());
        assert!(matched(&[since(1_699_999_999)], true).is_none());
        assert!(matched(&[since(1_700_000_000)], false).is_none());
        assert!(matched(&[since(1_700_000_000), (IF_NONE_MATCH, "\"8.x\"".to_owned())], true).is_none());
        assert!(matched(&[(IF_MODIFIED_SINCE, "yesterday".to_owned())], true).is_none());
    }

    fn part_of(length: u64, headers: &[(HeaderName, &str)]) -> Part {
        let mut request = TestRequest::default();
        for (name, value) in headers {
            request = request.append_header((name.clone(), *value));
        }
        let tags = ["t".to_owned()];
        let validators = Validators { tags: &tags, modified: Some(date(1_700_000_000)), date_is_exact: true };
        validators.part(&request.to_http_request(), length)
    }

    fn part(range: &str, length: u64) -> Part {
        part_of(length, &[(RANGE, range)])
    }

    #[test]
    fn one_range_is_understood_in_all_three_forms() {
        assert_eq!(part("bytes=0-9", 100), Part::Bytes(0, 9));
        assert_eq!(part("bytes=90-", 100), Part::Bytes(90, 99));
        assert_eq!(part("bytes=-10", 100), Part::Bytes(90, 99));
        assert_eq!(part("bytes=50-1000", 100), Part::Bytes(50, 99));
        assert_eq!(part("bytes=-1000", 100), Part::Bytes(0, 99));
    }

    #[test]
    fn what_begins_behind_the_end_cannot_be_sent() {
        assert_eq!(part("bytes=100-", 100), Part::NotSatisfiable);
        assert_eq!(part("bytes=-0", 100), Part::NotSatisfiable);
        assert_eq!(part("bytes=0-0", 0), Part::NotSatisfiable);
    }

    #[test]
    fn everything_else_is_answered_with_the_whole() {
        for range in ["", "bytes=", "bytes=x-", "bytes=9-1", "lines=1-2", "bytes=0-1,5-6", "bytes=0-1,x", "bytes=--1"] {
            assert_eq!(part(range, 100), Part::Whole, "{range}");
        }
    }

    #[test]
    fn a_range_is_sent_only_of_the_content_that_the_client_has() {
        let if_range = |value: &str| part_of(100, &[(RANGE, "bytes=0-9"), (IF_RANGE, value)]);
        assert_eq!(if_range("\"t\""), Part::Bytes(0, 9));
        assert_eq!(if_range(&date(1_700_000_000).to_string()), Part::Bytes(0, 9));
        for other in ["W/\"t\"", "\"u\"", "t", &date(1_700_000_001).to_string(), &date(1_699_999_999).to_string()] {
            assert_eq!(if_range(other), Part::Whole, "{other}");
        }
    }
}
