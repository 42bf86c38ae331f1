//! TLS: which servers the store trusts, and its own certificate.

use cache_core::{Caches, ErrorKind, Timeout};
use test_servers::{Authority, Postgres};

use crate::support::{PATIENT, cache, raw, toml};

fn files(more: &[(&str, &std::path::Path)]) -> String {
    let lines = more.iter().map(|(name, path)| format!("{name} = '{}'\n", path.display()));
    format!("{PATIENT}[caches.default.options.tls]\n{}", lines.collect::<String>())
}

#[tokio::test]
async fn trusted_servers_are_used_over_tls() {
    let authority = Authority::new().unwrap();
    let server = Postgres::start_tls(&authority).unwrap();
    let root = authority.certificate();
    let client = authority.client();
    let required = format!("{}?sslmode=require", server.url());
    let with_client = [
        ("ca_file", &*root),
        ("client_cert_file", &*client.certificate),
        ("client_key_file", &*client.key),
    ];
    for (location, more, has_certificate) in [
        (&required, files(&[("ca_file", &root)]), false),
        // Setting certificate files requires TLS.
        (&server.url(), files(&with_client), true),
    ] {
        let cache = cache(location, &more).strict();
        cache.set("k", &1, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
        let sql = "SELECT s.ssl, s.client_dn IS NOT NULL FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                   WHERE a.application_name = 'cache-db'";
        let rows = raw(&server).await.query(sql, &[]).await.unwrap();
        assert!(!rows.is_empty());
        assert!(rows.iter().all(|it| it.get(0) && it.get::<_, bool>(1) == has_certificate));
        cache.close().await.unwrap();
        crate::support::until("the connections have ended", async || {
            raw(&server).await.query(sql, &[]).await.unwrap().is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn untrusted_certificates_are_refused() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let server = Postgres::start_tls(&authority).unwrap();
    let own = authority.certificate();
    let as_another = server.url().replace("127.0.0.1", "localhost");
    for (location, root) in [(&server.url(), other.certificate()), (&as_another, own)] {
        let cache = cache(location, &files(&[("ca_file", &root)])).strict();
        let error = cache.set("k", &1, Timeout::Default).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        assert!(error.to_string().contains("TLS handshake failed"), "{error}");
    }
}

#[tokio::test]
async fn server_without_tls_is_reported() {
    let authority = Authority::new().unwrap();
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &files(&[("ca_file", &authority.certificate())])).strict();
    let error = cache.set("k", &1, Timeout::Default).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.to_string().contains("does not support TLS"), "{error}");
}

#[test]
fn invalid_certificate_files_are_reported_at_build() {
    let missing = files(&[("ca_file", "/nowhere/ca.pem".as_ref())]);
    let error = Caches::from_toml(&toml("postgres://h/d", &missing)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("options.tls.ca_file"), "{error}");
}
