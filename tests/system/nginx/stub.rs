//! Stand-ins for replicas, and nginx in front of two of them.

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    fs,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Body as _, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use triptych_tests::{Nginx, Visitor, nginx::Settings, ports, scratch::Scratch};

/// What a replica says about a picture that it has.
pub(super) const CACHED: &str = "public, max-age=31536000, immutable, s-maxage=30";

/// What both stand-ins know, as replicas share a database.
#[derive(Default)]
pub(super) struct Known {
    asked: AtomicUsize,
    failing: AtomicBool,
    deleted: Mutex<HashSet<String>>,
    /// The names of those that hold as many event streams as they can.
    full: Mutex<HashSet<&'static str>>,
    opened: Mutex<VecDeque<Opened>>,
}

/// An event stream that a stand-in was asked for. Dropping it ends the stream in good order.
pub(super) struct Opened {
    /// The stand-in that was asked.
    pub(super) replica: &'static str,
    /// What it was asked, as it came.
    pub(super) request: String,
    /// What is sent here goes out at once. It is closed when the connection is.
    pub(super) events: mpsc::UnboundedSender<String>,
}

impl Known {
    /// How often any of them was asked.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Whether they answer 503 from now on.
    pub(super) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// Deletes a picture.
    pub(super) fn delete(&self, path: &str) {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }

    /// Posts a deleted picture again.
    pub(super) fn post_again(&self, path: &str) {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// Lets a stand-in refuse event streams from now on.
    pub(super) fn fill(&self, replica: &'static str) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).insert(replica);
    }

    /// The first of the event streams that were begun and not taken yet.
    pub(super) fn opened(&self) -> Result<Opened> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        opened.context("nobody was asked for an event stream")
    }

    /// Begins an event stream. Only a board's has the header that asks proxies not to collect events, so that the two tell
    /// apart what nginx does by itself.
    fn open(&self, replica: &'static str, request: &Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let builder = Response::builder().header("X-Served-By", replica).header("Cache-Control", "no-store");
        let response = if self.full.lock().unwrap_or_else(PoisonError::into_inner).contains(replica) {
            let text = format!("too many streams, says {replica}");
            builder.status(503).header("Retry-After", "7").body(text.boxed_unsync())
        } else {
            let (events, written) = mpsc::unbounded_channel();
            let request_text = format!("{:?} {} {:?}", request.version(), request.uri(), request.headers());
            let opened = Opened { replica, request: request_text, events };
            self.opened.lock().unwrap_or_else(PoisonError::into_inner).push_back(opened);
            let frames = stream::unfold(written, |mut written: mpsc::UnboundedReceiver<String>| async {
                let text = written.recv().await?;
                Some((Ok(Frame::data(Bytes::from(text))), written))
            });
            let builder = builder.header("Content-Type", "text/event-stream");
            let of_thread = request.uri().path().contains("/res/");
            let builder = if of_thread { builder } else { builder.header("X-Accel-Buffering", "no") };
            builder.body(StreamBody::new(frames).boxed_unsync())
        };
        response.unwrap_or_default()
    }

    fn is_deleted(&self, path: &str) -> bool {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }
}

/// A stand-in for a replica; it stops with its runtime or when it is stopped.
pub(super) struct Stub {
    /// Where it listens.
    pub(super) address: String,
    /// What serves it.
    pub(super) server: JoinHandle<()>,
}

