//! The option `tls`.

use std::path::PathBuf;

use serde::Deserialize;

/// Files in PEM: the option `tls` of a store.
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
    /// Whom to trust. Without it those are trusted whom the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Who one is, for servers that ask.
    pub client_cert_file: Option<PathBuf>,
    /// The private key that belongs to it.
    pub client_key_file: Option<PathBuf>,
}
