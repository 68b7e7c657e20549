//! Sums reach the database once, whatever happens on the way.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};
use triptych_tests::{Replica, Stack, Visitor, Wire};

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

/// Requests that nginx has answered by itself, as far as the database knows.
async fn of_web(board: &Board) -> Result<i64> {
    Ok(in_database(board, "web", "hour").await?.values().map(|counted| counted.requests).sum())
}

/// Asks for five files that are not there, which nginx answers.
async fn ask_for_nothing(visitor: &Visitor) -> Result<()> {
    for _ in 0..5 {
        visitor.get("/media/none").await?.expect(StatusCode::NOT_FOUND)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_meter_that_is_killed_or_frozen_costs_no_count_and_no_answer() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let visitor = Visitor::new(&board.url())?;
    let mut asked = 0;
    // Before it has read them, and while it is away.
    for _ in 0..3 {
        ask_for_nothing(&visitor).await?;
        board.meter.kill()?;
        ask_for_nothing(&visitor).await?;
        board.meter.start()?;
        board.meter.wait_ready().await?;
        asked += 10;
    }
    wait_until("all of them count", || async { Ok(of_web(&board).await? == asked) }).await?;

    // After it has handed them on.
    board.meter.kill()?;
    board.meter.start()?;
    board.meter.wait_ready().await?;
    board.meter.pause()?;
    ask_for_nothing(&visitor).await?;
    board.meter.resume()?;
    asked += 5;
    wait_until("those of the frozen time count", || async { Ok(of_web(&board).await? == asked) }).await?;

    // Those that no replica takes wait, whatever becomes of the meter: killed when it has read them, ended in good order.
    board.replica(0)?.terminate().await?;
    visitor.get("/b/").await?.expect(StatusCode::SERVICE_UNAVAILABLE)?;
    wait_until("it has read the line", || async { Ok(board.meter.log().contains("no replica takes the sums")) })
        .await?;
    board.meter.kill()?;
    board.meter.start()?;
    board.meter.wait_ready().await?;
    visitor.get("/b/").await?.expect(StatusCode::SERVICE_UNAVAILABLE)?;
    board.meter.terminate().await?;
    board.replica(0)?.start()?;
    board.replica(0)?.wait_ready().await?;
    assert_eq!(of_web(&board).await?, asked, "nobody took the last two yet");
    board.meter.start()?;
    wait_until("the last two count", || async { Ok(of_web(&board).await? == asked + 2) }).await?;
    board.nginx.stop(Duration::from_secs(5)).await?;
    board.meter.terminate().await?;
    assert_eq!(of_web(&board).await?, asked + 2, "each of them counts once");
    assert_eq!(board.count("select count(*) from traffic_gap").await?, 0, "nothing is missing");
    Ok(())
}

#[tokio::test]
async fn what_a_visitor_gave_up_is_counted_by_the_replica_that_was_asked() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let replica = board.replica(0)?;
    replica.pause()?;
    let mut wire = Wire::connect(board.url().trim_start_matches("http://")).await?;
    wire.begin("GET", "/b/", &[]).await?;
    ensure!(timeout(Duration::from_millis(500), wire.head()).await.is_err(), "the replica is frozen");
    drop(wire);
    wait_until("nginx has noticed", || async { Ok(board.nginx.access_log().contains("\"status\":499")) }).await?;
    replica.resume()?;
    board.nginx.stop(Duration::from_secs(5)).await?;
    board.meter.terminate().await?;
    replica.terminate().await?;
    assert_eq!(of_web(&board).await?, 0, "nginx counts it, too");
    assert_eq!(requests(&board).await?, 1, "the replica counts it");
    Ok(())
}

#[tokio::test]
async fn no_answer_waits_for_room_for_lines() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let lines = board.nginx.lines();
    std::fs::remove_file(&lines).context("the lines")?;
    std::os::unix::fs::symlink("/dev/full", &lines).context("a file without room")?;
    board.nginx.reload(board.replicas().iter().map(Replica::address).collect()).await?;
    let visitor = Visitor::new(&board.url())?;
    let told = || async { Ok(board.nginx.error_log().contains("No space left on device")) };
    ask_for_nothing(&visitor).await?;
    wait_until("nginx finds no room", told).await?;
    ask_for_nothing(&visitor).await?;
    visitor.get("/b/").await?.expect(StatusCode::OK)?;
    Ok(())
}

/// Takes what one meter hands on, answers that it counts, and keeps it.
async fn take_one(listener: TcpListener) -> Result<(String, Vec<u8>)> {
    let (mut stream, _) = listener.accept().await?;
    let mut received = Vec::new();
    loop {
        let head = received.windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(end) = head {
            let head = String::from_utf8_lossy(received.get(..end).unwrap_or_default()).to_ascii_lowercase();
            let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let length: usize = value("content-length").context("a body has a length")?.parse()?;
            let body = received.get(end + 4..).unwrap_or_default();
            if body.len() == length {
                let signature = value("x-signature").context("sums are signed")?.to_owned();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
                return Ok((signature, body.to_vec()));
            }
        }
        ensure!(stream.read_buf(&mut received).await? > 0, "the meter went away");
    }
}

#[tokio::test]
async fn sums_of_a_meter_count_once_however_often_they_come_and_only_as_they_were_signed() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let builder = Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s");
    let board = Board::with(builder.env("TRIPTYCH_METER_REPLICAS", &address)).await?;
    let visitor = Visitor::new(&board.url())?;
    for _ in 0..3 {
        visitor.get("/media/none").await?.expect(StatusCode::NOT_FOUND)?;
    }
    let (signature, body) = take_one(listener).await?;

    let url = board.replica(0)?.metrics_url().replace("/metrics", "/traffic");
    let client = triptych_tests::http::client()?;
    let hand_on = async |signature: &str, body: &[u8]| -> Result<(u16, String)> {
        let answer = client.post(&url).header("x-signature", signature).body(body.to_vec()).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    };
    let text = String::from_utf8(body.clone())?;
    let changed = text.replace("\"requests\":3", "\"requests\":4");
    ensure!(changed != text, "the meter counted something else: {text}");
    for (signature, body) in [("", text.as_str()), ("00", &text), (&signature, &changed), (&signature, "{}")] {
        let (status, answer) = hand_on(signature, body.as_bytes()).await?;
        ensure!(status == 401 && answer.contains("signature"), "{status} {answer} for {signature:?} and {body}");
    }
    assert_eq!(of_web(&board).await?, 0, "none of these counts");
    for _ in 0..3 {
        let (status, answer) = hand_on(&signature, &body).await?;
        ensure!(status == 200, "{status} {answer}");
    }
    assert_eq!(of_web(&board).await?, 3, "handed on three times, counted once");
    Ok(())
}
