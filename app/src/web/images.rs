//! Pictures, streamed from the blob store. The web tier in front keeps them; this is what it asks.

use std::time::{Duration, SystemTime};

use actix_web::body::SizedStream;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, ETAG, HttpDate, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use uuid::Uuid;

use super::api;
use super::negotiate::header;
use super::range::{Part, part};
use crate::db::blobs::{Shape, Stored};
use crate::domain::Refusal;
use crate::error::AppError;
use crate::service::reading;
use crate::state::AppState;
use crate::store::{self, Download, Object};

type Answer = Result<HttpResponse, AppError>;
type State = web::Data<AppState>;

/// A browser may keep a picture for a year without asking again. A cache that many share asks after half a minute, so
/// that a deleted one is gone from it within a minute; nginx in front keeps one for as long.
const CACHED: &str = "public, max-age=31536000, immutable, s-maxage=30";

pub(super) async fn original(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (id, extension) = path.into_inner();
    let stored = find(&state, &id).await?;
    send(&request, &state, &stored, Object::Original(stored.id), stored.original, &extension).await
}

pub(super) async fn thumbnail(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (id, extension) = path.into_inner();
    let stored = find(&state, &id).await?;
    send(&request, &state, &stored, Object::Thumbnail(stored.id), stored.thumbnail, &extension).await
}

fn missing() -> Refusal {
    Refusal::not_found("unknown_picture", "There is no such picture. It may have been deleted.")
}

async fn find(state: &AppState, id: &str) -> Result<Stored, AppError> {
    // Only the form that we write ourselves: one picture has one address, and caches hold it once.
    let id = Uuid::try_parse(id).ok().filter(|uuid| uuid.to_string() == id).ok_or_else(missing)?;
    Ok(reading::picture(&state.pool, id).await?.ok_or_else(missing)?)
}

async fn send(
    request: &HttpRequest,
    state: &AppState,
    stored: &Stored,
    object: Object,
    shape: Shape,
    extension: &str,
) -> Answer {
    if extension != shape.kind.extension() {
        return Err(missing().into());
    }
    let length = u64::try_from(shape.bytes).unwrap_or_default();
    let tag = format!("\"{}\"", stored.id);
    let since_1970 = Duration::from_secs(u64::try_from(stored.created_at.timestamp()).unwrap_or_default());
    let stored_at = HttpDate::from(SystemTime::UNIX_EPOCH + since_1970);
    let reply = reply(request, &tag, stored_at, length);
    let mut answer = match reply {
        Reply::NotModified => HttpResponse::NotModified(),
        Reply::NotSatisfiable => HttpResponse::RangeNotSatisfiable(),
        Reply::Whole => HttpResponse::Ok(),
        Reply::Part(..) => HttpResponse::PartialContent(),
    };
    answer
        .content_type(shape.kind.media_type())
        .insert_header((ETAG, tag))
        .insert_header((LAST_MODIFIED, stored_at))
        .insert_header((CACHE_CONTROL, CACHED))
        .insert_header((ACCEPT_RANGES, "bytes"));
    let (range, length) = match reply {
        Reply::NotModified => return Ok(api::open(answer.finish())),
        Reply::NotSatisfiable => {
            answer
                .insert_header((CONTENT_RANGE, format!("bytes */{length}")))
                .insert_header((CACHE_CONTROL, "no-store"));
            return Ok(api::open(answer.finish()));
        }
        Reply::Whole => (None, length),
        Reply::Part(first, last) => {
            answer.insert_header((CONTENT_RANGE, format!("bytes {first}-{last}/{length}")));
            (Some((first, last)), last - first + 1)
        }
    };
    if request.method() == Method::HEAD {
        // The size is known without asking the store; the server leaves the body of a HEAD out.
        let nothing = stream::empty::<Result<Bytes, std::io::Error>>();
        return Ok(api::open(answer.body(SizedStream::new(length, nothing))));
    }
    let download = match state.store.get(object, range).await {
        Ok(download) => download,
        // Its last post was deleted, and its objects collected, a moment ago.
        Err(store::Error::Missing) => return Err(missing().into()),
        Err(error) => return Err(error.into()),
    };
    if u64::try_from(download.length) != Ok(length) {
        return Err(AppError::Internal(format!("{} has {} bytes, not {length}", object.key(), download.length)));
    }
    state.metrics.picture_bytes.inc_by(length);
    Ok(api::open(answer.body(SizedStream::new(length, chunks(download)))))
}

/// How a request for a picture is answered.
#[derive(Debug, Clone, Copy)]
enum Reply {
    NotModified,
    NotSatisfiable,
    Whole,
    Part(u64, u64),
}

/// In the order of RFC 9110, section 13.2.2: `If-None-Match` first, `If-Modified-Since` without it, then `Range` if
/// `If-Range` allows.
fn reply(request: &HttpRequest, tag: &str, stored_at: HttpDate, length: u64) -> Reply {
    let tags = header(request, IF_NONE_MATCH);
    let is_held = if tags.is_empty() {
        header(request, IF_MODIFIED_SINCE).parse::<HttpDate>().is_ok_and(|since| since >= stored_at)
    } else {
        tags.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|sent| sent == "*" || sent == tag)
    };
    if is_held {
        return Reply::NotModified;
    }
    let if_range = header(request, IF_RANGE);
    if request.method() != Method::GET || !(if_range.is_empty() || if_range == tag) {
        return Reply::Whole;
    }
    match part(header(request, RANGE), length) {
        Part::Whole => Reply::Whole,
        Part::Bytes(first, last) => Reply::Part(first, last),
        Part::NotSatisfiable => Reply::NotSatisfiable,
    }
}

fn chunks(download: Download) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    stream::unfold(download.body, |mut body| async move {
        let chunk = body.next().await?;
        Some((chunk.map_err(std::io::Error::other), body))
    })
}
