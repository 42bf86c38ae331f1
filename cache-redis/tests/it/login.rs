//! How the store gets into a server, and as whom: passwords, users, databases, unix sockets, names, protocols, and TLS.

use cache_core::{ErrorKind, secs};
use test_servers::{Redis, Server as _};

use crate::support::{OPTIONS, SENTINEL, cache};

#[tokio::test]
async fn a_password_lets_in() {
    let redis = Redis::options().password("s3cret").start().unwrap();
    for resp in ["", "resp = 2", "resp = 3"] {
        let cache = cache(&[redis.url()], &format!("{OPTIONS}{resp}")).strict();
        cache.set("k", &7, secs(60)).await.unwrap();
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(7));
    }
}

#[tokio::test]
async fn a_user_of_the_server_is_let_in_to_what_is_his() {
    let rules = ["~shop:*", "+@all"];
    let redis = Redis::options().user("ada", "s3cret", &rules).start().unwrap();
    let shop = cache(&[redis.url()], "key_prefix = \"shop\"").strict();
    shop.set("k", &7, secs(60)).await.unwrap();
    assert_eq!(shop.incr("k", 1).await.unwrap(), 8);

    let other = cache(&[redis.url()], "key_prefix = \"other\"");
    let error = other.strict().set("k", &7, secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(error.message().contains("lets this user not do that"), "{error}");
    assert_eq!(error.context("server"), Some(redis.address().to_string().as_str()));
    other.set("k", &7, secs(60)).await.unwrap();
    assert_eq!(other.get::<i32>("k").await.unwrap(), None, "it fails open");
}

/// Signs that mean something in a URL mean nothing in the options.
#[tokio::test]
async fn a_password_of_the_options_is_taken_as_it_is() {
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

/// The user of the URL is the one who is logged in, also where he needs no password.
#[tokio::test]
async fn a_user_without_a_password_is_logged_in() {
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

/// "Wrong credentials" fail open, and no text shows them.
#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let redis = Redis::options().password("s3cret").start().unwrap();
    let at = redis.address();
    for resp in ["", "resp = 2"] {
        for (url, what) in [
            (format!("redis://:marked-wrong@{at}"), "password is wrong"),
            (format!("redis://marked-user:marked-wrong@{at}"), "password is wrong"),
            (format!("redis://{at}"), "wants a password"),
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
async fn databases_are_apart() {
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
    assert!(error.message().contains("no database of that number"), "{error}");
}

/// The name of a Sentinel's port is easily forgotten.
#[tokio::test]
async fn a_server_that_is_no_sentinel_is_said_to_be_none() {
    let redis = Redis::start().unwrap();
    let options = format!("{OPTIONS}{SENTINEL}");
    let cache = cache(&[redis.url()], &options);
    for error in
        [cache.check().await.unwrap_err(), cache.strict().get::<i32>("k").await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(error.message().contains("is no Sentinel"), "{error}");
        assert_eq!(error.context("server"), Some(redis.address().to_string().as_str()));
    }
}

#[tokio::test]
async fn a_unix_socket_is_as_good() {
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
async fn connections_have_names_and_the_newer_protocol() {
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
async fn a_server_without_the_newer_protocol_is_spoken_to_in_the_old() {
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
    async fn a_server_of_our_authority_is_trusted() {
        let authority = Authority::new().unwrap();
        let redis = Redis::options().tls(&authority).password("s3cret").start().unwrap();
        assert!(redis.url().starts_with("rediss://"));
        let cache = cache(&[redis.url()], &options(&authority, "")).strict();
        cache.set("k", &"x".repeat(100_000), secs(60)).await.unwrap();
        assert_eq!(cache.get::<String>("k").await.unwrap().unwrap().len(), 100_000);
        assert_eq!(cache.incr_or("n", 1, 0, secs(60)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_unknown_issuer_is_refused() {
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
    async fn a_certificate_for_another_host_is_refused() {
        let authority = Authority::new().unwrap();
        let none = ClientCertificate::Ignored;
        let redis =
            Redis::options().tls_with(&authority, &["other.example"], none).start().unwrap();
        let cache = cache(&[redis.url()], &options(&authority, "")).strict();
        let error = cache.get::<i32>("k").await.unwrap_err();
        assert!(error.message().contains("TLS handshake failed"), "{error}");
    }

    #[tokio::test]
    async fn who_must_show_a_certificate_shows_it() {
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
    async fn a_server_without_tls_is_not_spoken_to() {
        let authority = Authority::new().unwrap();
        let redis = Redis::start().unwrap();
        let url = redis.url().replace("redis://", "rediss://");
        let error = cache(&[url], &options(&authority, "")).strict().get::<i32>("k").await;
        assert!(error.is_err());
    }

    #[test]
    fn files_are_checked_when_the_settings_are() {
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
