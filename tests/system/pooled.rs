//! Everything through `PgBouncer` in transaction mode, where each transaction may have another session: what is promised
//! is kept there too. `make test-pgbouncer` runs every other test in this way.

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use triptych_tests::{Form, Stack, Visitor};

use crate::board::{Board, small_picture, wait_until};

/// Fewer than the test of the same promise without a pooler; each disturbance is there several times.
const READS: usize = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_through_a_pooler_shows_everything_that_was_answered_before_it_began() -> Result<()> {
    crate::history::record(Stack::builder().pgbouncer(), READS).await
}

#[tokio::test]
async fn a_replica_behind_a_pooler_counts_on_nobody_to_wait() -> Result<()> {
    let pooled = Stack::builder().pgbouncer().env("TRIPTYCH_DRAIN_DELAY", "0s");
    // Replicas that would use answers for a second, and another one that does not wait at all and is not seen for long.
    let board = Board::with(pooled.env("TRIPTYCH_FEED_INTERVAL", "1s")).await?;
    let thread = board.thread("b").await?;
    let scratch = triptych_tests::scratch::Scratch::new("impatient")?;
    let mut environment = board.environment().clone();
    environment.push(("TRIPTYCH_FEED_INTERVAL".to_owned(), "0ms".to_owned()));
    let binary = triptych_tests::replica::binary()?;
    let impatient = triptych_tests::Replica::new("impatient", &binary, &environment, scratch.path())?;
    impatient.start()?;
    impatient.wait_ready().await?;
    let (poster, sites) = (Visitor::new(&impatient.url())?, board.sites()?);
    let path = format!("/b/res/{thread}.html");
    for number in 0..30 {
        // What is kept is as young as it can be.
        for site in &sites {
            site.get(&path).await?.expect(StatusCode::OK)?;
        }
        let comment = format!("said at once {number}.");
        poster.must_post("b", &Form::reply(thread, &comment)).await?;
        for site in &sites {
            let page = site.get(&path).await?;
            ensure!(page.expect(StatusCode::OK)?.text().contains(&comment), "{} lacks {comment:?}", site.url(&path));
        }
    }
    for replica in board.replicas() {
        ensure!(replica.log().contains("a pooler hands out sessions"), "{} does not say so", replica.name());
    }
    impatient.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn posts_events_and_collections_work_through_a_pooler() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(2).pgbouncer().env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let visitor = Visitor::new(&board.url())?;
    let mut posted = Vec::new();
    for number in 0..8 {
        let form = Form::thread("a picture").field("pwd", "password").picture(&small_picture(number)?);
        posted.push(visitor.must_post("b", &form).await?.no);
    }
    for no in &posted {
        let deletion = Form::new().field("no", &no.to_string()).field("pwd", "password");
        visitor.accepting(triptych_tests::http::JSON).submit("/b/delete", &deletion).await?.expect(StatusCode::OK)?;
    }
    let told = board.run(&["gc", "--no-grace"]).await?;
    ensure!(told.contains("\"blobs\":8"), "8 pictures were to be collected:\n{told}");
    board.run(&["migrate"]).await?;
    // Postgres goes and comes back, and with it everything else.
    let thread = board.thread("b").await?;
    board.postgres.stop().await?;
    let refused = visitor.accepting(triptych_tests::http::JSON).post("b", &Form::reply(thread, "too early")).await?;
    refused.expect_polite_refusal(triptych_tests::http::JSON)?;
    board.postgres.start().await?;
    wait_until("a post is made again", || async {
        let answer = visitor.accepting(triptych_tests::http::JSON).post("b", &Form::reply(thread, "back")).await?;
        Ok(answer.status == StatusCode::CREATED)
    })
    .await
}
