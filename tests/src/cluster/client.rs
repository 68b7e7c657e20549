//! One kept-alive connection, and requests on it that are never sent twice.
//!
//! A connection is opened again when the server ended it in good order: the answer before said so, or the connection
//! was closed while nothing was on its way. Whatever happens to a request that was begun is what happened to it.
//! Knows nothing of boards, and of forms only how they are written.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    http::{Answer, HTML, JSON},
    pictures::Picture,
    raw_form::{RAW_FORM, raw_form},
};

/// Longer than every limit between here and the database.
const LIMIT: Duration = Duration::from_secs(100);
/// Nobody takes this long to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What a browser asks for in place of a picture.
pub(crate) const PICTURE: &str = "image/avif,image/webp,image/png,image/*;q=0.8,*/*;q=0.5";

/// What a browser asks for to be told of events.
const EVENTS: &str = "text/event-stream";

/// A request that can be sent.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) accept: &'static str,
    body: Option<Bytes>,
    /// Where an event stream is to continue; empty for from now on.
    position: String,
}

impl Ask {
    pub(crate) fn page(path: &str) -> Self {
        Self::get(path, HTML)
    }

    pub(crate) fn json(path: &str) -> Self {
        Self::get(path, JSON)
    }

    pub(crate) fn picture(path: &str) -> Self {
        Self::get(path, PICTURE)
    }

    /// An event stream, from a position that one has told, or, if that is empty, from now on.
    pub(crate) fn events(path: &str, position: &str) -> Self {
        Self { position: position.to_owned(), ..Self::get(path, EVENTS) }
    }

    /// A form, as a browser writes it.
    pub(crate) fn form(path: &str, accept: &'static str, fields: &[(&str, &str)], pictures: &[&Picture]) -> Self {
        let body = raw_form(fields, pictures).into();
        Self { method: Method::POST, body: Some(body), ..Self::get(path, accept) }
    }

    /// The bytes of a form.
    pub(crate) fn body(&self) -> Bytes {
        self.body.clone().unwrap_or_default()
    }

    fn get(path: &str, accept: &'static str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), accept, body: None, position: String::new() }
    }
}

/// What became of a request that has no good answer.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// When it was sent.
    pub(crate) at: DateTime<Utc>,
    /// When it was known to have failed.
    pub(crate) known: DateTime<Utc>,
    pub(crate) method: Method,
    pub(crate) path: String,
    /// What happened.
    pub(crate) what: String,
    /// The replica that answered last on the same connection.
    pub(crate) after: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, known, method, path, what, after } = self;
        let took = (*known - *at).num_milliseconds();
        write!(formatter, "{} +{took} ms {method} {path}: {what}", at.format("%H:%M:%S%.3f"))?;
        if after.is_empty() { Ok(()) } else { write!(formatter, " (the answer before was from {after})") }
    }
}

impl std::error::Error for Failure {}

/// An answer whose body is given out as it comes, or any other.
#[derive(Debug)]
pub(crate) enum Opened {
    Stream { body: Incoming, served_by: String },
    Other(Answer),
}

type Sender = SendRequest<Full<Bytes>>;

/// Where requests go, and the connection that they go over.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where to connect to, as `address:port`.
    address: String,
    /// What to say as `Host`.
    host: String,
    /// What is put before every path.
    prefix: String,
    kept: Option<Sender>,
    /// The replica that answered last.
    served_by: String,
    /// How many connections there were.
    pub(crate) connections: usize,
}

impl Client {
    pub(crate) fn new(address: &str, host: &str) -> Self {
        Self {
            address: address.to_owned(),
            host: host.to_owned(),
            prefix: String::new(),
            kept: None,
            served_by: String::new(),
            connections: 0,
        }
    }

