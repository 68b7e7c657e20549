//! Who is asked, in which turn and how, and what is logged of it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::{Method, StatusCode};
use tokio::net::TcpListener;
use triptych_tests::{Answer, Form, Visitor, ports};

use super::stub::{Known, answer, read_to_the_end, setup};

fn served_by(answer: &Answer) -> String {
    answer.header("X-Served-By").to_owned()
}

#[tokio::test]
async fn replicas_take_turns() -> Result<()> {
    let board = setup().await?;
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(served_by(&board.visitor.get("/b/").await?));
    }
    assert!(names.windows(2).all(|pair| pair.first() != pair.last()), "{names:?}");
    Ok(())
}

#[tokio::test]
async fn forwarded_headers_are_nginxs_own() -> Result<()> {
    let board = setup().await?;
    let visitor = Visitor::from_address(&board.nginx.url(), [127, 0, 0, 77].into())?;
    let request = visitor
        .request(Method::GET, "/b/")
        .header("Forwarded", "for=1.2.3.4")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Forwarded-Proto", "https");
    let seen = visitor.send(request).await?.text();
    assert!(seen.contains(r#""x-forwarded-for": "127.0.0.77""#), "{seen}");
    assert!(seen.contains(r#""x-forwarded-proto": "http""#), "{seen}");
    assert!(!seen.contains("1.2.3.4") && !seen.contains("evil"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_replica_that_is_gone_is_passed_over() -> Result<()> {
    let board = setup().await?;
    let [one, _] = &board.replicas;
    one.server.abort();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..5 {
        // A POST whose connection is refused was never sent, so it may go to the next one.
        let answer = board.visitor.post("b", &Form::thread("hello")).await?;
        assert_eq!((answer.status, served_by(&answer).as_str()), (StatusCode::OK, "two"));
    }
    Ok(())
}

/// What stands for all replicas at once, as a Service does: every second connection, the first one to begin with, leads
/// to a replica that is gone.
async fn service() -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind(("127.0.0.1", ports::free()?)).await?;
    let address = listener.local_addr()?.to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                continue;
            }
            let service = service_fn(|request: Request<Incoming>| async move {
                let response = answer("service", &Known::default(), &request);
                read_to_the_end(request.into_body()).await;
                Ok::<_, Infallible>(response)
            });
            tokio::spawn(http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(socket), service));
        }
    });
    Ok((address, connections))
}

#[tokio::test]
async fn one_address_for_all_replicas_is_asked_again_if_it_is_written_twice() -> Result<()> {
    let board = setup().await?;
    let (address, connections) = service().await?;
    board.nginx.reload(vec![address.clone(); 2]).await?;
    let visitor = Visitor::new(&board.nginx.url())?;
    for round in 1..=3 {
        visitor.get("/b/").await?.expect(StatusCode::OK)?;
        visitor.post("b", &Form::thread("hello")).await?.expect(StatusCode::OK)?;
        assert_eq!(connections.load(Ordering::Relaxed), round * 4);
    }
    // Written once it is asked once: this is what the second line is for.
    board.nginx.reload(vec![address]).await?;
    Visitor::new(&board.nginx.url())?.get("/b/").await?.expect(StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(())
}

#[tokio::test]
async fn nginx_says_that_it_lives_whatever_the_replicas_do() -> Result<()> {
    let board = setup().await?;
    board.stop_replicas();
    let answer = board.visitor.get("/nginx-health").await?;
    assert_eq!(
        (answer.expect(StatusCode::OK)?.text().as_str(), answer.header("Cache-Control")),
        ("alive\n", "no-store")
    );
    assert_eq!(answer.header("Content-Type"), "text/plain; charset=utf-8");
    assert_eq!(board.known.asked(), 0, "questions to the replicas");
    board.nginx.stop(Duration::from_secs(5)).await?;
    assert_eq!(board.nginx.access_log(), "", "a probe is not logged");
    Ok(())
}

#[tokio::test]
async fn a_reload_changes_the_replicas_without_a_stop() -> Result<()> {
    let board = setup().await?;
    let [_, two] = &board.replicas;
    board.nginx.reload(vec![two.address.clone()]).await?;
    let visitor = Visitor::new(&board.nginx.url())?;
    for _ in 0..4 {
        assert_eq!(served_by(&visitor.get("/b/").await?), "two");
    }
    board.nginx.stop(Duration::from_secs(5)).await?;
    assert!(visitor.get("/b/").await.is_err());
    board.nginx.start().await?;
    visitor.get("/b/").await?.expect(StatusCode::OK)?;
    Ok(())
}

#[tokio::test]
async fn the_log_knows_neither_who_asked_nor_what_was_searched_for() -> Result<()> {
    let board = setup().await?;
    let visitor = Visitor::from_address(&board.nginx.url(), [127, 0, 0, 78].into())?;
    visitor.get("/search?q=private").await?;
    board.nginx.stop(Duration::from_secs(5)).await?;
    let log = board.nginx.access_log();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().context("nothing is logged")?)?;
    assert_eq!(line.get("path").and_then(serde_json::Value::as_str), Some("/search"));
    assert!(!log.contains("private") && !log.contains("127.0.0.78"), "{log}");
    Ok(())
}
