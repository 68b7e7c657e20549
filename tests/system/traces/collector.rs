//! A small collector: takes OTLP over HTTP as protobuf, and keeps it.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message as _;
use tokio::{net::TcpListener, task::AbortHandle};

use crate::board::wait_until;

/// What it does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Keeps it.
    Takes,
    /// Says that it may be sent again.
    NotNow,
    /// Says that it is wrong.
    Refuses,
    /// Never answers.
    Hangs,
}

/// A running collector. Ends when it is dropped.
pub(super) struct Collector {
    port: u16,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    mood: Mutex<Mood>,
    asked: Mutex<Vec<String>>,
    taken: Mutex<Vec<Received>>,
}

/// A span, and who sent it.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) resource: Vec<KeyValue>,
    pub(super) span: Span,
}

impl Received {
    pub(super) fn trace(&self) -> String {
        hexadecimal(&self.span.trace_id)
    }

    pub(super) fn id(&self) -> String {
        hexadecimal(&self.span.span_id)
    }

    pub(super) fn parent(&self) -> String {
        hexadecimal(&self.span.parent_span_id)
    }

    pub(super) fn attribute(&self, key: &str) -> Option<String> {
        value(&self.span.attributes, key)
    }

    pub(super) fn of_resource(&self, key: &str) -> Option<String> {
        value(&self.resource, key)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

impl Collector {
    pub(super) async fn start(mood: Mood) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared { mood: Mutex::new(mood), asked: Mutex::default(), taken: Mutex::default() });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                let answer = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(shared.answer(request).await) }
                });
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Ok(Self { port, shared, accepting: accepting.abort_handle() })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        *locked(&self.shared.mood) = mood;
    }

    /// How it was asked until now.
    pub(super) fn asked(&self) -> Vec<String> {
        locked(&self.shared.asked).clone()
    }

    /// Waits until it was asked so often.
    pub(super) async fn wait_for_questions(&self, least: usize) -> Result<()> {
        wait_until(&format!("{least} questions"), || async { Ok(self.asked().len() >= least) }).await
    }

    /// The spans of a trace that have come until now.
    pub(super) fn spans(&self, trace: &str) -> Vec<Received> {
        locked(&self.shared.taken).iter().filter(|received| received.trace() == trace).cloned().collect()
    }

    /// Waits for the spans of a trace.
    pub(super) async fn wait_for(&self, trace: &str) -> Result<Vec<Received>> {
        wait_until(&format!("spans of {trace}"), || async { Ok(!self.spans(trace).is_empty()) }).await?;
        Ok(self.spans(trace))
    }

    /// Every trace that has come until now.
    pub(super) fn count(&self) -> usize {
        locked(&self.shared.taken).len()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Empty<hyper::body::Bytes>> {
        let content_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
        let how = format!("{} {} {}", request.method(), request.uri().path(), content_type.unwrap_or_default());
        locked(&self.asked).push(how);
        let mood = *locked(&self.mood);
        let status = match mood {
            Mood::Takes => match self.take(request).await {
                Ok(()) => StatusCode::OK,
                Err(_) => StatusCode::BAD_REQUEST,
            },
            Mood::NotNow => StatusCode::SERVICE_UNAVAILABLE,
            Mood::Refuses => StatusCode::BAD_REQUEST,
            Mood::Hangs => {
                tokio::time::sleep(Duration::from_hours(1)).await;
                StatusCode::OK
            }
        };
        let mut answer = Response::new(Empty::new());
        *answer.status_mut() = status;
        answer
    }

    async fn take(&self, request: Request<Incoming>) -> Result<()> {
        ensure!(request.method() == Method::POST, "not a POST");
        let body = request.into_body().collect().await.context("no body")?.to_bytes();
        let message = ExportTraceServiceRequest::decode(body)?;
        let mut taken = locked(&self.taken);
        for of_resource in message.resource_spans {
            let resource = of_resource.resource.unwrap_or_default().attributes;
            for span in of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
                taken.push(Received { resource: resource.clone(), span });
            }
        }
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
