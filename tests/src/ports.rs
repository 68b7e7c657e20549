//! Free TCP ports for servers that must be able to come back on the same one.
//!
//! A port that the kernel picks lies in the range of outgoing connections: while its server is down,
//! any client on the machine may be given it. These ports lie below that range.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    sync::{LazyLock, Mutex, PoisonError},
};

use anyhow::{Context, Result};

/// Below the range that Linux gives to outgoing connections (32768 and up).
const RANGE: Range<u16> = 18_000..32_000;

static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port on 127.0.0.1 that nobody listens on and that this process has not given out before.
pub fn free() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let start: u16 = rand::random_range(RANGE);
    let port = (start..RANGE.end)
        .chain(RANGE.start..start)
        .find(|port| !given.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port on 127.0.0.1")?;
    given.insert(port);
    Ok(port)
}
