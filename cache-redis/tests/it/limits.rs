//! A server with a smaller value limit than the settings. It closes the connection, with the calls
//! of all callers on it.

use cache_core::{Cache, ErrorKind, secs};
use test_servers::{Proxy, Redis, RedisOptions, Server as _, resp::Reply};

use crate::support::cache;

const MIB: usize = 1 << 20;

/// Returns a server, a proxy in front of it, and a cache that connects through the proxy.
fn behind(options: RedisOptions, login: &str) -> (Redis, Proxy, Cache) {
    let redis = options.start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let cache = cache(&[format!("redis://{login}{}", proxy.address())], "").strict();
    (redis, proxy, cache)
}

#[tokio::test]
async fn value_over_the_limit_of_the_server_is_too_large_and_never_sent() {
    for limit in ["--proto-max-bulk-len", "--client-query-buffer-limit"] {
        let (redis, proxy, cache) = behind(Redis::options().args(&[limit, "1048576"]), "");
        cache.set("k", &"old", secs(60)).await.unwrap();
        let large = "x".repeat(2 * MIB);
        let error = cache.set("k", &large, secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.message().contains(&limit[2..]), "{error}");
        assert_eq!(cache.get::<String>("k").await.unwrap(), None, "no old value is left behind");
        let failed =
            cache.set_many([("a", &large), ("b", &"small".into())], secs(60)).await.unwrap();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].key.as_str(), failed[0].error.kind()), ("a", ErrorKind::TooLarge));
        assert_eq!(redis.command(&["EXISTS", ":1:b"]).unwrap(), Reply::Int(1));
        let fits = "x".repeat(MIB - 100_000);
        cache.set("k", &fits, secs(60)).await.unwrap();
        assert!(cache.get::<String>("k").await.unwrap() == Some(fits));
        assert_eq!(proxy.accepted(), 1, "{limit}");
    }
}

/// A user who may not read the limit causes a few reconnects, and then no more.
#[tokio::test]
async fn unreadable_limit_of_the_server_is_learned() {
    let rules = ["~*", "+@all", "-config"];
    let options = Redis::options().args(&["--proto-max-bulk-len", "1048576"]);
    let (_redis, proxy, cache) = behind(options.user("ada", "secret", &rules), "ada:secret@");
    let large = "x".repeat(2 * MIB);
    let mut kind = None;
    fault_tests::until("it is learned", async || {
        kind = cache.set("k", &large, secs(60)).await.err().map(|it| it.kind());
        kind == Some(ErrorKind::TooLarge)
    })
    .await;
    cache.set("k", &"small", secs(60)).await.unwrap();
    let accepted = proxy.accepted();
    assert!(accepted <= 5, "{accepted}");
    for _ in 0..5 {
        let error = cache.set("k", &large, secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        cache.set("k", &"small", secs(60)).await.unwrap();
    }
    assert_eq!(proxy.accepted(), accepted);
}
