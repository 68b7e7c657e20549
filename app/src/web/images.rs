//! Pictures, streamed from the blob store. The web tier in front keeps them; this is what it asks.

use std::time::SystemTime;

use actix_web::body::SizedStream;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, ETAG, HttpDate, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;
use uuid::Uuid;

use super::api;
use super::assets::IMMUTABLE;
use super::negotiate::header;
use super::range::{Part, part};
use crate::db::blobs::{self, Shape, Stored};
use crate::domain::Refusal;
use crate::error::AppError;
use crate::state::AppState;
use crate::store::{Download, Object};

type Answer = Result<HttpResponse, AppError>;
type State = web::Data<AppState>;

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
    let mut connection = state.pool.acquire().await?;
    Ok(blobs::find_shown(&mut connection, id).await?.ok_or_else(missing)?)
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
    let has_it = |tags: &str| {
        tags.split(',').any(|sent| {
            matches!(sent.trim().trim_start_matches("W/"), "*") || sent.trim().trim_start_matches("W/") == tag
        })
    };
    let if_range = header(request, IF_RANGE);
    let wanted = match header(request, RANGE) {
        range if request.method() == Method::GET && (if_range.is_empty() || if_range == tag) => part(range, length),
        _ => Part::Whole,
    };
    let mut answer = if has_it(header(request, IF_NONE_MATCH)) {
        HttpResponse::NotModified()
    } else {
        match wanted {
            Part::Whole => HttpResponse::Ok(),
            Part::Bytes(..) => HttpResponse::PartialContent(),
            Part::NotSatisfiable => HttpResponse::RangeNotSatisfiable(),
        }
    };
    let since_1970 = std::time::Duration::from_secs(u64::try_from(stored.created_at.timestamp()).unwrap_or_default());
    answer
        .content_type(shape.kind.media_type())
        .insert_header((ETAG, tag.clone()))
        .insert_header((LAST_MODIFIED, HttpDate::from(SystemTime::UNIX_EPOCH + since_1970)))
        .insert_header((CACHE_CONTROL, IMMUTABLE))
        .insert_header((ACCEPT_RANGES, "bytes"));
    let range = match wanted {
        _ if has_it(header(request, IF_NONE_MATCH)) => return Ok(api::open(answer.finish())),
        Part::NotSatisfiable => {
            answer
                .insert_header((CONTENT_RANGE, format!("bytes */{length}")))
                .insert_header((CACHE_CONTROL, "no-store"));
            return Ok(api::open(answer.finish()));
        }
        Part::Whole => None,
        Part::Bytes(first, last) => {
            answer.insert_header((CONTENT_RANGE, format!("bytes {first}-{last}/{length}")));
            Some((first, last))
        }
    };
    if request.method() == Method::HEAD {
        return Ok(api::open(
            answer.no_chunking(length).body(SizedStream::new(length, stream::empty::<Result<_, std::io::Error>>())),
        ));
    }
    let download = state.store.get(object, range).await?;
    let expected = range.map_or(length, |(first, last)| last - first + 1);
    if u64::try_from(download.length) != Ok(expected) {
        return Err(AppError::Internal(format!(
            "{} has {} bytes, {expected} were expected",
            object.key(),
            download.length
        )));
    }
    state.metrics.picture_bytes.inc_by(expected);
    Ok(api::open(answer.body(SizedStream::new(expected, chunks(download)))))
}

fn chunks(download: Download) -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
    stream::unfold(download.body, |mut body| async move {
        let chunk = body.next().await?;
        Some((chunk.map_err(std::io::Error::other), body))
    })
}
