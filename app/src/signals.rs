//! How a program is asked to end. As the first process of a container it would not even hear of it otherwise.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, and Ctrl-C.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on neither ends the process by itself.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Does work that can be broken off, and begun again, at any moment: a signal ends it at once.
pub(crate) async fn unless_asked_to_end<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut signals = Signals::new()?;
    tokio::select! {
        done = work => done,
        () = signals.next() => anyhow::bail!("asked to end before it was done"),
    }
}
