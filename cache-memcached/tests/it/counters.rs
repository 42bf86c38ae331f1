//! Counters that the server's own arithmetic would clamp, wrap or misread.

use std::{sync::Arc, time::Duration};

use cache_core::{Cache, ErrorKind, Timeout, Ttl, secs};
use fault_tests::timed;
use futures_util::future::join_all;
use test_servers::{Memcached, Proxy, Server as _};
use tokio::sync::Barrier;

use crate::{
    raw::Raw,
    support::{PATIENT, at, cache, raw, servers, stored, stored_key, until},
};

/// Returns a cache with the counter `n`, and the counter's key on the server.
async fn counter(start: i64) -> (Vec<Memcached>, Cache, Raw, String) {
    let servers = servers(1);
    let cache = cache(&at(&servers), PATIENT).strict();
    cache.set("n", &start, secs(600)).await.unwrap();
    let mut raw = raw(&servers[0]);
    let key = stored_key(&mut raw, "", "n");
    (servers, cache, raw, key)
}

#[tokio::test]
async fn counter_below_zero_and_back_is_a_plain_number() {
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
async fn overflow_is_an_error_and_changes_nothing() {
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

/// The server's own `incr` would turn the first four into 13, 8, 1 and 0.
#[tokio::test]
async fn value_that_is_not_an_integer_is_an_error_and_stays() {
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

/// The lifetime is kept exactly if the server counts, and within a few ticks if the entry is
/// written again. No counter loses its lifetime, and a counter without a lifetime gets none.
#[tokio::test]
async fn incr_keeps_the_lifetime() {
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

/// The server's arithmetic gives the CAS number of the new item to the old item, which another
/// client may be reading. With this number alone, one in about 10,000 increments would be counted
/// twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_increments_each_count_once() {
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

/// Returns the results of this many callers that add to one key at the same moment.
async fn at_once(cache: &Cache, callers: usize, create: bool) -> Vec<cache_core::Result<i64>> {
    let calls = (0..callers).map(|_| {
        let cache = cache.clone();
        tokio::spawn(async move {
            if create {
                cache.incr_or("n", 1, 0, secs(600)).await
            } else {
                cache.incr("n", 1).await
            }
        })
    });
    join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

/// Within the default deadline. A busy machine has more time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_concurrent_increments_of_one_key_succeed() {
    let servers = servers(1);
    let cache = cache(&at(&servers), PATIENT).strict();
    let mut fastest = Duration::MAX;
    for round in 0..4 {
        // The first callers create the counter.
        let (said, took) = timed(at_once(&cache, 500, true)).await;
        fastest = fastest.min(took);
        let mut said: Vec<_> = said.into_iter().map(Result::unwrap).collect();
        said.sort_unstable();
        assert_eq!(said, (round * 500 + 1..=round * 500 + 500).collect::<Vec<_>>());
    }
    // A machine that stands still for a moment delays one of the rounds.
    assert!(fastest < Duration::from_secs(3), "{fastest:?}");
    assert!(matches!(cache.ttl("n").await.unwrap(), Some(Ttl::Remaining(_))));
    assert!(cache.delete("n").await.unwrap());
    for answer in at_once(&cache, 50, false).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::KeyNotFound);
    }
}

/// Each change has the result that it would have if it ran alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn combined_increments_overflow_separately() {
    for left in [0, 1, 100] {
        let (_servers, cache, mut raw, key) = counter(i64::MAX - left).await;
        let (mut counted, mut refused) = (0, 0);
        for answer in at_once(&cache, 200, false).await {
            match answer {
                Ok(_) => counted += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Overflow, "{error}");
                    refused += 1;
                }
            }
        }
        assert_eq!((counted, refused), (left, 200 - left));
        assert_eq!(raw.get(&key), Some(i64::MAX.to_string()));
        raw.set(&key, "garbage");
        for answer in at_once(&cache, 50, false).await {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::NotAnInteger);
        }
        assert_eq!(raw.get(&key).as_deref(), Some("garbage"));
    }
}

/// The two stores do not share state, like two processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_of_several_processes_each_count_once() {
    let servers = servers(1);
    let caches: Vec<_> = (0..4).map(|_| cache(&at(&servers), PATIENT).strict()).collect();
    caches[0].set("n", &-700, secs(600)).await.unwrap();
    let all = join_all(caches.iter().map(|it| at_once(it, 250, false))).await;
    let mut said: Vec<_> = all.into_iter().flatten().map(Result::unwrap).collect();
    said.sort_unstable();
    assert_eq!(said, (-699..=300).collect::<Vec<_>>());
}

