//! Promises 1, 3 and 4: replicas are killed and clients go away at any moment, and nothing is lost or half done.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use reqwest::StatusCode;
use sqlx::Connection as _;
use triptych_tests::{
    Form, Replica, Stack, Visitor,
    http::{JSON, Posted},
};

use crate::board::{Board, LIMIT, RawPost, json, metric, number, posts, small_picture, wait_until};

/// What became of the uploads that were not acknowledged.
#[derive(Default)]
struct Failed {
    /// For any reason.
    all: AtomicU64,
    /// On a connection that stood: the replica, or nginx for it, was there when the upload began.
    cut_off: AtomicU64,
}

/// Posts pictures until it is told to stop; notes what was acknowledged. Everything else may fail.
async fn keep_uploading(
    site: &str,
    uploader: u64,
    thread: i64,
    acknowledged: &Mutex<Vec<(Posted, String)>>,
    failed: &Failed,
    stop: &AtomicBool,
) -> Result<()> {
    for turn in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let comment = format!("upload {turn} of {uploader}");
        let form = Form::reply(thread, &comment).picture(&small_picture(uploader * 100_000 + turn)?);
        // A new connection every time: one that was cut is not what is tested here.
        match Visitor::new(site)?.accepting(JSON).post("b", &form).await {
            Ok(answer) if answer.status == StatusCode::CREATED => {
                acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push((answer.json()?, comment));
            }
            Ok(answer) => {
                let status = answer.status;
                ensure!(status == StatusCode::SERVICE_UNAVAILABLE, "an upload got {status}:\n{}", answer.text());
                failed.all.fetch_add(1, Ordering::AcqRel);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => {
                let refused = error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect);
                failed.all.fetch_add(1, Ordering::AcqRel);
                failed.cut_off.fetch_add(u64::from(!refused), Ordering::AcqRel);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_killed_while_uploads_run_lose_nothing_and_leave_no_hole() -> Result<()> {
    const ROUNDS: usize = 9;
    // Whether a kill meets an upload is chance, so there are more rounds for as long as none has.
    const MOST_ROUNDS: usize = 60;
    let board = Board::with(Stack::builder().env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let thread = board.thread("b").await?;
    let (acknowledged, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let failed = Failed::default();
    let mut sites: Vec<String> = board.replicas().iter().map(Replica::url).collect();
    sites.extend([board.url(), board.url()]);

    let uploading = join_all(
        (0_u64..).zip(&sites).map(|(number, site)| keep_uploading(site, number, thread, &acknowledged, &failed, &stop)),
    );
    let so_far = || acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
    let killing = async {
        let mut killed = 0;
        for round in 0..MOST_ROUNDS {
            if round >= ROUNDS && failed.cut_off.load(Ordering::Acquire) > 0 {
                break;
            }
            let before = so_far();
            wait_until("uploads are acknowledged", || async { Ok(so_far() > before + 3) }).await?;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..40))).await;
            let replica = board.replica(round % board.replicas().len())?;
            replica.kill()?;
            killed += 1;
            replica.start()?;
            replica.wait_ready().await?;
        }
        anyhow::Ok(killed)
    };
    let (uploaders, killed) = tokio::join!(uploading, async {
        let killed = killing.await;
        stop.store(true, Ordering::Release);
        killed
    });
    let killed = killed?;
    assert!(killed >= ROUNDS, "{killed} kills");
    uploaders.into_iter().collect::<Result<Vec<()>>>()?;
    let (failed, cut_off) = (failed.all.into_inner(), failed.cut_off.into_inner());
    assert!(cut_off > 0, "none of {killed} kills met an upload, so this test shows nothing ({failed} failed)");
    let acknowledged = acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(acknowledged.len() > ROUNDS * 3, "only {} uploads were acknowledged", acknowledged.len());

    // Every acknowledged post is on every replica, once, with its picture.
    let sites = board.sites()?;
    for site in &sites {
        let document = json(&site.get(&format!("/b/res/{thread}.json")).await?)?;
        let shown: BTreeSet<i64> = posts(&document).into_iter().filter_map(|post| number(post, "no")).collect();
        let lost: Vec<_> = acknowledged.iter().filter(|(posted, _)| !shown.contains(&posted.no)).collect();
        assert!(lost.is_empty(), "{} of {} posts are lost: {lost:#?}", lost.len(), acknowledged.len());
    }
    let mut loaded = 0;
    for ((posted, comment), site) in acknowledged.iter().zip(sites.iter().cycle()) {
        loaded += board.loads_pictures(site, posted).await?;
        let said = board.posts_saying(comment).await?;
        assert_eq!(said, 1, "posts that say {comment:?}");
    }
    assert_eq!(loaded, 2 * acknowledged.len(), "pictures and thumbnails, {failed} uploads having failed");
    board.nothing_is_half_done().await?;

    collects_exactly_the_orphans(&board, thread).await?;
    for ((posted, _), site) in acknowledged.iter().zip(sites.iter().skip(1).cycle()) {
        board.loads_pictures(site, posted).await.context("after the collection")?;
    }
    Ok(())
}

/// Adds to what the kills have left behind: objects of an upload that was cut off, half of one, a deleted picture,
/// and an object that is not ours.
async fn collects_exactly_the_orphans(board: &Board, thread: i64) -> Result<()> {
    let foreign = "backup/not-ours.txt";
    board.s3.put(foreign, "somebody else's").await?;
    let (one, other) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    for key in [format!("original/{one}"), format!("thumbnail/{one}"), format!("original/{other}")] {
        board.s3.put(&key, "cut off").await?;
    }
    let visitor = Visitor::new(&board.url())?;
    let form = Form::reply(thread, "deleted").field("pwd", "a password").picture(&small_picture(999_999)?);
    let posted = visitor.must_post("b", &form).await?;
    let deletion = Form::new().field("no", &posted.no.to_string()).field("pwd", "a password");
    visitor.accepting(JSON).submit("/b/delete", &deletion).await?.expect(StatusCode::OK)?;

    let orphans = board.orphans().await?;
    assert!(orphans.len() >= 3, "orphans: {orphans:#?}");
    let rows = board.count("select count(*) from blob").await?;
    let printed = board.run(&["gc", "--no-grace"]).await?;
    let kept = board.keys_of_rows().await?;
    let left: BTreeSet<String> = board.s3.keys("").await?.into_iter().collect();
    let expected: BTreeSet<String> =
        kept.iter().cloned().chain([foreign.to_owned(), "installation".to_owned()]).collect();
    assert_eq!(left, expected, "what the collection has left; it says:\n{printed}");
    assert_eq!(board.count("select count(*) from blob").await?, rows - 1, "rows: the deleted picture's is gone");
    board.s3.delete(foreign).await?;
    Ok(())
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_whole_post_or_none() -> Result<()> {
    const CUTS: usize = 12;
    const COMPLETE: usize = 12;
    let board = Board::start().await?;
    let thread = board.thread("b").await?.to_string();
    let mut comments = Vec::new();
    for cut in 0..CUTS + COMPLETE {
        let comment = format!("gone {cut}");
        let replica = board.replica(cut % board.replicas().len())?;
        let picture = small_picture(u64::try_from(cut)? + 500)?;
        let fields = [("resto", thread.as_str()), ("com", comment.as_str())];
        let mut upload = RawPost::open(replica, "b", &fields, &picture.bytes).await?;
        let length = upload.length();
        // From no byte of the body to all but one; then all of it, without waiting for the answer.
        let end = if cut < CUTS { (length - 1) * cut / (CUTS - 1) } else { length };
        upload.send_to(end).await?;
        if cut % 2 == 0 {
            // Some wait until the replica has the request in its hands.
            wait_until("the replica works on the upload", || async {
                let working = metric(replica, "triptych_http_requests_in_flight").await? > 0.0;
                Ok(working || board.posts_saying(&comment).await? > 0)
            })
            .await?;
        }
        upload.reset()?;
        comments.push((comment, cut < CUTS));
    }
    for replica in board.replicas() {
        wait_until("the replica has no request left", || async {
            Ok(metric(replica, "triptych_http_requests_in_flight").await? < 0.5)
        })
        .await?;
    }
    // Posts go on being made when nobody waits for them; ending waits for those.
    for replica in board.replicas() {
        let exit = replica.terminate().await?;
        assert!(exit.status.success(), "{} ended with {}", replica.name(), exit.status);
    }
    let mut database = board.database().await?;
    for (comment, cut) in &comments {
        let pictures: Vec<i64> = sqlx::query_scalar(
            "select (select count(*) from attachment where post_no = no) from post where comment = $1",
        )
        .bind(comment)
        .fetch_all(&mut database)
        .await?;
        let expected: &[&[i64]] = if *cut { &[&[]] } else { &[&[], &[1]] };
        assert!(expected.contains(&pictures.as_slice()), "the pictures of posts that say {comment:?}: {pictures:?}");
    }
    assert_eq!(comments.len(), CUTS + COMPLETE, "clients that went away");
    database.close().await?;
    board.keys_of_rows().await?;
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn a_post_is_finished_when_its_client_goes_away_in_the_middle_of_the_commit() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let thread = board.thread("b").await?.to_string();
    let replica = board.replica(0)?;
    let mut watching = board.database().await?;
    let waiting = "select count(*) from pg_stat_activity where application_name like 'triptych commit_wait=%' and wait_event_type = 'Lock'";
    let start = Instant::now();
    for attempt in 0.. {
        ensure!(start.elapsed() < LIMIT, "no upload was still waiting when its client had gone");
        let comment = format!("left behind {attempt}");
        // The row that every post needs last is held, so the post stops with everything else done.
        let mut holding = board.database().await?;
        let mut hold = holding.begin().await?;
        sqlx::query("select 1 from board_state for update").execute(&mut *hold).await?;
        let fields = [("resto", thread.as_str()), ("com", comment.as_str())];
        let mut upload = RawPost::open(replica, "b", &fields, &small_picture(700 + attempt)?.bytes).await?;
        upload.send_to(upload.length()).await?;
        wait_until("the post waits for the row", || async {
            // A connection of its own, because the closure may be called again.
            Ok(board.count(waiting).await? > 0)
        })
        .await?;
        upload.reset()?;
        wait_until("the replica has noticed that nobody waits", || async {
            Ok(metric(replica, "triptych_http_requests_in_flight").await? < 0.5)
        })
        .await?;
        let still: i64 = sqlx::query_scalar(waiting).fetch_one(&mut watching).await?;
        hold.rollback().await?;
        if still == 0 {
            // So slow a machine that the replica has given up waiting for the row.
            continue;
        }
        wait_until("the post is there although nobody waited for it", || async {
            Ok(board.posts_saying(&comment).await? == 1)
        })
        .await?;
        break;
    }
    assert!(board.orphans().await?.is_empty(), "the post's objects all have a row");
    board.nothing_is_half_done().await
}
