//! Forms that stop or crawl on their way are ended: with an answer, with the text that came, and for good.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    net::tcp::OwnedWriteHalf,
};
use triptych_tests::{
    Answer, Form, Replica, Stack, Visitor,
    http::{HTML, JSON},
};

use crate::board::{Board, in_time, metric, small_picture, wait_until};
use crate::shared::{check_error_page, check_problem};

const BOUNDARY: &str = "----slow";
const MULTIPART: &str = "multipart/form-data; boundary=----slow";
const URL_ENCODED: &str = "application/x-www-form-urlencoded";

/// A form that never arrives whole.
struct Slow {
    what: &'static str,
    content_type: &'static str,
    chunked: bool,
    accept: &'static str,
    /// Sent at once.
    beginning: Vec<u8>,
    /// Goes on with a byte now and then, as long as anybody listens.
    crawls: bool,
    status: u16,
    code: &'static str,
    /// What is in the comment of the form that comes back.
    comment: &'static str,
}

/// Parts of a form, the last one without an end.
fn parts(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in parts {
        let file = if *name == "upfile" { "; filename=\"a.jpg\"" } else { "" };
        bytes.extend(
            format!("\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes(),
        );
        bytes.extend(*value);
    }
    bytes
}

/// Its own framing, if it has one.
async fn send(write: &mut OwnedWriteHalf, chunked: bool, bytes: &[u8]) -> Result<()> {
    if chunked && !bytes.is_empty() {
        write.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        write.write_all(bytes).await?;
        write.write_all(b"\r\n").await?;
    } else {
        write.write_all(bytes).await?;
    }
    Ok(())
}

/// Sends a form as slowly as it is; answers what comes until the other end closes the connection.
async fn until_closed(replica: &Replica, slow: &Slow) -> Result<Answer> {
    let (mut read, mut write) = TcpStream::connect(replica.address()).await?.into_split();
    let length = if slow.chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 1000000" };
    let head = format!(
        "POST /b/post HTTP/1.1\r\nHost: {}\r\nAccept: {}\r\nContent-Type: {}\r\n{length}\r\n\r\n",
        replica.address(),
        slow.accept,
        slow.content_type,
    );
    write.write_all(head.as_bytes()).await?;
    send(&mut write, slow.chunked, &slow.beginning).await?;
    let (crawls, chunked) = (slow.crawls, slow.chunked);
    let sending = tokio::spawn(async move {
        while crawls && send(&mut write, chunked, b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Kept open: it is not us who ends it.
        std::future::pending::<()>().await;
        drop(write);
    });
    let mut bytes = Vec::new();
    let read = in_time("the connection is closed", async {
        // One that goes on sending may be cut off after the answer.
        match read.read_to_end(&mut bytes).await {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => Err(error.into()),
            _ => Ok(()),
        }
    })
    .await;
    sending.abort();
    read?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let end = bytes.windows(4).position(|end| end == b"\r\n\r\n").context("no answer")?;
    let (head, body) = (bytes.get(..end).unwrap_or_default(), bytes.get(end + 4..).unwrap_or_default());
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    Ok(Answer { status: StatusCode::from_bytes(status.as_bytes())?, headers, body: body.to_vec().into() })
}

fn slow_forms() -> Vec<Slow> {
    let in_the_file = parts(&[("com", "밤하늘 & more".as_bytes()), ("upfile", &vec![1; 300_000])]);
    let in_the_text = parts(&[("name", b"Kim"), ("com", "밤하늘 & mor".as_bytes())]);
    let too_many = parts(&[("com", b"wrong"), ("upfile", b"1"), ("upfile", b"2"), ("upfile", b"3"), ("upfile", b"4")]);
    let base = Slow {
        what: "stops in the middle of a file",
        content_type: MULTIPART,
        chunked: false,
        accept: HTML,
        beginning: in_the_file,
        crawls: false,
        status: 408,
        code: "too_slow",
        comment: "밤하늘 & more",
    };
    let forms = [
        Slow { beginning: base.beginning.clone(), ..base },
        Slow { what: "sends nothing", beginning: Vec::new(), comment: "", ..base },
        Slow {
            what: "stops in the middle of a text", beginning: in_the_text.clone(), comment: "밤하늘 & mor", ..base
        },
        Slow { what: "crawls in a file", crawls: true, beginning: base.beginning.clone(), ..base },
        Slow { what: "crawls in a text", crawls: true, beginning: in_the_text, comment: "밤하늘 & mor", ..base },
        Slow {
            what: "stops in a URL-encoded form",
            content_type: URL_ENCODED,
            beginning: b"name=Kim&com=%EB%B0%A4+and+mor%E".to_vec(),
            comment: "밤 and mor",
            ..base
        },
        // What was wrong before is told; it is not waited for longer than for others.
        Slow {
            what: "crawls and is wrong",
            crawls: true,
            beginning: too_many,
            status: 422,
            code: "too_many_files",
            comment: "wrong",
            ..base
        },
    ];
    let variants = [(false, HTML), (true, HTML), (false, JSON), (true, JSON)];
    let vary = |form: &Slow| {
        variants.map(|(chunked, accept)| Slow { chunked, accept, beginning: form.beginning.clone(), ..*form })
    };
    forms.iter().flat_map(vary).collect()
}

#[tokio::test]
async fn a_form_that_stops_or_crawls_is_ended_and_its_text_comes_back() -> Result<()> {
    let builder = Stack::builder()
        .replicas(1)
        .env("TRIPTYCH_DRAIN_DELAY", "0s")
        .env("TRIPTYCH_MAX_FILES", "2")
        .env("TRIPTYCH_FORM_TIMEOUT", "4s");
    let board = Board::with(builder).await?;
    let replica = board.replica(0)?;
    let forms = slow_forms();
    let answers = try_join_all(forms.iter().map(|slow| async move {
        until_closed(replica, slow).await.with_context(|| format!("one that {}", slow.what))
    }))
    .await?;
    for (slow, answer) in forms.iter().zip(answers) {
        check(slow, &answer).with_context(|| format!("one that {}, chunked: {}", slow.what, slow.chunked))?;
    }
    wait_until("nothing of them is held", || async {
        let held = metric(replica, "triptych_upload_memory_bytes").await?;
        Ok(held + metric(replica, "triptych_text_memory_bytes").await? < 0.5)
    })
    .await?;
    assert_eq!(board.count("select count(*) from post").await?, 0);
    let form = Form::thread("quick").picture(&small_picture(1)?);
    Visitor::new(&replica.url())?.must_post("b", &form).await.map(drop)
}

fn check(slow: &Slow, answer: &Answer) -> Result<()> {
    ensure!(answer.header("Connection").eq_ignore_ascii_case("close"), "the connection is kept: {:?}", answer.headers);
    let length: usize = answer.header("Content-Length").parse()?;
    ensure!(answer.body.len() == length, "of {length} bytes {} have come", answer.body.len());
    if slow.accept == JSON {
        return check_problem(answer, slow.status, slow.code);
    }
    check_error_page(answer, slow.status)?;
    let typed = answer.texts("#post textarea[name=com]")?.concat();
    // Who crawls gets further than the beginning.
    ensure!(typed.trim_end_matches('x') == slow.comment, "the text is {typed:?}");
    let told = answer.texts(".sorry p")?.join(" ");
    ensure!(told.contains("as far as it arrived"), "the page says: {told}");
    Ok(())
}
