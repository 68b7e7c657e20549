//! Promise 6: more than a replica can hold waits or is told to come back; reading goes on, and memory has an end.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use reqwest::StatusCode;
use triptych_tests::{
    Form, Replica, Stack, Visitor,
    http::{HTML, JSON},
    pictures::{self, Picture},
};

use crate::board::{Board, RawPost, metric, small_picture, wait_until};

const MIB: usize = 1 << 20;
/// What a replica may have used at its worst: itself, 8 MiB of uploads a few times over, and two pictures being
/// decoded. Forty uploads at once without limits would take several times as much.
const MOST: usize = 256 * MIB;

/// The most memory that a replica has ever used.
pub(crate) fn peak_memory(replica: &Replica) -> Result<usize> {
    let pid = replica.pid().context("the replica does not run")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kibibytes: usize = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

/// The same photograph with other colours, as other bytes of the same size: the last step of its first quantisation
/// table is another one. Making a new photograph takes seconds.
fn variant(photograph: &Picture, number: u8) -> Result<Picture> {
    let mut bytes = photograph.bytes.to_vec();
    let table = bytes.windows(2).position(|marker| marker == [0xff, 0xdb]).context("no quantisation table")?;
    // Behind the marker: two bytes of length, one that names the table, and 64 steps.
    *bytes.get_mut(table + 2 + 2 + 64).context("the quantisation table is cut off")? = 100 + number;
    Ok(Picture { bytes: bytes.into(), ..photograph.clone() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_uploads_than_memory_holds_wait_or_come_back_and_reading_goes_on() -> Result<()> {
    const UPLOADS: u8 = 40;
    const SLOW: u8 = 4;
    let photograph = pictures::photograph(1)?;
    // Room for as many uploads as are slow below, with a little for what stands around each picture.
    let memory = usize::from(SLOW) * (photograph.bytes.len() / 1024 + 3);
    let builder = Stack::builder()
        .replicas(1)
        .env("TRIPTYCH_DRAIN_DELAY", "0s")
        .env("TRIPTYCH_MAX_FILES", "2")
        .env("TRIPTYCH_MAX_FILE_SIZE", "3MiB")
        .env("TRIPTYCH_UPLOAD_MEMORY", &format!("{memory}KiB"));
    let board = Board::with(builder).await?;
    let thread = board.thread("b").await?;
    let replica = board.replica(0)?;
    let visitor = Visitor::new(&replica.url())?;

    // Uploads that take their time hold all the memory that there is.
    let number = thread.to_string();
    let mut slow = Vec::new();
    for turn in 0..SLOW {
        let comment = format!("slow {turn}");
        let fields = [("resto", number.as_str()), ("com", comment.as_str())];
        let mut upload = RawPost::open(replica, "b", &fields, &variant(&photograph, turn)?.bytes).await?;
        upload.send_to(upload.length() / 2).await?;
        slow.push(upload);
    }
    wait_until("the replica has the slow uploads in its hands", || async {
        Ok(metric(replica, "triptych_http_requests_in_flight").await? > 3.5)
    })
    .await?;
    let form = Form::reply(thread, "one too many").picture(&variant(&photograph, SLOW)?);
    for accept in [HTML, JSON] {
        let answer = visitor.accepting(accept).post("b", &form).await?;
        answer.expect_polite_refusal(accept).context("an upload for which there is no memory")?;
        if accept == HTML {
            let typed = answer.texts("textarea[name=com]")?;
            assert!(typed.iter().any(|typed| typed.trim() == "one too many"), "what was typed is lost: {typed:?}");
        }
        visitor.get(&format!("/b/res/{thread}.html")).await?.expect(StatusCode::OK)?;
    }
    assert_eq!(board.posts_saying("one too many").await?, 0, "posts of those who were told to come back");
    // One after the other, so that none has to wait for the others' thumbnails.
    for upload in slow {
        let (status, text) = upload.finish().await?;
        assert_eq!(status, 201, "a slow upload:\n{text}");
    }

    // Now everybody at once, and somebody who only reads.
    let done = AtomicBool::new(false);
    let uploading = async {
        let uploads = (0..UPLOADS).map(|upload| {
            let form = Form::reply(thread, &format!("flood {upload}"));
            let form = variant(&photograph, 10 + upload).map(|picture| form.picture(&picture));
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
    let peak = peak_memory(replica)?;
    ensure!(peak < MOST, "the replica has used {} MiB; {} MiB are the limit", peak / MIB, MOST / MIB);

    // And when it is over, everybody is welcome again.
    visitor.must_post("b", &Form::reply(thread, "calm").picture(&small_picture(3)?)).await?;
    assert!(board.orphans().await?.is_empty(), "what was put for nothing was taken back");
    board.nothing_is_half_done().await
}
