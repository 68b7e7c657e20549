//! What the sender of a request would like to get.

use std::convert::Infallible;
use std::str::FromStr;

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT_ENCODING, Accept, Header as _, HeaderName, Quality, QualityItem};

/// Whether errors and answers are wanted as JSON rather than as a page: `.json` addresses, and whoever ranks JSON above
/// HTML in `Accept`. Whoever takes anything gets a page.
pub(crate) fn wants_json(request: &HttpRequest) -> bool {
    if request.path().rsplit_once('.').is_some_and(|(_, extension)| extension == "json") {
        return true;
    }
    let Ok(accept) = Accept::parse(request) else { return false };
    let quality_of = |is_of: &dyn Fn(&str) -> bool| {
        let named = accept.iter().filter(|range| is_of(range.item.essence_str()));
        named.map(|range| range.quality).max().unwrap_or(Quality::ZERO)
    };
    let json = quality_of(&|essence| matches!(essence, "application/json" | "application/problem+json"));
    let html = quality_of(&|essence| matches!(essence, "text/html" | "application/xhtml+xml"));
    json > html
}

/// Whether gzip is the better choice (RFC 9110, section 12.5.3): accepted by name, and not ranked below sending the body
/// as it is. Every reader of a page is asked this, so nothing is allocated for it.
pub(crate) fn prefers_gzip(request: &HttpRequest) -> bool {
    let lines = request.headers().get_all(ACCEPT_ENCODING).filter_map(|line| line.to_str().ok());
    let codings = lines.flat_map(|line| line.split(',')).filter_map(|coding| coding.trim().parse().ok());
    let (mut gzip, mut identity) = (Quality::ZERO, Quality::ZERO);
    for QualityItem { item, quality } in codings {
        match item {
            Coding::Gzip => gzip = gzip.max(quality),
            Coding::Identity => identity = identity.max(quality),
            Coding::Other => {}
        }
    }
    gzip > Quality::ZERO && gzip >= identity
}

/// The codings that we have.
enum Coding {
    Gzip,
    Identity,
    Other,
}

impl FromStr for Coding {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(match name {
            name if name.eq_ignore_ascii_case("gzip") => Self::Gzip,
            name if name.eq_ignore_ascii_case("identity") => Self::Identity,
            _ => Self::Other,
        })
    }
}

/// The text of a header; empty when it is absent or no text.
pub(crate) fn header(request: &HttpRequest, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ACCEPT, ACCEPT_ENCODING};
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn gzip_has_to_be_named_and_not_refused() {
        for (codings, preferred) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("*", false),
            ("", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("gzip;q=0, *", false),
            ("identity, gzip;q=0.5", false),
            ("identity;q=0.5, gzip;q=0.5", true),
            ("gzip;q=2", false),
        ] {
            let request = TestRequest::default().insert_header((ACCEPT_ENCODING, codings)).to_http_request();
            assert_eq!(prefers_gzip(&request), preferred, "{codings}");
        }
        assert!(!prefers_gzip(&TestRequest::default().to_http_request()));
    }

    #[test]
    fn browsers_get_pages_and_programs_get_json() {
        let wants = |path: &str, accept: &str| {
            wants_json(&TestRequest::with_uri(path).insert_header((ACCEPT, accept)).to_http_request())
        };
        assert!(!wants("/b/", "text/html,application/xhtml+xml,application/json;q=0.1"));
        assert!(!wants("/b/", "text/html, application/json"));
        assert!(wants("/b/post", "application/json"));
        assert!(wants("/b/post", "application/json, text/html;q=0.5"));
        assert!(wants("/b/post", "application/problem+json, */*;q=0.1"));
        assert!(wants("/b/res/1.json", "*/*"));
        assert!(!wants("/b/post", "*/*"));
        assert!(!wants("/b/post", "application/json;q=0"));
        assert!(!wants("/b/post", "nonsense"));
    }
}
