//! Pub/sub: all writers publish the keys that they change.

use std::time::Duration;

use cache_core::{
    Cache, NearInvalidation, secs,
    store::{Backend, Expected, Expiry, Namespace, SetMode, TtlUpdate},
};
use test_servers::{Proxy, Redis, Server as _, resp::Reply};

use crate::support::{bypassed, cache, caches, in_use, near, visible, wait_until, warm};

/// Only a message makes a write of another process visible in time.
const PUBSUB: &str = "invalidation = 'pubsub'\ntimeout = '1h'";
const AUTO: &str = "timeout = '1h'";
/// The rights of a user whose server refuses tracking.
const NO_TRACKING: [&str; 4] = ["~*", "&*", "+@all", "-client|tracking"];
const KEY: &str = ":1:k";

/// Returns a cache whose stream has begun, and reports by pub/sub.
async fn reader(location: &str, near_settings: &str, more: &str) -> Cache {
    let cache = cache(location, near_settings, more);
    cache.check().await.unwrap();
    let near = near(&cache);
    assert_eq!((near.invalidation, near.is_bypassed), (NearInvalidation::PubSub, false));
    cache
}

fn stored(redis: &Redis) -> Option<i64> {
    match redis.command(&["GET", KEY]).unwrap() {
        Reply::Nil => None,
        it => Some(it.text().parse().unwrap()),
    }
}

/// Returns how often the server has executed a command.
fn calls(redis: &Redis, command: &str) -> u64 {
    let stats = redis.command(&["INFO", "commandstats"]).unwrap().text();
    let calls = stats.split_once(&format!("cmdstat_{command}:calls=")).map_or("0", |it| it.1);
    calls.split(',').next().unwrap().parse().unwrap()
}

/// A server, and two processes with a near tier.
struct Pair {
    redis: Redis,
    reader: Cache,
    writer: Cache,
}

impl Pair {
    /// Writes by one process while the key is near in the other one.
    async fn sees(&self, op: impl AsyncFn(&dyn Backend)) {
        let store = &**self.writer.backend();
        assert!(store.set(KEY, "5".into(), Expiry::Never, SetMode::Always).await.unwrap());
        visible(&self.reader, Some(5)).await;
        warm(&self.reader).await;
        op(store).await;
        wait_until("the write", async || stored(&self.redis) != Some(5)).await;
        visible(&self.reader, stored(&self.redis)).await;
    }
}

async fn all_writes_are_seen(redis: Redis, more: &str) {
    let url = redis.url();
    let reader = reader(&url, PUBSUB, more).await;
    let writer = cache(&url, PUBSUB, more);
    let other = cache(&url, PUBSUB, &format!("key_prefix = 'other'\n{more}"));
    let pair = Pair { redis, reader, writer };
    let (seen, never) = (Expected::value(b"5"), Expiry::Never);
    pair.sees(async |it| {
        it.set(KEY, "6".into(), never, SetMode::IfPresent).await.unwrap();
    })
    .await;
    pair.sees(async |it| {
        it.set_many(&[(KEY, "6".into()), (":1:l", "6".into())], never).await;
    })
    .await;
    pair.sees(async |it| {
        it.touch(KEY, Expiry::After(Duration::from_millis(1))).await.unwrap();
    })
    .await;
    pair.sees(async |it| {
        it.delete(KEY).await.unwrap();
    })
    .await;
    pair.sees(async |it| {
        it.delete_many(&[":1:l", KEY]).await;
    })
    .await;
    pair.sees(async |it| {
        it.take(KEY).await.unwrap();
    })
    .await;
    pair.sees(async |it| {
        it.incr(KEY, 2, None).await.unwrap();
    })
    .await;
    pair.sees(async |it| {
        assert!(it.compare_and_set(KEY, seen, "6".into(), TtlUpdate::Keep).await.unwrap());
    })
    .await;
    pair.sees(async |it| assert!(it.compare_and_delete(KEY, seen).await.unwrap())).await;
    pair.sees(async |it| assert!(it.rename(KEY, ":1:l").await.unwrap())).await;
    pair.writer.set("l", &7, secs(600)).await.unwrap();
    pair.sees(async |it| assert!(it.rename(":1:l", KEY).await.unwrap())).await;
    pair.sees(async |it| it.clear(&Namespace::new("").unwrap()).await.unwrap()).await;
    pair.sees(async |it| it.clear_store().await.unwrap()).await;
    // A whole database, by an alias with another prefix.
    pair.sees(async |_| other.clear_store().await.unwrap()).await;
    // A lifetime that ends no more.
    let minutes = Expiry::After(Duration::from_secs(600));
    let store = pair.writer.backend();
    store.set(KEY, "8".into(), minutes, SetMode::Always).await.unwrap();
    visible(&pair.reader, Some(8)).await;
    warm(&pair.reader).await;
    let before = near(&pair.reader).invalidations;
    assert!(store.touch(KEY, Expiry::Never).await.unwrap());
    wait_until("a message", async || near(&pair.reader).invalidations > before).await;
}

