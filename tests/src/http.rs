//! A visitor: a small HTTP client that posts forms and reads pages.
//!
//! It never repeats a request and never follows a redirect by itself, so that a test sees what happened.
//! Knows the paths and field names of posting; judges nothing.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use reqwest::{
    Client, Method, StatusCode,
    header::{self, HeaderMap},
    multipart,
    redirect::Policy,
};
use scraper::{Html, Selector};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Longer than any limit of the board, so that it is the board which gives up.
const LIMIT: Duration = Duration::from_mins(2);

/// What a browser asks for.
pub const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
/// What a program asks for.
pub const JSON: &str = "application/json";

/// An HTTP client that repeats nothing, follows nothing, and uses no proxy.
pub fn client() -> Result<Client> {
    client_from(None)
}

/// As [`client`], from a local address (any of 127.0.0.0/8), to be somebody else.
pub fn client_from(address: Option<IpAddr>) -> Result<Client> {
    Client::builder()
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .tcp_nodelay(true)
        .local_address(address)
        .connect_timeout(Duration::from_secs(10))
        .timeout(LIMIT)
        .build()
        .context("cannot make an HTTP client")
}

/// Sends bytes as they are, to `address:port`, and reads the answer until the other end closes the connection.
pub async fn raw(address: &str, bytes: &[u8]) -> Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(LIMIT, exchange).await.context("no end of the answer")??;
    parse_raw(&answer).with_context(|| format!("this is no answer: {:?}", String::from_utf8_lossy(&answer)))
}

fn parse_raw(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(answer.get(..end)?).ok()?, answer.get(end + 4..)?);
    let (line, fields) = head.split_once("\r\n")?;
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for field in fields.split("\r\n") {
        let (name, value) = field.split_once(':')?;
        headers.append(header::HeaderName::from_bytes(name.as_bytes()).ok()?, value.trim().parse().ok()?);
    }
    let chunked = headers.get(header::TRANSFER_ENCODING).is_some_and(|coding| coding == "chunked");
    let body = if chunked { dechunked(body)? } else { body.to_vec() };
    Some(Answer { status, headers, body: body.into() })
}

fn dechunked(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = chunks.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(chunks.get(..line)?).ok()?, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let start = line + 2;
        body.extend(chunks.get(start..start + size)?);
        chunks = chunks.get(start + size + 2..)?;
    }
}

/// Somebody who looks at the board: through nginx, or at one replica.
#[derive(Debug, Clone)]
pub struct Visitor {
    client: Client,
    site: String,
    accept: String,
}

impl Visitor {
    /// A visitor of `site` (a URL without a path) who asks for HTML, as a browser does.
    pub fn new(site: &str) -> Result<Self> {
        Self::with_client(site, client()?)
    }

    /// A visitor who comes from a local address (any of 127.0.0.0/8).
    pub fn from_address(site: &str, address: IpAddr) -> Result<Self> {
        Self::with_client(site, client_from(Some(address))?)
    }

    /// A visitor with a given client, to share connections.
    pub fn with_client(site: &str, client: Client) -> Result<Self> {
        ensure!(!site.ends_with('/'), "the site {site} ends with a slash");
        Ok(Self { client, site: site.to_owned(), accept: HTML.to_owned() })
    }

    /// The same visitor, who asks for something else ([`JSON`], for instance).
    #[must_use]
    pub fn accepting(&self, accept: &str) -> Self {
        Self { accept: accept.to_owned(), ..self.clone() }
    }

    /// The same visitor at another site (another replica).
    #[must_use]
    pub fn at(&self, site: &str) -> Self {
        Self { site: site.to_owned(), ..self.clone() }
    }

    /// The full URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.site)
    }

    /// A request to add headers or a body to; [`Visitor::send`] sends it.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, self.url(path));
        request.header(header::ACCEPT, &self.accept)
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        let answer = request.send().await?;
        Ok(Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: answer.bytes().await.context("the answer breaks off")?,
        })
    }

    /// Reads a page.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Asks for the headers of a page.
    pub async fn head(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::HEAD, path)).await
    }

    /// Sends a form.
    pub async fn submit(&self, path: &str, form: &Form) -> Result<Answer> {
        let request = self.request(Method::POST, path).multipart(form.multipart()?);
        self.send(request).await
    }

    /// Sends a posting form to a board.
    pub async fn post(&self, board: &str, form: &Form) -> Result<Answer> {
        self.submit(&format!("/{board}/post"), form).await
    }

    /// Sends a posting form to a board and reads the JSON answer; anything but 201 is an error.
    pub async fn must_post(&self, board: &str, form: &Form) -> Result<Posted> {
        let answer = self.accepting(JSON).post(board, form).await?;
        answer.expect(StatusCode::CREATED)?.json()
    }
}

/// The answer to a post, as a program gets it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Posted {
    /// The board.
    pub board: String,
    /// The number of the post.
    pub no: i64,
    /// The thread it went to; 0 or its own number for a new thread.
    pub resto: i64,
    /// Where to see it.
    pub url: String,
}

/// A multipart form: fields and files in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Form {
    parts: Vec<(String, Part)>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    File { name: String, declared: String, bytes: Bytes },
}

impl Form {
    /// An empty form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A form for a new thread.
    #[must_use]
    pub fn thread(comment: &str) -> Self {
        Self::new().field("com", comment)
    }

