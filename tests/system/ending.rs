//! Promise 4: a replica that is asked to end is gone in time, whatever hangs, and says what it gave up.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
};
use triptych_tests::{Form, Replica, Stack, Visitor, replica, scratch::Scratch};

use crate::board::{Board, RawPost, in_time, metric, number, small_picture, text, wait_until};

/// From SIGTERM to the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);
/// What a busy machine may add to that; less than a second such wait after the first one would.
const MARGIN: Duration = Duration::from_secs(5);

/// A replica beside those of the board, with other settings.
async fn another(board: &Board, directory: &Scratch, settings: &[(&str, &str)]) -> Result<Replica> {
    let mut environment = board.environment().clone();
    environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let replica = Replica::new("another", &replica::binary()?, &environment, directory.path())?;
    replica.start()?;
    replica.wait_ready().await?;
    Ok(replica)
}

/// Answers, one connection after the other, as an S3 server does.
async fn lead_to(endpoint: &str, listener: &TcpListener) -> Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        let mut server = TcpStream::connect(endpoint.trim_start_matches("http://")).await?;
        copy_bidirectional(&mut client, &mut server).await?;
    }
}

/// Asks for a page so often that the answers fill every buffer on the way, and reads none of them.
async fn read_nothing(replica: &Replica, path: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut client = socket.connect(replica.address().parse()?).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", replica.address());
    client.write_all(request.repeat(16).as_bytes()).await?;
    ensure!(client.peek(&mut [0]).await? == 1, "the first answer does not begin");
    Ok(client)
}

/// The line of a replica's log with this message.
fn told(replica: &Replica, message: &str) -> Result<Value> {
    let log = replica.log();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| text(line, "message").is_ok_and(|told| told == message));
    line.with_context(|| format!("the log does not say {message:?}:\n{log}"))
}

async fn requests_in_flight(replica: &Replica, least: f64) -> Result<()> {
    wait_until("the replica works on the requests", || async {
        Ok(metric(replica, "triptych_http_requests_in_flight").await? >= least)
    })
    .await
}

#[tokio::test]
async fn a_replica_ends_in_time_whatever_hangs() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_MAX_COMMENT", "100000")).await?;
    let thread = board.thread("b").await?;
    // A page of which sixteen are more than the kernel keeps for one connection (4 MiB at the most, and a little).
    let author = Visitor::new(&board.url())?;
    for number in 0..6 {
        author.must_post("b", &Form::reply(thread, &format!("{number}{}", "x".repeat(99_999)))).await?;
    }
    // An S3 server that takes everything and answers nothing, from the moment on in which the replica is ready.
    let s3 = TcpListener::bind("127.0.0.1:0").await?;
    let (endpoint, timeout) = (format!("http://{}", s3.local_addr()?), format!("{}s", SHUTDOWN_TIMEOUT.as_secs()));
    let settings = [
        ("TRIPTYCH_S3_ENDPOINT", endpoint.as_str()),
        ("TRIPTYCH_DRAIN_DELAY", "1s"),
        ("TRIPTYCH_SHUTDOWN_TIMEOUT", timeout.as_str()),
    ];
    let directory = Scratch::new("ending")?;
    let replica = tokio::select! {
        replica = another(&board, &directory, &settings) => replica?,
        ended = lead_to(board.s3.endpoint(), &s3) => return ended,
    };
    let no = thread.to_string();
    let fields = |comment| [("resto", no.as_str()), ("com", comment)];

    let _reading_nothing = read_nothing(&replica, &format!("/b/res/{thread}.html")).await?;
    let mut unfinished = RawPost::open(&replica, "b", &fields("unfinished"), &small_picture(1)?.bytes).await?;
    unfinished.send_to(unfinished.length() / 2).await?;
    let mut waits_for_s3 = RawPost::open(&replica, "b", &fields("waits for S3"), &small_picture(2)?.bytes).await?;
    waits_for_s3.send_to(waits_for_s3.length()).await?;
    let _s3_connection = in_time("the picture on its way to S3", async {
        let (mut connection, _) = s3.accept().await?;
        connection.read_u8().await?;
        Ok(connection)
    })
    .await?;
    // In the middle of its transaction, and so with a connection to Postgres in its hands.
    let mut holding = board.database().await?;
    let locking = "begin; select 1 from board_state for update";
    sqlx::raw_sql(locking).execute(&mut holding).await?;
    let visitor = Visitor::new(&replica.url())?;
    let waits_for_postgres =
        tokio::spawn(async move { visitor.post("b", &Form::reply(thread, "waits for Postgres")).await });
    wait_until("the post waits for the row", || async {
        let waiting = "select count(*) from pg_stat_activity
                       where application_name like 'triptych commit_wait=%' and wait_event_type = 'Lock'";
        Ok(board.count(waiting).await? > 0)
    })
    .await?;
    requests_in_flight(&replica, 3.0).await?;
    let hanging = board.postgres.pause()?;

    let exit = replica.terminate().await?;
    assert!(exit.status.success(), "it ended with {}, not with 0:\n{}", exit.status, replica.log());
    assert!(exit.took < SHUTDOWN_TIMEOUT + MARGIN, "it took {:?} to end:\n{}", exit.took, replica.log());
    let cut = told(&replica, "given up: connections whose requests have not been answered")?;
    assert_eq!((number(&cut, "connections"), number(&cut, "requests")), (Some(4), Some(3)), "{cut}");
    let unmade = told(&replica, "given up: posts that were still being made")?;
    assert_eq!(number(&unmade, "posts"), Some(2), "{unmade}");
    told(&replica, "given up: connections to Postgres that did not close")?;
    told(&replica, "stopped")?;
    assert!(waits_for_postgres.await?.is_err(), "nobody can have answered this post");

    drop(hanging);
    drop(holding);
    let given_up = "select count(*) from post where comment in ('unfinished', 'waits for S3')";
    assert_eq!(board.count(given_up).await?, 0, "posts that were given up before their transaction");
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_delay() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1)).await?;
    let directory = Scratch::new("ending")?;
    let settings = [("TRIPTYCH_DRAIN_DELAY", "1h"), ("TRIPTYCH_SHUTDOWN_TIMEOUT", "2h")];
    let replica = another(&board, &directory, &settings).await?;
    let visitor = Visitor::new(&replica.url())?;
    let pid = replica.pid().and_then(Pid::from_raw).context("the replica does not run")?;
    kill_process(pid, Signal::TERM)?;
    wait_until("the replica is draining", || async { Ok(visitor.get("/readyz").await?.text() == "draining\n") })
        .await?;
    // Fails after a minute and a half.
    let exit = replica.terminate().await?;
    assert!(exit.status.success(), "it ended with {}, not with 0", exit.status);
    Ok(())
}