#[tokio::test]
async fn every_write_of_another_process_is_visible() {
    all_writes_are_seen(Redis::start().unwrap(), "").await;
    all_writes_are_seen(Redis::start().unwrap(), "options.resp = 2").await;
    all_writes_are_seen(Redis::options().valkey().start().unwrap(), "").await;
}

#[tokio::test]
async fn batch_of_many_keys_is_visible() {
    let redis = Redis::start().unwrap();
    let reader = reader(&redis.url(), PUBSUB, "").await;
    let writer = cache(&redis.url(), PUBSUB, "");
    let keys: Vec<_> = (0..2500).map(|it| format!("k{it}")).collect();
    for round in 0..3_i64 {
        let failures = writer.set_many(keys.iter().map(|it| (it, round)), secs(600)).await.unwrap();
        assert!(failures.is_empty(), "{failures:?}");
        wait_until("the batch is visible", async || {
            let found = reader.get_many::<i64, _>(&keys).await.unwrap();
            found.len() == keys.len() && found.values().all(|it| *it == round)
        })
        .await;
    }
    assert!(calls(&redis, "publish") < 30, "many keys are in one message");
}

#[tokio::test]
async fn message_contains_keys_and_no_values() {
    let redis = Redis::start().unwrap();
    let mut listener = redis.connect().unwrap();
    listener.command(&["SUBSCRIBE", "cache-near:1:0:shop"]).unwrap();
    let writer = cache(&redis.url(), PUBSUB, "key_prefix = 'shop'");
    writer.set("user", &"secret", secs(600)).await.unwrap();
    writer.delete("user").await.unwrap();
    for _ in 0..2 {
        // The messages have arrived before the reply.
        let message = listener.command(&["PING"]).unwrap();
        let message: Vec<_> = message.list().iter().map(Reply::text).collect();
        assert_eq!(message, ["message", "cache-near:1:0:shop", "keys\nshop:1:user"]);
    }
}

/// "Tracking where the server supports it": then nothing is published.
#[tokio::test]
async fn pubsub_is_chosen_where_tracking_is_refused() {
    let redis = Redis::options().user("shop", "pw", &NO_TRACKING).start().unwrap();
    let report = caches(&redis.url(), AUTO, "").check().await;
    assert_eq!(report.to_string(), "default: ok, near tier with invalidation pubsub");
    let reader = reader(&redis.url(), AUTO, "").await;
    // A process that only writes: no stream has told it that tracking is refused.
    let writer = cache(&redis.url(), AUTO, "");
    for round in 0..20 {
        writer.set("k", &round, secs(600)).await.unwrap();
        visible(&reader, Some(round)).await;
        warm(&reader).await;
    }

    let strict = cache(&redis.url(), "invalidation = 'tracking'", "");
    let error = strict.check().await.unwrap_err().to_string();
    assert!(error.contains("refuses client tracking") && error.contains("NOPERM"), "{error}");

    let redis = Redis::start().unwrap();
    let tracking = cache(&redis.url(), AUTO, "");
    tracking.set("k", &1, secs(600)).await.unwrap();
    assert_eq!((calls(&redis, "publish"), calls(&redis, "multi")), (0, 0));
}

