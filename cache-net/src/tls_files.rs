//! The option `tls`: which files it names.

use std::path::PathBuf;

use serde::Deserialize;

/// The option `tls` of a store: files in PEM format.
///
/// ```
/// use cache_net::TlsFiles;
///
/// let files: TlsFiles = serde_json::from_str(r#"{ "ca_file": "ca.pem" }"#)?;
/// assert_eq!(files, TlsFiles { ca_file: Some("ca.pem".into()), ..TlsFiles::default() });
/// assert!(serde_json::from_str::<TlsFiles>(r#"{ "insecure": true }"#).is_err());
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFiles {
    /// The certificate authorities to trust. Default: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// The client certificate, for servers that request one.
    pub client_cert_file: Option<PathBuf>,
    /// The private key of the client certificate.
    pub client_key_file: Option<PathBuf>,
}
