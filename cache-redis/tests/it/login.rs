//! Connecting and logging in: passwords, users, databases, unix sockets, client names, protocols,
//! and TLS.

use cache_core::{ErrorKind, secs};
use test_servers::{Redis, Server as _};

use crate::support::{OPTIONS, SENTINEL, cache};

#[tokio::test]
async fn password_of_the_url_logs_in() {
    let redis = Redis::options().password("s3cret").start().unwrap();
    for resp in ["", "resp = 2", "resp = 3"] {
        let cache = cache(&[redis.url()], &format!("{OPTIONS}{resp}")).strict();
        cache.set("k", &7, secs(60)).await.unwrap();
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(7));
    }
}

#[tokio::test]
async fn user_can_access_only_permitted_keys() {
    let rules = ["~shop:*", "+@all"];
    let redis = Redis::options().user("ada", "s3cret", &rules).start().unwrap();
    let shop = cache(&[redis.url()], "key_prefix = \"shop\"").strict();
    shop.set("k", &7, secs(60)).await.unwrap();
    assert_eq!(shop.incr("k", 1).await.unwrap(), 8);

    let other = cache(&[redis.url()], "key_prefix = \"other\"");
    let error = other.strict().set("k", &7, secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(error.message().contains("permission denied"), "{error}");
    assert_eq!(error.context("server"), Some(redis.address().to_string().as_str()));
    other.set("k", &7, secs(60)).await.unwrap();
    assert_eq!(other.get::<i32>("k").await.unwrap(), None, "it fails open");
}

/// Characters with a special meaning in URLs have no special meaning in options.
#[tokio::test]
async fn password_of_the_options_needs_no_encoding() {
    let rule = ">p@#/%?w :";
    let redis = Redis::start().unwrap();
    let rules = ["ACL", "SETUSER", "ada@home", "on", rule, "~*", "+@all"];
    redis.command(&rules).unwrap();
    redis.command(&["CONFIG", "SET", "requirepass", &rule[1..]]).unwrap();
    for user in ["", "username = 'ada@home'\n"] {
        let more = format!("{OPTIONS}{user}password = '{}'\n", &rule[1..]);
        let cache = cache(&[format!("redis://{}", redis.address())], &more).strict();
        cache.set("k", &7, secs(60)).await.unwrap();
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(7));
    }
}

/// The user in the URL is logged in, also if the user needs no password.
#[tokio::test]
async fn user_without_a_password_is_logged_in() {
    let redis =
        Redis::options().args(&["--user", "ada", "on", "nopass", "~*", "+@all"]).start().unwrap();
    for resp in [2, 3] {
        let url = format!("redis://ada@{}", redis.address());
        let more = format!("{OPTIONS}resp = {resp}\nclient_name = \"mine\"\n");
        let cache = cache(&[url], &more).strict();
        cache.check().await.unwrap();
        let clients = redis.command(&["CLIENT", "LIST"]).unwrap().text();
        let ours = clients.lines().find(|it| it.contains("name=mine")).unwrap();
        assert!(ours.contains("user=ada"), "resp {resp}: {ours}");
        cache.close().await.unwrap();
    }
}

