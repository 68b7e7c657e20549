//! What the sender of a request would like to get.

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};

/// Whether errors and answers are wanted as JSON rather than as a page.
pub(super) fn wants_json(request: &HttpRequest) -> bool {
    if request.path().rsplit_once('.').is_some_and(|(_, extension)| extension == "json") {
        return true;
    }
    let accept = header(request, ACCEPT);
    (accept.contains("application/json") || accept.contains("application/problem+json"))
        && !accept.contains("text/html")
}

/// Whether gzip is accepted: named, and not with a weight of nothing (RFC 9110, section 12.5.3).
pub(super) fn accepts_gzip(request: &HttpRequest) -> bool {
    header(request, ACCEPT_ENCODING).split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
        named && !refused
    })
}

/// The text of a header; empty when it is absent or no text.
pub(super) fn header(request: &HttpRequest, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn gzip_has_to_be_named_and_not_refused() {
        for (codings, accepted) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("*", true),
            ("", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
        ] {
            let request = TestRequest::default().insert_header((ACCEPT_ENCODING, codings)).to_http_request();
            assert_eq!(accepts_gzip(&request), accepted, "{codings}");
        }
    }

    #[test]
    fn browsers_get_pages_and_programs_get_json() {
        let wants = |path: &str, accept: &str| {
            wants_json(&TestRequest::with_uri(path).insert_header((ACCEPT, accept)).to_http_request())
        };
        assert!(!wants("/b/", "text/html,application/xhtml+xml,application/json;q=0.1"));
        assert!(wants("/b/post", "application/json"));
        assert!(wants("/b/res/1.json", "*/*"));
        assert!(!wants("/b/post", "*/*"));
    }
}
