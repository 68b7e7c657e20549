//! `triptych smoke`: one picture through the whole of an installation, as `helm test` runs it.
//!
//! A visitor from outside who posts through one address and reads through all others; knows the board's HTTP and
//! nothing of how it works inside. Waits until the network of its pod is there, and retries nothing after that: what fails once has
//! failed. Whatever happens, the post is deleted.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use image::{ImageFormat, RgbImage};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::net::TcpStream;
use url::Url;
use uuid::Uuid;

/// Longer than any answer of a board that is well, an upload included.
const LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the network of a new pod may take. Where policies are enforced, a pod is refused for as long as the nodes have not heard
/// of it: 100 to 160 ms each (measured with kube-router).
const NETWORK_LIMIT: Duration = Duration::from_secs(10);
const NETWORK_PAUSE: Duration = Duration::from_millis(100);
/// Pixels a side: small for the store, and large enough that the thumbnail is another picture.
const SIDE: u32 = 320;
const JSON: &str = "application/json";

/// What to look at.
#[derive(Debug, Clone)]
pub struct Sites {
    /// Where the picture is posted: any replica.
    pub app: Url,
    /// `HOST:PORT`, where HOST resolves to the addresses of all replicas.
    pub pods: String,
    /// The web server in front.
    pub web: Url,
}

/// Accepts the address of a site.
pub fn check_site(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "an address such as http://board is needed".to_owned())
}

/// Posts, reads everywhere, deletes. `say` is told every step.
pub async fn run(sites: &Sites, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let visitor = Visitor::new(sites)?;
    let until = Instant::now() + NETWORK_LIMIT;
    let addresses = resolve(&sites.pods, until).await?;
    await_network(sites, &addresses, until).await;
    let picture = picture()?;
    let posted = visitor.post(&sites.app, &picture, say).await?;

    let read = tokio::select! {
        read = visitor.read_everywhere(&addresses, &sites.web, &posted, &picture, say) => read,
        () = told_to_stop() => Err(anyhow!("told to stop before everything was read")),
    };
    let deleted = visitor.delete(&sites.app, &posted, say).await;
    // What was found first is told first; a post that is left over is told in any case.
    match (read, deleted) {
        (Ok(()), Ok(())) => {}
        (Err(read), Ok(())) => return Err(read),
        (Ok(()), Err(deleted)) => return Err(deleted),
        (Err(read), Err(deleted)) => bail!("{read:#}\nand then: {deleted:#}"),
    }
    visitor.miss_everywhere(&addresses, &sites.web, &posted, say).await
}

/// Ends when the process is asked to end: then there is still time to delete the post.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// The addresses of all replicas, each once, in an order that does not change from run to run.
async fn resolve(pods: &str, until: Instant) -> anyhow::Result<BTreeSet<SocketAddr>> {
    let mut found = tokio::net::lookup_host(pods).await;
    while found.is_err() && Instant::now() < until {
        tokio::time::sleep(NETWORK_PAUSE).await;
        found = tokio::net::lookup_host(pods).await;
    }
    let found = found.with_context(|| format!("{pods} (--pods) cannot be resolved"))?;
    let addresses: BTreeSet<SocketAddr> = found.collect();
    ensure!(!addresses.is_empty(), "{pods} (--pods) resolves to no address: is any replica ready?");
    Ok(addresses)
}

/// Waits until everything that will be asked takes connections. What still does not after a while is told when it is asked.
async fn await_network(sites: &Sites, addresses: &BTreeSet<SocketAddr>, until: Instant) {
    let of_site = |site: &Url| Some(format!("{}:{}", site.host_str()?, site.port_or_known_default()?));
    let places = [&sites.app, &sites.web].into_iter().filter_map(of_site);
    for place in places.chain(addresses.iter().map(ToString::to_string)) {
        while TcpStream::connect(&place).await.is_err() && Instant::now() < until {
            tokio::time::sleep(NETWORK_PAUSE).await;
        }
    }
}

/// Random pixels, so that no board has this picture already, and no metadata, so that it is stored as it is.
fn picture() -> anyhow::Result<Bytes> {
    let mut pixels = vec![0; usize::try_from(SIDE * SIDE * 3)?];
    getrandom::fill(&mut pixels).context("the operating system gives no random numbers")?;
    let picture = RgbImage::from_raw(SIDE, SIDE, pixels).context("too few pixels")?;
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner().into())
}

struct Visitor {
    client: Client,
    password: String,
}

/// The thread that was made.
#[derive(Debug, Deserialize)]
struct Posted {
    board: String,
    no: i64,
}

impl Posted {
    fn path(&self) -> String {
        format!("/{}/res/{}.html", self.board, self.no)
    }
}