    /// A form for a reply.
    #[must_use]
    pub fn reply(thread: i64, comment: &str) -> Self {
        Self::new().field("resto", &thread.to_string()).field("com", comment)
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.parts.push((name.to_owned(), Part::Text(value.to_owned())));
        self
    }

    /// Adds a file to upload: its name, the type that the browser declares, and its bytes.
    #[must_use]
    pub fn file(self, name: &str, declared: &str, bytes: impl Into<Bytes>) -> Self {
        self.file_in("upfile", name, declared, bytes)
    }

    /// As [`Form::file`], in a field of any name.
    #[must_use]
    pub fn file_in(mut self, field: &str, name: &str, declared: &str, bytes: impl Into<Bytes>) -> Self {
        let part = Part::File { name: name.to_owned(), declared: declared.to_owned(), bytes: bytes.into() };
        self.parts.push((field.to_owned(), part));
        self
    }

    /// Adds a picture.
    #[must_use]
    pub fn picture(self, picture: &crate::pictures::Picture) -> Self {
        self.file(&picture.name, picture.declared, picture.bytes.clone())
    }

    /// The form as a body, for a request that needs headers of its own.
    pub fn multipart(&self) -> Result<multipart::Form> {
        self.parts.iter().try_fold(multipart::Form::new(), |form, (name, part)| {
            let part = match part {
                Part::Text(text) => multipart::Part::text(text.clone()),
                Part::File { name, declared, bytes } => {
                    let length = u64::try_from(bytes.len())?;
                    multipart::Part::stream_with_length(bytes.clone(), length)
                        .file_name(name.clone())
                        .mime_str(declared)
                        .with_context(|| format!("{declared:?} is not a media type"))?
                }
            };
            Ok(form.part(name.clone(), part))
        })
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The answer itself if it has this status; otherwise an error that shows it.
    pub fn expect(&self, status: StatusCode) -> Result<&Self> {
        ensure!(self.status == status, "the answer is {}, not {status}:\n{}", self.status, self.text());
        Ok(self)
    }

    /// Whether it says that it may be older than the request, because the database does not answer.
    #[must_use]
    pub fn is_older(&self) -> bool {
        !self.header("X-As-Of").is_empty()
    }

    /// Checks that it is a page or document as of the time that it names, which nobody may keep.
    pub fn expect_older(&self, accept: &str) -> Result<()> {
        self.expect(StatusCode::OK)?;
        let as_of = self.header("X-As-Of");
        chrono::DateTime::parse_from_rfc2822(as_of).with_context(|| format!("X-As-Of is {as_of:?}"))?;
        ensure!(self.header("Cache-Control") == "no-store", "it may be kept: {}", self.header("Cache-Control"));
        ensure!(self.header("ETag").is_empty(), "it has a tag: {}", self.header("ETag"));
        if accept == HTML {
            ensure!(
                self.count("main > [role=status] time[datetime]")? == 1,
                "the page does not say so:\n{}",
                self.text()
            );
        }
        Ok(())
    }

    /// Checks that it says "come back in a moment", in the form that was asked for.
    pub fn expect_polite_refusal(&self, accept: &str) -> Result<()> {
        self.expect(StatusCode::SERVICE_UNAVAILABLE)?;
        let seconds: u32 = self.header("Retry-After").parse().context("Retry-After is not a number of seconds")?;
        ensure!((1..=60).contains(&seconds), "Retry-After is {seconds}");
        let declared = self.header("Content-Type");
        if accept == JSON {
            ensure!(declared.starts_with("application/problem+json"), "a program got {declared}");
            let problem: Value = self.json()?;
            ensure!(problem.get("status").and_then(Value::as_u64) == Some(503), "the problem is {problem}");
            for field in ["type", "title", "detail", "code"] {
                let text = problem.get(field).and_then(Value::as_str).unwrap_or_default();
                ensure!(!text.is_empty(), "the problem has no {field}: {problem}");
            }
        } else if accept == HTML {
            ensure!(declared.starts_with("text/html"), "a browser got {declared}");
            ensure!(self.count("h1")? == 1, "the page has no heading:\n{}", self.text());
        }
        Ok(())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).with_context(|| format!("not the JSON that was expected:\n{}", self.text()))
    }

    /// The body as a parsed page.
    #[must_use]
    pub fn page(&self) -> Html {
        Html::parse_document(&self.text())
    }

    /// How many elements of the page match a CSS selector.
    pub fn count(&self, selector: &str) -> Result<usize> {
        Ok(self.page().select(&parse(selector)?).count())
    }

    /// The texts of all elements of the page that match a CSS selector.
    pub fn texts(&self, selector: &str) -> Result<Vec<String>> {
        let page = self.page();
        let found = page.select(&parse(selector)?).map(|element| element.text().collect()).collect();
        Ok(found)
    }

    /// An attribute of all elements of the page that match a CSS selector and have it.
    pub fn attributes(&self, selector: &str, attribute: &str) -> Result<Vec<String>> {
        let page = self.page();
        let selector = parse(selector)?;
        let elements = page.select(&selector);
        Ok(elements.filter_map(|element| element.attr(attribute)).map(str::to_owned).collect())
    }

    /// A header as text; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

fn parse(selector: &str) -> Result<Selector> {
    Selector::parse(selector).map_err(|error| anyhow::anyhow!("{selector:?} is not a CSS selector: {error}"))
}
