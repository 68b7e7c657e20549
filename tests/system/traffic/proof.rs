//! The whole of it: many requests of every kind, while replicas, nginx and the meter come and go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future;
use serde_json::Value;
use triptych_tests::{
    CountingVisitor, Replica, Stack, Visitor,
    counting_visitor::{Counted, Kinds, add, by_kind},
};

use super::in_database;
use crate::board::Board;

const REQUESTS: i64 = 20_000;
const VISITORS: u64 = 6;

#[tokio::test]
async fn page_and_document_agree_with_twenty_thousand_requests_while_servers_come_and_go() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(3).env("TRIPTYCH_DRAIN_DELAY", "1s")).await?;
    let address = board.url().trim_start_matches("http://").to_owned();
    let (requests, seed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
    let visitors: Vec<_> =
        (0..VISITORS).map(|_| tokio::spawn(visit(address.clone(), Arc::clone(&requests), Arc::clone(&seed)))).collect();
    let over = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(address, Arc::clone(&over)));
    let mut restarts = 0;
    while visitors.iter().any(|visitor| !visitor.is_finished()) {
        come_and_go(&board, restarts).await?;
        restarts += 1;
    }
    ensure!(restarts > 2, "everything was over before much had happened");
    let mut expected = Kinds::new();
    let all = future::try_join_all(visitors).await?;
    over.store(true, Ordering::Release);
    for kinds in all.into_iter().chain([watching.await?]) {
        add(&mut expected, kinds?);
    }
    let asked: i64 = expected.values().map(|counted| counted.requests).sum();
    ensure!(asked >= REQUESTS, "only {asked} requests");

    // Everybody writes down what they still have, and the page is asked of a replica that comes after that.
    board.nginx.stop(Duration::from_secs(5)).await?;
    board.meter.terminate().await?;
    for replica in board.replicas() {
        replica.terminate().await?;
    }
    let (web, app) = (in_database(&board, "web", "day").await?, in_database(&board, "app", "day").await?);
    let mut counted = web.clone();
    add(&mut counted, app);
    agree(&expected, &counted)?;

    board.replica(0)?.start()?;
    board.replica(0)?.wait_ready().await?;
    let visitor = Visitor::new(&board.replica(0)?.url())?;
    let document: Value = visitor.get("/traffic.json?days=1").await?.json()?;
    let total = document.pointer("/totals").context("no totals")?;
    let number = |name: &str| total.get(name).and_then(Value::as_i64).with_context(|| format!("no {name}"));
    let shown =
        Counted { requests: number("requests")?, bytes_in: number("bytes_in")?, bytes_out: number("bytes_out")? };
    near("the document", sum(&expected), shown, 5)?;
    let page = visitor.get("/traffic?days=1").await?.text();
    ensure!(page.contains("replica-1") && page.contains("web-1"), "the page names who answered");
    assert_eq!(board.count("select count(*) from traffic_gap").await?, 0, "nothing is missing");
    Ok(())
}

/// One visitor of several who make so many requests together.
async fn visit(address: String, requests: Arc<AtomicU64>, seed: Arc<AtomicU64>) -> Result<Kinds> {
    let mut visitor = CountingVisitor::open(&address).await?;
    while requests.load(Ordering::Relaxed) < REQUESTS.unsigned_abs() {
        let files = visitor.visit(seed.fetch_add(1, Ordering::Relaxed)).await?;
        for _ in 0..20 {
            visitor.visit_files(&files).await?;
        }
        requests.fetch_add(15 + 20 * 7, Ordering::Relaxed);
    }
    // What the kernel had taken of these nobody saw, so there are few of them.
    let files = visitor.visit(seed.fetch_add(1, Ordering::Relaxed)).await?;
    visitor.break_off(&files[0]).await?;
    Ok(visitor.kinds)
}

/// One who is told of all of that.
async fn watch(address: String, over: Arc<AtomicBool>) -> Result<Kinds> {
    let mut visitor = CountingVisitor::open(&address).await?;
    visitor.watch(&over).await?;
    Ok(visitor.kinds)
}

/// What happens to a board in its life.
async fn come_and_go(board: &Board, turn: usize) -> Result<()> {
    // Never more than one at a time: somebody always answers.
    let replica = board.replica(turn % 3)?;
    let others = board.replicas().iter().filter(|other| other.name() != replica.name());
    board.nginx.reload(others.map(Replica::address).collect()).await?;
    replica.terminate().await?;
    board.meter.kill()?;
    board.meter.start()?;
    replica.start()?;
    replica.wait_ready().await?;
    board.nginx.reload(board.replicas().iter().map(Replica::address).collect()).await?;
    board.meter.wait_ready().await
}

/// Within half a per cent in all, and one per cent for each kind.
fn agree(expected: &Kinds, counted: &Kinds) -> Result<()> {
    near("everything", sum(expected), sum(counted), 5)?;
    let (expected, counted) = (by_kind(expected), by_kind(counted));
    ensure!(expected.keys().eq(counted.keys()), "kinds: {expected:?}, counted {counted:?}");
    for (kind, of_kind) in expected {
        near(&kind, of_kind, counted.get(&kind).copied().unwrap_or_default(), 10)?;
    }
    Ok(())
}

fn sum(kinds: &Kinds) -> Counted {
    let mut sum = Counted::default();
    for counted in kinds.values() {
        sum += *counted;
    }
    sum
}

fn near(what: &str, expected: Counted, counted: Counted, per_mille: i64) -> Result<()> {
    for (expected, counted) in [
        (expected.requests, counted.requests),
        (expected.bytes_in, counted.bytes_in),
        (expected.bytes_out, counted.bytes_out),
    ] {
        let near = (expected - counted).abs().saturating_mul(1000) <= expected.saturating_mul(per_mille);
        ensure!(near, "{what}: {expected} went over the wire, and {counted} were counted");
    }
    Ok(())
}