#[derive(Deserialize)]
struct BoardsAnswer {
    boards: Vec<BoardItem>,
}

#[derive(Deserialize)]
struct BoardItem {
    board: String,
}

/// An answer that was expected.
struct Answer {
    content_type: String,
    /// Which replica gave it.
    served_by: String,
    body: Bytes,
}

impl Visitor {
    fn new(sites: &Sites) -> anyhow::Result<Self> {
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_LIMIT)
            .timeout(LIMIT);
        if [&sites.app, &sites.web].iter().all(|site| site.scheme() == "http") {
            // Within a cluster nobody needs certificates, and an image may have none.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().context("cannot make an HTTP client")?;
        Ok(Self { client, password: Uuid::new_v4().simple().to_string() })
    }

    /// A new thread on the first board that takes one. No list says which boards are locked; they do when asked.
    async fn post(&self, app: &Url, picture: &Bytes, say: &dyn Fn(&str)) -> anyhow::Result<Posted> {
        let list = self.get(&at(app, "/boards.json")?).await?;
        let list: BoardsAnswer = serde_json::from_slice(&list.body).context("/boards.json is not a list of boards")?;
        for BoardItem { board } in &list.boards {
            let url = at(app, &format!("/{board}/post"))?;
            let file = Part::stream_with_length(picture.clone(), u64::try_from(picture.len())?);
            let form = Form::new()
                .text("sub", "helm test")
                .text("com", "A test of this installation. It deletes itself.")
                .text("pwd", self.password.clone())
                .part("upfile", file.file_name("smoke.png").mime_str("image/png")?);
            let request = self.client.post(&url).header(ACCEPT, JSON).multipart(form);
            let answer = send(request, &format!("POST {url}")).await?;
            let (status, served_by) = (answer.status(), header(&answer, "x-served-by"));
            let body = body(answer, &url).await?;
            if status == StatusCode::FORBIDDEN && code(&body) == "board_locked" {
                say(&format!("/{board}/ is locked"));
                continue;
            }
            ensure!(status == StatusCode::CREATED, "POST {url}: {}", refusal(status, &body));
            let posted: Posted = serde_json::from_slice(&body).context("the answer to the post is not ours")?;
            say(&format!("posted {} through {app} ({served_by})", posted.path()));
            return Ok(posted);
        }
        bail!("{app} has no board that takes a new thread: {} boards, all locked", list.boards.len())
    }

    async fn read_everywhere(
        &self,
        addresses: &BTreeSet<SocketAddr>,
        web: &Url,
        posted: &Posted,
        picture: &Bytes,
        say: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        for address in addresses {
            let site = Url::parse(&format!("http://{address}"))?;
            let (_, served_by) = self.read(&site, posted, picture).await?;
            say(&format!("read thread and picture from {address} ({served_by})"));
        }
        let (page, served_by) = self.read(web, posted, picture).await?;
        say(&format!("read thread and picture through {web} ({served_by})"));

        let path = link(&page, "/thumb/", &["jpg", "png", "webp", "gif"])
            .with_context(|| format!("{web}: the thread shows no thumbnail"))?;
        let thumbnail = self.get(&at(web, path)?).await?;
        ensure!(
            thumbnail.content_type.starts_with("image/") && !thumbnail.body.is_empty(),
            "{web}{path}: no picture, but {} bytes of {:?}",
            thumbnail.body.len(),
            thumbnail.content_type
        );
        let path = link(&page, "/static/", &["css"]).with_context(|| format!("{web}: the page has no style sheet"))?;
        let style = self.get(&at(web, path)?).await?;
        ensure!(
            style.content_type.starts_with("text/css") && !style.body.is_empty(),
            "{web}{path}: no style sheet, but {} bytes of {:?}",
            style.body.len(),
            style.content_type
        );
        say(&format!("read thumbnail and style sheet through {web}"));
        Ok(())
    }

    /// Reads the thread and its picture from one site; answers the page and which replica gave it.
    async fn read(&self, site: &Url, posted: &Posted, picture: &Bytes) -> anyhow::Result<(String, String)> {
        let page = self.get(&at(site, &posted.path())?).await?;
        let text = String::from_utf8_lossy(&page.body).into_owned();
        let path = link(&text, "/media/", &["png"])
            .with_context(|| format!("{site}: the thread {} does not show its picture", posted.path()))?;
        let url = at(site, path)?;
        let read = self.get(&url).await?.body;
        ensure!(read == picture, "GET {url}: {} bytes that are not the {} posted", read.len(), picture.len());
        Ok((text, page.served_by))
    }

