//! Sends what was recorded to a collector: OTLP over HTTP, as protobuf.
//!
//! Requests are gathered for a moment and sent together. While the collector is away, what comes waits in the queue, and is
//! dropped when that is full: no request waits for this task, and none fails by it. An outage is told once. At the end of the
//! replica there is one more attempt, and little time.

use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};
use prost::Message as _;
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::context::SpanId;
use super::waits::{Step, Wait};
use super::{Finished, TraceCounters};

/// How long requests are gathered before they are sent.
const GATHERED: Duration = Duration::from_secs(1);
/// Requests that are sent together, at the most.
const MOST_TOGETHER: usize = 256;
/// For the collector to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Seconds between two attempts to reach it.
const RETRIES: [u64; 5] = [1, 2, 5, 10, 30];
/// For everything that is left when the replica ends, which has a second for all of its last steps.
const LAST: Duration = Duration::from_millis(500);
/// The sampled flag of a trace.
const SAMPLED: u32 = 1;

/// Who sends.
#[derive(Debug)]
pub(super) struct Source(Resource);

impl Source {
    pub(super) fn new(replica: &str) -> Self {
        let attributes = vec![
            text("service.name", "triptych"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", replica),
        ];
        Self(Resource { attributes, ..Resource::default() })
    }

    /// The message about these requests.
    fn message(&self, requests: &[Finished]) -> Vec<u8> {
        let scope = InstrumentationScope { name: "triptych".to_owned(), ..InstrumentationScope::default() };
        let spans = requests.iter().flat_map(spans).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(self.0.clone()), scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }
}

/// The span of a request, and one for each thing that it waited for.
fn spans(request: &Finished) -> Vec<Span> {
    let context = &request.context;
    let mut attributes =
        vec![text("http.request.method", request.method), text("triptych.request_id", &request.request_id)];
    let mut name = request.method.to_owned();
    if let Some(route) = &request.route {
        attributes.push(text("http.route", route));
        name = format!("{name} {route}");
    }
    let mut status = Status::default();
    if let Some(code) = request.status {
        attributes.push(number("http.response.status_code", code.into()));
        if code >= 500 {
            status.code = SpanStatus::Error.into();
            attributes.push(text("error.type", &code.to_string()));
        }
    } else {
        status = Status { code: SpanStatus::Error.into(), message: "whoever asked went away".to_owned() };
        attributes.push(text("error.type", "cancelled"));
    }
    let is_remote = if context.parent.is_some() { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    let whole = Span {
        trace_id: context.trace.bytes(),
        span_id: context.span.bytes(),
        parent_span_id: context.parent.map(SpanId::bytes).unwrap_or_default(),
        flags: SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32 | is_remote,
        name,
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanoseconds(request.begun),
        end_time_unix_nano: nanoseconds(request.begun + request.took),
        attributes,
        status: Some(status),
        ..Span::default()
    };
    let steps = request.steps.iter().map(|step| part(request, step));
    std::iter::once(whole).chain(steps).collect()
}

fn part(request: &Finished, step: &Step) -> Span {
    let begun = request.begun + step.offset;
    let kind = match step.wait {
        Wait::Database | Wait::StorePut | Wait::StoreGet | Wait::StoreDelete => SpanKind::Client,
        _ => SpanKind::Internal,
    };
    Span {
        trace_id: request.context.trace.bytes(),
        span_id: SpanId::random().bytes(),
        parent_span_id: request.context.span.bytes(),
        flags: SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32,
        name: step.wait.name().to_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(begun),
        end_time_unix_nano: nanoseconds(begun + step.took),
        ..Span::default()
    }
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(value))
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}

/// What became of a message.
enum Outcome {
    /// All of it was taken.
    Taken,
    /// It never will be, or a part of it, for this reason.
    Refused(String),
    /// It may be a little later.
    NotNow(String),
}

/// The collector.
struct Collector {
    client: Client,
    address: Url,
    /// Whether it was told in the log that something is wrong.
    is_told: bool,
}

impl Collector {
    fn new(endpoint: &Url) -> reqwest::Result<Self> {
        let mut address = endpoint.clone();
        address.set_path(&format!("{}/v1/traces", endpoint.path().trim_end_matches('/')));
        Ok(Self { client: Client::builder().timeout(LIMIT).no_proxy().build()?, address, is_told: false })
    }

