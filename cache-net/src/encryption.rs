//! Whether the connections of a store are encrypted.

use std::io;

use cache_core::{Result, store::BuildContext};
use tokio::runtime::Handle;

#[cfg(feature = "tls")]
use crate::Tls;
use crate::{Decode, Socket, Stream, TlsFiles, Wire};

/// The encryption of the connections of a store: none by default, or TLS.
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::{CacheSettings, Clock, store::BuildContext};
/// use cache_net::{Dialer, Encryption};
/// # use bytes::BytesMut;
/// # use cache_net::{Decode, Decoded};
/// use tokio::{net::TcpListener, runtime::Handle};
///
/// # struct Bytewise;
/// # impl Decode for Bytewise {
/// #     type Reply = u8;
/// #     fn decode(&mut self, _: &mut BytesMut) -> cache_core::Result<Decoded<u8>> {
/// #         Ok(Decoded::Incomplete { missing: 1 })
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = CacheSettings::new("mine");
/// // The settings have no option `tls`.
/// let encryption = BuildContext::with("default", &settings, |context| {
///     Encryption::new(context, None, "options.tls", "my-store", cfg!(feature = "tls"))
/// })?;
/// assert!(!encryption.is_on());
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let dialer = Dialer::new(Duration::from_secs(1), Clock::system());
/// let stream = dialer.connect("127.0.0.1", listener.local_addr()?.port()).await?;
/// let wire = encryption.wire(&Handle::current(), "127.0.0.1", stream, Bytewise).await?;
/// assert!(!wire.is_closed());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Encryption {
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Encryption {
    /// Returns TLS with these files, or no encryption without them. `setting` is the setting that
    /// requires TLS. `feature` tells whether the store was built with its feature `tls`, and
    /// `package` is its crate.
    ///
    /// # Errors
    /// `Config` if TLS is required without the feature, and the errors of `Tls::new`.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "a feature of the store enables TLS here")
    )]
    pub fn new(
        context: &BuildContext<'_>,
        files: Option<&TlsFiles>,
        setting: &str,
        package: &str,
        feature: bool,
    ) -> Result<Self> {
        match files {
            None => Ok(Self::default()),
            // Another crate may have enabled TLS here, but not in the store.
            #[cfg(feature = "tls")]
            Some(files) if feature => Ok(Self { tls: Some(Tls::new(context, files)?) }),
            Some(_) => {
                let what = format!(
                    "requires TLS, which is an optional feature: {package} = {{ …, features = [\"tls\"] }} in Cargo.toml"
                );
                Err(context.error(setting, what))
            }
        }
    }

    /// Whether connections are encrypted.
    pub fn is_on(&self) -> bool {
        #[cfg(feature = "tls")]
        let is_on = self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let is_on = false;
        is_on
    }

    /// Starts to read and write on a connection to this host, after a handshake with TLS. The tasks
    /// of the wire run on this runtime.
    ///
    /// # Errors
    /// `InvalidInput` if the host is neither a name nor an IP address, `InvalidData` if its
    /// certificate is not trusted or is for another host, and errors of the stream; none without
    /// TLS.
    ///
    /// # Cancel safety
    /// The connection is reset.
    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_async, unused_variables, reason = "TLS uses the host, and waits")
    )]
    pub async fn wire<D: Decode>(
        &self,
        runtime: &Handle,
        host: &str,
        stream: impl Into<Stream>,
        decoder: D,
    ) -> io::Result<Wire<D>> {
        let (socket, handle) = Socket::new(stream);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let stream = tls.for_host(host)?.connect(socket).await?;
            return Ok(Wire::wrapped(runtime, stream, handle, decoder));
        }
        Ok(Wire::plain(runtime, socket, handle, decoder))
    }
}
