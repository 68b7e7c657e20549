//! Event streams: answers without an end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, Response, StatusCode};
use triptych_tests::Visitor;

use super::stub::{Opened, Setup, setup, setup_with};

const BOARD: &str = "/b/events";
const THREAD: &str = "/b/res/17/events";
/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// An event stream at both ends.
struct Watched {
    /// As it comes out of nginx.
    answer: Response,
    /// As it goes into nginx.
    replica: Opened,
}

/// Opens an event stream. nginx gives the head of the answer out as soon as it has it.
async fn watch(board: &Setup, visitor: &Visitor, path: &str) -> Result<Watched> {
    let request = visitor.request(Method::GET, path).header("Accept-Encoding", "gzip");
    let answer = tokio::time::timeout(LIMIT, request.send()).await.context("nginx keeps the head to itself")??;
    ensure!(answer.status() == StatusCode::OK, "{path}: {}", answer.status());
    Ok(Watched { answer, replica: board.known.opened()? })
}

impl Watched {
    fn write(&self, event: &str) -> Result<()> {
        self.replica.events.send(event.to_owned()).ok().context("nginx has closed the connection to the replica")
    }

    /// What has come out of nginx once there is a whole event, or the end.
    async fn read(&mut self) -> Result<String> {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            let chunk = tokio::time::timeout(LIMIT, self.answer.chunk()).await;
            let Some(chunk) = chunk.with_context(|| format!("nginx keeps the event to itself: {text:?}"))?? else {
                break;
            };
            text.push_str(std::str::from_utf8(&chunk)?);
        }
        Ok(text)
    }

    /// Waits until nginx has closed the connection to the replica.
    async fn closed(&self) -> Result<()> {
        let closing = self.replica.events.closed();
        tokio::time::timeout(LIMIT, closing).await.context("nginx keeps the connection to the replica")
    }
}

#[tokio::test]
async fn every_event_arrives_before_the_next_one_is_written() -> Result<()> {
    let board = setup().await?;
    for path in [BOARD, THREAD] {
        let mut watched = watch(&board, &board.visitor, path).await?;
        for event in ["retry: 2500\nid: 1\n\n", "id: 2\ndata: {\"thread\":17}\n\n", ":\n\n"] {
            watched.write(event)?;
            assert_eq!(watched.read().await?, event, "{path}");
        }
        let headers = watched.answer.headers();
        let header = |name| headers.get(name).map_or("", |value| value.to_str().unwrap_or_default());
        assert_eq!(header("Content-Type"), "text/event-stream");
        assert_eq!(header("Cache-Control"), "no-store");
        assert_eq!(header("Content-Encoding"), "");
        drop(watched.replica);
        assert_eq!(watched.answer.chunk().await?, None, "an end in good order is one here, too");
    }
    // Another proxy in front is asked to do the same.
    let watched = watch(&board, &board.visitor, BOARD).await?;
    assert_eq!(watched.answer.headers().get("X-Accel-Buffering").context("there is no such header")?, "no");
    Ok(())
}

#[tokio::test]
async fn a_replica_is_asked_for_a_stream_as_for_everything_else() -> Result<()> {
    let board = setup().await?;
    let request = board.visitor.request(Method::GET, "/b/events?after=5");
    let request =
        request.header("Last-Event-ID", "7-9").header("Forwarded", "for=1.2.3.4").header("Connection", "close");
    request.send().await?.error_for_status()?;
    let Opened { request: seen, .. } = board.known.opened()?;
    let forwarded = format!(r#""host": "{}""#, board.address());
    for part in [
        "HTTP/1.1 /b/events?after=5 ",
        r#""last-event-id": "7-9""#,
        r#""x-forwarded-for": "127.0.0.1""#,
        r#""x-forwarded-proto": "http""#,
        &forwarded,
    ] {
        assert!(seen.contains(part), "no {part} in {seen}");
    }
    assert!(!seen.contains("1.2.3.4") && !seen.contains("close"), "{seen}");
    Ok(())
}

/// Elsewhere nginx takes a replica that has said nothing for ten seconds for a frozen one.
#[tokio::test]
async fn silence_between_heartbeats_ends_no_stream() -> Result<()> {
    let board = setup().await?;
    let mut streams = Vec::new();
    for path in [BOARD, THREAD] {
        streams.push(watch(&board, &board.visitor, path).await?);
    }
    tokio::time::sleep(Duration::from_secs(11)).await;
    for watched in &mut streams {
        watched.write(":\n\n")?;
        assert_eq!(watched.read().await?, ":\n\n");
    }
    Ok(())
}

#[tokio::test]
async fn a_reader_who_goes_away_ends_the_connection_to_the_replica() -> Result<()> {
    let board = setup().await?;
    let Watched { answer, replica } = watch(&board, &Visitor::new(&board.nginx.url())?, THREAD).await?;
    let going = async {
        drop(answer);
        replica.events.closed().await;
    };
    tokio::time::timeout(LIMIT, going).await.context("nginx keeps the connection to the replica")
}

#[tokio::test]
async fn a_replica_that_refuses_a_stream_is_passed_over() -> Result<()> {
    let mut board = setup().await?;
    let gone = &mut board.replicas[0].server;
    gone.abort();
    assert!(gone.await.is_err(), "the listener is closed now");
    for _ in 0..4 {
        assert_eq!(watch(&board, &board.visitor, BOARD).await?.replica.replica, "two");
    }
    Ok(())
}

#[tokio::test]
async fn a_replica_that_is_full_is_passed_over_and_if_all_are_one_of_them_says_so() -> Result<()> {
    let board = setup().await?;
    board.known.fill("one");
    for _ in 0..4 {
        assert_eq!(watch(&board, &board.visitor, BOARD).await?.replica.replica, "two");
    }
    board.known.fill("two");
    let asked = board.known.asked();
    let answer = board.visitor.get(BOARD).await?;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("Retry-After"), "7");
    assert!(answer.text().starts_with("too many streams, says "), "{}", answer.text());
    assert_eq!(board.known.asked() - asked, 2, "each is asked once");
    Ok(())
}

#[tokio::test]
async fn a_reload_ends_streams_after_a_while_and_they_are_opened_again() -> Result<()> {
    let board = setup_with(|settings| settings.shutdown_timeout = Duration::from_secs(1)).await?;
    let mut watched = watch(&board, &board.visitor, BOARD).await?;
    let addresses = board.replicas.iter().map(|replica| replica.address.clone()).collect();
    board.nginx.reload(addresses).await?;
    watched.closed().await?;
    // The end of the body is missing, so that nobody takes it for one in good order.
    let end = tokio::time::timeout(LIMIT, watched.answer.chunk()).await.context("nginx keeps the reader")?;
    assert!(end.is_err(), "{end:?}");
    let mut again = watch(&board, &Visitor::new(&board.nginx.url())?, BOARD).await?;
    again.write("id: 3\n\n")?;
    assert_eq!(again.read().await?, "id: 3\n\n");
    Ok(())
}
