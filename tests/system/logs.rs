//! What the log tells of a request: which one it was, and what a decoder said of its picture.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use triptych_tests::{Form, Visitor, pictures};

use crate::shared::{SHARED, check_problem};

/// The lines of a log that carry this request's number.
fn lines_of(log: &str, request_id: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.pointer("/span/request_id").and_then(Value::as_str) == Some(request_id)).collect()
}

#[tokio::test]
async fn what_a_decoder_said_is_in_the_log_and_not_in_the_answer() -> Result<()> {
    let stack = SHARED.get().await?;
    let replica = stack.replica(0)?;
    let visitor = Visitor::new(&replica.url())?.accepting(triptych_tests::http::JSON);
    // The head of a PNG is right, and its pixels are noise.
    let mut broken = pictures::png(1, 64, 48)?.bytes.to_vec();
    let pixels = broken.windows(4).position(|name| name == b"IDAT").context("no pixels")?;
    let end = broken.len() - 16;
    for byte in broken.get_mut(pixels + 8..end).context("too short")? {
        *byte ^= 0x5a;
    }
    let form = Form::thread("nothing to see").file("broken.png", "image/png", broken);
    let answer = visitor.post("b", &form).await?;
    check_problem(&answer, 422, "corrupt_picture")?;

    let lines = lines_of(&replica.log(), answer.header("X-Request-Id"));
    let told =
        lines.iter().find_map(|line| line.get("message")?.as_str().filter(|text| text.contains("corrupt_picture")));
    let told = told.with_context(|| format!("no line says why: {lines:#?}"))?;
    let (_, said) = told.split_once("PNG: ").with_context(|| format!("the format is missing: {told}"))?;
    ensure!(!said.is_empty(), "what was found is missing: {told}");
    ensure!(!answer.text().contains(said), "the visitor is told {said:?}");
    Ok(())
}

#[tokio::test]
async fn every_line_about_a_request_carries_its_number_and_its_route() -> Result<()> {
    let stack = SHARED.get().await?;
    let replica = stack.replica(0)?;
    let visitor = Visitor::new(&replica.url())?;
    let answer = visitor.post("b", &Form::thread("counted").picture(&pictures::png(2, 40, 30)?)).await?;
    let lines = lines_of(&replica.log(), answer.header("X-Request-Id"));
    let of = |message: &str| lines.iter().find(|line| line.get("message").and_then(Value::as_str) == Some(message));
    of("posted").with_context(|| format!("not told that it was posted: {lines:#?}"))?;
    let answered = of("answered").with_context(|| format!("not told that it was answered: {lines:#?}"))?;
    let route = answered.pointer("/span/route").and_then(Value::as_str);
    ensure!(route.is_some_and(|route| route.ends_with("/post")), "the route is {route:?}: {answered:#}");
    Ok(())
}
