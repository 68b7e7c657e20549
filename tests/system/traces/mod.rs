//! Traces: which one a request belongs to, in the logs of nginx and of the replica; what a slow request waited for; and what
//! a collector gets of it.

mod collector;
mod exporting;
mod logging;
mod waits;

use anyhow::{Context as _, Result};
use rand::RngExt as _;
use serde_json::Value;
use triptych_tests::{Answer, Replica};

use crate::board::wait_until;

/// A header as whoever is in front of us sends it: who asks, and for which trace.
struct Caller {
    trace: String,
    span: String,
}

impl Caller {
    fn new() -> Self {
        // Never 0 in a lifetime.
        let (trace, span): (u128, u64) = (rand::rng().random(), rand::rng().random());
        Self { trace: format!("{trace:032x}"), span: format!("{span:016x}") }
    }

    /// The header, with these flags.
    fn header(&self, flags: &str) -> String {
        format!("00-{}-{}-{flags}", self.trace, self.span)
    }
}

/// The lines of a log with this value in the span of their request.
fn lines(log: &str, field: &str, value: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.pointer(&format!("/span/{field}")).and_then(Value::as_str) == Some(value)).collect()
}

fn in_span(line: &Value, field: &str) -> Result<String> {
    let value = line.pointer(&format!("/span/{field}")).and_then(Value::as_str);
    Ok(value.with_context(|| format!("no {field} in the span of {line}"))?.to_owned())
}

/// The line that says what this request waited for; every request is slow here.
async fn told_slow(replica: &Replica, answer: &Answer) -> Result<Value> {
    let id = answer.header("X-Request-Id");
    let find = || {
        let lines = lines(&replica.log(), "request_id", id);
        lines.into_iter().find(|line| line.get("message").and_then(Value::as_str) == Some("slow request"))
    };
    wait_until("the line of a slow request", || async { Ok(find().is_some()) }).await?;
    find().context("no line")
}