/// "Wrong credentials" fail open, and no message contains them.
#[tokio::test]
async fn wrong_password_is_an_error_that_does_not_show_it() {
    let redis = Redis::options().password("s3cret").start().unwrap();
    let at = redis.address();
    for resp in ["", "resp = 2"] {
        for (url, what) in [
            (format!("redis://:marked-wrong@{at}"), "password is wrong"),
            (format!("redis://marked-user:marked-wrong@{at}"), "password is wrong"),
            (format!("redis://{at}"), "authentication required"),
        ] {
            let cache = cache(&[url], &format!("{OPTIONS}{resp}"));
            let error = cache.strict().get::<i32>("k").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
            assert!(error.message().contains(what), "{error}");
            let check = cache.check().await.unwrap_err();
            for text in [error.to_string(), format!("{error:?}"), format!("{check:?}")] {
                assert!(!text.contains("marked"), "{text}");
            }
            assert!(!format!("{:?}", cache.backend()).contains("marked"));
            assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn databases_are_separate() {
    let redis = Redis::start().unwrap();
    let one = cache(&[redis.url() + "/1"], "").strict();
    let two = cache(&[redis.url() + "/2"], "").strict();
    one.set("k", &1, secs(60)).await.unwrap();
    assert_eq!(two.get::<i32>("k").await.unwrap(), None);
    two.set("k", &2, secs(60)).await.unwrap();
    two.clear_store().await.unwrap();
    assert_eq!(one.get::<i32>("k").await.unwrap(), Some(1));

    let error = cache(&[redis.url() + "/99"], "").strict().get::<i32>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.message().contains("no database with this number"), "{error}");
}

/// A common mistake is to list servers instead of Sentinels.
#[tokio::test]
async fn server_that_is_not_a_sentinel_is_an_error_with_the_reason() {
    let redis = Redis::start().unwrap();
    let options = format!("{OPTIONS}{SENTINEL}");
    let cache = cache(&[redis.url()], &options);
    for error in
        [cache.check().await.unwrap_err(), cache.strict().get::<i32>("k").await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(error.message().contains("is not a Sentinel"), "{error}");
        assert_eq!(error.context("server"), Some(redis.address().to_string().as_str()));
    }
}

#[tokio::test]
async fn unix_socket_connects() {
    let redis = Redis::options().unix_socket().password("s3cret").start().unwrap();
    let socket = redis.socket().unwrap();
    let url = format!("redis+unix://{}?db=1&pass=s3cret", socket.display());
    let cache = cache(&[url], "").strict();
    cache.set("k", &7, secs(60)).await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(7));
    redis.kill();
    let error = cache.get::<i32>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn connections_have_the_client_name_and_resp3() {
    let redis = Redis::start().unwrap();
    let options = "client_name = \"shop-web\"\nconnections = 3\n";
    let cache = cache(&[redis.url()], &format!("{OPTIONS}{options}")).strict();
    for i in 0..100 {
        cache.set(&format!("k{i}"), &i, secs(60)).await.unwrap();
    }
    let clients = redis.command(&["CLIENT", "LIST"]).unwrap().text();
    let ours: Vec<_> = clients.lines().filter(|it| it.contains("name=shop-web ")).collect();
    assert_eq!(ours.len(), 3, "{clients}");
    assert!(ours.iter().all(|it| it.contains(" resp=3")), "{clients}");
}

/// "RESP3 where the server has it."
#[tokio::test]
async fn server_without_resp3_is_used_with_resp2() {
    let redis = Redis::options().args(&["--rename-command", "HELLO", ""]).start().unwrap();
    let old = cache(&[redis.url()], &format!("{OPTIONS}client_name = \"mine\"")).strict();
    old.set("k", &7, secs(60)).await.unwrap();
    assert_eq!(old.get::<i32>("k").await.unwrap(), Some(7));
    let clients = redis.command(&["CLIENT", "LIST"]).unwrap().text();
    let ours = clients.lines().find(|it| it.contains("name=mine")).unwrap();
    assert!(ours.contains(" resp=2"), "{ours}");

    let newer = cache(&[redis.url()], &format!("{OPTIONS}resp = 3")).strict();
    assert!(newer.get::<i32>("k").await.is_err(), "who insists on it gets an error");
}

#[cfg(feature = "tls")]
mod tls {
    use test_servers::{Authority, ClientCertificate};

    use super::*;
    use crate::support::toml;

    fn options(authority: &Authority, more: &str) -> String {
        let ca = authority.certificate();
        format!("{OPTIONS}tls = {{ ca_file = {:?}{more} }}", ca.display().to_string())
    }

    fn client(authority: &Authority) -> String {
        let it = authority.client();
        let [cert, key] = [&it.certificate, &it.key].map(|it| it.display().to_string());
        format!(", client_cert_file = {cert:?}, client_key_file = {key:?}")
    }

    #[tokio::test]
    async fn server_with_the_configured_authority_is_trusted() {
        let authority = Authority::new().unwrap();
        let redis = Redis::options().tls(&authority).password("s3cret").start().unwrap();
        assert!(redis.url().starts_with("rediss://"));
        let cache = cache(&[redis.url()], &options(&authority, "")).strict();
        cache.set("k", &"x".repeat(100_000), secs(60)).await.unwrap();
        assert_eq!(cache.get::<String>("k").await.unwrap().unwrap().len(), 100_000);
        assert_eq!(cache.incr_or("n", 1, 0, secs(60)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn unknown_issuer_is_rejected() {
        let authority = Authority::new().unwrap();
        let redis = Redis::options().tls(&authority).start().unwrap();
        let other = Authority::new().unwrap();
        for more in [options(&other, ""), String::new()] {
            let cache = cache(&[redis.url()], &more);
            let error = cache.strict().get::<i32>("k").await.unwrap_err();
            assert!(error.message().contains("TLS handshake failed"), "{error}");
            assert!(error.message().contains("UnknownIssuer"), "{error}");
            assert_eq!(error.kind(), ErrorKind::Backend, "it does not pass by itself");
            assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "it fails open");
        }
    }

    #[tokio::test]
    async fn certificate_for_another_host_is_rejected() {
        let authority = Authority::new().unwrap();
        let none = ClientCertificate::Ignored;
        let redis =
            Redis::options().tls_with(&authority, &["other.example"], none).start().unwrap();
        let cache = cache(&[redis.url()], &options(&authority, "")).strict();
        let error = cache.get::<i32>("k").await.unwrap_err();
        assert!(error.message().contains("TLS handshake failed"), "{error}");
    }

    #[tokio::test]
    async fn client_certificate_is_sent_if_required() {
        let authority = Authority::new().unwrap();
        let names = ["127.0.0.1"];
        let needed = ClientCertificate::Required;
        let redis = Redis::options().tls_with(&authority, &names, needed).start().unwrap();
        let with = cache(&[redis.url()], &options(&authority, &client(&authority))).strict();
        with.set("k", &7, secs(60)).await.unwrap();
        assert_eq!(with.get::<i32>("k").await.unwrap(), Some(7));
        let without = cache(&[redis.url()], &options(&authority, "")).strict();
        let error = without.get::<i32>("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        assert!(error.message().contains("refused the connection"), "{error}");
    }

    #[tokio::test]
    async fn server_without_tls_is_not_used() {
        let authority = Authority::new().unwrap();
        let redis = Redis::start().unwrap();
        let url = redis.url().replace("redis://", "rediss://");
        let error = cache(&[url], &options(&authority, "")).strict().get::<i32>("k").await;
        assert!(error.is_err());
    }

    #[test]
    fn files_are_checked_with_the_settings() {
        let authority = Authority::new().unwrap();
        let at = "rediss://127.0.0.1:1";
        let error = |more: &str| {
            let toml = toml(&[at], &format!("{OPTIONS}{more}"));
            cache_core::Caches::from_toml(&toml).unwrap_err().to_string()
        };
        let missing = error("tls = { ca_file = \"/none/ca.pem\" }");
        assert!(missing.contains("caches.default.options.tls.ca_file"), "{missing}");
        assert!(missing.contains("cannot be read"), "{missing}");
        let key = authority.client().key.display().to_string();
        let odd = error(&format!("tls = {{ ca_file = {key:?} }}"));
        assert!(odd.contains("contains no certificate"), "{odd}");
        let half =
            error(&options(&authority, &format!(", client_key_file = {key:?}"))[OPTIONS.len()..]);
        assert!(half.contains("client_cert_file"), "{half}");
        assert!(half.contains("is missing; client_key_file requires it"), "{half}");
    }
}
