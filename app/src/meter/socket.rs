//! Where lines come in: a socket, a thread that reads it and does nothing else, and what the kernel has dropped.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{RecvFlags, recv};

use super::line::parse;
use super::metrics::Metrics;
use crate::traffic::Meter;

/// What is asked of the kernel for lines that wait, about a kilobyte each; it may give less (`net.core.rmem_max`).
const WAITING_BYTES: usize = 4 << 20;
/// After so long without a line the reader looks whether it is to end.
const PAUSE: Duration = Duration::from_millis(200);
/// While lines come they are left to gather for so long: to be woken for each of them costs nginx more than to send it. Even where
/// the kernel gives no more than its usual 208 KiB, it has room for the lines of a hundred thousand requests a second.
const GATHERING: Duration = Duration::from_millis(5);

/// Opens the socket.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    set_socket_recv_buffer_size(&socket, WAITING_BYTES)?;
    socket.set_read_timeout(Some(PAUSE))?;
    Ok(socket)
}

/// The thread that reads.
pub(super) struct Reading {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reading {
    /// Reads what has come until now, and ends.
    pub(super) fn finish(self) {
        self.ends.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the thread that reads lines had ended before");
        }
    }
}

/// Counts every line.
pub(super) fn read(socket: UdpSocket, meter: Meter<String>, metrics: Arc<Metrics>) -> Reading {
    let ends = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ends);
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        let count = |datagram: Option<&[u8]>| match datagram.and_then(parse) {
            Some(line) => meter.add(line.kind, line.board.map(str::to_owned), line.amount),
            None => metrics.malformed(),
        };
        loop {
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    count(buffer.get(..length));
                    while let Ok((length, _)) = recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                        count(buffer.get(..length));
                    }
                    std::thread::sleep(GATHERING);
                }
                // Nothing came for a while.
                Err(_) if told.load(Ordering::Relaxed) => return,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => {
                    tracing::warn!(%error, "reading lines");
                    std::thread::sleep(PAUSE);
                }
            }
        }
    });
    Reading { ends, thread }
}

/// Lines that the kernel dropped because nobody read them in time.
pub(super) struct Drops {
    /// Names the socket among all.
    inode: String,
    so_far: u64,
}

impl Drops {
    pub(super) fn of(socket: &UdpSocket) -> io::Result<Self> {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd()))?;
        let name = link.to_string_lossy().into_owned();
        let inode = name.trim_start_matches("socket:[").trim_end_matches(']').to_owned();
        Ok(Self { inode, so_far: 0 })
    }

    /// How many since the last time.
    pub(super) fn since_last_time(&mut self) -> u64 {
        let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"].map(std::fs::read_to_string);
        let mut lines = tables.iter().flatten().flat_map(|table| table.lines());
        let now = lines.find_map(|line| drops(line, &self.inode)).unwrap_or(self.so_far);
        let new = now.saturating_sub(self.so_far);
        self.so_far = now;
        new
    }
}

/// The last column of the line of a socket (proc(5): `/proc/net/udp`), whose inode is the tenth.
fn drops(line: &str, inode: &str) -> Option<u64> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    (columns.get(9) == Some(&inode)).then(|| columns.last()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_it_dropped() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        set_socket_recv_buffer_size(&socket, 4096).unwrap();
        let mut drops = Drops::of(&socket).unwrap();
        assert_eq!(drops.since_last_time(), 0);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..1000 {
            sender.send_to(b"a line", socket.local_addr().unwrap()).unwrap();
        }
        socket.set_nonblocking(true).unwrap();
        let mut read = 0;
        while socket.recv(&mut [0; 64]).is_ok() {
            read += 1;
        }
        assert!(read < 1000, "nothing was dropped");
        assert_eq!(drops.since_last_time(), 1000 - read);
        assert_eq!(drops.since_last_time(), 0);
    }
}