impl Stub {
    async fn start(name: &'static str, known: Arc<Known>) -> Result<Self> {
        let address = format!("127.0.0.1:{}", ports::free()?);
        let listener = TcpListener::bind(&address).await?;
        let server = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let known = Arc::clone(&known);
                let service = service_fn(move |request: Request<Incoming>| {
                    known.asked.fetch_add(1, Ordering::SeqCst);
                    let response = if request.uri().path().ends_with("/events") {
                        known.open(name, &request)
                    } else {
                        answer(name, &known, &request).map(BodyExt::boxed_unsync)
                    };
                    async move {
                        read_to_the_end(request.into_body()).await;
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Ok(Self { address, server })
    }
}

/// A server that answers and closes before it has read the body resets the connection, and the answer is lost.
pub(super) async fn read_to_the_end(mut body: Incoming) {
    while poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.is_some() {}
}

/// What a stand-in answers.
pub(super) fn answer(name: &str, known: &Known, request: &Request<Incoming>) -> Response<String> {
    let path = request.uri().path();
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let builder = Response::builder().header("X-Served-By", name);
    let response = if known.failing.load(Ordering::SeqCst) {
        builder.status(503).body("no database".into())
    } else if path == "/error/too-large" {
        builder.status(413).body(format!("too large, says the board ({})", request.method()))
    } else if path.starts_with("/media/") && !["GET", "HEAD"].contains(&request.method().as_str()) {
        let accept = header("Accept");
        builder.status(405).header("Allow", "GET, HEAD").body(format!("for {accept}: not {}", request.method()))
    } else if path.starts_with("/media/missing") || known.is_deleted(path) {
        builder
            .status(404)
            .header("Cache-Control", "no-store")
            .header("X-Accel-Expires", "@1")
            .header("X-Request-Id", "0123")
            .body("no such picture".into())
    } else if path.starts_with("/media/") && header("If-None-Match") == "\"picture\"" {
        builder.status(304).header("Cache-Control", CACHED).header("ETag", "\"picture\"").body(String::new())
    } else if path.starts_with("/media/") {
        builder
            .header("Cache-Control", CACHED)
            .header("ETag", "\"picture\"")
            .header("Accept-Ranges", "bytes")
            .header("Set-Cookie", "a=b")
            .header("X-Request-Id", "4567")
            .body(format!("{} {:?}", request.uri(), request.headers()))
    } else {
        builder.body(format!("{} {} {:?}", request.method(), request.uri(), request.headers()))
    };
    response.unwrap_or_default()
}

/// nginx and two stand-ins.
pub(super) struct Setup {
    /// Somebody who looks at them through nginx.
    pub(super) visitor: Visitor,
    /// What is tested.
    pub(super) nginx: Nginx,
    /// The stand-ins.
    pub(super) replicas: [Stub; 2],
    /// What the stand-ins know.
    pub(super) known: Arc<Known>,
    _scratch: Scratch,
}

impl Setup {
    /// Where nginx listens, as `address:port`.
    pub(super) fn address(&self) -> String {
        self.nginx.url().replace("http://", "")
    }

    /// Stops both stand-ins; a connection that is open stays.
    pub(super) fn stop_replicas(&self) {
        for replica in &self.replicas {
            replica.server.abort();
        }
    }
}

/// With a limit of 100 kB, and times that no test meets.
pub(super) async fn setup() -> Result<Setup> {
    setup_with(|_| ()).await
}

/// The same with other settings.
pub(super) async fn setup_with(change: fn(&mut Settings)) -> Result<Setup> {
    let scratch = Scratch::new("nginx")?;
    let known = Arc::<Known>::default();
    let replicas = [Stub::start("one", Arc::clone(&known)).await?, Stub::start("two", Arc::clone(&known)).await?];
    let listen = format!("127.0.0.1:{}", ports::free()?);
    let addresses = replicas.iter().map(|replica| replica.address.clone()).collect();
    let mut settings = Settings::new(listen, addresses, 100_000);
    change(&mut settings);
    let nginx = Nginx::new(scratch.path(), settings)?;
    let assets = nginx.static_directory();
    fs::create_dir_all(&assets)?;
    fs::write(assets.join("board.0a1b.css"), "body{}")?;
    nginx.start().await?;
    Ok(Setup { visitor: Visitor::new(&nginx.url())?, nginx, replicas, known, _scratch: scratch })
}
