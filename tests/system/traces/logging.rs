//! The numbers of a trace in the logs.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use triptych_tests::{Answer, Form, Stack, Visitor, pictures};

use super::{Caller, in_span, lines};
use crate::{
    board::wait_until,
    shared::{SHARED, new_thread},
};

/// What all replicas have logged.
fn log(stack: &Stack) -> String {
    stack.replicas().iter().map(|replica| replica.log()).collect()
}

/// The trace of a request, by its number, as its replica logged it.
fn logged_trace(stack: &Stack, answer: &Answer) -> Result<String> {
    let id = answer.header("X-Request-Id");
    let lines = lines(&log(stack), "request_id", id);
    in_span(lines.first().with_context(|| format!("request {id} is not in the log"))?, "trace_id")
}

#[tokio::test]
async fn a_trace_goes_through_every_place_of_nginx_to_the_log_of_the_replica() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = new_thread(&visitor, "b", "traced").await?;
    let page = visitor.get(&format!("/b/res/{}.html", thread.no)).await?;
    let mut paths = vec!["/b/".to_owned(), "/b/events".to_owned(), "/static/of-another-version.css".to_owned()];
    for attribute in ["a[href^='/media/']", "img[src^='/thumb/']"] {
        let name = if attribute.starts_with('a') { "href" } else { "src" };
        paths.push(page.attributes(attribute, name)?.first().context("no picture on the page")?.clone());
    }
    let mut callers: Vec<(String, Caller)> = Vec::new();
    for path in paths {
        let caller = Caller::new();
        let request = visitor.request(Method::GET, &path).header("traceparent", caller.header("00"));
        // An event stream has no end.
        request.send().await?;
        callers.push((path, caller));
    }
    let (posting, too_large) = (Caller::new(), Caller::new());
    let form = Form::reply(thread.no, "traced too").multipart()?;
    let post = visitor.request(Method::POST, "/b/post").header("traceparent", posting.header("01")).multipart(form);
    visitor.send(post).await?.expect(StatusCode::SEE_OTHER)?;
    callers.push(("/b/post".to_owned(), posting));
    // nginx asks a replica for the page about it.
    let large = Form::new().file("large.png", "image/png", vec![0; 40 << 20]).multipart()?;
    let post = visitor.request(Method::POST, "/b/post").header("traceparent", too_large.header("00")).multipart(large);
    visitor.send(post).await?.expect(StatusCode::PAYLOAD_TOO_LARGE)?;
    callers.push(("/b/post".to_owned(), too_large));

    for (path, caller) in &callers {
        let of_replica = lines(&log(stack), "trace_id", &caller.trace);
        ensure!(!of_replica.is_empty(), "{path}: no replica has logged the trace {}", caller.trace);
        for line in &of_replica {
            let span = in_span(line, "span_id")?;
            ensure!(span.len() == 16 && span != caller.span, "{path}: the span of the replica is {span}");
        }
        let find = || {
            let log = stack.nginx.access_log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>();
            lines.into_iter().find(|line| line.get("trace_id").and_then(Value::as_str) == Some(&caller.trace))
        };
        wait_until(&format!("nginx logs the trace of {path}"), || async { Ok(find().is_some()) }).await?;
        assert_eq!(find().and_then(|line| Some(line.get("path")?.as_str()?.to_owned())).as_deref(), Some(&**path));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_traceparent_begins_a_trace() -> Result<()> {
    let stack = SHARED.get().await?;
    let Caller { trace, span } = Caller::new();
    let wrong = [
        format!("00-{trace}-{span}-01-more"),
        format!("ff-{trace}-{span}-01"),
        format!("00-{trace}-{span}"),
        format!("00-{}-{span}-01", "0".repeat(32)),
        format!("00-{trace}-{}-01", "0".repeat(16)),
        format!("00-{}-{span}-01", trace.replace(|letter: char| letter.is_ascii_alphabetic(), "A").replace('0', "F")),
        r#"00-","path":"/forged"#.to_owned(),
        String::new(),
    ];
    let mut traces = BTreeSet::new();
    for site in [stack.url(), stack.replica(1)?.url()] {
        let visitor = Visitor::new(&site)?;
        for header in &wrong {
            let answer = visitor.send(visitor.request(Method::GET, "/b/").header("traceparent", header)).await?;
            traces.insert(logged_trace(stack, &answer)?);
        }
        traces.insert(logged_trace(stack, &visitor.get("/b/").await?)?);
    }
    // Said twice, it is not said.
    let replica = Visitor::new(&stack.replica(1)?.url())?;
    let twice = replica.request(Method::GET, "/b/");
    let twice = twice.header("traceparent", format!("00-{trace}-{span}-01"));
    let answer = replica.send(twice.header("traceparent", format!("00-{trace}-{span}-01"))).await?;
    traces.insert(logged_trace(stack, &answer)?);

    assert_eq!(traces.len(), 2 * (wrong.len() + 1) + 1, "each has one of its own: {traces:?}");
    for new in &traces {
        ensure!(new.len() == 32 && new.chars().all(|digit| "0123456789abcdef".contains(digit)), "{new}");
        ensure!(*new != trace && *new != "0".repeat(32), "{new}");
    }
    // A later version may say more.
    let future = format!("cc-{trace}-{span}-01-what comes later");
    let answer = replica.send(replica.request(Method::GET, "/b/").header("traceparent", future)).await?;
    assert_eq!(logged_trace(stack, &answer)?, trace);

    // Nothing but a trace gets into the log of nginx.
    let log = stack.nginx.access_log();
    for line in log.lines().filter(|line| line.contains("trace_id")) {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let told = line.get("trace_id").and_then(Value::as_str).context("no trace_id")?;
        ensure!(told.is_empty() || told.len() == 32, "{line}");
        ensure!(told != trace, "nginx takes a wrong header for right: {line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_log_as_text_has_the_trace_too() -> Result<()> {
    let servers = crate::servers::Servers::start().await?;
    servers.migrate(&[]).await?;
    // Whatever else is logged.
    let settings = [("TRIPTYCH_LOG_FORMAT", "text"), ("TRIPTYCH_LOG", "warn"), ("TRIPTYCH_SLOW_REQUEST", "0s")];
    let replica = servers.replica(&settings).await?;
    let (visitor, caller) = (Visitor::new(&replica.url())?, Caller::new());
    let form = Form::thread("as text").picture(&pictures::png(3, 40, 30)?).multipart()?;
    let post = visitor.request(Method::POST, "/b/post").header("traceparent", caller.header("00"));
    visitor.send(post.multipart(form)).await?.expect(StatusCode::SEE_OTHER)?;
    let log = replica.log();
    let line = log.lines().find(|line| line.contains("slow request") && line.contains(&caller.trace));
    let line = line.with_context(|| format!("no line of the trace {}:\n{log}", caller.trace))?;
    ensure!(line.contains("commit_wait_ms"), "{line}");
    Ok(())
}
