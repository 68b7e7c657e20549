//! A TCP proxy that can fall silent, which is what a host looks like that has vanished: its power is cut, or every
//! packet to it is dropped.
//!
//! While it is silent it takes whatever is sent, answers nothing, and closes nothing; a client learns no more than it
//! would from dropped packets. There is one difference, and it makes the proxy the harder case: here the client's
//! kernel has its bytes acknowledged, so it never gives up, where TCP would after some fifteen minutes without.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use crate::ports;

/// A running proxy. Dropping it closes every connection.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    state: watch::Sender<State>,
    accepting: AbortHandle,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    silent: bool,
    /// How often it has fallen silent. A connection that was there before stays silent for ever.
    silences: u32,
}

impl TcpProxy {
    /// Listens on a free port of 127.0.0.1 and leads to another one.
    pub async fn start(target: u16) -> Result<Self> {
        let port = ports::free()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("the proxy cannot listen")?;
        let (state, seen) = watch::channel(State::default());
        let accepting = tokio::spawn(async move {
            // Ends with this task, and every connection with it.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, target, seen.clone()));
            }
        });
        Ok(Self { port, state, accepting: accepting.abort_handle() })
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nobody gets an answer, neither connections that are there nor those that come.
    pub fn fall_silent(&self) {
        self.state.send_modify(|state| *state = State { silent: true, silences: state.silences + 1 });
    }

    /// The host is there again and knows nothing of what was before: new connections work, and old ones stay silent.
    pub fn come_back(&self) {
        self.state.send_modify(|state| state.silent = false);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut client: TcpStream, target: u16, mut state: watch::Receiver<State>) {
    let State { silent, silences } = *state.borrow_and_update();
    if silent {
        return std::future::pending().await;
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    let fallen_silent = async { state.wait_for(|state| state.silences != silences).await.map(drop) };
    tokio::select! {
        // One of the two has closed: so does the other.
        _ = copy_bidirectional(&mut client, &mut server) => return,
        _ = fallen_silent => {}
    }
    // Both connections are kept, and nothing is read from them any more.
    std::future::pending::<()>().await;
}
