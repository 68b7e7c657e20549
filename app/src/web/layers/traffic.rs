//! What a request took of the network: its head, its body, and the answer as far as it was sent.
//!
//! What is counted are the bytes of HTTP/1.1 as the server reads and writes them, without encryption. Of a body that comes in,
//! what was read; of one that goes out, what was handed to the connection, which holds at most one more piece of it than was
//! sent when a visitor goes away. A request whose visitor goes away before it was answered counts as refused. Not counted are probes,
//! and what is not even HTTP.
//!
//! Behind the web server of ours ([`ServeConfig::behind_web`]), what the visitor sent and receives is what passes there: it tells how
//! long the request was, and adds two headers to the answer.
//!
//! [`ServeConfig::behind_web`]: crate::config::ServeConfig::behind_web

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::HttpMessage as _;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, RequestHead, ResponseHead, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, TRANSFER_ENCODING};
use actix_web::http::{ConnectionType, Method, StatusCode, Version};
use actix_web::web::Data;
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::domain::BoardId;
use crate::domain::traffic::{Amount, TrafficKind};
use crate::state::AppState;

/// How many bytes the request had, from the web server in front.
const REQUEST_LENGTH: &str = "x-request-length";
/// Who counts the answer, if not this replica: set by the web server for what it sends on from its cache.
const COUNTED_BY: &str = "x-counted-by";
/// The board that an answer is about, where its address does not tell: for nginx, which keeps it with the picture.
pub(crate) const BOARD: HeaderName = HeaderName::from_static("x-board");
/// Headers that proxies add on the way.
const OF_PROXIES: [&str; 11] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-real-ip",
    "forwarded",
    "via",
    "x-request-id",
    "traceparent",
    "tracestate",
];
/// `Server: nginx` and `Connection: keep-alive`, each with the end of its line.
const ADDED_BY_WEB: u64 = 15 + 24;
/// A long answer is counted in pieces of this size, so that a replica that is killed loses little.
const PIECE: u64 = 256 << 10;

/// A request and its answer. Counts what it has when it is dropped.
pub(super) struct Exchange {
    state: Data<AppState>,
    /// `None`: not the traffic of a visitor, or counted elsewhere.
    kind: Option<TrafficKind>,
    board: Option<BoardId>,
    received: Rc<Cell<u64>>,
    sent: u64,
    /// It came through the web server of ours.
    through_web: bool,
    is_counted: bool,
}

impl Exchange {
    /// Of a request that has just come.
    pub(super) fn begin(request: &mut ServiceRequest, state: &Data<AppState>) -> Self {
        let behind_web = state.config.behind_web;
        let elsewhere = behind_web && request.headers().contains_key(COUNTED_BY);
        let is_probe = super::is_probe(request.path());
        let kind = (!elsewhere && !is_probe).then_some(TrafficKind::Refused);
        let told = if behind_web { length_told(request.headers()) } else { None };
        let received = Rc::new(Cell::new(told.unwrap_or_else(|| request_head(request.head()))));
        if kind.is_some() && told.is_none() {
            count_body(request, Rc::clone(&received));
        }
        let through_web = told.is_some();
        Self { state: state.clone(), kind, board: None, received, sent: 0, through_web, is_counted: false }
    }

    /// Counts the answer while it is sent.
    pub(super) fn answered(mut self, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        if self.kind.is_none() {
            return response;
        }
        let request = response.request();
        if !response.status().is_client_error() && !response.status().is_server_error() {
            self.kind = Some(kind(request.method(), request.path()));
        }
        let told = || response.headers().get(BOARD).and_then(|slug| slug.to_str().ok());
        let slug = request.match_info().get("board").or_else(told);
        self.board = slug.and_then(|slug| self.state.boards.last_known().find(slug).ok().map(|board| board.id));
        let size = response.response().body().size();
        self.sent = response_head(request.head(), response.response().head(), size);
        if self.through_web {
            self.sent += ADDED_BY_WEB;
        }
        // Of an answer to HEAD the server sends the head alone, whatever is in the body.
        if request.method() == Method::HEAD || matches!(size, BodySize::None | BodySize::Sized(0)) {
            return response;
        }
        let is_chunked = size == BodySize::Stream && request.head().version >= Version::HTTP_11;
        response.map_body(|_, body| BoxBody::new(Sending { body, exchange: self, is_chunked }))
    }

    fn count(&mut self) {
        let Some(kind) = self.kind else { return };
        let amount = Amount {
            requests: u64::from(!std::mem::replace(&mut self.is_counted, true)),
            bytes_in: self.received.take(),
            bytes_out: std::mem::take(&mut self.sent),
            fetched: 0,
        };
        self.state.traffic.add(kind, self.board, amount);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.count();
    }
}

