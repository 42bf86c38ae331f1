//! A server that runs but rejects commands.

use std::{sync::mpsc, time::Instant};

use cache_core::{ErrorKind, Timeout, layer::BreakerState, secs};
use fault_tests::{NO_BREAKER, PATIENT, is_outage, keys, report, timed, until};
use test_servers::{Memcached, Postgres, Proxy, Redis, RedisReplicas, Server as _};

use crate::support::{cache, cache_through, stored};

/// `maxmemory` is reached and no key may be evicted. Writes are errors with this reason in strict
/// mode. Otherwise they seem to succeed, and the key gets a tombstone. Reads and deletes work, and
/// the breaker stays closed.
async fn rejects_only_writes(near: &str) {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], &format!("{PATIENT}{near}"));
    let strict = cache.strict();
    let large = "x".repeat(100_000);
    strict.set("large", &large, Timeout::Default).await.unwrap();
    strict.set("old", &"old", Timeout::Default).await.unwrap();
    strict.set("n", &1, Timeout::Default).await.unwrap();
    for key in ["a", "b", "c"] {
        strict.set(key, &1, Timeout::Default).await.unwrap();
    }
    // Less than the server already uses.
    redis.command(&["CONFIG", "SET", "maxmemory", "500000"]).unwrap();
    let (res, took) = timed(strict.set("old", &"new", Timeout::Default)).await;
    let error = res.unwrap_err();
    report("out of memory, strict set", &error.to_string(), took);
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.to_string().contains("out of memory"), "{error}");
    for _ in 0..50 {
        cache.set("old", &"new", Timeout::Default).await.unwrap();
    }
    let stats = cache.stats();
    // The background task may already have deleted the old value.
    assert!(stats.tombstones + stats.tombstones_removed > 0, "{stats:?}");
    assert_eq!(stats.breaker, Some(BreakerState::Closed));
    let (res, took) = timed(cache.set("old", &"new", Timeout::Default)).await;
    res.unwrap();
    report("out of memory, set", "as if done; the key is marked", took);
    // A result would be invented.
    let (res, took) = timed(cache.incr("n", 1)).await;
    let error = res.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    report("out of memory, incr", &error.to_string(), took);
    assert_eq!(
        cache.add("new", &1, Timeout::Default).await.unwrap_err().kind(),
        ErrorKind::Backend
    );
    let failed = cache.set_many([("x", "1"), ("y", "2")], Timeout::Default).await.unwrap();
    assert_eq!(failed.len(), 2);

    assert_eq!(cache.get::<String>("large").await.unwrap().as_ref(), Some(&large));
    assert_eq!(strict.get::<i32>("n").await.unwrap(), Some(1));
    // The old value is deleted, so that no caller reads it after the failed write.
    assert_eq!(cache.get::<String>("old").await.unwrap(), None);
    until("the old value is removed", async || stored(&redis, "old").is_none()).await;
    assert!(strict.delete("n").await.unwrap());
    assert!(strict.touch("large", std::time::Duration::from_secs(60)).await.unwrap());
    assert!(strict.touch("large", Timeout::Never).await.unwrap());
    assert_eq!(strict.delete_many(["a", "b", "absent"]).await.unwrap(), 2);
    assert_eq!(strict.pop::<i32>("c").await.unwrap(), Some(1));
    assert_eq!(strict.pop::<i32>("c").await.unwrap(), None);
    strict.clear().await.unwrap();
    assert_eq!(stored(&redis, "large"), None);

    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    strict.set("old", &"newest", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<String>("old").await.unwrap().as_deref(), Some("newest"));
    assert_eq!(cache.incr_or("n", 1, 0, Timeout::Default).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_server_rejects_only_writes() {
    rejects_only_writes("").await;
}

/// All writes publish: a full server rejects the whole transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_server_rejects_only_writes_that_publish() {
    rejects_only_writes("[caches.default.near]\ninvalidation = \"pubsub\"\n").await;
}

