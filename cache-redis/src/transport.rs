//! A stream of bytes to a server.

use std::io;

use cache_net::Socket;
use tokio::io::{AsyncRead, AsyncWrite};

/// Plain or TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What is around the bytes.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Plain,
    #[cfg(feature = "tls")]
    Tls(cache_net::Tls),
}

impl Transport {
    /// Around a connection to this host.
    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_async, unused_variables, reason = "TLS has to know, and to wait")
    )]
    pub(crate) async fn wrap(&self, host: &str, socket: Socket) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Plain => Ok(Box::new(socket)),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Ok(Box::new(tls.for_host(host)?.connect(socket).await?)),
        }
    }
}
