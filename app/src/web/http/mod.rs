//! What HTTP says, as rules of its own: conditional requests, ranges, caching, negotiation, whose request it is.
//!
//! Nothing here knows boards or posts; handlers bring what they answer with.

pub(crate) mod caching;
pub(crate) mod client_address;
pub(crate) mod conditional;
pub(crate) mod negotiation;
pub(crate) mod origin;
