//! Every connection and every event stream is an open file.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::StreamLimits;

/// Besides streams: connections of readers, to Postgres and to the store.
const OTHERS: u64 = 2000;

/// Raises the number of files that may be open to what the system allows at the most. What a process starts with is often
/// a thousand, for the sake of programs that count on it (`select(2)`); this one is none of them.
pub(super) fn raise_limit(streams: StreamLimits) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let wanted = u64::try_from(streams.most).unwrap_or(u64::MAX).saturating_add(OTHERS);
    if let Some(maximum) = maximum.filter(|maximum| *maximum < wanted) {
        tracing::warn!(maximum, streams = streams.most, "fewer files may be open than TRIPTYCH_MAX_STREAMS may need");
    }
}
