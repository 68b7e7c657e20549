//! A month that comes near its budget is told to those who run the board.

use anyhow::{Result, ensure};
use triptych_tests::Stack;

use crate::board::{Board, metric, wait_until};

#[tokio::test]
async fn four_fifths_of_a_month_are_told_in_the_log_and_by_metrics() -> Result<()> {
    let builder = Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s");
    let board = Board::with(builder.env("TRIPTYCH_TRAFFIC_BUDGET", "500GB")).await?;
    let replica = board.replica(0)?;
    ensure!(!replica.log().contains("of the traffic of this month"), "nothing was sent yet");
    sqlx::query(
        "insert into traffic (period, start, tier, kind, board_id, requests, bytes_in, bytes_out, fetched)
         values ('day', date_trunc('day', now(), 'UTC'), 'web', 'picture', 0, 1, 1, 400000000000, 0)",
    )
    .execute(&mut board.database().await?)
    .await?;
    replica.terminate().await?;
    replica.start()?;
    replica.wait_ready().await?;
    wait_until("a warning is logged", || async {
        Ok(replica.log().contains("80 % of the traffic of this month has been sent"))
    })
    .await?;
    ensure!(metric(replica, "triptych_traffic_budget_bytes").await? >= 5e11, "the budget");
    ensure!(metric(replica, "triptych_traffic_month_bytes").await? >= 4e11, "what was sent");
    Ok(())
}
