//! Whether a form was sent by one of our own pages.

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderName, ORIGIN};
use url::Url;

use super::negotiation::header;
use crate::domain::Refusal;

/// Refuses what another site makes a visitor's browser send.
///
/// Browsers say so in `Sec-Fetch-Site` (Fetch Metadata), older ones and those on plain HTTP in `Origin`, which has
/// to be ours: that of the configured address, or of the host that the request names. Programs that are no browsers
/// send neither, and carry no cookies of anybody.
pub(crate) fn check(request: &HttpRequest, public_url: Option<&Url>) -> Result<(), Refusal> {
    let site = header(request, HeaderName::from_static("sec-fetch-site"));
    let origin = header(request, ORIGIN);
    let ours = match site {
        "same-origin" | "none" => true,
        "" if origin.is_empty() => true,
        "" => match public_url {
            Some(url) => origin == url.origin().ascii_serialization(),
            None => origin.split_once("://").is_some_and(|(_, host)| host == header(request, HOST)),
        },
        _ => false,
    };
    if ours { Ok(()) } else { Err(Refusal::CrossSiteForm) }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn passes(site: &str, origin: &str, public_url: Option<&str>) -> bool {
        let mut request = TestRequest::post().insert_header((HOST, "board.example:8080"));
        if !site.is_empty() {
            request = request.insert_header(("sec-fetch-site", site));
        }
        if !origin.is_empty() {
            request = request.insert_header((ORIGIN, origin));
        }
        let public_url = public_url.map(|url| url.parse().unwrap());
        check(&request.to_http_request(), public_url.as_ref()).is_ok()
    }

    #[test]
    fn what_the_browser_says_decides() {
        assert!(passes("same-origin", "http://board.example:8080", None));
        assert!(passes("none", "", None));
        for site in ["cross-site", "same-site", "nonsense"] {
            assert!(!passes(site, "http://board.example:8080", None), "{site}");
        }
    }

    #[test]
    fn without_it_the_origin_has_to_be_ours() {
        assert!(passes("", "", None), "a program");
        assert!(passes("", "http://board.example:8080", None));
        assert!(!passes("", "http://evil.example", None));
        assert!(!passes("", "null", None));
        assert!(passes("", "https://board.org", Some("https://board.org")));
        assert!(!passes("", "http://board.example:8080", Some("https://board.org")));
    }
}