    /// A client of its own that puts something before every path.
    pub(crate) fn under(address: &str, host: &str, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::new(address, host) }
    }

    /// A client of the same place with a connection of its own.
    pub(crate) fn another(&self) -> Self {
        Self::under(&self.address, &self.host, &self.prefix)
    }

    /// Sends a request once and reads the whole answer, whatever it is.
    pub(crate) async fn send(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        let (at, after) = (Utc::now(), self.served_by.clone());
        let sent = tokio::time::timeout(LIMIT, self.attempt(ask)).await;
        let sent = sent.with_context(|| format!("no whole answer within {LIMIT:?}")).flatten();
        sent.map_err(|error| {
            // Its state is unknown.
            self.kept = None;
            let (method, path, what) = (ask.method.clone(), ask.path.clone(), format!("{error:#}"));
            Failure { at, known: Utc::now(), method, path, what, after }
        })
    }

    /// As [`Client::send`]; anything but this status is a failure, too.
    pub(crate) async fn must(&mut self, ask: &Ask, status: StatusCode) -> Result<Answer, Failure> {
        let at = Utc::now();
        let answer = self.send(ask).await?;
        if answer.status == status { Ok(answer) } else { Err(self.judged(at, ask, &told(&answer))) }
    }

    /// A failure that only whoever asked could see.
    pub(crate) fn judged(&self, at: DateTime<Utc>, ask: &Ask, what: &str) -> Failure {
        let (method, path) = (ask.method.clone(), ask.path.clone());
        Failure { at, known: Utc::now(), method, path, what: what.to_owned(), after: self.served_by.clone() }
    }

    /// Sends a request on a connection of its own and gives out the body as it comes; anything but 200 is an error.
    pub(crate) async fn stream(&mut self, ask: &Ask) -> Result<Incoming> {
        let request = self.request(ask)?;
        let answer = self.connect().await?.send_request(request).await?;
        anyhow::ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
        Ok(answer.into_body())
    }

    /// Asks for an event stream on a connection of its own.
    pub(crate) async fn open(&mut self, ask: &Ask) -> Result<Opened, Failure> {
        let (at, after) = (Utc::now(), self.served_by.clone());
        let opening = async {
            let request = self.request(ask)?;
            let mut sender = self.connect().await?;
            let answer = sender.send_request(request).await.context("the new connection ended under the request")?;
            let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if answer.status() != StatusCode::OK || !header(header::CONTENT_TYPE).starts_with(EVENTS) {
                return Ok(Opened::Other(self.read(sender, answer).await?));
            }
            let served_by = header(header::HeaderName::from_static("x-served-by")).to_owned();
            Ok(Opened::Stream { served_by, body: answer.into_body() })
        };
        let opened: Result<Result<Opened>> = tokio::time::timeout(LIMIT, opening).await.context("no answer in time");
        opened.flatten().map_err(|error| {
            let (method, path, what) = (ask.method.clone(), ask.path.clone(), format!("{error:#}"));
            Failure { at, known: Utc::now(), method, path, what, after }
        })
    }

    async fn attempt(&mut self, ask: &Ask) -> Result<Answer> {
        let mut request = self.request(ask)?;
        if let Some(mut sender) = self.kept.take() {
            // Not ready means that the server has closed it: nothing of this request was sent.
            if sender.ready().await.is_ok() {
                match sender.try_send_request(request).await {
                    Ok(answer) => return self.read(sender, answer).await,
                    Err(mut error) => match error.take_message() {
                        // Closed before a byte of it was written.
                        Some(unsent) => request = unsent,
                        None => return Err(error.into_error()).context("the kept connection ended under the request"),
                    },
                }
            } else {
                request = self.request(ask)?;
            }
        }
        let mut sender = self.connect().await?;
        let answer = sender.send_request(request).await.context("the new connection ended under the request")?;
        self.read(sender, answer).await
    }

    async fn connect(&mut self) -> Result<Sender> {
        let address = &self.address;
        let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
        let stream = stream.with_context(|| format!("{address} does not take the connection"))?;
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true).context("cannot send small packets at once")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How it ends is told by the sender.
        tokio::spawn(async move { connection.await.is_ok() });
        self.connections += 1;
        Ok(sender)
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>> {
        let path = format!("{}{}", self.prefix, ask.path);
        let mut request = Request::builder().method(&ask.method).uri(&path);
        request = request.header(header::HOST, &self.host).header(header::ACCEPT, ask.accept);
        if !ask.position.is_empty() {
            request = request.header("Last-Event-ID", &ask.position);
        }
        if ask.body.is_some() {
            request = request.header(header::ORIGIN, format!("http://{}", self.host));
            request = request.header(header::CONTENT_TYPE, RAW_FORM);
        }
        let body = Full::new(ask.body.clone().unwrap_or_default());
        request.body(body).with_context(|| format!("cannot ask for {path}"))
    }

    async fn read(&mut self, sender: Sender, answer: Response<Incoming>) -> Result<Answer> {
        let (head, body) = answer.into_parts();
        let status = head.status;
        let value = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let has_end = head.headers.contains_key(header::CONTENT_LENGTH)
            || value(header::TRANSFER_ENCODING) == "chunked"
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        anyhow::ensure!(has_end, "{status}, and nothing tells whether the body is complete");
        let served_by = value(header::HeaderName::from_static("x-served-by"));
        let replica = if served_by.is_empty() { String::new() } else { format!(" from {served_by}") };
        let closes = value(header::CONNECTION).eq_ignore_ascii_case("close");
        // An end before the announced one is an error of its own.
        let body = body.collect().await.with_context(|| format!("{status}{replica}, and the body breaks off"))?;
        if !served_by.is_empty() {
            served_by.clone_into(&mut self.served_by);
        }
        if !closes {
            self.kept = Some(sender);
        }
        Ok(Answer { status, headers: head.headers, body: body.to_bytes() })
    }
}

