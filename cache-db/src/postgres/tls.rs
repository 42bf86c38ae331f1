//! TLS, as the client expects it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use cache_net::{Socket, TlsHost, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{self as postgres, ChannelBinding, TlsConnect};

/// The trusted certificates and the client's own.
#[derive(Clone, Debug)]
pub(crate) struct Tls(pub(crate) cache_net::Tls);

impl Tls {
    /// Returns the connector for a host of this name.
    pub(crate) fn to(&self, host: &str) -> io::Result<Host> {
        self.0.for_host(host).map(Host)
    }
}

/// A host whose certificate is expected.
pub(crate) struct Host(TlsHost);

impl TlsConnect<Socket> for Host {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { self.0.connect(socket).await.map(Stream) })
    }
}

/// A TLS stream over a socket.
pub(crate) struct Stream(TlsStream<Socket>);

impl postgres::TlsStream for Stream {
    /// The certificate is verified. Channel binding would additionally need to parse it.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
