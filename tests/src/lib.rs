//! The local stack: the whole of Triptych on one machine.
//!
//! [`Stack`] starts a private Postgres cluster, an S3 server, any number of `triptych` processes and
//! nginx in front of them; `make up` and the system tests use the same one. Each part can be stopped,
//! killed and started again on its own, which is what the tests are about.
//!
//! Nothing here knows how the application works: it is a binary with an environment and some URLs.

pub mod account;
pub mod asked_to_stop;
pub mod bench;
pub mod cluster;
pub mod counting_visitor;
pub mod events;
pub mod fill;
pub mod history;
pub mod http;
pub mod meter;
pub mod nginx;
pub mod pgbouncer;
pub mod pictures;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod program;
pub mod raw_form;
pub mod replica;
pub mod s3;
pub mod scratch;
pub mod secret;
pub mod stack;
pub mod tcp_proxy;
pub mod watcher;
pub mod wire;

pub use counting_visitor::CountingVisitor;
pub use http::{Answer, Form, Visitor};
pub use nginx::Nginx;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use replica::Replica;
pub use s3::S3;
pub use stack::Stack;
pub use tcp_proxy::TcpProxy;
pub use watcher::Watcher;
pub use wire::Wire;
