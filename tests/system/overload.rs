//! Promise 6: more than a replica can hold waits or is told to come back; reading goes on, and memory has an end.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use reqwest::StatusCode;
use triptych_tests::{
    Form, Replica, Stack, Visitor,
    http::{HTML, JSON},
    pictures::{self, Picture},
};

use crate::board::{Board, RawPost, in_time, metric, small_picture, wait_until};

const MIB: usize = 1 << 20;
const FILES: usize = 2;
const FILE_BYTES: usize = 8 * MIB;
/// Room for one of the largest posts: each file once, and one of them once more.
const UPLOAD_MEMORY: usize = (FILES + 1) * FILE_BYTES;
/// Room for texts that are being posted.
const TEXT_MEMORY: usize = 16 * MIB;
/// What the server keeps of a connection before we take it.
const CONNECTION: usize = MIB / 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_replica_holds_waits_or_comes_back_and_memory_has_an_end() -> Result<()> {
    let builder = Stack::builder()
        .replicas(1)
        .env("TRIPTYCH_DRAIN_DELAY", "0s")
        .env("TRIPTYCH_MAX_FILES", &FILES.to_string())
        .env("TRIPTYCH_MAX_FILE_SIZE", &FILE_BYTES.to_string())
        .env("TRIPTYCH_UPLOAD_MEMORY", &UPLOAD_MEMORY.to_string())
        // However busy this machine is, uploads that stand still are not given up.
        .env("TRIPTYCH_FORM_TIMEOUT", "1h");
    let board = Board::with(builder).await?;
    // In a process that has done nothing else yet.
    memory_of_floods_has_an_end(&board).await.context("memory")?;
    who_is_silent_is_in_nobodys_way(&board).await.context("silent clients")?;
    what_finds_no_memory_is_refused_and_texts_go_through(&board).await.context("no memory")?;
    posts_of_the_largest_size_all_get_through(&board).await.context("equal sizes")?;
    reading_goes_on_while_everybody_uploads(&board).await.context("a flood")?;

    // And when it is over, everybody is welcome again.
    let visitor = Visitor::new(&board.replica(0)?.url())?;
    let thread = board.thread("b").await?;
    visitor.must_post("b", &Form::reply(thread, "calm").picture(&small_picture(3)?)).await?;
    nothing_is_held(board.replica(0)?).await?;
    assert!(board.orphans().await?.is_empty(), "what was put for nothing was taken back");
    board.nothing_is_half_done().await
}

/// A value from the status of a replica's process, in bytes: `VmRSS` is the memory that it has, `VmHWM` the most that it
/// has had.
pub(crate) fn memory(replica: &Replica, name: &str) -> Result<usize> {
    let pid = replica.pid().context("the replica does not run")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).context("no such value")?;
    let kibibytes: usize = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

/// Bytes of a budget that are held.
async fn held(replica: &Replica, budget: &str) -> Result<usize> {
    let held = metric(replica, &format!("triptych_{budget}_memory_bytes")).await?;
    Ok(format!("{held:.0}").parse()?)
}

async fn nothing_is_held(replica: &Replica) -> Result<()> {
    wait_until("all memory of forms is given back", || async {
        Ok(held(replica, "upload").await? + held(replica, "text").await? == 0)
    })
    .await
}

/// A small picture with so much behind its end that it is as large as a file may be. What is behind is not stored.
fn largest(seed: u64) -> Result<Picture> {
    let picture = small_picture(seed)?;
    let mut bytes = picture.bytes.to_vec();
    bytes.resize(FILE_BYTES, 0);
    Ok(Picture { bytes: bytes.into(), ..picture })
}

