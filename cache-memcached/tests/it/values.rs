//! The stored values: plain, so that other programs can read them; and values that the server
//! rejects.

use std::slice;

use cache_core::{
    ErrorKind, Timeout, secs,
    store::{Expiry, SetMode},
};
use serde::{Deserialize, Serialize};
use test_servers::Memcached;

use crate::support::{PATIENT, at, cache, raw, servers, store, stored, stored_key};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u8,
}

fn ada() -> User {
    User { name: "Ada".into(), age: 36 }
}

#[tokio::test]
async fn server_holds_plain_values_under_the_generation() {
    let servers = servers(1);
    let cache = cache(&at(&servers), &format!("key_prefix = \"shop\"\n{PATIENT}")).strict();
    cache.set("user", &ada(), secs(60)).await.unwrap();
    cache.set("hits", &41, Timeout::Never).await.unwrap();
    cache.incr("hits", 1).await.unwrap();
    let mut raw = raw(&servers[0]);
    let found = stored(&mut raw, "shop", "user");
    assert_eq!(found.as_deref(), Some(r#"{"name":"Ada","age":36}"#));
    assert_eq!(stored(&mut raw, "shop", "hits").as_deref(), Some("42"));
}

/// "Bytes that do not decode … are a miss that is counted, `Codec` in strict mode; `get_or_set`
/// reloads and overwrites."
#[tokio::test]
async fn value_that_is_not_json_is_a_miss() {
    let servers = servers(1);
    let cache = cache(&at(&servers), PATIENT);
    cache.set("k", &ada(), Timeout::Default).await.unwrap();
    let mut raw = raw(&servers[0]);
    let key = stored_key(&mut raw, "", "k");
    raw.set(&key, "\u{80}pickle");
    assert_eq!(cache.get::<User>("k").await.unwrap(), None);
    let error = cache.strict().get::<User>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert_eq!(cache.stats().undecodable, 2);
    assert_eq!(cache.get_or_set("k", secs(60), || async { ada() }).await.unwrap(), ada());
    assert_eq!(cache.get::<User>("k").await.unwrap(), Some(ada()));
}

/// A server whose limit is below `max_value_bytes` rejects a value itself: `TooLarge`, and the old
/// value is deleted. In a batch, the other values are written.
#[tokio::test]
async fn value_too_large_for_the_server_is_an_error_and_leaves_no_entry() {
    let server = Memcached::options().item_size(512).start().unwrap();
    let cache = cache(&at(slice::from_ref(&server)), PATIENT).strict();
    let large = "x".repeat(600_000);
    for _ in 0..3 {
        cache.set("k", &"old", Timeout::Default).await.unwrap();
        let error = cache.set("k", &large, Timeout::Default).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains("-I"), "{error}");
        assert_eq!(cache.get::<String>("k").await.unwrap(), None);

        cache.set("b", &"old", Timeout::Default).await.unwrap();
        let items = [("a", "small"), ("b", &large), ("c", "small"), ("d", &large)];
        let failed = cache.set_many(items, Timeout::Default).await.unwrap();
        let kinds: Vec<_> = failed.iter().map(|it| (it.key.as_str(), it.error.kind())).collect();
        assert_eq!(kinds, [("b", ErrorKind::TooLarge), ("d", ErrorKind::TooLarge)]);
        let found = cache.get_many::<String, _>(["a", "b", "c", "d"]).await.unwrap();
        let mut found: Vec<_> = found.into_keys().collect();
        found.sort_unstable();
        assert_eq!(found, ["a", "c"]);
    }
}

/// The same with a condition. (The server deletes the old entry even if the condition does not
/// hold, so the settings must not exceed its `-I`.)
#[tokio::test]
async fn conditional_value_too_large_for_the_server_is_an_error() {
    let server = Memcached::options().item_size(512).start().unwrap();
    let store = store(&at(slice::from_ref(&server)), PATIENT);
    let large = vec![b'x'; 600_000];
    let set = async |mode| store.set(":1:k", large.clone().into(), Expiry::Never, mode).await;
    assert!(!set(SetMode::IfPresent).await.unwrap());
    assert_eq!(set(SetMode::IfAbsent).await.unwrap_err().kind(), ErrorKind::TooLarge);
    for mode in [SetMode::IfAbsent, SetMode::IfPresent] {
        store.set(":1:k", "old".into(), Expiry::Never, SetMode::Always).await.unwrap();
        // With any result, no entry holds the new value.
        let _ = set(mode).await;
        let found = store.get(":1:k").await.unwrap();
        assert!(found.is_none_or(|it| it == "old"));
    }
}

/// A server that runs out of memory evicts entries: some keys are misses, no key has the value of
/// another key or an old value, and the prefix continues to work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evicting_server_loses_only_entries() {
    let server = Memcached::options().memory(2).start().unwrap();
    let mut raw = raw(&server);
    let cache =
        cache(&at(slice::from_ref(&server)), &format!("key_prefix = \"shop\"\n{PATIENT}")).strict();
    let value = |i: usize, round: usize| format!("{i} {round} {}", "x".repeat(i % 7 * 300));
    let mut generations = std::collections::BTreeSet::new();
    let (mut hits, mut misses) = (0, 0);
    for round in 0..6 {
        let keys: Vec<_> = (0..4000).map(|i| format!("k{i}")).collect();
        for piece in keys.chunks(500) {
            let items = piece.iter().map(|key| (key, value(key[1..].parse().unwrap(), round)));
            let failed = cache.set_many(items, secs(600)).await.unwrap();
            assert!(failed.is_empty(), "{:?}", failed.first());
            let last = piece.last().unwrap();
            let found = cache.get::<String>(last).await.unwrap();
            assert_eq!(found, Some(value(last[1..].parse().unwrap(), round)), "just written");
        }
        for (key, found) in cache.get_many::<String, _>(&keys).await.unwrap() {
            assert_eq!(found, value(key[1..].parse().unwrap(), round), "{key}");
            hits += 1;
        }
        misses = (round + 1) * keys.len() - hits;
        generations.insert(raw.get("!:shop"));
    }
    assert!(misses > 0, "it has evicted nothing");
    assert_eq!(generations.len(), 1, "what is read all the time is kept");
    assert_eq!(cache.incr_or("n", 1, 0, secs(60)).await.unwrap(), 1);
    assert_eq!(cache.incr("n", 1).await.unwrap(), 2);
}
