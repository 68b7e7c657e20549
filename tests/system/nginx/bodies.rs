//! Bodies of requests: too large, and too slow.

use std::{convert::Infallible, io, net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use triptych_tests::{Form, Visitor, http::JSON};

use super::stub::{Setup, setup, setup_with};
use crate::shared::{check_error_page, check_problem};

#[tokio::test]
async fn a_body_beyond_the_limit_gets_the_boards_own_page() -> Result<()> {
    let board = setup().await?;
    let below = Form::new().file("a.bin", "application/octet-stream", vec![0; 90_000]);
    board.visitor.post("b", &below).await?.expect(StatusCode::OK)?;
    let above = Form::new().file("a.bin", "application/octet-stream", vec![0; 200_000]);
    let answer = board.visitor.post("b", &above).await?;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.text(), "too large, says the board (GET)");

    let chunks = futures_util::stream::iter((0..30).map(|_| Ok::<_, Infallible>(vec![0_u8; 10_000])));
    let chunked = board.visitor.request(Method::POST, "/b/post").body(reqwest::Body::wrap_stream(chunks));
    let answer = board.visitor.send(chunked).await?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "too large, says the board (GET)")
    );
    board.visitor.get("/error/too-large").await?.expect(StatusCode::NOT_FOUND)?;
    Ok(())
}

/// The head of a post of this many bytes, from an address of its own; no byte of the body yet.
async fn begin(board: &Setup, from: Ipv4Addr, length: usize) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(board.address().parse()?).await?;
    let head = format!("POST /b/post HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

/// What comes back until the other end closes the connection or resets it.
async fn to_the_end(stream: &mut TcpStream) -> Result<String> {
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(length) => answer.extend(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reading).await.context("nginx keeps the connection")??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_body_that_stops_ends_the_connection_and_no_replica_hears_of_it() -> Result<()> {
    let board = setup_with(|settings| settings.body_timeout = Duration::from_secs(1)).await?;
    let mut crawler = begin(&board, Ipv4Addr::LOCALHOST, 1000).await?;
    for _ in 0..3 {
        crawler.write_all(b"x").await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(to_the_end(&mut crawler).await?, "", "nginx cannot say anything in this state");
    assert_eq!(board.known.asked(), 0, "questions to the replicas");
    Ok(())
}

#[tokio::test]
async fn a_slow_body_that_goes_on_arrives_and_a_replica_gets_it_in_one_piece() -> Result<()> {
    // In all it takes longer than the longest pause, which is far longer than each.
    let board = setup_with(|settings| settings.body_timeout = Duration::from_secs(3)).await?;
    let mut slow = begin(&board, Ipv4Addr::LOCALHOST, 16).await?;
    for _ in 0..16 {
        assert_eq!(board.known.asked(), 0, "questions to the replicas");
        tokio::time::sleep(Duration::from_millis(250)).await;
        slow.write_all(b"x").await?;
    }
    let answer = to_the_end(&mut slow).await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("POST /b/post"), "{answer}");
    assert_eq!(board.known.asked(), 1);
    Ok(())
}

/// Begins bodies that crawl, from these addresses.
async fn crawl(board: &Setup, addresses: impl IntoIterator<Item = Ipv4Addr>) -> Result<Vec<TcpStream>> {
    let mut crawlers = Vec::new();
    for address in addresses {
        let mut crawler = begin(board, address, 1000).await?;
        crawler.write_all(b"x").await?;
        crawlers.push(crawler);
    }
    Ok(crawlers)
}

/// Posts until it is answered so.
async fn post_until(visitor: &Visitor, form: &Form, status: StatusCode) -> Result<()> {
    let posting = async {
        while visitor.post("b", form).await?.status != status {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(30), posting).await.with_context(|| format!("never {status}"))?
}

#[tokio::test]
async fn all_addresses_together_cannot_fill_the_disk_with_bodies() -> Result<()> {
    const MOST: u8 = 3;
    let board = setup_with(|settings| settings.bodies = MOST.into()).await?;
    let crawlers = crawl(&board, (1..=MOST).map(|number| Ipv4Addr::new(127, 0, 1, number))).await?;
    let (visitor, form) = (Visitor::new(&board.nginx.url())?, Form::thread("hello"));
    // nginx may not have read all of the heads yet.
    post_until(&visitor, &form, StatusCode::TOO_MANY_REQUESTS).await?;
    visitor.get("/b/").await?.expect(StatusCode::OK)?;
    drop(crawlers);
    post_until(&visitor, &form, StatusCode::OK).await
}

#[tokio::test]
async fn one_address_cannot_take_all_connections_with_bodies_that_crawl() -> Result<()> {
    const MOST: u16 = 3;
    let board = setup_with(|settings| settings.bodies_per_address = MOST).await?;
    let site = board.nginx.url();
    let [crawling, other] = [7, 8].map(|number| Ipv4Addr::new(127, 0, 0, number));
    let crawlers = crawl(&board, std::iter::repeat_n(crawling, MOST.into())).await?;
    let visitor = Visitor::from_address(&site, crawling.into())?;
    let form = Form::thread("hello");
    // nginx may not have read all of the heads yet.
    post_until(&visitor, &form, StatusCode::TOO_MANY_REQUESTS).await?;
    let asked = board.known.asked();
    let page = visitor.post("b", &form).await?;
    check_error_page(&page, 429)?;
    let problem = visitor.accepting(JSON).post("b", &form).await?;
    check_problem(&problem, 429, "too_many_uploads")?;
    for answer in [page, problem] {
        assert_eq!(answer.header("Retry-After"), "5");
    }
    assert_eq!(board.known.asked(), asked, "questions to the replicas about what was refused");
    // It can still read, and everybody else can post.
    visitor.get("/b/").await?.expect(StatusCode::OK)?;
    Visitor::from_address(&site, other.into())?.post("b", &form).await?.expect(StatusCode::OK)?;

    drop(crawlers);
    post_until(&visitor, &form, StatusCode::OK).await
}
