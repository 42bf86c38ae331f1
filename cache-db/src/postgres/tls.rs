//! TLS by rustls, with ring: certificates are always verified.

use std::{
    fmt, fs, io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use cache_core::{BuildContext, Result};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Socket,
    tls::{self as postgres, ChannelBinding, MakeTlsConnect, TlsConnect},
};
use tokio_rustls::{TlsConnector, client};

use crate::options::TlsFiles;

/// Whom to trust, and who one is.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Tls {
    /// Reads the files. Without a `ca_file` those are trusted whom this machine trusts.
    pub(crate) fn new(context: &BuildContext<'_>, files: &TlsFiles) -> Result<Self> {
        let wrong = |name: &str, what: String| context.error(&format!("options.tls.{name}"), what);
        let roots = match &files.ca_file {
            Some(path) => roots_of(path).map_err(|it| wrong("ca_file", it))?,
            None => machine_roots().map_err(|it| wrong("ca_file", it))?,
        };
        // Of its own: nobody needs to have chosen one for the whole process.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|it| context.error("options.tls", format!("cannot be used: {it}")))?
            .with_root_certificates(roots);
        let config = match (&files.client_cert_file, &files.client_key_file) {
            (None, None) => config.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let chain = certificates(cert).map_err(|it| wrong("client_cert_file", it))?;
                let bytes = read(key).map_err(|it| wrong("client_key_file", it))?;
                let key = PrivateKeyDer::from_pem_slice(&bytes)
                    .map_err(|_| wrong("client_key_file", "holds no private key in PEM".into()))?;
                config.with_client_auth_cert(chain, key).map_err(|_| {
                    wrong(
                        "client_key_file",
                        "does not fit the certificate in client_cert_file".into(),
                    )
                })?
            }
            (Some(_), None) => {
                return Err(wrong("client_key_file", "is missing beside client_cert_file".into()));
            }
            (None, Some(_)) => {
                return Err(wrong("client_cert_file", "is missing beside client_key_file".into()));
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Host;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Host> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the host is no name that a certificate could hold",
            )
        })?;
        Ok(Host { tls: self.0.clone(), name })
    }
}

/// Whose certificate is expected.
pub(crate) struct Host {
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Host {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { self.tls.connect(self.name, socket).await.map(Stream) })
    }
}

/// A socket with TLS around it.
pub(crate) struct Stream(client::TlsStream<Socket>);

impl postgres::TlsStream for Stream {
    /// The certificate is verified; to tie the password to it besides would need to parse it.
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

fn roots_of(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for it in certificates(path)? {
        roots.add(it).map_err(|it| format!("holds a certificate that cannot be used: {it}"))?;
    }
    Ok(roots)
}

fn machine_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("is missing, and this machine has no certificates of its own".into());
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(it) if !it.is_empty() => Ok(it),
        _ => Err("holds no certificate in PEM".into()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|it| format!("cannot be read: {it}"))
}

/// Without the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
