//! Certificates for servers with TLS and for their clients.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::folder::Folder;

const CERTIFICATE: &str = "authority.pem";

/// A certificate authority. Only programs that are configured with its certificate trust it. Its
/// files exist as long as the value or a clone of it; servers keep a clone.
///
/// ```
/// use test_servers::{Authority, Redis};
///
/// # fn main() -> anyhow::Result<()> {
/// let authority = Authority::new()?;
/// let redis = Redis::options().tls(&authority).start()?;
/// assert!(redis.url().starts_with("rediss://127.0.0.1:"));
/// assert!(authority.certificate().exists() && authority.client().key.exists());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Authority(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    issuer: CertifiedIssuer<'static, KeyPair>,
    client: Identity,
    folder: Folder,
}

/// A certificate and its private key (PKCS #8), both as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Authority {
    /// Creates an authority and issues a client certificate.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn new() -> Result<Self> {
        let folder = Folder::new("authority")?;
        // A unique name: an unknown authority is a different error than a wrong signature.
        let name = format!("{} of test-servers", file_name(folder.path()));
        let mut params = params(&name, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        write(&folder.path().join(CERTIFICATE), &issuer.pem())?;
        let purposes = [ExtendedKeyUsagePurpose::ClientAuth];
        let client = issue(&issuer, folder.path(), "client", &[], &purposes)?;
        Ok(Self(Arc::new(Inner { issuer, client, folder })))
    }

    /// Returns the PEM file of the authority's certificate, which clients must trust.
    pub fn certificate(&self) -> PathBuf {
        self.0.folder.path().join(CERTIFICATE)
    }

    /// Returns the client certificate.
    pub fn client(&self) -> &Identity {
        &self.0.client
    }

    /// Issues a certificate for a server with these names or addresses, in files of this folder.
    pub(crate) fn issue_server(&self, folder: &Path, names: &[String]) -> Result<Identity> {
        // A replica uses it as client certificate for its leader.
        let purposes = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        issue(&self.0.issuer, folder, "server", names, &purposes)
    }
}

impl Identity {
    /// Returns the files that [`Authority::issue_server`] writes in this folder.
    pub(crate) fn of_server(folder: &Path) -> Self {
        Self::named(folder, "server")
    }

    fn named(folder: &Path, name: &str) -> Self {
        Self {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}-key.pem")),
        }
    }
}

fn issue(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    folder: &Path,
    name: &str,
    names: &[String],
    purposes: &[ExtendedKeyUsagePurpose],
) -> Result<Identity> {
    let mut params = params(name, names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = purposes.to_vec();
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    let res = Identity::named(folder, name);
    write(&res.certificate, &certificate.pem())?;
    write(&res.key, &key.serialize_pem())?;
    Ok(res)
}

/// Returns parameters of a certificate for these names or addresses, without an expiry.
fn params(name: &str, names: &[String]) -> Result<CertificateParams> {
    let mut res = CertificateParams::new(names)?;
    res.distinguished_name.push(DnType::CommonName, name);
    Ok(res)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_removed_with_the_last_clone() {
        let authority = Authority::new().unwrap();
        let Identity { certificate, key } = authority.client().clone();
        let files = [authority.certificate(), certificate, key];
        let clone = authority.clone();
        drop(authority);
        for (file, kind) in files.iter().zip(["CERTIFICATE", "CERTIFICATE", "PRIVATE KEY"]) {
            let text = fs::read_to_string(file).unwrap();
            assert!(text.starts_with(&format!("-----BEGIN {kind}-----")), "{text}");
        }
        drop(clone);
        assert!(files.iter().all(|it| !it.exists()));
    }

    #[test]
    fn authorities_are_distinct() {
        let [a, b] = [0, 1].map(|_| Authority::new().unwrap());
        let read = |it: &Authority| fs::read(it.certificate()).unwrap();
        assert_ne!(read(&a), read(&b));
        assert_ne!(a.client(), b.client());
    }
}