    async fn ask(&self, message: Vec<u8>) -> Outcome {
        let request = self.client.post(self.address.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        let answered = async {
            let answer = request.body(message).send().await?;
            reqwest::Result::Ok((answer.status(), answer.bytes().await?))
        };
        let (status, body) = match answered.await {
            Ok(answered) => answered,
            Err(error) => return Outcome::NotNow(format!("{:#}", anyhow::Error::from(error))),
        };
        if status.is_success() {
            let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
            return match answer.partial_success {
                Some(partly) if partly.rejected_spans > 0 => {
                    Outcome::Refused(format!("{} spans: {}", partly.rejected_spans, partly.error_message))
                }
                _ => Outcome::Taken,
            };
        }
        // These alone are worth another attempt, says the specification.
        let may_pass = [429, 502, 503, 504].contains(&status.as_u16());
        let reason = format!("it answers {status}");
        if may_pass { Outcome::NotNow(reason) } else { Outcome::Refused(reason) }
    }

    /// Tells in the log how it goes, when that changes.
    fn tell(&mut self, outcome: &Outcome) {
        let is_well = match outcome {
            Outcome::Taken => true,
            Outcome::Refused(reason) | Outcome::NotNow(reason) => {
                if !self.is_told {
                    tracing::warn!(reason, "the collector of traces does not take them; some are lost");
                }
                false
            }
        };
        if is_well && self.is_told {
            tracing::info!("the collector takes traces again");
        }
        self.is_told = !is_well;
    }
}

/// Sends what comes, until the replica ends.
pub(super) async fn send(
    endpoint: Url,
    source: Source,
    counters: TraceCounters,
    mut finished: mpsc::Receiver<Finished>,
    stopping: CancellationToken,
) {
    let mut collector = match Collector::new(&endpoint) {
        Ok(collector) => collector,
        Err(error) => {
            tracing::error!(%error, "traces cannot be sent");
            return stopping.cancelled().await;
        }
    };
    let mut batch = Vec::new();
    let until_the_end = async {
        while gather(&mut finished, &mut batch).await {
            send_batch(&mut collector, &source, &counters, &mut batch).await;
        }
        // Nobody is left who could hand on anything.
        stopping.cancelled().await;
    };
    stopping.run_until_cancelled(until_the_end).await;

    finished.close();
    let last = async {
        loop {
            while batch.len() < MOST_TOGETHER
                && let Ok(request) = finished.try_recv()
            {
                batch.push(request);
            }
            if batch.is_empty() {
                return;
            }
            let outcome = collector.ask(source.message(&batch)).await;
            collector.tell(&outcome);
            count(&counters, &outcome, batch.len());
            if !matches!(outcome, Outcome::Taken) {
                return;
            }
            batch.clear();
        }
    };
    let in_time = tokio::time::timeout(LAST, last).await.is_ok();
    let left = batch.len() + finished.len();
    if left > 0 {
        let reason = if in_time { "the collector does not take them" } else { "there was no more time" };
        tracing::warn!(requests = left, reason, "given up: traces that were not sent");
    }
}

/// Waits for requests and for those that come a moment later. `false`: none will come.
async fn gather(finished: &mut mpsc::Receiver<Finished>, batch: &mut Vec<Finished>) -> bool {
    let Some(first) = finished.recv().await else { return false };
    batch.push(first);
    let more = async {
        while batch.len() < MOST_TOGETHER
            && let Some(request) = finished.recv().await
        {
            batch.push(request);
        }
    };
    let _ = tokio::time::timeout(GATHERED, more).await;
    true
}

/// Sends them, however long that takes. `batch` holds them until they are not wanted any more, also when this is dropped.
async fn send_batch(collector: &mut Collector, source: &Source, counters: &TraceCounters, batch: &mut Vec<Finished>) {
    let message = source.message(batch);
    let mut attempt = 0;
    loop {
        let outcome = collector.ask(message.clone()).await;
        collector.tell(&outcome);
        if !matches!(outcome, Outcome::NotNow(_)) {
            count(counters, &outcome, batch.len());
            batch.clear();
            return;
        }
        let seconds = RETRIES.get(attempt).or(RETRIES.last()).copied().unwrap_or_default();
        attempt += 1;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

fn count(counters: &TraceCounters, outcome: &Outcome, requests: usize) {
    let counter = if matches!(outcome, Outcome::Taken) { &counters.exported } else { &counters.dropped };
    counter.inc_by(u64::try_from(requests).unwrap_or(u64::MAX));
}
