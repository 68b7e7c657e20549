//! What the board says about its traffic is what visitors have seen, while replicas and web servers come and go.
//!
//! Visitors count behind the Ingress controller, which writes heads of its own: so requests are compared for each kind, and bytes for
//! all of them together. To the byte, and what visitors send, is compared on the local stack.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hyper::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    cluster::{FULL, Test, board::Board, client::Ask, kubectl::Component},
    counting_visitor::{Counted, CountingVisitor, Kinds, add, by_kind},
};

const REQUESTS: u64 = 20_000;
const VISITORS: usize = 6;
/// Sums are handed on every ten seconds, and read anew a few seconds later.
const LIMIT: Duration = Duration::from_mins(1);

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let (kubectl, replicas) = (&test.kubectl, test.kubectl.staying(Component::App).await?.len());
    // What was on its way before has been counted.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = told(&test.board).await?;
    let requests = Arc::new(AtomicU64::new(0));
    let mut visitors = JoinSet::new();
    for _ in 0..VISITORS {
        visitors.spawn(visit(test.board.clone(), Arc::clone(&requests)));
    }
    let (app, web) = (format!("deployment/{FULL}-app"), format!("deployment/{FULL}-web"));
    for number in [replicas + 2, replicas] {
        kubectl.run(&["scale", &app, &format!("--replicas={number}")]).await?;
        kubectl.run(&["rollout", "status", &app, "--timeout=3m"]).await?;
    }
    kubectl.run(&["rollout", "restart", &web]).await?;
    kubectl.run(&["rollout", "status", &web, "--timeout=3m"]).await?;
    let mut seen = Kinds::new();
    while let Some(kinds) = visitors.join_next().await {
        add(&mut seen, kinds??);
    }
    let seen = by_kind(&seen);
    kubectl.settled(Component::App, replicas).await?;
    let start = Instant::now();
    let mut looks = 1;
    loop {
        looks += 1;
        let differences = compare(&seen, &before, &told(&test.board).await?, looks);
        match differences {
            Ok(summary) => return Ok(summary),
            Err(error) if start.elapsed() > LIMIT => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_secs(5)).await,
        }
    }
}

async fn visit(board: Board, requests: Arc<AtomicU64>) -> Result<Kinds> {
    let mut visitor = CountingVisitor::open_as(&board.ingress, &board.host).await?;
    while requests.load(Ordering::Relaxed) < REQUESTS {
        let files = visitor.visit(board.fresh()).await?;
        for _ in 0..20 {
            visitor.visit_files(&files).await?;
        }
        requests.fetch_add(15 + 20 * 7, Ordering::Relaxed);
    }
    Ok(visitor.kinds)
}

/// What the board says of today, by kind.
async fn told(board: &Board) -> Result<BTreeMap<String, Counted>> {
    let document: Value = board.visitor().must(&Ask::json("/traffic.json?days=1"), StatusCode::OK).await?.json()?;
    let kinds = document.pointer("/by_kind").and_then(Value::as_object).context("no kinds")?;
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_i64).context("no number");
    kinds
        .iter()
        .map(|(kind, value)| {
            let counted = Counted {
                requests: number(value, "requests")?,
                bytes_in: number(value, "bytes_in")?,
                bytes_out: number(value, "bytes_out")?,
            };
            Ok((kind.clone(), counted))
        })
        .collect()
}

/// Each kind's requests within one per cent, and one more for each of our own looks at the document; bytes in all within one per cent.
fn compare(
    seen: &BTreeMap<String, Counted>,
    before: &BTreeMap<String, Counted>,
    after: &BTreeMap<String, Counted>,
    looks: i64,
) -> Result<String> {
    let grown = |kind: &str, what: fn(&Counted) -> i64| {
        let of = |all: &BTreeMap<String, Counted>| all.get(kind).map_or(0, what);
        of(after) - of(before)
    };
    let (mut requests, mut bytes, mut counted_bytes) = (0, 0, 0);
    for (kind, expected) in seen {
        let counted = grown(kind, |counted| counted.requests);
        let own = if kind == "api" { looks } else { 0 };
        let near = (counted - expected.requests).abs() * 100 <= expected.requests + own * 100;
        ensure!(near, "{kind}: {} requests were made, and {counted} counted", expected.requests);
        requests += expected.requests;
        bytes += expected.bytes_out;
        counted_bytes += grown(kind, |counted| counted.bytes_out);
    }
    let near = (counted_bytes - bytes).abs() * 100 <= bytes;
    ensure!(near, "visitors received {bytes} bytes, and {counted_bytes} were counted");
    Ok(format!("{requests} requests of {} kinds, {bytes} bytes received and {counted_bytes} counted", seen.len()))
}
