//! Triptych, an image board whose replicas always show the same thing. `ARCHITECTURE.md` is the map.
//!
//! Imports run one way: `domain`, `markup`, `representation` ← `db`, `store`, `media`, `assets` ← `service`, `live` ←
//! `web` ← `server` ← `cli`. `tools` are programs beside the board that `cli` starts. Whoever waits for something says so to
//! `trace::waits`, as whoever has something to tell does to `tracing`.

pub mod assets;
pub mod cli;
pub mod config;
pub mod db;
pub mod domain;
pub mod error;
pub mod freshness;
pub mod hashing;
pub mod lifecycle;
pub mod live;
pub mod markup;
pub mod media;
pub mod memory;
pub mod meter;
pub mod metrics;
pub mod representation;
pub mod server;
pub mod service;
mod signals;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod tools;
pub mod trace;
pub mod traffic;
pub mod web;
