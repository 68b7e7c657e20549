//! Sums reach the database once, whatever happens on the way.

use std::time::Duration;

use anyhow::{Result, ensure};
use triptych_tests::{Stack, Visitor};

use super::in_database;
use crate::board::{Board, wait_until};

/// All requests that the database knows of.
async fn requests(board: &Board) -> Result<i64> {
    Ok(in_database(board, "app", "hour").await?.values().map(|counted| counted.requests).sum())
}

#[tokio::test]
async fn sums_wait_for_a_database_that_is_away_and_count_once() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let visitor = Visitor::new(&board.replica(0)?.url())?;
    let mut asked = 0;
    for _ in 0..2 {
        visitor.get("/b/").await?;
        asked += 1;
        board.postgres.kill()?;
        // Some of them are refused; all of them count.
        for _ in 0..5 {
            visitor.get("/b/").await?;
            asked += 1;
        }
        tokio::time::sleep(Duration::from_secs(11)).await;
        board.postgres.start().await?;
    }
    // By itself, not because the replica ends.
    wait_until("everything is counted", || async { Ok(requests(&board).await? == asked) }).await?;
    board.replica(0)?.terminate().await?;
    assert_eq!(requests(&board).await?, asked, "each request counts once");
    let gaps = board.count("select count(*) from traffic_gap").await?;
    assert_eq!(gaps, 0, "nothing is missing");
    Ok(())
}

#[tokio::test]
async fn a_replica_that_is_killed_leaves_a_gap_and_one_that_ends_does_not() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let replica = board.replica(0)?;
    let visitor = Visitor::new(&replica.url())?;
    visitor.get("/b/").await?;
    replica.terminate().await?;
    ensure!(requests(&board).await? == 1, "what was counted until the end");
    replica.start()?;
    replica.wait_ready().await?;
    visitor.get("/b/").await?;
    wait_until("the second run has counted", || async { Ok(requests(&board).await? == 2) }).await?;
    assert_eq!(board.count("select count(*) from traffic_gap").await?, 0, "gaps after an end in good order");

    visitor.get("/b/").await?;
    replica.kill()?;
    replica.start()?;
    replica.wait_ready().await?;
    visitor.get("/b/").await?;
    replica.terminate().await?;
    assert_eq!(requests(&board).await?, 3, "the last request before the kill is lost");
    let gap = "select count(*) from traffic_gap where replica = 'replica-1' and tier = 'app' and since < until";
    assert_eq!(board.count(gap).await?, 1, "gaps");
    Ok(())
}
