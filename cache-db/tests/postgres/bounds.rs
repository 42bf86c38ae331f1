//! The bounds of the table, and which entries are evicted.

use std::time::Duration;

use cache_core::{Cache, Caches, secs, testing::FakeClock};
use futures_util::future::join_all;
use test_servers::Postgres;

use crate::support::{PATIENT, cache, number, options, raw, toml, until};

const ENTRIES: &str = "SELECT count(*) FROM cache";

/// Writes entries from eight tasks, nearly in the order of their numbers: a task that stands still
/// is never far behind the others.
async fn write(cache: &Cache, from: usize, count: usize, len: usize) {
    const TOGETHER: usize = 200;
    let value = "x".repeat(len);
    for first in (from..from + count).step_by(TOGETHER) {
        let last = (first + TOGETHER).min(from + count);
        let tasks = (0..8).map(|task| {
            let (cache, value) = (cache.clone(), value.clone());
            tokio::spawn(async move {
                for i in (first..last).filter(|i| i % 8 == task) {
                    cache.set(&format!("k{i}"), &value, secs(600)).await.unwrap();
                }
            })
        });
        for it in join_all(tasks).await {
            it.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_is_within_a_tenth_of_max_entries_after_ten_times_turnover() {
    const BOUND: usize = 2000;
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options(&format!("max_entries = {BOUND}"))).strict();
    write(&cache, 0, 10 * BOUND, 100).await;
    until("it is within its bound", async || number(&client, ENTRIES).await <= 2200).await;
    let left = number(&client, ENTRIES).await;
    assert!(left >= 1800, "{left}");
    // The oldest were evicted, whatever their keys.
    for i in (0..BOUND).chain(BOUND * 5..BOUND * 6) {
        assert!(!cache.has_key(&format!("k{i}")).await.unwrap(), "k{i}");
    }
    for i in BOUND * 10 - 1000..BOUND * 10 {
        assert!(cache.has_key(&format!("k{i}")).await.unwrap(), "k{i}");
    }
}

/// Also for values that the server stores out of line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_is_within_a_tenth_of_max_bytes_after_ten_times_turnover() {
    const BOUND: usize = 512 << 10;
    let bound = i64::try_from(BOUND).unwrap();
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    for len in [100, 5000] {
        let more = format!("max_bytes = {BOUND}\ntable = \"t{len}\"");
        let cache = cache(&server.url(), &options(&more)).strict();
        write(&cache, 0, 10 * BOUND / (len + 100), len).await;
        let sum = format!("SELECT coalesce(sum(size), 0)::bigint FROM t{len}");
        until("it is within its bound", async || number(&client, &sum).await <= bound * 11 / 10)
            .await;
        let left = number(&client, &sum).await;
        assert!(left >= bound * 9 / 10, "{left}");
    }
}

/// If the oldest entries are much larger than the others, few of them are enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eviction_removes_no_more_than_necessary() {
    const BOUND: usize = 1 << 20;
    let bound = i64::try_from(BOUND).unwrap();
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options(&format!("max_bytes = {BOUND}"))).strict();
    write(&cache, 0, 9, 100_000).await;
    let large = "SELECT count(*) FROM cache WHERE octet_length(value) > 50000";
    let sum = "SELECT coalesce(sum(size), 0)::bigint FROM cache";
    let mut from = 1000;
    until("one was evicted", async || {
        write(&cache, from, 16, 100).await;
        from += 16;
        number(&client, large).await < 9
    })
    .await;
    let left = number(&client, sum).await;
    assert!(left >= bound * 8 / 10, "{left}");
}

/// Never far above the bound, and concurrent trimmers do not each remove the same excess.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_caches_on_one_table_keep_its_bound_together() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let more = options("max_entries = 2000");
    let caches: Vec<_> = (0..4).map(|_| cache(&server.url(), &more).strict()).collect();
    let writes = caches.iter().enumerate().map(|(i, it)| write(it, i * 5000, 5000, 20));
    join_all(writes).await;
    until("it is within its bound", async || number(&client, ENTRIES).await <= 2200).await;
    let left = number(&client, ENTRIES).await;
    assert!(left >= 1800, "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_entries_are_removed_before_older_live_ones() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options("max_entries = 1000")).strict();
    for i in 0..500 {
        cache.set(&format!("old{i}"), &i, secs(600)).await.unwrap();
    }
    let items = (0..490).map(|i| (format!("short{i}"), i));
    cache.set_many(items, Duration::from_millis(1)).await.unwrap().into_result().unwrap();
    until("they have expired", async || !cache.has_key("short489").await.unwrap()).await;
    for i in 0..300 {
        cache.set(&format!("new{i}"), &i, secs(600)).await.unwrap();
    }
    until("there is room again", async || number(&client, ENTRIES).await <= 1000).await;
    for i in 0..500 {
        assert!(cache.has_key(&format!("old{i}")).await.unwrap(), "old{i}");
    }
}

/// Trimming cannot go on at all here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_waits_for_trimming() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options("max_entries = 500")).strict();
    cache.check().await.unwrap();
    let (one, other) = (raw(&server).await, "SELECT count(*) FROM pg_locks WHERE NOT granted");
    one.batch_execute("BEGIN; SELECT * FROM cache_meta FOR UPDATE").await.unwrap();
    write(&cache, 0, 1000, 10).await;
    until("the trimming waits", async || number(&client, other).await > 0).await;
    write(&cache, 1000, 1000, 10).await;
    assert_eq!(number(&client, ENTRIES).await, 2000);
    one.batch_execute("ROLLBACK").await.unwrap();
    until("it goes on", async || number(&client, ENTRIES).await <= 500).await;
}

/// Its connection has ended, so no process waits until the lease ends by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trim_lease_of_a_dead_process_is_free() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options("max_entries = 500")).strict();
    cache.check().await.unwrap();
    let turn = "UPDATE cache_meta SET value = extract(epoch FROM clock_timestamp()) * 1000 + 29000 WHERE name = 'trimming'";
    client.batch_execute(turn).await.unwrap();
    write(&cache, 0, 2000, 10).await;
    let took = until("it is trimmed", async || number(&client, ENTRIES).await <= 550).await;
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// By the cache's own clock, which the test moves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_cache_shrinks() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let clock = FakeClock::new();
    let caches =
        Caches::builder().clock(clock.clock()).toml(&toml(&server.url(), PATIENT)).unwrap();
    let caches = caches.build().unwrap();
    let cache = caches.get("default").unwrap().strict();
    let items = (0..3000).map(|i| (format!("short{i}"), i));
    cache.set_many(items, Duration::from_millis(50)).await.unwrap().into_result().unwrap();
    cache.set("long", &1, secs(600)).await.unwrap();
    until("expired entries are removed", async || {
        // In small steps: the deadlines follow this clock, too.
        clock.advance(Duration::from_secs(1));
        number(&client, ENTRIES).await == 1
    })
    .await;
    assert_eq!(cache.get::<i32>("long").await.unwrap(), Some(1));
}
