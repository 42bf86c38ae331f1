//! Encryption of connections.

use std::io;

use cache_net::{Socket, SocketHandle, Wire};
use tokio::runtime::Handle;

use crate::decoder::Decoder;

/// Whether connections are encrypted.
#[derive(Clone, Debug)]
pub(crate) enum Tls {
    Off,
    #[cfg(feature = "tls")]
    On(cache_net::Tls),
}

impl Tls {
    /// Starts to read and write on a connection to this host.
    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_async, unused_variables, reason = "TLS uses the host, and waits")
    )]
    pub(crate) async fn wire(
        &self,
        runtime: &Handle,
        host: &str,
        socket: Socket,
        handle: SocketHandle,
        decoder: Decoder,
    ) -> io::Result<Wire<Decoder>> {
        match self {
            Self::Off => Ok(Wire::plain(runtime, socket, handle, decoder)),
            #[cfg(feature = "tls")]
            Self::On(tls) => {
                let stream = tls.for_host(host)?.connect(socket).await?;
                Ok(Wire::wrapped(runtime, stream, handle, decoder))
            }
        }
    }
}
