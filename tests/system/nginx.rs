//! What nginx does in front of the replicas: turns, cache, limits, and what happens without them.
//!
//! The replicas here are stand-ins that say what they were asked.

use std::{
    convert::Infallible,
    fs,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use reqwest::{Method, StatusCode};
use tokio::{net::TcpListener, task::JoinHandle};
use triptych_tests::{
    Answer, Form, Nginx, Visitor,
    http::{HTML, JSON},
    nginx::Settings,
    ports,
    scratch::Scratch,
};

/// A stand-in for a replica; it stops with its runtime or when it is stopped.
struct Stub {
    address: String,
    asked: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Stub {
    async fn start(name: &'static str) -> Result<Self> {
        let address = format!("127.0.0.1:{}", ports::free()?);
        let listener = TcpListener::bind(&address).await?;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                let service = service_fn(move |request: Request<Incoming>| {
                    count.fetch_add(1, Ordering::Relaxed);
                    async move {
                        let response = answer(name, &request);
                        read_to_the_end(request.into_body()).await;
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Ok(Self { address, asked, server })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A server that answers and closes before it has read the body resets the connection, and the answer is lost.
async fn read_to_the_end(mut body: Incoming) {
    while poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.is_some() {}
}

fn answer(name: &str, request: &Request<Incoming>) -> Response<String> {
    let path = request.uri().path();
    let builder = Response::builder().header("X-Served-By", name);
    let response = if path == "/error/too-large" {
        builder.status(413).body(format!("too large, says the board ({})", request.method()))
    } else if path.starts_with("/media/") && !["GET", "HEAD"].contains(&request.method().as_str()) {
        let accept = request.headers().get("Accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        builder.status(405).header("Allow", "GET, HEAD").body(format!("for {accept}: not {}", request.method()))
    } else if path.starts_with("/media/missing") {
        builder.status(404).body("no such picture".into())
    } else if path.starts_with("/media/") {
        builder
            .header("Cache-Control", "public,max-age=31536000,immutable")
            .header("ETag", "\"picture\"")
            .header("Accept-Ranges", "bytes")
            .header("Set-Cookie", "a=b")
            .body(format!("{} {:?}", request.uri(), request.headers()))
    } else {
        builder.body(format!("{} {:?}", request.uri(), request.headers()))
    };
    response.unwrap_or_default()
}

struct Setup {
    visitor: Visitor,
    nginx: Nginx,
    replicas: [Stub; 2],
    _scratch: Scratch,
}

async fn setup() -> Result<Setup> {
    let scratch = Scratch::new("nginx")?;
    let replicas = [Stub::start("one").await?, Stub::start("two").await?];
    let settings = Settings {
        listen: format!("127.0.0.1:{}", ports::free()?),
        replicas: replicas.iter().map(|replica| replica.address.clone()).collect(),
        max_body: 100_000,
    };
    let nginx = Nginx::new(scratch.path(), settings)?;
    let assets = nginx.static_directory();
    fs::create_dir_all(&assets)?;
    fs::write(assets.join("board.0a1b.css"), "body{}")?;
    nginx.start().await?;
    Ok(Setup { visitor: Visitor::new(&nginx.url())?, nginx, replicas, _scratch: scratch })
}

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
async fn a_picture_is_asked_for_once_whatever_follows_its_name() -> Result<()> {
    let board = setup().await?;
    let ask = |query: &'static str| {
        let request = board.visitor.request(Method::GET, &format!("/media/picture.jpg{query}"));
        board.visitor.send(request.header("Cookie", "secret=1").header("Authorization", "Basic eDp5"))
    };
    let first = ask("?first").await?;
    assert_eq!(first.header("X-Cache-Status"), "MISS");
    assert_eq!(first.header("X-Served-By"), "", "the next visitor is not served by that replica");
    assert_eq!(first.header("Set-Cookie"), "");
    assert!(!first.text().contains("first"), "a query reaches the cached picture: {}", first.text());
    assert!(!first.text().contains("secret") && !first.text().contains("eDp5"), "{}", first.text());

    let second = ask("?second").await?;
    assert_eq!(second.header("X-Cache-Status"), "HIT");
    assert_eq!(second.header("Cache-Control"), "public,max-age=31536000,immutable");
    assert_eq!(second.body, first.body);
    assert_eq!(board.visitor.head("/media/picture.jpg").await?.status, StatusCode::OK);

    let range = board.visitor.request(Method::GET, "/media/picture.jpg").header("Range", "bytes=1-5");
    let range = board.visitor.send(range).await?;
    assert_eq!((range.status, range.body.len()), (StatusCode::PARTIAL_CONTENT, 5));
    let same = board.visitor.request(Method::GET, "/media/picture.jpg").header("If-None-Match", "\"picture\"");
    assert_eq!(board.visitor.send(same).await?.status, StatusCode::NOT_MODIFIED);
    assert_eq!(board.replicas.iter().map(Stub::asked).sum::<usize>(), 1);
    Ok(())
}

#[tokio::test]
async fn a_crowd_at_a_new_picture_is_one_question_to_one_replica() -> Result<()> {
    let board = setup().await?;
    let crowd = (0..30).map(|_| board.visitor.get("/media/new.jpg"));
    for answer in futures_util::future::join_all(crowd).await {
        answer?.expect(StatusCode::OK)?;
    }
    assert_eq!(board.replicas.iter().map(Stub::asked).sum::<usize>(), 1);
    Ok(())
}

#[tokio::test]
async fn a_missing_picture_is_asked_for_every_time() -> Result<()> {
    let board = setup().await?;
    for _ in 0..3 {
        board.visitor.get("/media/missing.jpg").await?.expect(StatusCode::NOT_FOUND)?;
    }
    assert_eq!(board.replicas.iter().map(Stub::asked).sum::<usize>(), 3);
    Ok(())
}

#[tokio::test]
async fn pictures_can_only_be_read() -> Result<()> {
    let board = setup().await?;
    let whole = board.visitor.get("/media/picture.jpg").await?;
    let mut asked = 1;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        for length in [0, 10, 90_000] {
            let visitor = board.visitor.accepting(JSON);
            let request = visitor.request(method.clone(), "/media/picture.jpg").body(vec![b'x'; length]);
            let answer = visitor.send(request).await?;
            answer.expect(StatusCode::METHOD_NOT_ALLOWED).with_context(|| format!("{method} with {length} bytes"))?;
            assert_eq!(answer.header("Allow"), "GET, HEAD");
            // A replica says so, in the form that was asked for; nginx neither keeps the answer nor gives another.
            assert_eq!(answer.text(), format!("for {JSON}: not {method}"));
            asked += 1;
            let again = board.visitor.get("/media/picture.jpg").await?;
            assert_eq!((again.header("X-Cache-Status"), &again.body), ("HIT", &whole.body), "after {method}");
        }
    }
    let large = board.visitor.request(Method::POST, "/media/picture.jpg").body(vec![b'x'; 200_000]);
    let large = board.visitor.send(large).await?;
    assert_eq!(large.expect(StatusCode::PAYLOAD_TOO_LARGE)?.text(), "too large, says the board (GET)");
    assert_eq!(board.replicas.iter().map(Stub::asked).sum::<usize>(), asked + 1, "questions to the replicas");
    Ok(())
}

#[tokio::test]
async fn assets_come_from_files_and_unknown_ones_from_a_replica() -> Result<()> {
    let board = setup().await?;
    let asset = board.visitor.get("/static/board.0a1b.css").await?;
    assert_eq!((asset.status, asset.text().as_str()), (StatusCode::OK, "body{}"));
    assert_eq!(asset.header("Content-Type"), "text/css; charset=utf-8");
    assert_eq!(asset.header("Cache-Control"), "public,max-age=31536000,immutable");
    assert_eq!(asset.header("X-Served-By"), "");
    let other = board.visitor.get("/static/board.9f9f.css").await?;
    assert_ne!(other.header("X-Served-By"), "");
    assert_eq!(other.header("Cache-Control"), "");
    Ok(())
}

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
                let response = answer("service", &request);
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
    for replica in &board.replicas {
        replica.server.abort();
    }
    let answer = board.visitor.get("/nginx-health").await?;
    assert_eq!(
        (answer.expect(StatusCode::OK)?.text().as_str(), answer.header("Cache-Control")),
        ("alive\n", "no-store")
    );
    assert_eq!(answer.header("Content-Type"), "text/plain; charset=utf-8");
    assert_eq!(board.replicas.iter().map(Stub::asked).sum::<usize>(), 0, "questions to the replicas");
    board.nginx.stop(Duration::from_secs(5)).await?;
    assert_eq!(board.nginx.access_log(), "", "a probe is not logged");
    Ok(())
}

#[tokio::test]
async fn without_any_replica_there_is_a_polite_page() -> Result<()> {
    let board = setup().await?;
    for replica in &board.replicas {
        replica.server.abort();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let page = board.visitor.get("/b/").await?;
    page.expect(StatusCode::SERVICE_UNAVAILABLE)?;
    assert_eq!(page.header("Retry-After"), "5");
    assert_eq!(page.header("Content-Type"), "text/html; charset=utf-8");
    assert_eq!(page.texts("h1")?, ["Back in a moment"]);

    let says_so_to_programs = |answer: &Answer| -> Result<()> {
        answer.expect(StatusCode::SERVICE_UNAVAILABLE)?;
        assert_eq!(answer.header("Retry-After"), "5");
        let declared = answer.header("Content-Type");
        assert!(declared.starts_with("application/problem+json"), "a program got {declared}");
        let problem: serde_json::Value = answer.json()?;
        assert_eq!(problem.get("code").and_then(serde_json::Value::as_str), Some("unavailable"));
        Ok(())
    };
    says_so_to_programs(&board.visitor.accepting(JSON).post("b", &Form::thread("hello")).await?)?;
    let programs = [
        ("/b/", "application/problem+json"),
        ("/b/", "text/plain, application/json"),
        ("/b/", "*/*;q=0.1,application/problem+json;q=0.5"),
        ("/media/picture.jpg", JSON),
        ("/static/board.9f9f.css", JSON),
        ("/b/res/1.json", HTML),
        ("/b/res/1.json?from=2", "*/*"),
        ("/boards.json", ""),
    ];
    for (path, accept) in programs {
        let answer = board.visitor.accepting(accept).get(path).await?;
        says_so_to_programs(&answer).with_context(|| format!("{path} with Accept: {accept}"))?;
    }
    let browsers = [
        ("/b/", ""),
        ("/b/", "*/*"),
        ("/b/", "application/json, text/html;q=0.5"),
        ("/b/json", "text/plain"),
        ("/b/?of=.json", HTML),
        ("/application/json", "*/*"),
    ];
    for (path, accept) in browsers {
        let answer = board.visitor.accepting(accept).get(path).await?;
        answer.expect(StatusCode::SERVICE_UNAVAILABLE)?;
        assert_eq!(answer.header("Content-Type"), "text/html; charset=utf-8", "{path} with Accept: {accept}");
    }
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
