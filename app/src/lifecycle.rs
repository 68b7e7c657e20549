//! Ready, draining, gone: what a replica tells those who send it requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this replica should be sent requests. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    schema_verified: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

impl Readiness {
    /// The schema was found to be what this binary needs. That is asked once: a passing outage of Postgres must not
    /// take every replica out of service, because pages can still say that it is one.
    pub fn schema_is_verified(&self) {
        self.schema_verified.store(true, Ordering::Release);
    }

    /// From now on every answer closes its connection, and readiness says no.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the replica was told to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Why the replica should not be sent requests; `None` when it should.
    #[must_use]
    pub fn objection(&self) -> Option<&'static str> {
        if self.is_draining() {
            Some("draining")
        } else if self.schema_verified.load(Ordering::Acquire) {
            None
        } else {
            Some("the database schema has not been verified yet")
        }
    }
}