/// A replica that has lost its leader and may not serve old data: a miss, or `Unavailable` with the
/// reason. The replica serves again when its leader does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_without_its_leader_is_an_outage() {
    let options = Redis::options().args(&["--replica-serve-stale-data", "no"]);
    let servers = RedisReplicas::start_with(1, &options).unwrap();
    let urls = [servers.leader().url(), servers.replicas()[0].url()];
    let more = "[caches.default.options]\ntopology = \"replicas\"\nread_from = \"replica\"\n";
    let group = cache(&urls, &format!("{PATIENT}{more}"));
    let alone = cache(&urls[1..], PATIENT);
    group.strict().set("k", &"value", Timeout::Default).await.unwrap();
    servers.wait_for_replicas().unwrap();
    for it in [&group, &alone] {
        assert_eq!(it.strict().get::<String>("k").await.unwrap().as_deref(), Some("value"));
    }

    servers.leader().kill();
    until("the replica says so", async || alone.strict().get::<String>("k").await.is_err()).await;
    for (name, it) in [("of a group", &group), ("alone", &alone)] {
        let (res, took) = timed(it.strict().get::<String>("k")).await;
        let error = res.unwrap_err();
        assert!(is_outage(&error), "{error}");
        report(&format!("replica without leader, {name}, strict"), &error.to_string(), took);
        let (res, took) = timed(it.get::<String>("k")).await;
        assert_eq!(res.unwrap(), None);
        report(&format!("replica without leader, {name}, failing open"), "a miss", took);
    }
    let error = alone.strict().get::<String>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    servers.leader().restart().unwrap();
    let back = until("it works", async || {
        group.strict().set("k", &"new", Timeout::Default).await.is_ok()
            && alone.strict().get::<String>("k").await.is_ok_and(|it| it.as_deref() == Some("new"))
    })
    .await;
    report("replica without leader, after its restart", "works again", back);
    assert_eq!(group.strict().get::<String>("k").await.unwrap().as_deref(), Some("new"));
}

/// A server that loads its data: a miss, or `Unavailable` with the reason. After that, the same
/// handle works, and the data is complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loading_server_is_an_outage() {
    const DELAYS: [&str; 4] =
        ["--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024"];
    let options = Redis::options().args(&["--enable-debug-command", "yes"]).args(&DELAYS);
    let redis = options.start().unwrap();
    let cache = cache(&[redis.url()], PATIENT);
    let strict = cache.strict();
    let items = keys("k", 500).into_iter().map(|it| (it, "x".repeat(100)));
    assert!(strict.set_many(items, Timeout::Default).await.unwrap().is_empty());
    let mut connection = redis.connect().unwrap();
    // The reply comes after all data is loaded, which takes a second and a half. Repeated, because
    // the calls of a slow machine may miss that time.
    let (stop, stopped) = mpsc::channel::<()>();
    let loading = std::thread::spawn(move || {
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            connection.command(&["DEBUG", "RELOAD"]).unwrap();
        }
    });
    until("it is loading", async || strict.get::<String>("k0").await.is_err()).await;
    stop.send(()).unwrap();
    let (res, took) = timed(strict.get::<String>("k0")).await;
    if let Err(error) = res {
        report("loading, strict", &error.to_string(), took);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let (res, took) = timed(cache.get::<String>("k0")).await;
    report("loading, failing open", if res.unwrap().is_none() { "a miss" } else { "a hit" }, took);
    loading.join().unwrap();
    let back = until("it works", async || strict.get::<String>("k0").await.is_ok()).await;
    report("loading, when it is done", "the same handle works", back);
    assert_eq!(strict.get::<String>("k499").await.unwrap(), Some("x".repeat(100)));
}

