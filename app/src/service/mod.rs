//! Use cases. Each is a thing that somebody wants done; it alone decides what happens together in one transaction.
//!
//! Must not know HTTP, forms or templates.

pub mod collecting;
pub mod configuring;
pub mod deleting;
pub mod installation;
mod picture_turns;
mod pictures;
pub mod posting;
pub mod reading;
pub mod traffic;