    async fn delete(&self, app: &Url, posted: &Posted, say: &dyn Fn(&str)) -> anyhow::Result<()> {
        let deleted = async {
            let url = at(app, &format!("/{}/delete", posted.board))?;
            let form = Form::new().text("no", posted.no.to_string()).text("pwd", self.password.clone());
            let request = self.client.post(&url).header(ACCEPT, JSON).multipart(form);
            let answer = send(request, &format!("POST {url}")).await?;
            let status = answer.status();
            ensure!(status == StatusCode::OK, "POST {url}: {}", refusal(status, &body(answer, &url).await?));
            Ok(())
        };
        // Somebody has to delete it by hand, and needs the password for that; it opens nothing else.
        deleted.await.with_context(|| {
            format!("{} could not be deleted and is still there; its password is {}", posted.path(), self.password)
        })?;
        say(&format!("deleted {}", posted.path()));
        Ok(())
    }

    /// Checks that nobody shows the thread any more.
    async fn miss_everywhere(
        &self,
        addresses: &BTreeSet<SocketAddr>,
        web: &Url,
        posted: &Posted,
        say: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        let pods = addresses.iter().map(|address| Url::parse(&format!("http://{address}")));
        for site in pods.chain([Ok(web.clone())]) {
            let url = at(&site?, &posted.path())?;
            let status = send(self.client.get(&url), &format!("GET {url}")).await?.status();
            ensure!(status == StatusCode::NOT_FOUND, "GET {url}: {status} for a thread that was deleted");
        }
        say("the thread is gone everywhere");
        Ok(())
    }

    /// A page or picture that has to be there.
    async fn get(&self, url: &str) -> anyhow::Result<Answer> {
        let answer = send(self.client.get(url), &format!("GET {url}")).await?;
        let status = answer.status();
        let (content_type, served_by) = (header(&answer, CONTENT_TYPE.as_str()), header(&answer, "x-served-by"));
        let body = body(answer, url).await?;
        ensure!(status == StatusCode::OK, "GET {url}: {}", refusal(status, &body));
        Ok(Answer { content_type, served_by, body })
    }
}

/// A path below a site, which may stand below a path itself.
fn at(site: &Url, path: &str) -> anyhow::Result<String> {
    let url = format!("{}{path}", site.as_str().trim_end_matches('/'));
    Url::parse(&url).with_context(|| format!("{url} is not an address"))?;
    Ok(url)
}

async fn send(request: RequestBuilder, what: &str) -> anyhow::Result<Response> {
    request.send().await.map_err(reqwest::Error::without_url).with_context(|| what.to_owned())
}

async fn body(answer: Response, url: &str) -> anyhow::Result<Bytes> {
    answer.bytes().await.map_err(reqwest::Error::without_url).with_context(|| format!("{url}: the answer breaks off"))
}

fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Problem JSON (RFC 9457) says what is wrong; anything else is cut short.
#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
}

fn code(body: &[u8]) -> String {
    serde_json::from_slice::<Problem>(body).unwrap_or_default().code
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => format!("{status}: {}", problem.detail),
        Err(_) => format!("{status}: {}", String::from_utf8_lossy(body).chars().take(200).collect::<String>()),
    }
}

/// The first link of a page into a folder, to a file with one of these extensions.
fn link<'a>(page: &'a str, folder: &str, extensions: &[&str]) -> Option<&'a str> {
    page.split('"').find(|text| {
        let named = text.strip_prefix(folder).and_then(|file| file.rsplit_once('.'));
        named.is_some_and(|(_, extension)| extensions.contains(&extension))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Limits, inspect};

    #[test]
    fn the_picture_is_stored_byte_for_byte_and_is_never_the_same() {
        let limits = Limits { max_side: 1000, max_pixels: 1_000_000, max_decoded_bytes: 1 << 24, max_frames: 1 };
        let (one, other) = (picture().unwrap(), picture().unwrap());
        assert_ne!(one, other);
        assert_eq!(inspect(&one, &limits).unwrap().bytes, one);
    }

    #[test]
    fn links_are_found_in_a_page() {
        let page = r#"<link href="/static/icon.1.svg"><link href="/static/style.2.css"><a href="/media/3.png">"#;
        assert_eq!(link(page, "/static/", &["css"]), Some("/static/style.2.css"));
        assert_eq!(link(page, "/media/", &["jpg", "png"]), Some("/media/3.png"));
        assert_eq!(link(page, "/thumb/", &["png"]), None);
    }

    #[test]
    fn an_address_with_a_slash_at_its_end_is_one_without() {
        for site in ["http://board", "http://board/"] {
            assert_eq!(at(&Url::parse(site).unwrap(), "/b/").unwrap(), "http://board/b/");
        }
    }
}
