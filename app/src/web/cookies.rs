//! What a browser keeps for its visitor: the password of what it posts, and a token until it has posted.
//!
//! The token tells newcomers behind one address apart. It cannot be used to follow anybody: its path is that of the
//! posting form, so a browser sends it with a post and with nothing else. Other requests only say *that* there is a
//! token, in a cookie that is the same for everybody, so that the token stays the same however many pages are read.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{COOKIE, HeaderValue, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use url::Url;
use uuid::Uuid;

use super::http::caching::CachePolicy;

/// The password of everything that the browser posts and names no password for.
const PASSWORD: &str = "triptych_password";
/// A random number; the password of the first post, and from then on of all.
const TOKEN: &str = "triptych_token";
/// Says that there is a token for a board.
const HAS_TOKEN: &str = "triptych_has_token";
/// How many bytes the value of a password or token may have. Ours have 32.
const BYTES: std::ops::RangeInclusive<usize> = 8..=200;

/// The password that the browser keeps.
pub(crate) fn password(request: &HttpRequest) -> Option<&str> {
    value(request, PASSWORD).filter(|value| BYTES.contains(&value.len()))
}

/// The token of a browser that keeps no password yet.
pub(crate) fn token(request: &HttpRequest) -> Option<&str> {
    value(request, TOKEN).filter(|value| BYTES.contains(&value.len()))
}

/// Asks the browser to keep a password.
pub(crate) fn keep_password(answer: &mut HttpResponseBuilder, password: &str, public_url: Option<&Url>) {
    // Another site cannot make a browser delete with it.
    let cookie = Cookie::build(PASSWORD, password).path("/").http_only(true).same_site(SameSite::Strict);
    answer.cookie(cookie.secure(is_secure(public_url)).max_age(Duration::days(365)).finish());
}

/// Gives a newcomer a token for a board, along with a page that has a form. It lasts as long as the browser's session.
pub(crate) fn hand_out_token(request: &HttpRequest, page: &mut HttpResponse, slug: &str, public_url: Option<&Url>) {
    if password(request).is_some() || value(request, HAS_TOKEN).is_some() {
        return;
    }
    let token = Uuid::new_v4();
    let secure = if is_secure(public_url) { "; Secure" } else { "" };
    let cookies = [
        format!("{TOKEN}={}; HttpOnly; SameSite=Strict; Path=/{slug}/post{secure}", token.simple()),
        // Sent as well by whoever follows a link from another site, so that the token is not replaced then.
        format!("{HAS_TOKEN}=1; HttpOnly; SameSite=Lax; Path=/{slug}/{secure}"),
    ];
    for cookie in cookies {
        match HeaderValue::try_from(cookie) {
            Ok(cookie) => page.headers_mut().append(SET_COOKIE, cookie),
            Err(error) => tracing::error!(%error, "a cookie cannot be written"),
        }
    }
    // The page is for everybody, but these cookies are not.
    let (name, value) = CachePolicy::RevalidatePrivately.header();
    page.headers_mut().insert(name, HeaderValue::from_static(value));
}

fn is_secure(public_url: Option<&Url>) -> bool {
    public_url.is_some_and(|url| url.scheme() == "https")
}

/// The value of a cookie. Cookies of others on the same host may look like anything, and are passed over.
fn value<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let pairs = request.headers().get_all(COOKIE).flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut readable = pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='));
    readable.find(|(found, _)| *found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::CACHE_CONTROL;
    use actix_web::test::TestRequest;

    use super::*;

    fn request(cookies: impl AsRef<[u8]>) -> HttpRequest {
        let cookies = HeaderValue::from_bytes(cookies.as_ref()).unwrap();
        TestRequest::default().insert_header((COOKIE, cookies)).to_http_request()
    }

    /// What a page sets for a browser that sends these cookies, and its cache policy.
    fn handed_out(cookies: &str, public_url: Option<&str>) -> (Vec<String>, Option<String>) {
        let mut page = HttpResponse::Ok().insert_header(CachePolicy::Revalidate.header()).finish();
        let public_url = public_url.map(|url| url.parse().unwrap());
        hand_out_token(&request(cookies), &mut page, "b", public_url.as_ref());
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        (page.headers().get_all(SET_COOKIE).map(text).collect(), page.headers().get(CACHE_CONTROL).map(text))
    }

    #[test]
    fn cookies_are_found_among_those_of_others() {
        let found = |cookies: &str| password(&request(cookies)).map(str::to_owned);
        assert_eq!(found("a=b; triptych_password=0123456789; c=d").as_deref(), Some("0123456789"));
        assert_eq!(password(&request(b"a=\xff\xfe; triptych_password=0123456789")), Some("0123456789"));
        assert_eq!(found("nonsense; =; %%%=\"; triptych_password=0123456789").as_deref(), Some("0123456789"));
        for nothing in ["", "triptych_password", "triptych_password=short", "not_triptych_password=0123456789"] {
            assert_eq!(found(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_newcomer_gets_a_token_that_only_posts_bring_back() {
        let (set, policy) = handed_out("", None);
        let [token, has_token] = set.as_slice() else { panic!("{set:?}") };
        let (pair, attributes) = token.split_once("; ").unwrap();
        assert_eq!(pair.len(), "triptych_token=".len() + 32, "{pair}");
        assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/b/post");
        assert_eq!(has_token, "triptych_has_token=1; HttpOnly; SameSite=Lax; Path=/b/");
        assert_eq!(policy.as_deref(), Some("private, no-cache"));
        assert_ne!(handed_out("", None).0, set, "two newcomers have the same token");
        let (set, _) = handed_out("", Some("https://board.example"));
        assert!(set.iter().all(|cookie| cookie.contains("; Secure")), "{set:?}");
    }

    #[test]
    fn whoever_has_a_token_or_a_password_gets_none() {
        for cookies in ["triptych_has_token=1", "triptych_password=0123456789abcdef"] {
            assert_eq!(handed_out(cookies, None), (Vec::new(), Some("no-cache".to_owned())), "{cookies}");
        }
    }
}