/// A user who may use no channel writes as without a near tier, unless the settings demand pub/sub.
#[tokio::test]
async fn server_that_refuses_channels_is_an_error_only_if_they_are_demanded() {
    let rules = ["~*", "resetchannels", "+@all", "-client|tracking"];
    let redis = Redis::options().user("shop", "pw", &rules).start().unwrap();
    let auto = cache(&redis.url(), AUTO, "");
    auto.set("k", &1, secs(600)).await.unwrap();
    assert_eq!(auto.strict().get::<i64>("k").await.unwrap(), Some(1));

    let strict = cache(&redis.url(), PUBSUB, "").strict();
    let error = strict.check().await.unwrap_err().to_string();
    assert!(error.contains("refuses pub/sub") && error.contains("NOPERM"), "{error}");
    assert!(near(&strict).is_bypassed);
    let error = strict.set("k", &2, secs(600)).await.unwrap_err().to_string();
    assert!(error.contains("NOPERM"), "{error}");
    assert_eq!(strict.get::<i64>("k").await.unwrap(), Some(1), "the write had no effect");
}

/// Makes a call while the server has reached `maxmemory`.
async fn full<T>(redis: &Redis, call: impl Future<Output = T>) -> T {
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let res = call.await;
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    res
}

/// The server rejects transactions. Changes that need no memory are made once, and other processes
/// see them.
async fn full_server_makes_room(redis: Redis, url: &str, near_settings: &str, more: &str) {
    let reader = reader(url, near_settings, more).await;
    let writer = cache(url, near_settings, more);
    let pair = Pair { redis, reader, writer };
    let redis = &pair.redis;
    let seen = Expected::value(b"5");
    let ms = Expiry::After(Duration::from_millis(1));
    pair.sees(async |it| assert!(full(redis, it.delete(KEY)).await.unwrap())).await;
    pair.sees(async |it| assert!(full(redis, it.touch(KEY, ms)).await.unwrap())).await;
    pair.sees(async |it| {
        let taken = full(redis, it.take(KEY)).await.unwrap();
        assert_eq!(taken.as_deref(), Some(&b"5"[..]));
        assert_eq!(full(redis, it.take(KEY)).await.unwrap(), None);
        let absent = [it.delete(KEY), it.touch(KEY, ms), it.touch(KEY, Expiry::Never)];
        for call in absent {
            assert!(!full(redis, call).await.unwrap());
        }
    })
    .await;
    assert_eq!(calls(redis, "getdel"), 2);
    pair.sees(async |it| {
        assert!(full(redis, it.compare_and_delete(KEY, seen)).await.unwrap());
        assert!(!full(redis, it.compare_and_delete(KEY, seen)).await.unwrap());
    })
    .await;
    pair.sees(async |it| {
        let entry = it.get_entry(KEY).await.unwrap().unwrap();
        assert!(full(redis, it.compare_and_delete(KEY, Expected::entry(&entry))).await.unwrap());
    })
    .await;
    pair.sees(async |it| assert!(full(redis, it.rename(KEY, ":1:l")).await.unwrap())).await;
    pair.sees(async |it| {
        let keys: Vec<_> = (0..2500).map(|it| format!(":1:{it}")).collect();
        let items: Vec<_> = keys.iter().map(|it| (&**it, "5".into())).collect();
        it.set_many(&items, Expiry::Never).await.into_iter().for_each(Result::unwrap);
        let keys: Vec<_> = keys.iter().map(String::as_str).chain([KEY, ":1:absent"]).collect();
        let before = calls(redis, "publish");
        let deleted = full(redis, it.delete_many(&keys)).await;
        let deleted: Vec<_> = deleted.into_iter().map(Result::unwrap).collect();
        assert!(deleted[..2501].iter().all(|it| *it) && !deleted[2501]);
        assert!(calls(redis, "publish") - before < 10, "many keys are in one message");
    })
    .await;
    let namespace = Namespace::new("").unwrap();
    pair.sees(async |it| full(redis, it.clear(&namespace)).await.unwrap()).await;
    pair.sees(async |it| full(redis, it.clear_store()).await.unwrap()).await;

    // A lifetime that ends no more.
    let store = pair.writer.backend();
    let minutes = Expiry::After(Duration::from_secs(600));
    store.set(KEY, "8".into(), minutes, SetMode::Always).await.unwrap();
    visible(&pair.reader, Some(8)).await;
    warm(&pair.reader).await;
    let before = near(&pair.reader).invalidations;
    assert!(full(redis, store.touch(KEY, Expiry::Never)).await.unwrap());
    wait_until("a message", async || near(&pair.reader).invalidations > before).await;
    assert_eq!(redis.command(&["PTTL", KEY]).unwrap().text(), "-1");

    // A change that needs memory is not made.
    let set = store.set(KEY, "9".into(), Expiry::Never, SetMode::Always);
    let error = full(redis, set).await.unwrap_err();
    assert!(error.message().contains("out of memory"), "{error}");
    let items = [(KEY, "9".into()), (":1:l", "9".into())];
    let set = store.set_many(&items, Expiry::Never);
    assert!(full(redis, set).await.iter().all(Result::is_err));
    let swap = store.compare_and_set(KEY, Expected::value(b"8"), "9".into(), TtlUpdate::Keep);
    full(redis, swap).await.unwrap_err();
    assert_eq!(stored(redis), Some(8));
}