/// As large as a file may be, and stored as a whole, because nobody looks into the second frame of an animation.
fn large_animation(seed: [u8; 3]) -> Picture {
    const BLOCK: [u8; 256] = [0xff; 256];
    let first: [&[u8]; 4] = [
        b"GIF89a\x01\0\x01\0\x80\0\0\x80\x80\x80",
        &seed,
        b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0",
        b"\x2c\0\0\0\0\x01\0\x01\0\0\x02",
    ];
    let mut bytes = first.concat();
    while bytes.len() + BLOCK.len() + 2 <= FILE_BYTES {
        bytes.extend(BLOCK);
    }
    bytes.extend(b"\0\x3b");
    Picture { name: "large.gif".into(), declared: "image/gif", bytes: bytes.into() }
}

async fn memory_of_floods_has_an_end(board: &Board) -> Result<()> {
    const UPLOADS: u8 = 6;
    const TEXTS: usize = 30;
    let replica = board.replica(0)?;
    let visitor = Visitor::new(&replica.url())?;
    let thread = board.thread("b").await?;
    let uploads = (0..UPLOADS).map(|upload| {
        let form = (0..2).fold(Form::thread("large"), |form, file| form.picture(&large_animation([upload, file, 0])));
        let visitor = visitor.accepting(JSON);
        async move { visitor.post("b", &form).await.map(|answer| (answer, StatusCode::CREATED)) }
    });
    // Too long, and five times as long in HTML.
    let text = Form::reply(thread, &"'\"<&>".repeat(400_000));
    let texts = (0..TEXTS)
        .map(|_| async { visitor.post("b", &text).await.map(|answer| (answer, StatusCode::PAYLOAD_TOO_LARGE)) });
    let before = memory(replica, "VmRSS")?;
    let (uploads, texts) = tokio::join!(join_all(uploads), join_all(texts));
    for answer in uploads.into_iter().chain(texts) {
        let (answer, status) = answer?;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            answer.expect(status)?;
        }
    }
    let most = UPLOAD_MEMORY + TEXT_MEMORY + (usize::from(UPLOADS) + TEXTS) * CONNECTION + 16 * MIB;
    let grown = memory(replica, "VmHWM")?.saturating_sub(before);
    ensure!(grown < most, "the replica has grown by {} MiB; {} MiB are the limit", grown / MIB, most / MIB);
    nothing_is_held(replica).await
}

async fn who_is_silent_is_in_nobodys_way(board: &Board) -> Result<()> {
    let replica = board.replica(0)?;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(RawPost::open(replica, "b", &[("com", "silent")], &largest(100)?.bytes).await?);
    }
    wait_until("the replica has the heads of the silent ones", || async {
        Ok(metric(replica, "triptych_http_requests_in_flight").await? > 2.5)
    })
    .await?;
    let form = Form::thread("behind silent ones").picture(&largest(101)?).picture(&largest(102)?);
    Visitor::new(&replica.url())?.must_post("b", &form).await?;
    assert_eq!(held(replica, "upload").await?, 0, "nothing has come of the silent ones");
    silent.into_iter().try_for_each(RawPost::reset)
}

async fn what_finds_no_memory_is_refused_and_texts_go_through(board: &Board) -> Result<()> {
    let replica = board.replica(0)?;
    let visitor = Visitor::new(&replica.url())?;
    let thread = board.thread("b").await?;
    let number = thread.to_string();
    let fields = [("resto", number.as_str()), ("com", "slow")];
    let mut slow = RawPost::open(replica, "b", &fields, &largest(200)?.bytes).await?;
    slow.send_to(slow.length() - 10).await?;
    wait_until("a slow upload holds what it has sent, twice", || async {
        Ok(held(replica, "upload").await? == 2 * FILE_BYTES)
    })
    .await?;
    let form = Form::reply(thread, "one too many").picture(&largest(201)?).picture(&largest(202)?);
    for accept in [HTML, JSON] {
        let answer = visitor.accepting(accept).post("b", &form).await?;
        answer.expect_polite_refusal(accept).context("an upload for which there is no memory")?;
        if accept == HTML {
            assert_eq!(answer.texts("textarea[name=com]")?, ["one too many"], "what was typed is lost");
        }
        visitor.get(&format!("/b/res/{thread}.html")).await?.expect(StatusCode::OK)?;
        visitor.must_post("b", &Form::reply(thread, &format!("only text, {accept}"))).await?;
    }
    assert_eq!(board.posts_saying("one too many").await?, 0, "posts of those who were told to come back");
    visitor.must_post("b", &Form::reply(thread, "small").picture(&small_picture(203)?)).await?;
    let (status, text) = slow.finish().await?;
    assert_eq!(status, 201, "a slow upload:\n{text}");
    nothing_is_held(replica).await
}