/// A server that suddenly requires a password, or has too many clients: strict calls return this
/// reason, other calls are misses, and the handle works again when the server accepts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_connection_is_an_error_with_the_reason() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], PATIENT);
    let strict = cache.strict();
    let mut inside = redis.connect().unwrap();
    for (setting, shut, open) in [("requirepass", "secret", ""), ("maxclients", "1", "1000")] {
        strict.set("k", &"value", Timeout::Default).await.unwrap();
        inside.command(&["CONFIG", "SET", setting, shut]).unwrap();
        inside.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
        // The first call that notices the change receives "connection lost".
        let is_shut = |error: &cache_core::Error| {
            setting != "requirepass" || error.kind() == ErrorKind::Backend
        };
        until("it is shut", async || strict.get::<String>("k").await.is_err_and(|it| is_shut(&it)))
            .await;
        let (res, took) = timed(strict.get::<String>("k")).await;
        let error = res.unwrap_err();
        report(&format!("nobody is let in ({setting}), strict"), &error.to_string(), took);
        assert!(!error.to_string().contains("secret"));
        match setting {
            "requirepass" => {
                assert_eq!(error.kind(), ErrorKind::Backend);
                assert!(error.to_string().contains("password"), "{error}");
            }
            _ => assert!(is_outage(&error), "{error}"),
        }
        assert_eq!(cache.get::<String>("k").await.unwrap(), None);
        inside.command(&["CONFIG", "SET", setting, open]).unwrap();
        let back = until("it works", async || strict.get::<String>("k").await.is_ok()).await;
        report(&format!("nobody was let in ({setting})"), "the same handle works again", back);
        assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("value"));
    }
}

/// A server with too many clients does not serve. With either protocol this is an outage, although
/// the server replies.
#[tokio::test]
async fn server_with_too_many_clients_is_unavailable() {
    let redis = Redis::options().args(&["--maxclients", "1"]).start().unwrap();
    let _only = redis.connect().unwrap();
    for resp in ["", "resp = 2\n"] {
        let more = format!("{PATIENT}[caches.default.options]\n{resp}");
        let cache = cache(&[redis.url()], &more).strict();
        let error = cache.get::<i32>("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{resp}: {error}");
    }
}

/// A managed service moves the name of the leader to another server. A store that kept the old
/// connection would never reach that server.
#[tokio::test]
async fn store_reconnects_after_its_leader_was_demoted() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let cache = cache_through(&proxy, PATIENT).strict();
    cache.set("k", &7, secs(60)).await.unwrap();
    assert_eq!(proxy.accepted(), 1);
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    let began = Instant::now();
    for _ in 0..20 {
        let error = cache.set("k", &8, secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(error.message().contains("it is a replica"), "{error}");
    }
    let check = cache.check().await.unwrap_err();
    assert!(check.message().contains("is a replica"), "{check}");
    // Once a second at most.
    let most = 4 + began.elapsed().as_secs();
    assert!((2..=most).contains(&proxy.accepted()), "{} of {most} connections", proxy.accepted());
    redis.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    cache.set("k", &9, secs(60)).await.unwrap();
}

/// A server that is busy with a script does not serve other clients. A server with too few replicas
/// does not accept writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_server_and_missing_replicas_are_errors_with_the_reason() {
    let redis = Redis::options().args(&["--busy-reply-threshold", "20"]).start().unwrap();
    let cache = cache(&[redis.url()], &format!("{PATIENT}{NO_BREAKER}")).strict();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    let mut inside = redis.connect().unwrap();
    let busy = std::thread::spawn({
        let mut connection = redis.connect().unwrap();
        move || connection.command(&["EVAL", "while true do end", "0"])
    });
    let mut error = None;
    until("it is busy", async || {
        error = cache.get::<i32>("k").await.err();
        error.is_some()
    })
    .await;
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("SCRIPT KILL"), "{error}");
    inside.command(&["SCRIPT", "KILL"]).unwrap();
    busy.join().unwrap().unwrap_err();
    until("it serves again", async || cache.get::<i32>("k").await.is_ok()).await;

    inside.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).unwrap();
    let error = cache.set("k", &2, Timeout::Default).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.message().contains("min-replicas-to-write"), "{error}");
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
}

/// A server that closes the connection before any reply, and a server with another protocol.
#[tokio::test]
async fn server_that_is_not_redis_cannot_be_connected_to() {
    let postgres = Postgres::start().unwrap();
    let memcached = Memcached::start().unwrap();
    for at in [postgres.address(), memcached.address()] {
        for resp in ["", "resp = 2\n"] {
            let more = format!("{PATIENT}[caches.default.options]\n{resp}");
            let cache = cache(&[format!("redis://{at}")], &more).strict();
            let error = cache.get::<i32>("k").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            let text = error.to_string();
            assert!(text.contains("cannot connect") && text.contains("Redis"), "{text}");
        }
    }
}
