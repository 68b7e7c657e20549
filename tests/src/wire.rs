//! A visitor who counts the bytes on its own socket: what a board says about its traffic is compared with this.
//!
//! Speaks just enough HTTP/1.1 to know where an answer ends. One connection, one request after the other.

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    host: String,
    /// What has come and was not read yet.
    pending: Vec<u8>,
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that came.
    pub received: u64,
}

/// An answer as it came.
#[derive(Debug)]
pub struct WireAnswer {
    /// The status.
    pub status: u16,
    /// Status line and headers, in small letters.
    pub head: String,
    /// The body, without the sizes of chunks.
    pub body: Vec<u8>,
}

impl WireAnswer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Wire {
    /// Connects to `address:port`.
    pub async fn connect(address: &str) -> Result<Self> {
        Self::connect_as(address, address).await
    }

    /// Connects to `address:port`, to ask for another host.
    pub async fn connect_as(address: &str, host: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: host.to_owned(), pending: Vec::new(), sent: 0, received: 0 })
    }

    /// Sends a request without a body and reads the whole answer.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<WireAnswer> {
        self.begin(method, path, headers).await?;
        self.answer(method).await
    }

    /// Sends the head of a request.
    pub async fn begin(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<()> {
        let headers: String = headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", self.host);
        self.send(head.as_bytes()).await
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.sent += bytes.len() as u64;
        Ok(())
    }

    /// Reads the head of an answer; its body has not come yet.
    pub async fn head(&mut self) -> Result<WireAnswer> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8(head)?.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("this is no answer")?;
        Ok(WireAnswer { status, head, body: Vec::new() })
    }

    /// Reads a whole answer.
    pub async fn answer(&mut self, method: &str) -> Result<WireAnswer> {
        let mut answer = self.head().await?;
        if method == "HEAD" || matches!(answer.status, 204 | 304) {
            return Ok(answer);
        }
        if let Some(length) = answer.header("content-length") {
            answer.body = self.exactly(length.parse()?).await?;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = self.until(b"\r\n").await?;
                let size = usize::from_str_radix(std::str::from_utf8(&line)?.trim(), 16)?;
                let chunk = self.exactly(size + 2).await?;
                ensure!(chunk.ends_with(b"\r\n"), "a chunk has no end");
                answer.body.extend(chunk.get(..size).unwrap_or_default());
                if size == 0 {
                    break;
                }
            }
        } else {
            bail!("nobody knows where this answer ends: {}", answer.head);
        }
        Ok(answer)
    }

    /// Reads at least so many bytes of a body that has no end, or is not waited for.
    pub async fn read_some(&mut self, least: usize) -> Result<Vec<u8>> {
        while self.pending.len() < least {
            self.receive().await?;
        }
        Ok(std::mem::take(&mut self.pending))
    }

    /// Goes away, and counts what has come until then.
    pub async fn leave(mut self) -> Result<(u64, u64)> {
        self.stream.shutdown().await?;
        while self.receive().await.is_ok() {}
        Ok((self.sent, self.received))
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.pending.len() < length {
            self.receive().await?;
        }
        let rest = self.pending.split_off(length);
        Ok(std::mem::replace(&mut self.pending, rest))
    }

    /// Up to the end of the first place where this stands.
    async fn until(&mut self, end: &[u8]) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.pending.windows(end.len()).position(|window| window == end) {
                return self.exactly(at + end.len()).await;
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<()> {
        self.pending.reserve(16 << 10);
        let read = self.stream.read_buf(&mut self.pending).await?;
        ensure!(read > 0, "the connection was closed");
        self.received += read as u64;
        Ok(())
    }
}
