//! Batches, from many callers at once.

use cache_core::{ErrorKind, Timeout, secs};
use futures_util::future::join_all;
use test_servers::Postgres;

use crate::support::{NO_BREAKER, PATIENT, cache, is_outage, number, options, raw, until};

#[tokio::test]
async fn each_key_of_a_batch_larger_than_one_statement_is_answered() {
    const COUNT: usize = 2500;
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &options("")).strict();
    let keys: Vec<String> = (0..COUNT).map(|i| format!("k{}", i * 7919 % COUNT)).collect();
    let items = keys.iter().map(|key| (key, key));
    assert!(cache.set_many(items, secs(600)).await.unwrap().is_empty());
    let asked = keys.iter().cloned().chain((0..10).map(|i| format!("missing{i}")));
    let found = cache.get_many::<String, _>(asked).await.unwrap();
    assert_eq!(found.len(), COUNT);
    assert!(found.iter().all(|(key, value)| key == value));
    assert_eq!(cache.delete_many(&keys[..2000]).await.unwrap(), 2000);
    assert_eq!(cache.delete_many(&keys).await.unwrap(), 500);
}

/// A value that is too large removes its old value, and leaves the other keys alone.
#[tokio::test]
async fn only_the_value_that_is_too_large_is_listed() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &options("max_value_bytes = \"1KiB\"")).strict();
    cache.set("large", &"old", Timeout::Default).await.unwrap();
    let large = "x".repeat(2000);
    let items = [("a", "1"), ("large", &large), ("b", "2")];
    let failed = cache.set_many(items, Timeout::Default).await.unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].key.as_ref(), failed[0].error.kind()), ("large", ErrorKind::TooLarge));
    let found = cache.get_many::<String, _>(["a", "large", "b"]).await.unwrap();
    assert_eq!(found.len(), 2);
}

/// In any other order, each batch would hold rows that the others wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_batches_do_not_deadlock() {
    const KEYS: usize = 60;
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let tasks = (0..8_usize).map(|task| {
        let cache = cache(&server.url(), &options("connections = 2")).strict();
        tokio::spawn(async move {
            for round in 0..30 {
                let mut keys: Vec<_> =
                    (0..KEYS).map(|i| format!("k{}", (i * 7 + round) % KEYS)).collect();
                if (task + round) % 2 == 0 {
                    keys.reverse();
                }
                if task % 4 == 3 {
                    cache.delete_many(&keys).await.unwrap();
                } else {
                    let items = keys.iter().map(|key| (key, &task));
                    assert!(cache.set_many(items, secs(60)).await.unwrap().is_empty());
                }
            }
        })
    });
    for it in join_all(tasks).await {
        it.unwrap();
    }
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'";
    assert_eq!(number(&client, sql).await, 0);
}

/// Two entries swap their keys: a deadlock that no order prevents. The server ends one statement,
/// which runs again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deadlock_is_retried() {
    let server = Postgres::start_with(&["deadlock_timeout=10ms"]).unwrap();
    let client = raw(&server).await;
    let store = crate::support::store(&server.url(), &options("connections = 8"));
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'";
    let keys: Vec<String> = (0..8).map(|i| format!("k{i}")).collect();
    crate::support::until("there was a deadlock", async || {
        let tasks = (0..16).map(|task| {
            let (store, keys) = (store.clone(), keys.clone());
            tokio::spawn(async move {
                for i in 0..50 {
                    let (a, b) = (&keys[(i + task) % 8], &keys[(i + task * 3 + 1) % 8]);
                    if a == b {
                        continue;
                    }
                    let expiry = cache_core::store::Expiry::Never;
                    let value = format!("{task}").into();
                    store.set(a, value, expiry, cache_core::store::SetMode::Always).await.unwrap();
                    store.rename(a, b).await.unwrap();
                }
            })
        });
        for it in join_all(tasks).await {
            it.unwrap();
        }
        number(&client, deadlocks).await > 0
    })
    .await;
}

