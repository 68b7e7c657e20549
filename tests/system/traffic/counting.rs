//! What is counted is what went over the wire, to the byte.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use triptych_tests::{Form, Stack, Visitor, Wire, pictures, wire::WireAnswer};

use super::{Counted, in_database};
use crate::board::Board;

const BOUNDARY: &str = "----triptych-test-boundary";

/// A visitor who keeps a ledger of its own.
struct Ledger {
    wire: Wire,
    kinds: BTreeMap<(String, String), Counted>,
}

impl Ledger {
    async fn open(address: &str) -> Result<Self> {
        Ok(Self { wire: Wire::connect(address).await?, kinds: BTreeMap::new() })
    }

    /// Notes what went over the wire since the last time.
    fn note(&mut self, kind: &str, board: &str) -> Result<()> {
        let (sent, received) = (std::mem::take(&mut self.wire.sent), std::mem::take(&mut self.wire.received));
        self.kinds.entry((kind.to_owned(), board.to_owned())).or_default().add(1, sent, received)
    }

    async fn get(&mut self, (kind, board): (&str, &str), path: &str, headers: &[(&str, &str)]) -> Result<WireAnswer> {
        let answer = self.wire.ask("GET", path, headers).await.with_context(|| format!("GET {path}"))?;
        self.note(kind, board)?;
        Ok(answer)
    }

    async fn status(&mut self, of: (&str, &str), path: &str, status: u16) -> Result<()> {
        let answer = self.get(of, path, &[]).await?;
        ensure!(answer.status == status, "{path} is answered with {}", answer.head);
        Ok(())
    }
}

/// A post as the bytes of a form.
fn form(fields: &[(&str, &str)], picture: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.as_bytes());
    }
    let file = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"upfile\"; filename=\"a.jpg\"\r\n\
         Content-Type: image/jpeg\r\n\r\n"
    );
    body.extend(file.as_bytes());
    body.extend(picture);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Everything that a visitor can ask for, each thing at least once.
async fn visit(ledger: &mut Ledger, seed: u64, with_pictures: bool) -> Result<()> {
    let picture = pictures::jpeg(seed, 640, 480)?.bytes;
    let body = form(&[("com", "counted")], &picture);
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let posted = ledger.wire.post("/b/post", &content_type, &body).await?;
    ensure!(posted.status == 201, "the post is answered with {}", posted.head);
    ledger.note("upload", "b")?;
    let posted: serde_json::Value = serde_json::from_slice(&posted.body)?;
    let no = posted.get("no").context("a post has a number")?;
    let thread = format!("/b/res/{no}.html");

    ledger.status(("page", ""), "/", 200).await?;
    ledger.status(("page", "b"), "/b/", 200).await?;
    ledger.status(("page", "b"), &format!("/b/thread/{no}"), 301).await?;
    let page = ledger.get(("page", "b"), &thread, &[]).await?;
    ensure!(page.status == 200, "{}", page.head);
    let compressed = ledger.get(("page", "b"), &thread, &[("accept-encoding", "gzip")]).await?;
    ensure!(compressed.header("content-encoding") == Some("gzip"), "{}", compressed.head);
    let tag = page.header("etag").context("a page has a tag")?.to_owned();
    let unchanged = ledger.get(("page", "b"), &thread, &[("if-none-match", &tag)]).await?;
    ensure!(unchanged.status == 304, "{}", unchanged.head);
    let head = ledger.wire.ask("HEAD", &thread, &[]).await?;
    ensure!(head.status == 200, "{}", head.head);
    ledger.note("page", "b")?;
    ledger.status(("api", "b"), &format!("/b/res/{no}.json"), 200).await?;
    ledger.status(("api", ""), "/boards.json", 200).await?;
    ledger.status(("refused", "b"), "/b/res/2000000000.html", 404).await?;
    ledger.status(("refused", ""), "/none/", 404).await?;
    ledger.status(("refused", ""), "/nothing/at/all", 404).await?;
    let broken = ledger.wire.post("/b/post", &content_type, &form(&[], b"no picture")).await?;
    ensure!((400..500).contains(&broken.status), "{}", broken.head);
    ledger.note("refused", "b")?;
    if with_pictures {
        let text = String::from_utf8(page.body)?;
        let address = |before: &str| -> Result<String> {
            let (_, rest) = text.split_once(before).with_context(|| format!("no {before} in the page"))?;
            Ok(format!("{before}{}", rest.split_once('"').context("an address ends")?.0))
        };
        let (media, thumb, style) = (address("/media/")?, address("/thumb/")?, address("/static/style.")?);
        ledger.status(("picture", ""), &media, 200).await?;
        let part = ledger.get(("picture", ""), &media, &[("range", "bytes=10-99")]).await?;
        ensure!(part.status == 206 && part.body.len() == 90, "{}", part.head);
        ledger.status(("thumbnail", ""), &thumb, 200).await?;
        ledger.status(("asset", ""), &style, 200).await?;
    }
    Ok(())
}

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
    let mut ledger = Ledger::open(&board.replica(0)?.address()).await?;
    // The directory of boards is read with the first page.
    ledger.status(("page", ""), "/", 200).await?;
    ledger.status(("refused", ""), "/livez/x", 404).await?;
    let probe = ledger.wire.ask("GET", "/livez", &[]).await?;
    ensure!(probe.status == 200, "{}", probe.head);
    (ledger.wire.sent, ledger.wire.received) = (0, 0);
    visit(&mut ledger, 1, true).await?;
    hand_on(&board).await?;
    for period in ["hour", "day"] {
        assert_eq!(in_database(&board, "app", period).await?, ledger.kinds, "by {period}");
    }
    Ok(())
}

#[tokio::test]
async fn behind_nginx_what_counts_is_what_the_visitor_sent_and_received() -> Result<()> {
    let board = Board::start().await?;
    let address = board.url().trim_start_matches("http://").to_owned();
    for replica in board.replicas() {
        Visitor::new(&replica.url())?.get("/boards.json").await?;
    }
    let before = of_visitors_themselves(&board).await?;
    let mut ledger = Ledger::open(&address).await?;
    for seed in 0..3 {
        visit(&mut ledger, 10 + seed, false).await?;
    }
    hand_on(&board).await?;
    let mut counted = in_database(&board, "app", "day").await?;
    for (of, amount) in before {
        let counted = counted.entry(of).or_default();
        counted.requests -= amount.requests;
        counted.bytes_in -= amount.bytes_in;
        counted.bytes_out -= amount.bytes_out;
    }
    counted.retain(|_, amount| *amount != Counted::default());
    assert_eq!(counted, ledger.kinds);
    Ok(())
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
    let body = form(&[("com", "never whole")], &vec![7; 200_000]);
    let length = body.len().to_string();
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers = [("content-type", content_type.as_str()), ("content-length", length.as_str())];
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