#[tokio::test]
async fn deletes_of_a_full_server_are_visible() {
    for (options, more) in [
        (Redis::options(), ""),
        (Redis::options(), "options.resp = 2"),
        (Redis::options().valkey(), ""),
    ] {
        let redis = options.start().unwrap();
        let url = redis.url();
        full_server_makes_room(redis, &url, PUBSUB, more).await;
    }
    let redis = Redis::options().user("shop", "pw", &NO_TRACKING).start().unwrap();
    let url = redis.url();
    full_server_makes_room(redis, &url, AUTO, "").await;
}

/// No change without its message, also at a full server.
#[tokio::test]
async fn full_server_that_refuses_the_message_changes_nothing() {
    let rules = ["~*", "resetchannels", "+@all"];
    let redis = Redis::options().user("shop", "pw", &rules).start().unwrap();
    let cache = cache(&redis.url(), PUBSUB, "").strict();
    let store = cache.backend();
    redis.command(&["SET", KEY, "5"]).unwrap();
    let errors = full(&redis, async {
        let [delete, compare] =
            [store.delete(KEY), store.compare_and_delete(KEY, Expected::value(b"5"))];
        [delete.await, compare.await, store.delete_many(&[KEY]).await.remove(0)]
    });
    for error in errors.await {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("NOPERM"), "{error}");
    }
    assert_eq!(stored(&redis), Some(5));
}

/// The connections are reset, and another process writes meanwhile.
#[tokio::test]
async fn write_while_the_network_is_cut_is_visible_afterwards() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let reader = reader(&format!("redis://{}", proxy.address()), PUBSUB, "").await;
    let writer = cache(&redis.url(), PUBSUB, "");
    for round in 1..20 {
        writer.set("k", &-round, secs(600)).await.unwrap();
        visible(&reader, Some(-round)).await;
        warm(&reader).await;
        proxy.refuse();
        proxy.cut();
        writer.set("k", &round, secs(600)).await.unwrap();
        bypassed(&reader).await;
        proxy.pass();
        in_use(&reader).await;
        visible(&reader, Some(round)).await;
    }
}
