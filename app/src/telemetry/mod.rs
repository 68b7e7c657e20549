//! Logs: one line per event, JSON or text, on standard output. Never an address, a password, a comment or a query.

mod span_fields;

use tracing_subscriber::EnvFilter;

use crate::config::LogConfig;
use span_fields::SpanFields;

/// Starts logging. Only the first call has an effect.
pub fn start(config: &LogConfig) {
    let filter = EnvFilter::new(&config.filter);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let started = if config.json {
        subscriber.json().flatten_event(true).with_span_list(false).fmt_fields(SpanFields).try_init()
    } else {
        subscriber.try_init()
    };
    // A second subscriber in one process is a test's; the first one stays.
    drop(started);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic: {}", panic.payload_as_str().unwrap_or("without words"));
    }));
}