/// An answer in a line: who said what.
pub(crate) fn told(answer: &Answer) -> String {
    let by = answer.header("X-Served-By");
    let by = if by.is_empty() { "nobody's name on it" } else { by };
    let text: String = answer.text().split_whitespace().collect::<Vec<_>>().join(" ").chars().take(160).collect();
    format!("{} ({by}): {text}", answer.status)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        sync::mpsc,
    };

    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok";
    const ENDLESS: &str = "HTTP/1.1 200 OK\r\n\r\nok";

    /// A server that gives each connection the answers of its script and then closes it. It tells which connection
    /// got a request, and when one is closed.
    struct Script {
        address: String,
        told: mpsc::UnboundedReceiver<String>,
    }

    async fn serve(script: Vec<Vec<&'static str>>) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for (number, answers) in script.into_iter().enumerate() {
                let (mut socket, _) = listener.accept().await.unwrap();
                for answer in answers {
                    let mut seen = Vec::new();
                    while !seen.ends_with(b"\r\n\r\n") {
                        seen.push(socket.read_u8().await.unwrap());
                    }
                    tell.send(format!("request on {number}")).unwrap();
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
                drop(socket);
                tell.send(format!("closed {number}")).unwrap();
            }
        });
        Script { address, told }
    }

    impl Script {
        fn client(&self) -> Client {
            Client::new(&self.address, "board.example")
        }

        async fn all(mut self) -> Vec<String> {
            let mut all = Vec::new();
            while let Some(told) = self.told.recv().await {
                all.push(told);
            }
            all
        }
    }

    #[tokio::test]
    async fn one_connection_carries_all_requests() {
        let script = serve(vec![vec![OK, OK, OK]]).await;
        let mut client = script.client();
        for _ in 0..3 {
            assert_eq!(client.send(&Ask::page("/")).await.unwrap().body, "ok");
        }
        assert_eq!(client.connections, 1);
    }

    #[tokio::test]
    async fn an_end_that_was_announced_is_followed_by_a_new_connection() {
        let script = serve(vec![vec![LAST], vec![OK]]).await;
        let mut client = script.client();
        for _ in 0..2 {
            client.send(&Ask::page("/")).await.unwrap();
        }
        assert_eq!(script.all().await, ["request on 0", "closed 0", "request on 1", "closed 1"]);
    }

    #[tokio::test]
    async fn an_idle_connection_that_was_closed_is_followed_by_a_new_one() {
        let mut script = serve(vec![vec![OK], vec![OK]]).await;
        let mut client = script.client();
        client.send(&Ask::page("/")).await.unwrap();
        while script.told.recv().await.unwrap() != "closed 0" {}
        // The end has arrived once the sender says so.
        while !client.kept.as_ref().unwrap().is_closed() {
            tokio::task::yield_now().await;
        }
        client.send(&Ask::page("/")).await.unwrap();
        assert_eq!(script.all().await, ["request on 1", "closed 1"]);
    }

    #[tokio::test]
    async fn a_request_without_an_answer_is_a_failure_and_is_not_sent_again() {
        let script = serve(vec![vec![OK, ""], vec![OK]]).await;
        let mut client = script.client();
        client.send(&Ask::page("/")).await.unwrap();
        let failure = client.send(&Ask::page("/lost")).await.unwrap_err();
        assert!(failure.to_string().contains("GET /lost: the kept connection ended under the request"), "{failure}");
        client.send(&Ask::page("/")).await.unwrap();
        let told = script.all().await;
        let requests: Vec<&String> = told.iter().filter(|told| told.starts_with("request")).collect();
        assert_eq!(requests, ["request on 0", "request on 0", "request on 1"]);
    }

    #[tokio::test]
    async fn half_a_body_and_one_without_an_end_are_failures() {
        let script = serve(vec![vec![HALF], vec![ENDLESS]]).await;
        let mut client = script.client();
        let failure = client.send(&Ask::page("/")).await.unwrap_err();
        assert!(failure.what.contains("the body breaks off"), "{failure}");
        let failure = client.send(&Ask::page("/")).await.unwrap_err();
        assert!(failure.what.contains("nothing tells whether the body is complete"), "{failure}");
    }

    #[tokio::test]
    async fn nobody_there_is_a_failure() {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let failure = Client::new(&address, "board.example").send(&Ask::page("/")).await.unwrap_err();
        assert!(failure.what.contains("cannot connect"), "{failure}");
    }

    #[tokio::test]
    async fn another_status_than_the_one_that_was_expected_is_a_failure() {
        let script = serve(vec![vec!["HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad"]]).await;
        let failure = script.client().must(&Ask::page("/"), StatusCode::OK).await.unwrap_err();
        assert!(failure.what.contains("502 Bad Gateway (nobody's name on it): bad"), "{failure}");
    }
}
