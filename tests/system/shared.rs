//! The boards that several tests share, and what all of them say about an answer.
//!
//! A shared board is started by the first test that wants it and lives until the process ends. Nothing is left
//! then: the kernel ends its processes with ours, and the cleaner of temporary directories does the rest.

use anyhow::{Context as _, Result, ensure};
use reqwest::{StatusCode, header::HeaderValue};
use serde_json::Value;
use sqlx::PgConnection;
use tokio::sync::OnceCell;
use triptych_tests::{Answer, Form, Stack, Visitor, http::Posted, pictures, stack::Builder};

/// What [`SHARED`] is called: a title that would be markup if anybody forgot to escape it.
pub(crate) const TITLE: &str = r#"Tri<b title="p">tych</b> & 'Co'"#;
/// Title and description of its board `x`.
pub(crate) const HOSTILE_TITLE: &str = r#"</title><script>alert(1)</script>"onmouseover="alert(2)"#;
/// See [`HOSTILE_TITLE`].
pub(crate) const HOSTILE_DESCRIPTION: &str =
    r#""><img src=x onerror=alert(3)> <svg/onload=alert(4)> javascript:alert(5)"#;

/// A board that lives as long as this process.
pub(crate) struct Shared {
    stack: OnceCell<Stack>,
    build: fn() -> Builder,
}

impl Shared {
    pub(crate) const fn new(build: fn() -> Builder) -> Self {
        Self { stack: OnceCell::const_new(), build }
    }

    /// The running board.
    pub(crate) async fn get(&self) -> Result<&Stack> {
        self.stack.get_or_try_init(|| (self.build)().start()).await.context("the shared board does not start")
    }
}

/// The board of all tests that need nothing special: three replicas, the boards `b`, `art`, `x` (see
/// [`HOSTILE_TITLE`]), which is not worksafe, and `shut`, which is locked. A test here may count on nothing that it did not post itself.
pub(crate) static SHARED: Shared = Shared::new(|| {
    let boards = serde_json::json!([
        {"slug": "b", "title": "Random"},
        {"slug": "art", "title": "Art", "description": "Drawings"},
        {"slug": "x", "title": HOSTILE_TITLE, "description": HOSTILE_DESCRIPTION, "worksafe": false},
        {"slug": "shut", "title": "Shut", "locked": true},
    ]);
    Stack::builder()
        .env("TRIPTYCH_BOARDS", &boards.to_string())
        .env("TRIPTYCH_TITLE", TITLE)
        .env("TRIPTYCH_LOG", "info,triptych=debug")
});

/// The URLs of all replicas, and of nginx in front of them.
pub(crate) fn sites(stack: &Stack) -> Vec<String> {
    stack.replicas().iter().map(triptych_tests::Replica::url).chain([stack.url()]).collect()
}

/// What one path answers on every replica and through nginx.
pub(crate) async fn everywhere(stack: &Stack, visitor: &Visitor, path: &str) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for site in sites(stack) {
        answers.push(visitor.at(&site).get(path).await.with_context(|| format!("GET {site}{path}"))?);
    }
    Ok(answers)
}

/// A new thread with one small picture.
pub(crate) async fn new_thread(visitor: &Visitor, board: &str, comment: &str) -> Result<Posted> {
    let form = Form::thread(comment).picture(&pictures::png(rand::random(), 40, 30)?);
    visitor.must_post(board, &form).await.with_context(|| format!("a new thread on /{board}/: {comment:?}"))
}

/// A JSON document.
pub(crate) async fn document(visitor: &Visitor, path: &str) -> Result<Value> {
    let answer = visitor.get(path).await?;
    answer.expect(StatusCode::OK).with_context(|| format!("GET {path}"))?.json()
}

/// A value in a JSON document, by its pointer: `/posts/0/no`.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> Result<&'a Value> {
    value.pointer(pointer).with_context(|| format!("there is no {pointer} in {value:#}"))
}

/// A whole number in a JSON document.
pub(crate) fn number(value: &Value, pointer: &str) -> Result<i64> {
    at(value, pointer)?.as_i64().with_context(|| format!("{pointer} is no whole number in {value:#}"))
}

/// A text in a JSON document.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    at(value, pointer)?.as_str().with_context(|| format!("{pointer} is no text in {value:#}"))
}

/// A list in a JSON document.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> Result<&'a [Value]> {
    at(value, pointer)?.as_array().map(Vec::as_slice).with_context(|| format!("{pointer} is no list in {value:#}"))
}

/// One whole number from the database.
pub(crate) async fn count(database: &mut PgConnection, query: &'static str) -> Result<i64> {
    sqlx::query_scalar(query).fetch_one(database).await.with_context(|| format!("cannot ask for {query}"))
}

/// The value of a header. Without that of a newcomer's token, which no two answers have in common.
pub(crate) fn without_token(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    match text.strip_prefix("triptych_token=") {
        Some(rest) => format!("triptych_token={}", rest.trim_start_matches(|c: char| c.is_ascii_hexdigit())),
        None => text,
    }
}

/// Checks that an answer is a problem document (RFC 9457) with this status and code, complete and without a typo.
pub(crate) fn check_problem(answer: &Answer, status: u16, code: &str) -> Result<()> {
    let text = answer.text();
    ensure!(answer.status.as_u16() == status, "the status is {}, not {status}: {text}", answer.status);
    ensure!(
        answer.header("Content-Type") == "application/problem+json",
        "the type is {:?}, not problem JSON: {text}",
        answer.header("Content-Type")
    );
    let problem: Value = answer.json()?;
    let mut fields: Vec<&str> = problem.as_object().context("not an object")?.keys().map(String::as_str).collect();
    fields.sort_unstable();
    ensure!(fields == ["code", "detail", "request_id", "status", "title", "type"], "the fields are {fields:?}: {text}");
    ensure!(self::text(&problem, "/code")? == code, "the code is not {code:?}: {text}");
    ensure!(number(&problem, "/status")? == i64::from(status), "the status is not {status}: {text}");
    for field in ["/type", "/title", "/detail", "/request_id"] {
        ensure!(!self::text(&problem, field)?.trim().is_empty(), "{field} is empty: {text}");
    }
    let id = answer.header("X-Request-Id");
    ensure!(self::text(&problem, "/request_id")? == id, "the header says request {id:?}: {text}");
    ensure!(answer.header("Cache-Control") == "no-store", "an error may be kept: {:?}", answer.headers);
    Ok(())
}

/// Checks that an answer is an error page that says what is wrong.
pub(crate) fn check_error_page(answer: &Answer, status: u16) -> Result<()> {
    let shown = || answer.text().chars().take(3000).collect::<String>();
    ensure!(answer.status.as_u16() == status, "the status is {}, not {status}: {}", answer.status, shown());
    ensure!(
        answer.header("Content-Type") == "text/html; charset=utf-8",
        "the type is {:?}, not HTML: {}",
        answer.header("Content-Type"),
        shown()
    );
    ensure!(answer.texts(".sorry .code")? == [status.to_string()], "the page does not tell the status: {}", shown());
    let sentences = answer.texts(".sorry h1, .sorry p")?;
    ensure!(
        sentences.len() >= 3 && sentences.iter().all(|text| !text.trim().is_empty()),
        "the page does not say what is wrong: {sentences:?}"
    );
    let id = answer.header("X-Request-Id");
    ensure!(
        !id.is_empty() && answer.texts(".fine code")? == [id],
        "the page does not name request {id:?}: {}",
        shown()
    );
    ensure!(answer.header("Cache-Control") == "no-store", "an error may be kept: {:?}", answer.headers);
    Ok(())
}
