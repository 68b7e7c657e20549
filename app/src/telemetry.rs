//! Logs: one line an event, JSON or text, on standard output. Never an address, a password, a comment or a query.

use tracing_subscriber::EnvFilter;

use crate::config::LogConfig;

/// Why a filter cannot be used, for the list of configuration errors.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(drop).map_err(|error| error.to_string())
}

/// Starts logging. Only the first call has an effect.
pub fn start(config: &LogConfig) {
    let filter = EnvFilter::new(&config.filter);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let started = if config.json {
        subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
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
