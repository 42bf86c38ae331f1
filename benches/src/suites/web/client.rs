//! A client that does little work itself, because it shares the processors with the service.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const LENGTH: &str = "content-length: ";
const CHUNKED: &str = "transfer-encoding: chunked";
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A kept connection.
pub(super) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends a request, and reads the whole response, which must be a success.
    pub(super) async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        self.received.clear();
        let head = loop {
            let end = self.received.windows(END_OF_HEAD.len()).position(|it| it == END_OF_HEAD);
            if let Some(end) = end {
                break end;
            }
            self.receive().await?;
        };
        let text = str::from_utf8(&self.received[..head])?;
        ensure!(text.starts_with("HTTP/1.1 2"), "{text}");
        // One peer does not tell the length.
        if text.to_ascii_lowercase().contains(CHUNKED) {
            while !self.received.ends_with(LAST_CHUNK) {
                self.receive().await?;
            }
            return Ok(());
        }
        let length = text
            .lines()
            .find_map(|it| it.to_ascii_lowercase().strip_prefix(LENGTH)?.parse::<usize>().ok())
            .with_context(|| format!("no length: {text}"))?;
        while self.received.len() < head + END_OF_HEAD.len() + length {
            self.receive().await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<()> {
        let count = self.stream.read_buf(&mut self.received).await?;
        ensure!(count > 0, "the service closed the connection");
        Ok(())
    }
}
