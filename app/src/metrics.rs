//! What a replica counts and measures, as Prometheus reads it on a port of its own.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::db::PgPool;
use crate::db::post_numbers::PostNumbers;
use crate::domain::traffic::{Amount, Tier, TrafficKind};

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// Pattern of the route, never the path itself: that would be a series per thread.
    pub route: String,
    /// Method.
    pub method: &'static str,
    /// Status.
    pub status: u16,
}

/// Labels of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// Pattern of the route.
    pub route: String,
}

/// Labels of what requests wait for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WaitLabels {
    /// For what, as in a trace.
    pub wait: &'static str,
}

/// Labels of a post.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PostLabels {
    /// Board.
    pub board: String,
    /// `created`, `repeated` or the code of a refusal.
    pub outcome: String,
}

/// Labels of traffic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TrafficLabels {
    /// `in`: what visitors sent; `out`: what they received.
    pub direction: &'static str,
    /// What it was for.
    pub kind: &'static str,
    /// Who answered.
    pub tier: &'static str,
}

/// Labels of the requests of traffic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TrafficRequestLabels {
    /// What they were for.
    pub kind: &'static str,
    /// Who answered.
    pub tier: &'static str,
    /// `true`: nginx had to ask a replica.
    pub fetched: &'static str,
}

/// What passed.
#[derive(Debug, Clone, Default)]
pub struct TrafficMetrics {
    traffic_bytes: Family<TrafficLabels, Counter>,
    traffic_requests: Family<TrafficRequestLabels, Counter>,
}

impl TrafficMetrics {
    /// In a registry.
    pub fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_with_unit(
            "traffic",
            "What visitors sent and received",
            Unit::Bytes,
            metrics.traffic_bytes.clone(),
        );
        registry.register("traffic_requests", "Requests whose bytes are counted", metrics.traffic_requests.clone());
        metrics
    }

    /// Counts.
    pub fn add(&self, tier: Tier, kind: TrafficKind, amount: Amount) {
        let (kind, tier) = (kind.name(), tier.name());
        for (direction, bytes) in [("in", amount.bytes_in), ("out", amount.bytes_out)] {
            self.traffic_bytes.get_or_create(&TrafficLabels { direction, kind, tier }).inc_by(bytes);
        }
        for (fetched, requests) in [("false", amount.requests.saturating_sub(amount.fetched)), ("true", amount.fetched)]
        {
            if requests > 0 {
                self.traffic_requests.get_or_create(&TrafficRequestLabels { kind, tier, fetched }).inc_by(requests);
            }
        }
    }
}

