//! TLS by rustls with ring. Certificates are always verified.

use std::{fmt, fs, io, path::Path, sync::Arc};

use cache_core::{Result, store::BuildContext};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::{TlsFiles, TlsStream};

/// The TLS configuration of a store: trusted certificate authorities and the client certificate.
///
/// ```
/// use cache_core::{CacheSettings, store::BuildContext};
/// use cache_net::{Tls, TlsFiles};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let ca_file = folder.path().join("ca.pem");
/// let files = TlsFiles { ca_file: Some(ca_file.clone()), ..TlsFiles::default() };
/// let settings = CacheSettings::new("mine");
/// let tls = || BuildContext::with("default", &settings, |context| Tls::new(context, &files));
///
/// let error = tls().unwrap_err().to_string();
/// assert!(error.contains("caches.default.options.tls.ca_file"), "{error}");
///
/// let server = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
/// std::fs::write(ca_file, server.cert.pem())?;
/// let tls = tls()?;
/// assert!(tls.for_host("localhost").is_ok());
/// assert!(tls.for_host("not a host name").is_err());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tls(TlsConnector);

/// TLS to one host, whose certificate is verified.
///
/// ```
/// use std::{io, sync::Arc};
///
/// use cache_net::{Tls, TlsFiles};
/// # use cache_core::{CacheSettings, store::BuildContext};
/// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
/// # use tokio_rustls::{TlsAcceptor, rustls::{ServerConfig, pki_types::PrivateKeyDer}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let ca_file = folder.path().join("ca.pem");
/// # let server = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
/// # std::fs::write(&ca_file, server.cert.pem())?;
/// # let files = TlsFiles { ca_file: Some(ca_file), ..TlsFiles::default() };
/// # let settings = CacheSettings::new("mine");
/// # let tls = BuildContext::with("default", &settings, |context| Tls::new(context, &files))?;
/// # let key = PrivateKeyDer::try_from(server.signing_key.serialize_der())?;
/// # let config = ServerConfig::builder().with_no_client_auth();
/// # let config = config.with_single_cert(vec![server.cert.der().clone()], key)?;
/// # let acceptor = TlsAcceptor::from(Arc::new(config));
/// // A server with a certificate for `localhost`.
/// let (client, server) = duplex(4096);
/// let served = async {
///     let mut stream = acceptor.accept(server).await?;
///     stream.write_all(b"hello").await?;
///     stream.shutdown().await
/// };
/// let client = async {
///     let mut received = String::new();
///     tls.for_host("localhost")?.connect(client).await?.read_to_string(&mut received).await?;
///     Ok::<_, io::Error>(received)
/// };
/// let (received, served) = tokio::join!(client, served);
/// served?;
/// assert_eq!(received?, "hello");
///
/// let (client, server) = duplex(4096);
/// let wrong_host = tls.for_host("example.org")?;
/// let (refused, _) = tokio::join!(wrong_host.connect(client), acceptor.accept(server));
/// assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
/// # Ok(()) }
/// ```
pub struct TlsHost {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// Reads the files. Without a `ca_file`, the certificate authorities of the system are trusted.
    ///
    /// # Errors
    /// `Config`, with the name of the setting under `options.tls`, if a file cannot be read, or
    /// holds no usable certificate or key, or one of the two client files is missing.
    pub fn new(context: &BuildContext<'_>, files: &TlsFiles) -> Result<Self> {
        let wrong = |name: &str, what: String| context.error(&format!("options.tls.{name}"), what);
        let roots = match &files.ca_file {
            Some(path) => roots_of(path).map_err(|it| wrong("ca_file", it))?,
            None => machine_roots().map_err(|it| wrong("ca_file", it))?,
        };
        // A provider of our own: the process may not have installed a default one.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|it| context.error("options.tls", format!("cannot be used: {it}")))?
            .with_root_certificates(roots);
        let config = match (&files.client_cert_file, &files.client_key_file) {
            (None, None) => config.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let chain = certificates(cert).map_err(|it| wrong("client_cert_file", it))?;
                let bytes = read(key).map_err(|it| wrong("client_key_file", it))?;
                let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
                    wrong("client_key_file", "contains no private key in PEM format".into())
                })?;
                config.with_client_auth_cert(chain, key).map_err(|_| {
                    wrong(
                        "client_key_file",
                        "does not match the certificate in client_cert_file".into(),
                    )
                })?
            }
            (Some(_), None) => {
                return Err(wrong(
                    "client_key_file",
                    "is missing; client_cert_file requires it".into(),
                ));
            }
            (None, Some(_)) => {
                return Err(wrong(
                    "client_cert_file",
                    "is missing; client_key_file requires it".into(),
                ));
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Returns the configuration for connections to this host, a name or an IP address.
    ///
    /// # Errors
    /// `InvalidInput` if the host is neither.
    pub fn for_host(&self, host: &str) -> io::Result<TlsHost> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "invalid host name for TLS")
        })?;
        Ok(TlsHost { connector: self.0.clone(), name })
    }
}

impl TlsHost {
    /// Performs the TLS handshake on a stream that is connected to the host.
    ///
    /// # Errors
    /// `InvalidData` if the certificate is not trusted or is for another host, and errors of the
    /// stream.
    ///
    /// # Cancel safety
    /// The stream is dropped.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        self.connector.connect(self.name, stream).await.map(TlsStream)
    }
}

fn roots_of(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for it in certificates(path)? {
        roots.add(it).map_err(|it| format!("contains an invalid certificate: {it}"))?;
    }
    Ok(roots)
}

fn machine_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("is missing, and the system has no trusted certificates".into());
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(it) if !it.is_empty() => Ok(it),
        _ => Err("contains no certificate in PEM format".into()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|it| format!("cannot be read: {it}"))
}

/// Does not show the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl fmt::Debug for TlsHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsHost").field("name", &self.name).finish_non_exhaustive()
    }
}
