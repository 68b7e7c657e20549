//! What nginx does in front of the replicas: turns, cache, limits, errors, event streams, and what happens without them.
//!
//! The replicas here are stand-ins that say what they were asked.

mod bodies;
mod errors;
mod pictures;
mod replicas;
mod streams;
mod stub;
