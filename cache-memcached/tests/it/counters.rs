//! Counters that the server by itself would clamp, wrap, or make of anything.

use std::{sync::Arc, time::Duration};

use cache_core::{Cache, ErrorKind, Timeout, Ttl, secs};
use futures_util::future::join_all;
use test_servers::Memcached;
use tokio::sync::Barrier;

use crate::{
    raw::Raw,
    support::{PATIENT, at, cache, raw, servers, stored, stored_key},
};

/// A cache with the counter `n`, and where it is in the server.
async fn counter(start: i64) -> (Vec<Memcached>, Cache, Raw, String) {
    let servers = servers(1);
    let cache = cache(&at(&servers), PATIENT).strict();
    cache.set("n", &start, secs(600)).await.unwrap();
    let mut raw = raw(&servers[0]);
    let key = stored_key(&mut raw, "", "n");
    (servers, cache, raw, key)
}

#[tokio::test]
async fn counters_go_below_zero_and_back_and_are_plain_numbers_all_the_way() {
    let (_servers, cache, mut raw, _) = counter(0).await;
    let mut expected = 0_i64;
    for delta in [10, -1, -9, -1, -9, -90, 95, 4, 1, -2000, 1999, 1_000_000, -999_999, 9, -1] {
        expected += delta;
        assert_eq!(cache.incr("n", delta).await.unwrap(), expected, "{delta}");
        assert_eq!(stored(&mut raw, "", "n"), Some(expected.to_string()));
    }
    assert_eq!(cache.decr("n", 100).await.unwrap(), expected - 100);
    assert!(matches!(cache.ttl("n").await.unwrap(), Some(Ttl::Remaining(_))));
}

#[tokio::test]
async fn what_overflows_is_an_error_and_changes_nothing() {
    for (start, delta) in
        [(i64::MAX, 1), (i64::MIN, -1), (i64::MAX - 5, 6), (1, i64::MAX), (-2, i64::MIN)]
    {
        let (_servers, cache, mut raw, key) = counter(start).await;
        for _ in 0..2 {
            let error = cache.incr("n", delta).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Overflow, "{error}");
        }
        assert_eq!(raw.get(&key), Some(start.to_string()));
    }
    let (_servers, cache, _, _) = counter(0).await;
    assert_eq!(cache.incr("n", i64::MAX).await.unwrap(), i64::MAX);
    assert_eq!(cache.decr("n", i64::MAX).await.unwrap(), 0);
    assert_eq!(cache.incr("n", i64::MIN).await.unwrap(), i64::MIN);
    assert_eq!(cache.incr("n", i64::MAX).await.unwrap(), -1);
    let missing = cache.incr_or("new", i64::MAX, 1, secs(60)).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Overflow);
    assert!(!cache.has_key("new").await.unwrap());
}

/// The server's own `incr` would make 13, 8, 1 and 0 of the first four.
#[tokio::test]
async fn what_is_no_integer_of_ours_is_an_error_and_is_left_alone() {
    let (_servers, cache, mut raw, key) = counter(0).await;
    for text in [
        "12 abc",
        "007",
        "0 ",
        "18446744073709551615",
        "9223372036854775808",
        "-9223372036854775809",
        "+5",
        "-0",
        "",
        " 1",
        "1\r\n",
        "1.0",
        "\"41\"",
    ] {
        raw.set(&key, text);
        for res in [cache.incr("n", 1).await, cache.incr_or("n", 1, 0, secs(60)).await] {
            let error = res.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotAnInteger, "{text:?}: {error}");
        }
        assert_eq!(raw.get(&key).as_deref(), Some(text));
    }
}

/// A lifetime is kept to the tick where the server counts, and within ticks where the entry is written anew; none becomes immortal,
/// and what has none gets none.
#[tokio::test]
async fn counting_keeps_the_lifetime() {
    let (_servers, cache, _, _) = counter(0).await;
    let ttl = async || match cache.ttl("n").await.unwrap() {
        Some(Ttl::Remaining(left)) => left,
        it => panic!("{it:?}"),
    };
    for days in [1, 365] {
        cache.set("n", &5, Duration::from_secs(days * 86_400)).await.unwrap();
        let mut last = ttl().await;
        assert!(last >= Duration::from_secs(days * 86_400));
        for delta in [1, 10, -14, -2, -5, 6, 100, -99, i64::MIN] {
            let began = std::time::Instant::now();
            cache.incr("n", delta).await.unwrap();
            let now = ttl().await;
            let passed = began.elapsed() + Duration::from_secs(1);
            assert!(now + passed >= last, "{delta}: {now:?}, it was {last:?}");
            assert!(now <= last + Duration::from_secs(2), "{delta}: {now:?}, it was {last:?}");
            last = now;
        }
        cache.set("n", &5, Duration::from_secs(1)).await.unwrap();
    }
    cache.set("n", &5, Timeout::Never).await.unwrap();
    for delta in [1, -10, 3] {
        cache.incr("n", delta).await.unwrap();
        assert_eq!(cache.ttl("n").await.unwrap(), Some(Ttl::Forever));
    }
}

/// The server's arithmetic lends the number of the new item to the old one, which somebody may just be reading: compared by
/// that alone, one in some 10,000 increments would be counted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_many_increments_at_a_time_counts_once() {
    const TASKS: i64 = 8;
    const EACH: i64 = 3000;
    let (_servers, cache, _, _) = counter(0).await;
    let barrier = Arc::new(Barrier::new(8));
    let tasks = (0..TASKS).map(|_| {
        let (cache, barrier) = (cache.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            barrier.wait().await;
            let mut said = Vec::new();
            for _ in 0..EACH {
                said.push(cache.incr("n", 1).await.unwrap());
            }
            said
        })
    });
    let said = join_all(tasks).await.into_iter().flat_map(Result::unwrap);
    let mut said: Vec<i64> = said.collect();
    said.sort_unstable();
    assert_eq!(said, (1..=TASKS * EACH).collect::<Vec<_>>());
}
