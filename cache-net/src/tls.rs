//! TLS by rustls, with ring: certificates are always verified.

use std::{fmt, fs, io, path::Path, sync::Arc};

use cache_core::{Result, store::BuildContext};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
/// A stream of bytes with TLS around it.
pub use tokio_rustls::client::TlsStream;

use crate::TlsFiles;

/// Whom to trust, and who one is.
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
/// assert!(tls.for_host("no name of a host").is_err());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tls(TlsConnector);

/// A host, and the certificate that is expected of it.
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
/// // A server with a certificate for `localhost`, at the other end of both.
/// let (near, far) = duplex(4096);
/// let served = async {
///     let mut stream = acceptor.accept(far).await?;
///     stream.write_all(b"hello").await?;
///     stream.shutdown().await
/// };
/// let asked = async {
///     let mut said = String::new();
///     tls.for_host("localhost")?.connect(near).await?.read_to_string(&mut said).await?;
///     Ok::<_, io::Error>(said)
/// };
/// let (said, served) = tokio::join!(asked, served);
/// served?;
/// assert_eq!(said?, "hello");
///
/// let (near, far) = duplex(4096);
/// let elsewhere = tls.for_host("example.org")?;
/// let (refused, _) = tokio::join!(elsewhere.connect(near), acceptor.accept(far));
/// assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
/// # Ok(()) }
/// ```
pub struct TlsHost {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// Reads the files. Without a `ca_file` those are trusted whom this machine trusts. An error names the setting under
    /// `options.tls`.
    pub fn new(context: &BuildContext<'_>, files: &TlsFiles) -> Result<Self> {
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

    /// For connections to this host, a name or an address.
    pub fn for_host(&self, host: &str) -> io::Result<TlsHost> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the host is no name that a certificate could hold",
            )
        })?;
        Ok(TlsHost { connector: self.0.clone(), name })
    }
}

impl TlsHost {
    /// TLS over what is connected to the host.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        self.connector.connect(self.name, stream).await
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

impl fmt::Debug for TlsHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsHost").field("name", &self.name).finish_non_exhaustive()
    }
}