async fn posts_of_the_largest_size_all_get_through(board: &Board) -> Result<()> {
    let replica = board.replica(0)?;
    let visitor = Visitor::new(&replica.url())?.accepting(JSON);
    let thread = board.thread("b").await?;
    let posts = (0..4).map(|client| {
        let visitor = visitor.clone();
        async move {
            let pictures = (largest(300 + client)?, largest(400 + client)?);
            let form = Form::reply(thread, &format!("equal {client}")).picture(&pictures.0).picture(&pictures.1);
            loop {
                let answer = visitor.post("b", &form).await?;
                if answer.status == StatusCode::CREATED {
                    return Ok(());
                }
                answer.expect_polite_refusal(JSON)?;
                tokio::time::sleep(Duration::from_secs(answer.header("Retry-After").parse()?)).await;
            }
        }
    });
    in_time("everybody gets through", try_join_all(posts)).await?;
    assert_eq!(board.count("select count(*) from post where comment like 'equal %'").await?, 4);
    nothing_is_held(replica).await
}

/// The same photograph with other colours, as other bytes of the same size: the last step of its first quantisation
/// table is another one. Making a new photograph takes seconds.
fn variant(photograph: &Picture, number: u8) -> Result<Picture> {
    let mut bytes = photograph.bytes.to_vec();
    let table = bytes.windows(2).position(|marker| marker == [0xff, 0xdb]).context("no quantisation table")?;
    // Behind the marker: two bytes of length, one that names the table, and 64 steps.
    *bytes.get_mut(table + 2 + 2 + 64).context("the quantisation table is cut off")? = 100 + number;
    Ok(Picture { bytes: Bytes::from(bytes), ..photograph.clone() })
}

async fn reading_goes_on_while_everybody_uploads(board: &Board) -> Result<()> {
    const UPLOADS: u8 = 40;
    let photograph = pictures::photograph(1)?;
    let thread = board.thread("b").await?;
    let visitor = Visitor::new(&board.replica(0)?.url())?;
    let done = AtomicBool::new(false);
    let uploading = async {
        let uploads = (0..UPLOADS).map(|upload| {
            let form = Form::reply(thread, &format!("flood {upload}"));
            let form = variant(&photograph, upload).map(|picture| form.picture(&picture));
            let visitor = visitor.accepting(JSON);
            async move { visitor.post("b", &form?).await }
        });
        let answers = join_all(uploads).await;
        done.store(true, Ordering::Release);
        answers
    };
    let reading = async {
        let mut read = 0;
        while !done.load(Ordering::Acquire) {
            visitor.get(&format!("/b/res/{thread}.html")).await?.expect(StatusCode::OK).context("reading meanwhile")?;
            read += 1;
        }
        anyhow::Ok(read)
    };
    let (answers, read) = tokio::join!(uploading, reading);
    assert!(read? > 0, "nothing was read while uploads ran");
    let (mut made, mut refused) = (0, 0);
    for answer in answers {
        let answer = answer?;
        if answer.status == StatusCode::CREATED {
            made += 1;
        } else {
            answer.expect_polite_refusal(JSON)?;
            refused += 1;
        }
    }
    assert_eq!(made + refused, i32::from(UPLOADS), "answers");
    assert!(made > 0, "all {refused} uploads were refused");
    let rows = board.count("select count(*) from post where comment like 'flood %'").await?;
    assert_eq!(rows, i64::from(made), "posts: those that were acknowledged and no others");
    Ok(())
}
