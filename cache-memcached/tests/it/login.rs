//! Connections with a password, over a unix socket, and with TLS.

use cache_core::{ErrorKind, secs};
use test_servers::{Memcached, Server as _};

use crate::{
    raw::Raw,
    support::{PATIENT, cache, raw},
};

const OPTIONS: &str = "deadline = \"20s\"\nconnect_deadline = \"20s\"\n[caches.default.options]\n";

fn login(user: &str, password: &str) -> String {
    format!("{OPTIONS}username = '{user}'\npassword = '{password}'\n")
}

#[tokio::test]
async fn user_and_password_of_the_options_log_in() {
    let server = Memcached::options().user("ada", "p@#/%?w:").user("other", "x").start().unwrap();
    let more = login("ada", "p@#/%?w:");
    let cache = cache(&[server.address().to_string()], &more).strict();
    for round in 0..3 {
        cache.set("k", &round, secs(60)).await.unwrap();
        assert_eq!(cache.get("k").await.unwrap(), Some(round));
        assert_eq!(cache.incr_or("n", 1, 0, secs(60)).await.unwrap(), 1);
        cache.check().await.unwrap();
        server.restart().unwrap();
    }
}

#[tokio::test]
async fn wrong_password_is_an_error_that_does_not_show_it() {
    let server = Memcached::options().user("ada", "s3cret").start().unwrap();
    let address = server.address().to_string();
    for more in [login("ada", "marked"), login("marked", "s3cret"), login("marked", "marked")] {
        let cache = cache(&[&address], &more);
        let error = cache.strict().set("k", &7, secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        assert!(error.message().contains("authentication failed"), "{error}");
        assert!(error.message().contains("options.password"), "{error}");
        assert_eq!(error.context("server"), Some(address.as_str()));
        for text in [format!("{error:?}"), format!("{cache:?}")] {
            assert!(!text.contains("marked") && !text.contains("s3cret"), "{text}");
        }
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "it fails open");
    }
}

#[tokio::test]
async fn missing_password_is_an_error_with_the_reason() {
    let server = Memcached::options().user("ada", "s3cret").start().unwrap();
    let cache = cache(&[server.address().to_string()], PATIENT).strict();
    let error = cache.get::<i32>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(error.message().contains("authentication required"), "{error}");
    assert!(error.message().contains("options.password"), "{error}");
}

/// A server without users would store the login like any other value.
#[tokio::test]
async fn password_is_not_sent_to_a_server_that_does_not_ask_for_it() {
    let server = Memcached::start().unwrap();
    let cache = cache(&[server.address().to_string()], &login("ada", "s3cret")).strict();
    cache.set("k", &7, secs(60)).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), Some(7));
    let mut raw: Raw = raw(&server);
    assert_eq!(raw.get("login"), None);
}

#[tokio::test]
async fn unix_socket_is_used() {
    let server = Memcached::options().unix_socket().start().unwrap();
    let socket = server.socket().unwrap();
    let socket = socket.display();
    for location in [format!("unix://{socket}"), format!("unix:{socket}")] {
        let cache = cache(&[location], PATIENT).strict();
        cache.set("k", &"x".repeat(100_000), secs(60)).await.unwrap();
        assert_eq!(cache.get::<String>("k").await.unwrap().unwrap().len(), 100_000);
        server.restart().unwrap();
        assert_eq!(cache.get::<String>("k").await.unwrap(), None);
        assert!(cache.add("k", &"again", secs(60)).await.unwrap());
        cache.clear().await.unwrap();
    }
}

#[tokio::test]
async fn missing_unix_socket_is_an_error_with_its_path() {
    let cache = cache(&["unix:///nowhere/memcached.sock"], PATIENT).strict();
    let error = cache.get::<i32>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("No such file"), "{error}");
    assert_eq!(error.context("server"), Some("/nowhere/memcached.sock"));
}

#[cfg(feature = "tls")]
mod tls {
    use test_servers::{Authority, ClientCertificate};

    use super::*;
    use crate::support::toml;

    fn server(authority: &Authority, names: &[&str], clients: ClientCertificate) -> Memcached {
        Memcached::options().tls(authority, names, clients).start().unwrap()
    }