/// The type of the text that [`Metrics::encode`] makes.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The families. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Requests answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Seconds from the first byte of a request to the head of its answer.
    pub duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Seconds that requests have waited for something, each request that did.
    pub waits: Family<WaitLabels, Histogram, fn() -> Histogram>,
    /// Requests that are being answered.
    pub in_flight: Gauge,
    /// Connections of clients.
    pub client_connections: Gauge,
    /// Event streams that are open.
    pub event_streams: Gauge,
    /// Posts by outcome.
    pub posts: Family<PostLabels, Counter>,
    /// Bytes of pictures sent from the blob store.
    pub picture_bytes: Counter,
    post_number: Gauge,
    post_number_limit: Gauge,
    /// Bytes of uploads that are held in memory.
    pub upload_memory: Gauge,
    /// Bytes of texts that are held in memory while they are posted.
    pub text_memory: Gauge,
    traffic_sent: Gauge,
    traffic_budget: Gauge,
    /// What passed, as of the last time that it was handed on.
    pub traffic: TrafficMetrics,
    /// Requests whose spans a collector has taken.
    pub traces_exported: Counter,
    /// Requests whose spans it did not take, or not in time.
    pub traces_dropped: Counter,
    connections: Gauge,
    idle_connections: Gauge,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        // 0.5 ms to about 16 s.
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let mut metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(histogram),
            waits: Family::new_with_constructor(histogram),
            in_flight: Gauge::default(),
            client_connections: Gauge::default(),
            event_streams: Gauge::default(),
            posts: Family::default(),
            picture_bytes: Counter::default(),
            post_number: Gauge::default(),
            post_number_limit: Gauge::default(),
            upload_memory: Gauge::default(),
            text_memory: Gauge::default(),
            traffic_sent: Gauge::default(),
            traffic_budget: Gauge::default(),
            traffic: TrafficMetrics::default(),
            traces_exported: Counter::default(),
            traces_dropped: Counter::default(),
            connections: Gauge::default(),
            idle_connections: Gauge::default(),
            registry: Arc::default(),
        };
        let mut registry = Registry::with_prefix("triptych");
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request to the head of its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register_with_unit(
            "http_request_wait",
            "Time that a request waited for something: the pool, the database, the feed, a decoder, the store",
            Unit::Seconds,
            metrics.waits.clone(),
        );
        registry.register("http_requests_in_flight", "Requests being answered", metrics.in_flight.clone());
        registry.register("http_connections", "Open connections of clients", metrics.client_connections.clone());
        registry.register("event_streams", "Open event streams", metrics.event_streams.clone());
        registry.register("posts", "Posts by outcome", metrics.posts.clone());
        registry.register_with_unit(
            "picture_sent",
            "Pictures sent from the store",
            Unit::Bytes,
            metrics.picture_bytes.clone(),
        );
        registry.register("post_number", "The last post number that was given", metrics.post_number.clone());
        registry.register("post_number_limit", "The last that can be given", metrics.post_number_limit.clone());
        registry.register_with_unit(
            "upload_memory",
            "Memory that uploads take, of TRIPTYCH_UPLOAD_MEMORY",
            Unit::Bytes,
            metrics.upload_memory.clone(),
        );
        registry.register_with_unit(
            "text_memory",
            "Memory that texts take while they are posted",
            Unit::Bytes,
            metrics.text_memory.clone(),
        );
        registry.register("database_connections", "Open connections to Postgres", metrics.connections.clone());
        registry.register("database_connections_idle", "Those that nobody uses", metrics.idle_connections.clone());
        metrics.traffic = TrafficMetrics::registered(&mut registry);
        registry.register_with_unit(
            "traffic_month",
            "What all replicas and web servers have sent in this month; 0 without a budget",
            Unit::Bytes,
            metrics.traffic_sent.clone(),
        );
        registry.register_with_unit(
            "traffic_budget",
            "What may be sent in a month; 0 without a budget",
            Unit::Bytes,
            metrics.traffic_budget.clone(),
        );
        registry.register(
            "traces_exported",
            "Requests whose spans a collector has taken",
            metrics.traces_exported.clone(),
        );
        registry.register(
            "traces_dropped",
            "Requests whose spans no collector has taken, or not in time",
            metrics.traces_dropped.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// Notes how far the post numbers have got.
    pub fn set_post_numbers(&self, numbers: PostNumbers) {
        self.post_number.set(numbers.last);
        self.post_number_limit.set(numbers.limit);
    }

    /// Notes what was sent in this month, in bytes, and what may be.
    pub fn set_month_of_traffic(&self, sent: u64, budget: u64) {
        self.traffic_sent.set(i64::try_from(sent).unwrap_or(i64::MAX));
        self.traffic_budget.set(i64::try_from(budget).unwrap_or(i64::MAX));
    }

    /// All of them in the OpenMetrics text format.
    pub fn encode(&self, pool: &PgPool) -> Result<String, std::fmt::Error> {
        self.connections.set(i64::from(pool.size()));
        self.idle_connections.set(i64::try_from(pool.num_idle()).unwrap_or(i64::MAX));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Counts one thing in a gauge for as long as it is there.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// One more, until this is dropped.
    #[must_use]
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
