//! Triptych, an image board whose replicas always show the same thing. `ARCHITECTURE.md` is the map.
//!
//! Imports run one way: `domain`, `markup` ← `db`, `store`, `media` ← `service`, `live` ← `web`, `server`, `cli`.

pub mod cli;
pub mod config;
pub mod credentials;
pub mod db;
pub mod domain;
pub mod error;
pub mod lifecycle;
pub mod live;
pub mod markup;
pub mod media;
pub mod metrics;
pub mod secret;
pub mod server;
pub mod service;
pub mod smoke;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod web;