/// The caller may have deleted the key since.
#[tokio::test]
async fn dropped_increment_is_not_applied() {
    let servers = servers(1);
    let proxy = Proxy::to(servers[0].address()).unwrap();
    let cache = cache(&[proxy.address().to_string()], PATIENT).strict();
    // Now a connection exists, and the key names are cached.
    cache.set("n", &0, secs(600)).await.unwrap();
    cache.delete("n").await.unwrap();
    proxy.hold_open();
    let call = cache.incr_or("n", 1, 0, secs(600));
    let is_held = async {
        while proxy.held() == 0 {
            // sleeps: the proxy has no event for this
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = call => panic!("nothing was delivered"),
        () = is_held => {}
    }
    proxy.release();
    // This call waits for the changes before it.
    assert_eq!(cache.incr_or("n", 1, 0, secs(600)).await.unwrap(), 1);
}

/// A server without memory for the clock entry still counts.
#[tokio::test]
async fn clock_entry_is_written_only_if_an_expiry_has_to_be_kept() {
    let (_servers, cache, mut raw, _) = counter(41).await;
    assert_eq!(cache.incr("n", 1).await.unwrap(), 42);
    cache.set("forever", &10, Timeout::Never).await.unwrap();
    assert_eq!(cache.incr("forever", -1).await.unwrap(), 9);
    assert_eq!(raw.get("!clock"), None);
    assert_eq!(cache.incr("n", -40).await.unwrap(), 2);
    assert_eq!(raw.get("!clock").as_deref(), Some(""));
    assert!(matches!(cache.ttl("n").await.unwrap(), Some(Ttl::Remaining(_))));
}

/// The process knows the counter after a change, and changes it again without a read.
#[tokio::test]
async fn changes_of_others_between_increments_are_not_lost() {
    let (servers, cache, mut raw, key) = counter(10).await;
    for round in 0..40 {
        cache.set("n", &10, secs(600)).await.unwrap();
        for expected in 11..15 {
            assert_eq!(cache.incr("n", 1).await.unwrap(), expected);
        }
        match round % 5 {
            0 => raw.set(&key, "100"),
            1 => drop(raw.ask(&format!("ma {key} MI D86"))),
            // The same number as before, in another entry.
            2 => raw.set(&key, "14"),
            3 => raw.set(&key, "text"),
            _ => drop(raw.ask(&format!("md {key}"))),
        }
        match (round % 5, cache.incr("n", 1).await) {
            (0 | 1, Ok(101)) | (2, Ok(15)) => {}
            (3, Err(error)) => assert_eq!(error.kind(), ErrorKind::NotAnInteger, "{error}"),
            (4, Err(error)) => assert_eq!(error.kind(), ErrorKind::KeyNotFound, "{error}"),
            (_, res) => panic!("{round}: {res:?}"),
        }
    }
    cache.set("n", &10, secs(600)).await.unwrap();
    assert_eq!(cache.incr("n", 1).await.unwrap(), 11);
    cache.clear().await.unwrap();
    let error = cache.incr("n", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotFound, "{error}");
    cache.set("n", &10, secs(600)).await.unwrap();
    assert_eq!(cache.incr("n", 1).await.unwrap(), 11);
    servers[0].restart().unwrap();
    let error = cache.incr("n", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotFound, "{error}");
}

#[tokio::test]
async fn counter_that_the_process_knows_is_changed_by_one_command() {
    let (_servers, cache, mut raw, _) = counter(0).await;
    assert_eq!(cache.incr("n", 1).await.unwrap(), 1);
    let before = reads(&mut raw);
    for expected in 2..50 {
        assert_eq!(cache.incr("n", 1).await.unwrap(), expected);
    }
    // The generation is read once a second.
    assert!(reads(&mut raw) - before < 10);
}

#[tokio::test]
async fn reconnect_is_not_taken_for_a_change_by_another_process() {
    let servers = servers(1);
    let proxy = Proxy::to(servers[0].address()).unwrap();
    let cache = cache(&[proxy.address().to_string()], PATIENT).strict();
    cache.set("n", &0, secs(600)).await.unwrap();
    assert_eq!(cache.incr("n", 1).await.unwrap(), 1);
    proxy.cut();
    until("it works", async || cache.has_key("n").await.is_ok()).await;
    // The read after the reconnect.
    assert_eq!(cache.incr("n", 1).await.unwrap(), 2);
    let mut raw = raw(&servers[0]);
    let before = reads(&mut raw);
    for expected in 3..20 {
        assert_eq!(cache.incr("n", 1).await.unwrap(), expected);
    }
    // The generation is read once a second.
    assert!(reads(&mut raw) - before < 10);
}

fn reads(raw: &mut Raw) -> u64 {
    let (mut line, mut res) = (raw.ask("stats").0, 0);
    while line != "END" {
        if let Some(count) = line.strip_prefix("STAT cmd_get ") {
            res = count.parse().unwrap();
        }
        line = raw.line();
    }
    res
}
