//! A stream of bytes to a server.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::address::Address;

/// TCP, TLS or a unix socket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How to open one.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Plain,
    #[cfg(feature = "tls")]
    Tls(cache_net::Tls),
}

impl Transport {
    pub(crate) async fn open(&self, address: &Address) -> io::Result<Box<dyn Stream>> {
        match address {
            Address::Tcp { host, port } => {
                let tcp = TcpStream::connect((host.as_str(), *port)).await?;
                // Or small requests wait for the answers to those before them.
                tcp.set_nodelay(true)?;
                match self {
                    Self::Plain => Ok(Box::new(tcp)),
                    #[cfg(feature = "tls")]
                    Self::Tls(tls) => Ok(Box::new(tls.to(host)?.wrap(tcp).await?)),
                }
            }
            #[cfg(unix)]
            Address::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            Address::Unix(_) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "no unix sockets on this platform"))
            }
        }
    }
}
