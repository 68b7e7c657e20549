//! Promise 4: replicas that are asked to end fail no request, whatever is on its way.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use reqwest::StatusCode;
use triptych_tests::{
    Form, Stack, Visitor,
    http::{HTML, JSON, Posted},
};

use crate::board::{Board, RawPost, find_post, json, number, posts, small_picture, thread_path, wait_until};

/// Longer than nginx keeps idle connections to a replica (4 s).
const DRAIN_DELAY: &str = "5s";

/// What one client did.
#[derive(Default)]
struct Done {
    posted: Vec<(Posted, String)>,
    read: usize,
    failed: Vec<String>,
    served_by: BTreeSet<String>,
}

/// Posts on one kept-alive connection, one after the other, and never repeats anything.
async fn keep_posting(site: &str, client: usize, thread: i64, stop: &AtomicBool) -> Result<Done> {
    let visitor = Visitor::new(site)?.accepting(JSON);
    let mut done = Done::default();
    for turn in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let comment = format!("rolling {client} {turn}");
        let form = Form::reply(thread, &comment);
        let form =
            if turn % 4 == 0 { form.picture(&small_picture(u64::try_from(client * 100_000 + turn)?)?) } else { form };
        match visitor.post("b", &form).await {
            Ok(answer) if answer.status == StatusCode::CREATED => {
                done.served_by.insert(answer.header("X-Served-By").to_owned());
                done.posted.push((answer.json()?, comment));
            }
            Ok(answer) => done.failed.push(format!("{comment}: {} {}", answer.status, answer.text())),
            Err(error) => done.failed.push(format!("{comment}: {error:#}")),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(done)
}

/// Reads pages and pictures in the same way.
async fn keep_reading(site: &str, paths: &[String], stop: &AtomicBool) -> Result<Done> {
    let visitor = Visitor::new(site)?;
    let mut done = Done::default();
    for path in paths.iter().cycle() {
        if stop.load(Ordering::Acquire) {
            break;
        }
        match visitor.get(path).await {
            Ok(answer) if answer.status == StatusCode::OK => done.read += 1,
            Ok(answer) => done.failed.push(format!("{path}: {} {}", answer.status, answer.text())),
            Err(error) => done.failed.push(format!("{path}: {error:#}")),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_fails_no_request_and_doubles_no_post() -> Result<()> {
    const POSTERS: usize = 4;
    const READERS: usize = 3;
    // More replies than a quick machine posts to one thread meanwhile.
    let builder = Stack::builder().env("TRIPTYCH_DRAIN_DELAY", DRAIN_DELAY).env("TRIPTYCH_REPLY_LIMIT", "5000");
    let board = Board::with(builder).await?;
    let thread = board.thread("b").await?;
    let quiet = board.thread("art").await?;
    let (url, stop) = (board.url(), AtomicBool::new(false));
    let paths: Vec<String> = vec![
        "/".into(),
        "/b/".into(),
        format!("/art/res/{quiet}.html"),
        format!("/b/res/{thread}.json"),
        "/b/catalog.html".into(),
        "/boards.json".into(),
    ];
    let before: Vec<_> = board.replicas().iter().map(|replica| replica.pid()).collect();
    let posting = try_join_all((0..POSTERS).map(|client| keep_posting(&url, client, thread, &stop)));
    let reading = try_join_all((0..READERS).map(|_| keep_reading(&url, &paths, &stop)));
    let restarting = async {
        let exits = board.rolling_restart().await;
        stop.store(true, Ordering::Release);
        exits
    };
    let (posted, read, exits) = tokio::join!(posting, reading, restarting);
    let (posted, read, exits) = (posted?, read?, exits?);

    assert_eq!(exits.len(), board.replicas().len(), "restarts");
    for (exit, replica) in exits.iter().zip(board.replicas()) {
        assert!(exit.status.success(), "{} ended with {}", replica.name(), exit.status);
    }
    for (before, replica) in before.iter().zip(board.replicas()) {
        assert_ne!(replica.pid(), *before, "{} was to be restarted", replica.name());
    }
    let failed: Vec<&String> = posted.iter().chain(&read).flat_map(|done| &done.failed).collect();
    let (posts_made, pages_read): (usize, usize) =
        (posted.iter().map(|done| done.posted.len()).sum(), read.iter().map(|done| done.read).sum());
    assert!(
        failed.is_empty(),
        "{} of {} requests failed, 0 were expected: {failed:#?}\n{}",
        failed.len(),
        failed.len() + posts_made + pages_read,
        board.complaints()
    );
    let served_by: BTreeSet<&String> = posted.iter().flat_map(|done| &done.served_by).collect();
    assert_eq!(served_by.len(), board.replicas().len(), "replicas that made posts: {served_by:?}");
    assert!(posted.iter().all(|done| !done.posted.is_empty()), "a poster made no post: {posts_made} posts in all");
    assert!(read.iter().all(|done| done.read > 0), "a reader read no page: {pages_read} pages in all");

    let rows = board.count("select count(*) from post where comment like 'rolling %'").await?;
    assert_eq!(rows, i64::try_from(posts_made)?, "posts: each acknowledged one, once");
    let doubled = "select count(*) from (select 1 from post group by comment having count(*) > 1) doubled";
    assert_eq!(
        board.count(doubled).await?,
        1,
        "comments that are there twice: only that of the two threads made at the beginning"
    );
    for site in board.sites()? {
        let document = json(&site.get(&format!("/b/res/{thread}.json")).await?)?;
        let shown: BTreeSet<i64> = posts(&document).into_iter().filter_map(|post| number(post, "no")).collect();
        let all = posted.iter().flat_map(|done| &done.posted);
        let lost: Vec<_> = all.filter(|(posted, _)| !shown.contains(&posted.no)).collect();
        assert!(lost.is_empty(), "acknowledged posts that are not on {}: {lost:#?}", site.url(""));
    }
    board.keys_of_rows().await?;
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn a_replica_that_is_asked_to_end_says_so_first_and_answers_meanwhile() -> Result<()> {
    let board = Board::with(Stack::builder().env("TRIPTYCH_DRAIN_DELAY", DRAIN_DELAY)).await?;
    let thread = board.thread("b").await?;
    let replica = board.replica(0)?;
    // A connection that was used before the end was asked for.
    let visitor = Visitor::new(&replica.url())?;
    let answer = visitor.get("/readyz").await?;
    assert_eq!(answer.expect(StatusCode::OK)?.header("Connection"), "", "connections are kept until then");

    let draining = async {
        wait_until("readiness says no", || async {
            Ok(visitor.get("/readyz").await?.status == StatusCode::SERVICE_UNAVAILABLE)
        })
        .await?;
        let mut answered = 0;
        visitor.get("/livez").await?.expect(StatusCode::OK)?;
        for path in ["/", "/b/", "/b/0.json", "/boards.json"] {
            let answer = visitor.get(path).await?;
            answer.expect(StatusCode::OK).with_context(|| format!("{path} while draining"))?;
            ensure!(answer.header("Connection") == "close", "{path} keeps its connection while draining");
            answered += 1;
        }
        for (turn, accept) in [HTML, JSON].into_iter().enumerate() {
            let form = Form::reply(thread, &format!("while draining {turn}"));
            let answer = visitor.accepting(accept).post("b", &form).await?;
            let expected = if accept == JSON { StatusCode::CREATED } else { StatusCode::SEE_OTHER };
            answer.expect(expected).context("a post while draining")?;
            ensure!(answer.header("Connection") == "close", "a post keeps its connection while draining");
            answered += 1;
        }
        anyhow::Ok(answered)
    };
    let (exit, answered) = tokio::join!(replica.terminate(), draining);
    assert_eq!(answered?, 6, "answers while draining");
    let exit = exit?;
    assert!(exit.status.success(), "it ended with {}, not with 0", exit.status);
    assert!(tokio::net::TcpStream::connect(replica.address()).await.is_err(), "it still listens");
    assert_eq!(board.count("select count(*) from post where comment like 'while draining %'").await?, 2, "posts");

    // Nobody who comes through nginx notices that one is missing.
    let through_nginx = Visitor::new(&board.url())?;
    for _ in 0..6 {
        through_nginx.get("/b/").await?.expect(StatusCode::OK)?;
    }
    Ok(())
}

#[tokio::test]
async fn uploads_on_their_way_when_a_replica_is_asked_to_end_are_finished_and_answered() -> Result<()> {
    const UPLOADS: usize = 5;
    let board = Board::with(Stack::builder().env("TRIPTYCH_DRAIN_DELAY", "1s")).await?;
    let thread = board.thread("b").await?.to_string();
    let replica = board.replica(0)?;
    let mut uploads = Vec::new();
    for number in 0..UPLOADS {
        let comment = format!("slow {number}");
        let fields = [("resto", thread.as_str()), ("com", comment.as_str())];
        let picture = small_picture(u64::try_from(number)? + 80)?;
        let mut upload = RawPost::open(replica, "b", &fields, &picture.bytes).await?;
        upload.send_to(upload.length() * (number + 1) / (UPLOADS + 1)).await?;
        uploads.push(upload);
    }
    let finishing = async {
        // The longest wait that there is: until it takes no new connection.
        wait_until("the replica no longer listens", || async {
            Ok(tokio::net::TcpStream::connect(replica.address()).await.is_err())
        })
        .await?;
        let mut answers = Vec::new();
        for answer in join_all(uploads.into_iter().map(RawPost::finish)).await {
            answers.push(answer.context("an upload was cut off")?);
        }
        anyhow::Ok(answers)
    };
    let (exit, answers) = tokio::join!(replica.terminate(), finishing);
    let answers = answers?;
    for (status, text) in &answers {
        assert_eq!(*status, 201, "the answer to an upload that was on its way:\n{text}");
        assert!(text.to_lowercase().contains("\r\nconnection: close\r\n"), "the connection is kept:\n{text}");
    }
    assert_eq!(answers.len(), UPLOADS, "answers");
    let exit = exit?;
    assert!(exit.status.success(), "it ended with {}, not with 0", exit.status);
    assert_eq!(board.count("select count(*) from post where comment like 'slow %'").await?, 5, "posts");

    let reader = Visitor::new(&board.url())?;
    for (_, text) in &answers {
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let posted: Posted = serde_json::from_str(body).with_context(|| format!("the answer {text}"))?;
        let document = json(&reader.get(&thread_path(&posted, "json")).await?)?;
        assert!(find_post(&document, posted.no).is_some(), "No.{} is not in its thread", posted.no);
        board.loads_pictures(&reader, &posted).await?;
    }
    board.nothing_is_half_done().await
}
