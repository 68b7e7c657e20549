//! An upload above the board's limit and below the proxies' gets the board's own answer.

use anyhow::{Context as _, Result, ensure};
use hyper::StatusCode;
use serde_json::Value;

use crate::{
    cluster::{
        Test,
        board::SLUG,
        client::{Ask, told},
    },
    http::{HTML, JSON},
    pictures::{self, Picture},
};

/// The chart's limit is 8 MiB a file, and room for four of them.
const TOO_LARGE: usize = 9 * 1024 * 1024;

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let mut bytes = pictures::png_header(64, 64);
    bytes.resize(TOO_LARGE, 0);
    let picture = Picture { name: "large.png".into(), declared: "image/png", bytes: bytes.into() };
    let mut visitor = test.board.visitor();
    let mut said = Vec::new();
    for accept in [HTML, JSON] {
        let ask = Ask::form(&format!("/{SLUG}/post"), accept, &[("com", "too large")], &[&picture]);
        let answer = visitor.must(&ask, StatusCode::PAYLOAD_TOO_LARGE).await?;
        let own = !answer.header("X-Served-By").is_empty();
        ensure!(own, "this is not the board's own answer: {}", told(&answer));
        if accept == JSON {
            let problem: Value = answer.json()?;
            let code = problem.get("code").and_then(Value::as_str).context("the problem has no code")?;
            said.push(format!("413 with the code {code}"));
        } else {
            let heading = answer.texts("h1")?;
            ensure!(heading.len() == 1, "the page has the headings {heading:?}");
            said.push(format!("413 with the heading {:?}", heading.concat()));
        }
    }
    let still = visitor.must(&Ask::page("/"), StatusCode::OK).await?;
    ensure!(!still.body.is_empty(), "the home page is empty");
    Ok(said.join(", "))
}