/// The body of an answer on its way out.
struct Sending {
    body: BoxBody,
    exchange: Exchange,
    is_chunked: bool,
}

impl MessageBody for Sending {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let piece = ready!(Pin::new(&mut self.body).poll_next(context));
        let length = piece.as_ref().map_or(Some(0), |piece| piece.as_ref().ok().map(Bytes::len));
        if let Some(length) = length {
            let is_chunked = self.is_chunked;
            self.exchange.sent += if is_chunked { chunk(length) } else { length as u64 };
            // A stream may go on for days.
            if self.exchange.sent >= PIECE || self.exchange.kind == Some(TrafficKind::Events) {
                self.exchange.count();
            }
        }
        Poll::Ready(piece)
    }
}

/// Bytes of a chunk (RFC 9112, section 7.1): its size in hexadecimal, two ends of lines, and the piece. The last one has none.
fn chunk(length: usize) -> u64 {
    let digits = u64::from(length.checked_ilog(16).unwrap_or(0)) + 1;
    digits + 4 + length as u64
}

/// The kind of an answer that is not an error.
fn kind(method: &Method, path: &str) -> TrafficKind {
    if path.starts_with("/media/") {
        return TrafficKind::Picture;
    }
    if path.starts_with("/thumb/") {
        return TrafficKind::Thumbnail;
    }
    if path.starts_with("/static/") {
        return TrafficKind::Asset;
    }
    let file = path.rsplit('/').next().unwrap_or_default();
    match file.rsplit_once('.') {
        Some((_, "json" | "csv" | "rss" | "atom")) => TrafficKind::Api,
        // Where other image boards have their files.
        Some((name, "jpg" | "jpeg" | "png" | "gif" | "webp")) => {
            if name.ends_with('s') || path.contains("/thumb/") {
                TrafficKind::Thumbnail
            } else {
                TrafficKind::Picture
            }
        }
        _ if file == "events" => TrafficKind::Events,
        _ if file == "post" && method == Method::POST => TrafficKind::Upload,
        _ => TrafficKind::Page,
    }
}

fn length_told(headers: &HeaderMap) -> Option<u64> {
    headers.get(REQUEST_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Bytes of the head of a request, without what proxies have added.
fn request_head(head: &RequestHead) -> u64 {
    let target = head.uri.path_and_query().map_or(1, |target| target.as_str().len());
    // Two spaces, the version, the end of the line, and the empty line.
    let line = head.method.as_str().len() + target + " HTTP/1.1\r\n".len() + 1 + "\r\n".len();
    let of_visitor = head.headers.iter().filter(|(name, _)| !OF_PROXIES.contains(&name.as_str()));
    (line + of_visitor.map(|(name, value)| header_line(name.as_str().len(), value.len())).sum::<usize>()) as u64
}

/// Bytes of the head of an answer, as actix writes it.
fn response_head(request: &RequestHead, head: &ResponseHead, size: BodySize) -> u64 {
    let reason = head.reason().len();
    let mut length = "HTTP/1.1 200 ".len() + reason + "\r\n".len() + "\r\n".len();
    let has_no_body = matches!(head.status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT);
    length += match size {
        BodySize::Sized(bytes) if !has_no_body => {
            header_line("content-length".len(), bytes.checked_ilog10().unwrap_or(0) as usize + 1)
        }
        BodySize::Stream if !has_no_body => header_line("transfer-encoding".len(), "chunked".len()),
        _ => 0,
    };
    let closes = [head.connection_type(), request.connection_type()].contains(&ConnectionType::Close);
    if closes && request.version >= Version::HTTP_11 {
        length += header_line("connection".len(), "close".len());
    }
    if !head.headers().contains_key(DATE) {
        length += "date: Fri, 27 Nov 2026 10:00:00 GMT\r\n".len();
    }
    let written = head.headers().iter();
    let written = written.filter(|(name, _)| ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name));
    (length + written.map(|(name, value)| header_line(name.as_str().len(), value.len())).sum::<usize>()) as u64
}

/// Bytes of a line of a head: the colon, a space and the end of the line, too.
const fn header_line(name: usize, value: usize) -> usize {
    name + value + 4
}

/// Counts the body of a request as it is read.
fn count_body(request: &mut ServiceRequest, received: Rc<Cell<u64>>) {
    let headers = request.headers();
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        return;
    }
    let body = request.take_payload().inspect(move |piece| {
        let length = piece.as_ref().map_or(0, Bytes::len) as u64;
        received.set(received.get().saturating_add(length));
    });
    request.set_payload(Payload::Stream { payload: Box::pin(body) });
}
