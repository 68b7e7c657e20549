//! System tests: whole processes, real Postgres, real nginx, the real S3 protocol.
//!
//! One module for each promise that is tested; `harness` and `nginx` test the local stack itself and need no
//! `triptych` binary.

mod harness;
mod nginx;
