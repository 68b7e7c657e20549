//! System tests: whole processes, real Postgres, real nginx, the real S3 protocol.
//!
//! One module for each promise that is tested; `harness` and `nginx` test the local stack itself and need no
//! `triptych` binary.

mod api;
mod bad_input;
mod board;
mod boards_and_pages;
mod cost;
mod deleting;
mod ending;
mod events;
mod first_posts;
mod forwarded;
mod freshness;
mod harness;
mod history;
mod idempotence;
mod identical;
mod installation;
mod kill;
mod last_numbers;
mod locks;
mod logs;
mod long_threads;
mod media_routes;
mod migrate_waits;
mod migrations;
mod nginx;
mod orphans;
mod outages;
mod overload;
mod pooled;
mod prefix;
mod read_only;
mod restored;
mod roles;
mod rolling;
mod scripts;
mod servers;
mod shared;
mod silence;
mod slow_bodies;
mod smoke;
mod traces;
mod traffic;
mod unknown_rows;
