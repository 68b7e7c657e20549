//! Pictures, streamed from the blob store. The web tier in front keeps them; this is what it asks.

use std::time::{Duration, SystemTime};

use actix_web::body::SizedStream;
use actix_web::http::Method;
use actix_web::http::header::{ACCEPT_RANGES, CONTENT_RANGE, HttpDate};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use uuid::Uuid;

use crate::db::blobs::{Shape, Stored};
use crate::domain::Refusal;
use crate::error::AppError;
use crate::service::reading;
use crate::state::AppState;
use crate::store::{self, Download, Object};
use crate::web::api::cors;
use crate::web::http::caching::CachePolicy;
use crate::web::http::conditional::{Part, Validators};
use crate::web::layers;

type Answer = Result<HttpResponse, AppError>;
type State = web::Data<AppState>;

pub(crate) async fn original(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (id, extension) = path.into_inner();
    let stored = find(&state, &id).await?;
    send(&request, &state, &stored, Object::Original(stored.id), stored.original, &extension).await
}

pub(crate) async fn thumbnail(request: HttpRequest, state: State, path: web::Path<(String, String)>) -> Answer {
    let (id, extension) = path.into_inner();
    let stored = find(&state, &id).await?;
    send(&request, &state, &stored, Object::Thumbnail(stored.id), stored.thumbnail, &extension).await
}

async fn find(state: &AppState, id: &str) -> Result<Stored, AppError> {
    // Only the form that we write ourselves: one picture has one address, and caches hold it once.
    let id = Uuid::try_parse(id).ok().filter(|uuid| uuid.to_string() == id).ok_or(Refusal::UnknownPicture)?;
    Ok(reading::picture(&state.pool, id).await?.ok_or(Refusal::UnknownPicture)?)
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
        return Err(Refusal::UnknownPicture.into());
    }
    let length = u64::try_from(shape.bytes).unwrap_or_default();
    let tags = [stored.id.to_string()];
    let since_1970 = Duration::from_secs(u64::try_from(stored.created_at.timestamp()).unwrap_or_default());
    let stored_at = HttpDate::from(SystemTime::UNIX_EPOCH + since_1970);
    let validators = Validators { tags: &tags, modified: Some(stored_at), date_is_exact: true };
    let matched = validators.matched(request);
    let part = if matched.is_some() { Part::Whole } else { validators.part(request, length) };
    let mut answer = match part {
        _ if matched.is_some() => HttpResponse::NotModified(),
        Part::NotSatisfiable => HttpResponse::RangeNotSatisfiable(),
        Part::Whole => HttpResponse::Ok(),
        Part::Bytes(..) => HttpResponse::PartialContent(),
    };
    answer.content_type(shape.kind.media_type()).insert_header((ACCEPT_RANGES, "bytes"));
    answer.insert_header((layers::BOARD, stored.board.as_str()));
    if part == Part::NotSatisfiable {
        answer.insert_header((CONTENT_RANGE, format!("bytes */{length}"))).insert_header(CachePolicy::Never.header());
        return Ok(cors::open(answer.finish()));
    }
    validators.write(&mut answer, matched);
    answer.insert_header(CachePolicy::Picture.header());
    if matched.is_some() {
        return Ok(cors::open(answer.finish()));
    }
    let (range, length) = match part {
        Part::Bytes(first, last) => {
            answer.insert_header((CONTENT_RANGE, format!("bytes {first}-{last}/{length}")));
            (Some((first, last)), last - first + 1)
        }
        Part::Whole | Part::NotSatisfiable => (None, length),
    };
    if request.method() == Method::HEAD {
        // The size is known without asking the store; the server leaves the body of a HEAD out.
        let nothing = stream::empty::<Result<Bytes, std::io::Error>>();
        return Ok(cors::open(answer.body(SizedStream::new(length, nothing))));
    }
    let download = match state.store.get(object, range).await {
        Ok(download) => download,
        // Its last post was deleted, and its objects collected, a moment ago.
        Err(store::Error::Missing) => return Err(Refusal::UnknownPicture.into()),
        Err(error) => return Err(error.into()),
    };
    if u64::try_from(download.length) != Ok(length) {
        return Err(AppError::Internal(format!("{} has {} bytes, not {length}", object.key(), download.length)));
    }
    state.metrics.picture_bytes.inc_by(length);
    Ok(cors::open(answer.body(SizedStream::new(length, chunks(download)))))
}

fn chunks(download: Download) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    stream::unfold(download.body, |mut body| async move {
        let chunk = body.next().await?;
        Some((chunk.map_err(std::io::Error::other), body))
    })
}
