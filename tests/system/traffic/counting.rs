//! What is counted is what went over the wire, to the byte.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use triptych_tests::{
    CountingVisitor, Form, Stack, Visitor, Wire,
    counting_visitor::{Counted, by_kind},
    pictures,
    raw_form::RAW_FORM,
};

use super::in_database;
use crate::board::{Board, raw_post, wait_until};

/// Ends all replicas in good order, so that everything that they counted is in the database.
async fn hand_on(board: &Board) -> Result<()> {
    for replica in board.replicas() {
        replica.terminate().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_replica_counts_is_what_went_over_the_wire() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    // Whoever wants to know whether it is there is no visitor, and what makes the stack ready has been asked already.
    let mut ledger = CountingVisitor::open(&board.replica(0)?.address()).await?;
    // The directory of boards is read with the first page.
    ledger.status(("page", ""), "/", 200).await?;
    ledger.status(("refused", ""), "/livez/x", 404).await?;
    let probe = ledger.wire.ask("GET", "/livez", &[]).await?;
    ensure!(probe.status == 200, "{}", probe.head);
    (ledger.wire.sent, ledger.wire.received) = (0, 0);
    let files = ledger.visit(1).await?;
    ledger.visit_files(&files).await?;
    let url = board.replica(0)?.metrics_url();
    let wanted = by_kind(&ledger.kinds);
    wait_until("metrics tell what went over the wire", || async { Ok(in_metrics(&url, "app").await? == wanted) })
        .await?;
    hand_on(&board).await?;
    for period in ["hour", "day"] {
        assert_eq!(in_database(&board, "app", period).await?, ledger.kinds, "by {period}");
    }
    Ok(())
}

#[tokio::test]
async fn behind_nginx_every_byte_of_a_visitor_counts_once_where_it_passes() -> Result<()> {
    let board = Board::start().await?;
    let address = board.url().trim_start_matches("http://").to_owned();
    for replica in board.replicas() {
        Visitor::new(&replica.url())?.get("/boards.json").await?;
    }
    let before = of_visitors_themselves(&board).await?;
    let mut pages = CountingVisitor::open(&address).await?;
    let mut files = CountingVisitor::open(&address).await?;
    for seed in 0..3 {
        let found = pages.visit(10 + seed).await?;
        for _ in 0..2 {
            files.visit_files(&found).await?;
        }
        // Other ways to write the same addresses.
        let [media, _, style] = &found;
        files.status(("picture", "b"), &format!("/{media}"), 200).await?;
        files.status(("picture", "b"), &media.replacen("media", "%6dedia", 1), 200).await?;
        files.status(("asset", ""), &style.replacen("static", "%73tatic", 1), 200).await?;
    }
    // A visitor who goes away in the middle of a picture.
    let large = pictures::png(77, 1800, 1800)?;
    let size = large.bytes.len();
    let posted = Visitor::new(&board.replica(0)?.url())?.must_post("b", &Form::thread("large").picture(&large)).await?;
    let thread = Visitor::new(&board.replica(0)?.url())?.get(&format!("/b/res/{}.html", posted.no)).await?.text();
    let (_, rest) = thread.split_once("/media/").context("the picture is on the page")?;
    let media = format!("/media/{}", rest.split_once('"').context("an address ends")?.0);
    files.wire.begin("GET", &media, &[]).await?;
    let head = files.wire.head().await?;
    ensure!(head.status == 200, "{}", head.head);
    let sent = std::mem::take(&mut files.wire.sent);
    let rest_of_files = files.kinds.clone();
    let (_, came) = files.wire.leave().await?;

    // No replica was reached: nginx says so itself.
    let mut errors = CountingVisitor::open(&address).await?;
    hand_on(&board).await?;
    errors.status(("refused", ""), "/b/", 503).await?;
    board.replica(0)?.start()?;
    board.replica(0)?.wait_ready().await?;
    // Its workers write what they still hold.
    board.nginx.stop(Duration::from_secs(5)).await?;
    let url = board.meter.metrics_url();
    // With the picture that was broken off and the error.
    let all = rest_of_files.values().map(|counted| counted.requests).sum::<i64>() + 2;
    wait_until("it is read", || async {
        let requests = in_metrics(&url, "web").await?.values().map(|counted| counted.requests).sum::<i64>();
        Ok(requests == all)
    })
    .await?;
    let metrics = in_metrics(&url, "web").await?;
    board.meter.terminate().await?;

    let mut counted = in_database(&board, "app", "day").await?;
    for (of, amount) in before {
        let counted = counted.entry(of).or_default();
        counted.requests -= amount.requests;
        counted.bytes_in -= amount.bytes_in;
        counted.bytes_out -= amount.bytes_out;
    }
    // The large picture was posted, and looked up, past nginx.
    let ours = |counted: &BTreeMap<(String, String), Counted>, kind: &str, board: &str| {
        counted.get(&(kind.to_owned(), board.to_owned())).copied().unwrap_or_default()
    };
    for kind in ["api", "refused"] {
        for board in ["", "b"] {
            assert_eq!(ours(&counted, kind, board), ours(&pages.kinds, kind, board), "{kind} of {board:?}");
        }
    }
    assert_eq!(ours(&counted, "page", ""), ours(&pages.kinds, "page", ""));
    assert_eq!(ours(&counted, "page", "b").requests, ours(&pages.kinds, "page", "b").requests + 1);
    assert_eq!(ours(&counted, "upload", "b").requests, ours(&pages.kinds, "upload", "b").requests + 1);
    for kind in ["picture", "thumbnail", "asset"] {
        assert_eq!(ours(&counted, kind, "b"), Counted::default(), "{kind}: what nginx fetches is no visitor's");
    }

    let web = in_database(&board, "web", "day").await?;
    let mut expected = rest_of_files;
    for (of, amount) in errors.kinds {
        expected.entry(of).or_default().add(
            amount.requests,
            u64::try_from(amount.bytes_in)?,
            u64::try_from(amount.bytes_out)?,
        )?;
    }
    expected.entry(("picture".to_owned(), "b".to_owned())).or_default().add(1, sent, came)?;
    let broken_off = ours(&web, "picture", "b").bytes_out - ours(&expected, "picture", "b").bytes_out;
    assert!((0..i64::try_from(size)?).contains(&broken_off), "sent beyond what came: {broken_off} of {size}");
    expected.entry(("picture".to_owned(), "b".to_owned())).or_default().bytes_out += broken_off;
    assert_eq!(web, expected);
    assert_eq!(metrics, by_kind(&web), "metrics");
    Ok(())
}

/// What metrics tell of a tier, by kind.
async fn in_metrics(url: &str, tier: &str) -> Result<BTreeMap<String, Counted>> {
    let text = Visitor::new(url)?.get("").await?.text();
    let mut found = BTreeMap::<String, Counted>::new();
    for line in text.lines().filter(|line| line.contains(&format!("tier=\"{tier}\""))) {
        let label = |name: &str| Some(line.split_once(&format!("{name}=\""))?.1.split_once('"')?.0);
        let value: i64 = line.rsplit(' ').next().context("a value")?.parse()?;
        let counted = found.entry(label("kind").context("a kind")?.to_owned()).or_default();
        match label("direction") {
            Some("in") => counted.bytes_in += value,
            Some("out") => counted.bytes_out += value,
            _ => counted.requests += value,
        }
    }
    Ok(found)
}

/// Makes replicas write down what they have counted until now, and reads it.
async fn of_visitors_themselves(board: &Board) -> Result<BTreeMap<(String, String), Counted>> {
    for replica in board.replicas() {
        replica.terminate().await?;
        replica.start()?;
        replica.wait_ready().await?;
    }
    in_database(board, "app", "day").await
}

#[tokio::test]
async fn what_breaks_off_counts_as_far_as_it_came() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let replica = board.replica(0)?;
    let visitor = Visitor::new(&replica.url())?;
    visitor.must_post("b", &Form::thread("to watch").picture(&pictures::jpeg(5, 64, 64)?)).await?;
    let before = of_visitors_themselves(&board).await?.remove(&("refused".into(), String::new())).unwrap_or_default();

    // A stream is counted while it goes on.
    let mut stream = Wire::connect(&replica.address()).await?;
    stream.begin("GET", "/b/events", &[]).await?;
    stream.head().await?;
    stream.read_some(10).await?;

    // An upload of which only a part comes.
    let mut upload = Wire::connect(&replica.address()).await?;
    let body = raw_post(&[("com", "never whole")], &vec![7; 200_000]);
    let length = body.len().to_string();
    let headers = [("content-type", RAW_FORM), ("content-length", length.as_str())];
    upload.begin("POST", "/b/post", &headers).await?;
    upload.send(body.get(..100_000).context("half of it")?).await?;
    let (sent, _) = upload.leave().await?;

    replica.terminate().await?;
    let (stream_sent, stream_received) = stream.leave().await?;
    let counted = in_database(&board, "app", "day").await?;
    let events = counted.get(&("events".to_owned(), "b".to_owned())).context("the stream is not counted")?;
    assert_eq!((events.requests, events.bytes_in), (1, i64::try_from(stream_sent)?));
    assert_eq!(events.bytes_out, i64::try_from(stream_received)?, "bytes of the stream, its end included");
    let refused: Vec<&Counted> = counted.iter().filter(|((kind, _), _)| kind == "refused").map(|(_, it)| it).collect();
    let bytes_in = refused.iter().map(|refused| refused.bytes_in).sum::<i64>() - before.bytes_in;
    assert_eq!(bytes_in, i64::try_from(sent)?, "the part of the upload that came: {counted:?}");
    Ok(())
}