#[tokio::test]
async fn clear_removes_only_its_namespace() {
    const COUNT: usize = 2500;
    let server = Postgres::start().unwrap();
    let mine = cache(&server.url(), &format!("key_prefix = \"shop\"\n{}", options(""))).strict();
    let other =
        cache(&server.url(), &format!("key_prefix = \"shop:eu\"\n{}", options(""))).strict();
    let unprefixed = cache(&server.url(), &options("")).strict();
    for cache in [&mine, &other, &unprefixed, &mine.at_version(-3)] {
        let items = (0..COUNT).map(|i| (format!("k{i}"), i));
        assert!(cache.set_many(items, Timeout::Default).await.unwrap().is_empty());
    }
    mine.clear().await.unwrap();
    let client = raw(&server).await;
    let count = i64::try_from(COUNT).unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM cache").await, 2 * count);
    assert_eq!(other.get::<usize>("k7").await.unwrap(), Some(7));
    unprefixed.clear().await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM cache").await, count);
    other.clear_store().await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM cache").await, 0);
}

/// More bytes than one statement should move: other calls on the connection are answered in
/// between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_of_many_bytes_is_written_and_read_in_parts() {
    const LEN: usize = 4 << 20;
    let server = Postgres::start().unwrap();
    cache(&server.url(), PATIENT).strict().check().await.unwrap();
    // The batch as a whole has this time; each of its statements takes a small part of it.
    let cache = cache(&server.url(), &options("connections = 1")).strict();
    let keys: Vec<String> = (0..60).map(|i| format!("k{i}")).collect();
    let value = "x".repeat(LEN - 2);
    let items = keys.iter().map(|it| (it, &value));
    assert!(cache.set_many(items, secs(600)).await.unwrap().is_empty());
    // Again if this task stands still while the batch is read.
    until("other calls are answered in between", async || {
        let reading = tokio::spawn({
            let (cache, keys) = (cache.clone(), keys.clone());
            async move { cache.get_many::<String, _>(keys).await.unwrap() }
        });
        let mut between = 0;
        while !reading.is_finished() {
            cache.set("other", &1, secs(600)).await.unwrap();
            between += 1;
        }
        let found = reading.await.unwrap();
        assert_eq!(found.len(), keys.len());
        assert!(found.values().all(|it| it.len() == LEN - 2));
        between > 5
    })
    .await;
    assert_eq!(cache.delete_many(&keys).await.unwrap(), 60);
}

/// The largest value that the defaults allow is written and read within the default deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn largest_value_fits_the_default_deadline() {
    let server = Postgres::start().unwrap();
    cache(&server.url(), PATIENT).strict().check().await.unwrap();
    let cache = cache(&server.url(), NO_BREAKER).strict();
    let value = "x".repeat((8 << 20) - 2);
    // A busy machine may miss the deadline once.
    until("it is written", async || cache.set("k", &value, secs(600)).await.is_ok()).await;
    until("it is read", async || {
        cache.get::<String>("k").await.is_ok_and(|it| it.is_some_and(|it| it.len() == value.len()))
    })
    .await;
    // The refused write deletes the old value, which a busy machine may do too late.
    let larger = format!("{value}x");
    until("it is refused", async || {
        let kind = cache.set("k", &larger, secs(600)).await.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::TooLarge | ErrorKind::TimedOut), "{kind:?}");
        kind == ErrorKind::TooLarge
    })
    .await;
}

/// A batch has a deadline for each 4 MiB of values, which is too short for the whole batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_of_240_mib_has_a_deadline_for_each_part() {
    const COUNT: usize = 60;
    let server = Postgres::start().unwrap();
    let patient = cache(&server.url(), PATIENT).strict();
    patient.check().await.unwrap();
    let cache = cache(&server.url(), &format!("deadline = '2s'\n{NO_BREAKER}")).strict();
    let value = "x".repeat(4 << 20);
    // A machine that stands still may miss the deadline of a part. One deadline for all of them
    // would be missed each time.
    until("each part is written in time", async || {
        let items = (0..COUNT).map(|n| (n.to_string(), &value));
        let failed = cache.set_many(items, secs(600)).await.unwrap();
        for it in &failed {
            assert!(is_outage(&it.error), "{}", it.error);
        }
        failed.is_empty()
    })
    .await;
    for n in 0..COUNT {
        assert!(patient.has_key(&n.to_string()).await.unwrap(), "{n}");
    }
}