    fn options(authority: &Authority, more: &str) -> String {
        let ca = authority.certificate();
        format!("{OPTIONS}tls = {{ ca_file = {:?}{more} }}\n", ca.display().to_string())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn server_with_the_configured_authority_is_trusted() {
        let authority = Authority::new().unwrap();
        let server = Memcached::options()
            .tls(&authority, &["127.0.0.1"], ClientCertificate::Ignored)
            .user("ada", "s3cret")
            .start()
            .unwrap();
        let login = "username = 'ada'\npassword = 's3cret'\n";
        let more = format!("{}{login}", options(&authority, ""));
        let cache = cache(&[server.address().to_string()], &more).strict();
        for round in 0..3 {
            let calls = (0..64).map(|i| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let (key, value) = (format!("k{i}"), "x".repeat(i * 3000 + 1));
                    cache.set(&key, &value, secs(60)).await.unwrap();
                    assert_eq!(cache.get::<String>(&key).await.unwrap(), Some(value));
                })
            });
            for it in futures_util::future::join_all(calls).await {
                it.unwrap();
            }
            assert_eq!(cache.incr_or("n", 1, 0, secs(60)).await.unwrap(), 1, "{round}");
            server.restart().unwrap();
        }
    }

    #[tokio::test]
    async fn certificate_of_another_authority_or_host_is_rejected() {
        let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
        let right = server(&authority, &["127.0.0.1"], ClientCertificate::Ignored);
        let elsewhere = server(&authority, &["other.example"], ClientCertificate::Ignored);
        for (server, more) in [
            (&right, options(&other, "")),
            (&right, format!("{OPTIONS}tls = {{}}\n")),
            (&elsewhere, options(&authority, "")),
        ] {
            let cache = cache(&[server.address().to_string()], &more);
            let error = cache.strict().get::<i32>("k").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
            assert!(error.message().contains("TLS handshake failed"), "{error}");
            assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "it fails open");
        }
    }

    #[tokio::test]
    async fn client_certificate_is_sent_if_required() {
        let authority = Authority::new().unwrap();
        let server = server(&authority, &["127.0.0.1"], ClientCertificate::Required);
        let address = server.address().to_string();
        let it = authority.client();
        let [cert, key] = [&it.certificate, &it.key].map(|it| it.display().to_string());
        let client = format!(", client_cert_file = {cert:?}, client_key_file = {key:?}");
        let with = cache(&[&address], &options(&authority, &client)).strict();
        with.set("k", &7, secs(60)).await.unwrap();
        assert_eq!(with.get("k").await.unwrap(), Some(7));
        let without = cache(&[&address], &options(&authority, "")).strict();
        assert!(without.get::<i32>("k").await.is_err());
    }

    #[tokio::test]
    async fn either_side_without_tls_is_an_error_with_the_reason() {
        let authority = Authority::new().unwrap();
        let encrypted = server(&authority, &["127.0.0.1"], ClientCertificate::Ignored);
        let plain = cache(&[encrypted.address().to_string()], PATIENT).strict();
        let error = plain.get::<i32>("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains("options.tls"), "{error}");
        let server = Memcached::start().unwrap();
        let with = cache(&[server.address().to_string()], &options(&authority, "")).strict();
        let error = with.get::<i32>("k").await.unwrap_err();
        assert!(error.message().contains("TLS handshake failed"), "{error}");
    }

    #[test]
    fn files_are_checked_with_the_settings() {
        let error = |location: &str, more: &str| {
            let toml = toml(&[location], &format!("{OPTIONS}{more}"));
            cache_core::Caches::from_toml(&toml).unwrap_err().to_string()
        };
        let missing = error("127.0.0.1", "tls = { ca_file = \"/none/ca.pem\" }");
        assert!(missing.contains("caches.default.options.tls.ca_file"), "{missing}");
        assert!(missing.contains("cannot be read"), "{missing}");
        let socket = error("unix:///run/memcached.sock", "tls = {}");
        assert!(socket.contains("caches.default.options.tls"), "{socket}");
        assert!(socket.contains("unix socket"), "{socket}");
    }
}
