//! `GET /{board}/events`, `/{board}/res/{no}/events`: server-sent events (HTML standard, section 9.2).
//!
//! The only answers without an end. They end when the replica is about to: a browser comes back by itself, to another
//! replica, and says how far it had got.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, HeaderName};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::api::cors;
use super::http::caching::CachePolicy;
use super::http::client_address;
use super::http::negotiation::header;
use super::lookup::{self, no_thread, thread_no};
use crate::db::positions::Position;
use crate::db::versions::Scope;
use crate::domain::Refusal;
use crate::error::AppError;
use crate::live::Stream;
use crate::state::AppState;

/// Nothing in between may take a stream for dead that has nothing to tell; proxies wait for a minute.
const HEARTBEAT: Duration = Duration::from_secs(20);
const EVENT_STREAM: &str = "text/event-stream";
/// A comment, which clients pass over.
const NOTHING_NEW: &[u8] = b":\n\n";
/// After how many milliseconds a client comes back. When a replica ends, all of its clients do; so each is told another
/// time.
const RETRY: std::ops::Range<u16> = 2000..6000;

type State = web::Data<AppState>;
type Answer = Result<HttpResponse, AppError>;

/// Where a stream is to go on.
#[derive(Debug, Deserialize)]
pub(crate) struct EventsQuery {
    #[serde(default)]
    after: String,
}

pub(crate) async fn of_board(
    request: HttpRequest,
    state: State,
    slug: web::Path<String>,
    query: web::Query<EventsQuery>,
) -> Answer {
    let opened = async {
        let found = lookup::board(&state, &slug).await?;
        answer(&request, &state, Scope::Board(found.id), &slug, &query).await?.ok_or_else(|| lookup::no_board(&slug))
    };
    opened.await.or_else(|error| in_outage(&request, error))
}

pub(crate) async fn of_thread(
    request: HttpRequest,
    state: State,
    path: web::Path<(String, String)>,
    query: web::Query<EventsQuery>,
) -> Answer {
    let (slug, number) = path.into_inner();
    let no = thread_no(&number)?;
    let opened = async {
        lookup::thread(&state, &slug, no).await?.ok_or_else(|| no_thread(no))?;
        answer(&request, &state, Scope::Thread(no), &slug, &query).await?.ok_or_else(|| no_thread(no))
    };
    opened.await.or_else(|error| in_outage(&request, error))
}

/// Browsers give a stream up for good at any status but 200. So while the database does not answer, they get a stream that
/// ends at once, and come back until it does; programs are told what is wrong.
fn in_outage(request: &HttpRequest, error: AppError) -> Answer {
    let from_browser = header(request, ACCEPT).contains(EVENT_STREAM);
    if !from_browser || !matches!(error, AppError::Unavailable { .. }) {
        return Err(error);
    }
    Ok(cors::open(head().body(retry())))
}

async fn answer(
    request: &HttpRequest,
    state: &State,
    scope: Scope,
    slug: &str,
    query: &EventsQuery,
) -> Result<Option<HttpResponse>, AppError> {
    let after = position(request, query)?;
    let mut answer = head();
    if request.method() == Method::HEAD {
        return Ok(Some(cors::open(answer.finish())));
    }
    let address = client_address::of(request, &state.config.trusted_proxies);
    let Some(stream) = state.streams.open(scope, slug, address, after).await? else { return Ok(None) };
    let sending = Sending { stream, draining: state.lifecycle.draining().clone(), begun: false };
    Ok(Some(cors::open(answer.streaming(unfold(sending, Sending::next)))))
}

fn head() -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer
        .content_type(EVENT_STREAM)
        .insert_header(CachePolicy::Never.header())
        // For proxies that speak nginx, to pass on every event at once.
        .insert_header(("X-Accel-Buffering", "no"));
    answer
}

/// As the browser says when it comes back, else as the address says.
fn position(request: &HttpRequest, query: &EventsQuery) -> Result<Option<Position>, Refusal> {
    let last = header(request, HeaderName::from_static("last-event-id"));
    match [last, &query.after].into_iter().find(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|()| Refusal::BadPosition),
    }
}

/// A stream that is being sent.
struct Sending {
    stream: Stream,
    draining: CancellationToken,
    begun: bool,
}

impl Sending {
    async fn next(mut self) -> Option<(Result<Bytes, AppError>, Self)> {
        if !self.begun {
            self.begun = true;
            return Some((Ok(retry().into()), self));
        }
        let text = tokio::select! {
            biased;
            () = self.draining.cancelled() => return None,
            text = self.stream.next() => text,
            () = tokio::time::sleep(HEARTBEAT) => Ok(Some(Bytes::from_static(NOTHING_NEW))),
        };
        match text {
            Ok(text) => Some((Ok(text?), self)),
            Err(error) => {
                // It ends as if the replica did, and the client comes back to what it has missed.
                tracing::warn!(%error, "an event stream ends");
                None
            }
        }
    }
}

/// Says when to come back.
fn retry() -> String {
    let mut bytes = [0; 2];
    // Without randomness all come back at the same time, which is not worth an error.
    let _ = getrandom::fill(&mut bytes);
    let retry = RETRY.start + u16::from_ne_bytes(bytes) % (RETRY.end - RETRY.start);
    format!("retry: {retry}\n\n")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn told(header: Option<&str>, after: &str) -> Result<Option<String>, &'static str> {
        let request = TestRequest::default();
        let request = match header {
            Some(value) => request.insert_header(("Last-Event-ID", value)),
            None => request,
        };
        let position = position(&request.to_http_request(), &EventsQuery { after: after.to_owned() });
        position.map(|position| position.map(|position| position.to_string())).map_err(|refusal| refusal.code())
    }

    #[test]
    fn a_stream_goes_on_where_the_browser_says_else_where_the_address_says() {
        assert_eq!(told(None, ""), Ok(None));
        assert_eq!(told(None, "7.64f1"), Ok(Some("7.64f1".to_owned())));
        assert_eq!(told(Some("8.64f2"), "7.64f1"), Ok(Some("8.64f2".to_owned())));
        // What a browser sends that was told no position.
        assert_eq!(told(Some(""), "7.64f1"), Ok(Some("7.64f1".to_owned())));
        assert_eq!(told(Some("9223372036854775807.7fffffffffffffff"), "").unwrap().unwrap().len(), 36);
    }

    #[test]
    fn a_position_that_no_stream_has_told_is_refused() {
        for nonsense in
            ["7", "7.", ".7", "7.xyz", "-7.1", "7.-1", "+7.1", "9223372036854775808.0", "7.1 ", "7.1.1", "\u{0}"]
        {
            assert_eq!(told(None, nonsense), Err("bad_position"), "{nonsense:?}");
        }
        assert_eq!(told(Some("nonsense"), "7.1"), Err("bad_position"));
    }

    #[test]
    fn clients_come_back_at_different_times() {
        let time = |text: String| text.strip_prefix("retry: ")?.strip_suffix("\n\n")?.parse().ok();
        let times: Option<std::collections::BTreeSet<u16>> = (0..100).map(|_| time(retry())).collect();
        let times = times.unwrap();
        assert!(times.len() > 50, "{times:?}");
        assert!(times.iter().all(|time| RETRY.contains(time)), "{times:?}");
    }
}
