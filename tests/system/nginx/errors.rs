//! What nginx answers by itself: in the form that was asked for, and with the headers that protect.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::Value;
use triptych_tests::{
    Answer, Form,
    http::{self, HTML, JSON},
};

use super::stub::setup;
use crate::shared::{SHARED, check_error_page, check_problem, text};

/// Checks the headers that every page of ours has, each once.
fn check_headers(answer: &Answer) -> Result<()> {
    for (name, wanted) in [
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
    ] {
        let all: Vec<_> = answer.headers.get_all(name).iter().collect();
        ensure!(all == [wanted], "{name} is {all:?}, not {wanted:?}");
    }
    let policies: Vec<_> = answer.headers.get_all("Content-Security-Policy").iter().collect();
    let policy = answer.header("Content-Security-Policy");
    for directive in ["default-src 'none'", "form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'"] {
        ensure!(policies.len() == 1 && policy.contains(directive), "the policy is {policies:?}");
    }
    ensure!(answer.header("Server") == "nginx", "Server: {}", answer.header("Server"));
    Ok(())
}

#[tokio::test]
async fn every_error_of_nginxs_own_is_a_page_or_a_problem_as_it_was_asked_for() -> Result<()> {
    let board = setup().await?;
    let endless = "x".repeat(9_000);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n");
    // Without the lines that say which form is asked for and that this is the end.
    let errors = [
        ("a method that nobody has", "TRACE /b/ HTTP/1.1\r\nHost: a\r\n".to_owned(), 405, "method_not_allowed"),
        ("a tunnel", "CONNECT /b/ HTTP/1.1\r\nHost: a\r\n".into(), 405, "method_not_allowed"),
        ("no host", "GET /b/ HTTP/1.1\r\n".into(), 400, "malformed_request"),
        ("two hosts", "GET /b/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n".into(), 400, "malformed_request"),
        (
            "two lengths of a body",
            "POST /b/post HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n".into(),
            400,
            "malformed_request",
        ),
        (
            "an unknown encoding of a body",
            "POST /b/post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: zip\r\n".into(),
            501,
            "not_implemented",
        ),
        ("a long header", format!("{}X-Long: {endless}\r\n", get("/b/")), 431, "headers_too_large"),
        ("a page of nginx's own", get("/nginx-error/page.html"), 404, "not_found"),
        ("a page for nginx alone", get("/error/too-large"), 404, "not_found"),
        (
            "a picture that is another by now",
            format!("{}If-Match: \"x\"\r\n", get("/media/picture.jpg")),
            412,
            "precondition_failed",
        ),
    ];
    let mut seen = Vec::new();
    for (what, head, status, code) in errors {
        let said = || format!("{what}: {head}");
        let ask = async |accept: &str| {
            // The form comes first: of a request whose headers do not fit nothing else is known.
            let (line, headers) = head.split_once("\r\n").unwrap_or_default();
            let request = format!("{line}\r\nAccept: {accept}\r\n{headers}Connection: close\r\n\r\n");
            http::raw(&board.address(), request.as_bytes()).await
        };
        let page = ask(HTML).await.with_context(said)?;
        check_error_page(&page, status).with_context(said)?;
        let problem = ask(JSON).await.with_context(said)?;
        check_problem(&problem, status, code).with_context(said)?;
        ensure!(problem.header("Access-Control-Allow-Origin") == "*", "{}: {:?}", said(), problem.headers);
        for answer in [page, problem] {
            check_headers(&answer).with_context(said)?;
            let allowed = if status == 405 { "GET, HEAD" } else { "" };
            ensure!(answer.header("Allow") == allowed, "{}: {:?}", said(), answer.headers);
            seen.push((answer.header("X-Request-Id").to_owned(), status));
        }
    }
    // Where nothing is known of the form that is asked for, it is a page.
    let unreadable = [
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\r\n\r\n".to_vec(), 400),
        ("a broken address", b"GET /b/%zz.json HTTP/1.1\r\nAccept: application/json\r\n\r\n".to_vec(), 400),
        ("a way out of the root", b"GET /../b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400),
        ("a long address", format!("GET /{endless} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(), 414),
        ("an unknown version", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_vec(), 505),
    ];
    for (what, request, status) in unreadable {
        let answer = http::raw(&board.address(), &request).await.context(what)?;
        check_error_page(&answer, status).context(what)?;
        check_headers(&answer).context(what)?;
        seen.push((answer.header("X-Request-Id").to_owned(), status));
    }
    let one = http::raw(&board.address(), b"TRACE /b/post HTTP/1.0\r\n\r\n").await?;
    assert_eq!((one.status.as_u16(), one.header("Allow")), (405, "POST"));
    let by_name = http::raw(&board.address(), b"TRACE /b/res/1.json?x HTTP/1.0\r\n\r\n").await?;
    check_problem(&by_name, 405, "method_not_allowed")?;

    // The number on the page is found in the log, with what was asked for.
    board.nginx.stop(Duration::from_secs(5)).await?;
    let log = board.nginx.access_log();
    let lines: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    for (id, status) in &seen {
        let line = lines.iter().find(|line| text(line, "/request_id").is_ok_and(|logged| logged == id));
        let line = line.with_context(|| format!("request {id} is not in the log:\n{log}"))?;
        assert_eq!(line.get("status").and_then(Value::as_u64), Some((*status).into()), "{line}");
        assert!(!text(line, "/path")?.contains("nginx-error/page") || *status == 404, "{line}");
    }
    let trace = lines.iter().find(|line| text(line, "/method").is_ok_and(|method| method == "TRACE"));
    assert_eq!(text(trace.context("TRACE is not in the log")?, "/path")?, "/b/");
    Ok(())
}

#[tokio::test]
async fn a_request_of_http_1_0_needs_no_host() -> Result<()> {
    let board = setup().await?;
    let request = b"GET /b/ HTTP/1.0\r\n\r\n";
    let answer = http::raw(&board.address(), request).await?;
    // A replica refuses a request of HTTP/1.1 without one.
    assert!(answer.expect(StatusCode::OK)?.text().contains(r#""host": "localhost""#), "{}", answer.text());
    let real = SHARED.get().await?.url().replace("http://", "");
    http::raw(&real, request).await?.expect(StatusCode::OK)?;
    Ok(())
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_without_replicas_too() -> Result<()> {
    let board = setup().await?;
    board.stop_replicas();
    let form = Form::new().file("a.bin", "application/octet-stream", vec![0; 200_000]);
    let page = board.visitor.post("b", &form).await?;
    check_error_page(&page, 413)?;
    assert!(
        page.texts(".sorry p")?.iter().any(|text| text.contains("your text is still in the form")),
        "{}",
        page.text()
    );
    check_headers(&page)?;
    let problem = board.visitor.accepting(JSON).post("b", &form).await?;
    check_problem(&problem, 413, "too_large")?;
    check_headers(&problem)
}

#[tokio::test]
async fn without_any_replica_there_is_a_polite_page() -> Result<()> {
    let board = setup().await?;
    board.stop_replicas();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let page = board.visitor.get("/b/").await?;
    page.expect(StatusCode::SERVICE_UNAVAILABLE)?;
    assert_eq!(page.header("Retry-After"), "5");
    assert_eq!(page.header("Content-Type"), "text/html; charset=utf-8");
    assert_eq!(page.texts("h1")?, ["Back in a moment"]);

    let says_so_to_programs = |answer: &Answer| -> Result<()> {
        answer.expect(StatusCode::SERVICE_UNAVAILABLE)?;
        assert_eq!(answer.header("Retry-After"), "5");
        let declared = answer.header("Content-Type");
        assert!(declared.starts_with("application/problem+json"), "a program got {declared}");
        let problem: Value = answer.json()?;
        assert_eq!(problem.get("code").and_then(Value::as_str), Some("unavailable"));
        Ok(())
    };
    says_so_to_programs(&board.visitor.accepting(JSON).post("b", &Form::thread("hello")).await?)?;
    let programs = [
        ("/b/", "application/problem+json"),
        ("/b/", "text/plain, application/json"),
        ("/b/", "*/*;q=0.1,application/problem+json;q=0.5"),
        ("/media/picture.jpg", JSON),
        ("/static/board.9f9f.css", JSON),
        ("/b/res/1.json", HTML),
        ("/b/res/1.json?from=2", "*/*"),
        ("/boards.json", ""),
    ];
    for (path, accept) in programs {
        let answer = board.visitor.accepting(accept).get(path).await?;
        says_so_to_programs(&answer).with_context(|| format!("{path} with Accept: {accept}"))?;
    }
    let browsers = [
        ("/b/", ""),
        ("/b/", "*/*"),
        ("/b/", "application/json, text/html;q=0.5"),
        ("/b/json", "text/plain"),
        ("/b/?of=.json", HTML),
        ("/application/json", "*/*"),
    ];
    for (path, accept) in browsers {
        let answer = board.visitor.accepting(accept).get(path).await?;
        answer.expect(StatusCode::SERVICE_UNAVAILABLE)?;
        assert_eq!(answer.header("Content-Type"), "text/html; charset=utf-8", "{path} with Accept: {accept}");
    }
    Ok(())
}
