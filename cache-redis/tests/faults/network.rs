//! A network that loses, cuts and delays.

use std::time::{Duration, Instant};

use cache_core::{Cache, ErrorKind, Expiry};
use futures_util::future::join_all;
use test_servers::{Proxy, Redis, Server as _};

use crate::support::{LONG, NO_BREAKER, cache_through, is_outage, keys, report, timed, until};

async fn behind_a_proxy(more: &str) -> (Redis, Proxy, Cache) {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let cache = cache_through(&proxy, more);
    cache.strict().set("k", &"value", None).await.unwrap();
    (redis, proxy, cache)
}

/// The way to the server is gone without a word, for the connections that are open only: a call or two take their deadline, then
/// there is a new connection. With breaker and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_replaced() {
    for more in ["", NO_BREAKER] {
        let (_redis, proxy, cache) = behind_a_proxy(more).await;
        let strict = cache.strict();
        assert_eq!(proxy.accepted(), 1);
        proxy.swallow_open();
        let (res, took) = timed(cache.get::<String>("k")).await;
        assert_eq!(res.unwrap(), None);
        report("half open, first get, failing open", "a miss", took);
        let mut failed = 1;
        let back = until("it works", async || {
            let (res, took) = timed(strict.get::<String>("k")).await;
            assert!(took < LONG, "{took:?}");
            match res {
                Ok(value) => {
                    assert_eq!(value.as_deref(), Some("value"));
                    return true;
                }
                Err(error) => assert!(is_outage(&error), "{error}"),
            }
            failed += 1;
            false
        })
        .await;
        report("half open", &format!("{failed} calls fail one after the other"), took + back);
        assert!(failed < 10, "{failed} calls failed");
        assert!(proxy.accepted() > 1);
    }
}

/// The same for callers who never wait for as long as the deadline: nobody sees a time-out, and still it is replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_replaced_though_nobody_waits_for_long() {
    let (_redis, proxy, cache) = behind_a_proxy("").await;
    let strict = cache.strict();
    proxy.swallow_open();
    let mut dropped = 0;
    let back = until("it works", async || {
        let call = strict.get::<String>("k");
        let res = tokio::time::timeout(Duration::from_millis(50), call).await;
        dropped += u32::from(res.is_err());
        res.is_ok_and(|it| it.is_ok())
    })
    .await;
    report("half open, calls dropped after 50 ms", &format!("{dropped} are dropped"), back);
    assert_eq!(strict.get::<String>("k").await.unwrap().as_deref(), Some("value"));
}

/// Callers who are in even more of a hurry than a server that is well cost nobody the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_callers_are_impatient_is_kept() {
    let (_redis, proxy, cache) = behind_a_proxy("deadline = \"1s\"\n").await;
    let strict = cache.strict();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        let call = strict.get::<String>("k");
        let _ = tokio::time::timeout(Duration::ZERO, call).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(strict.get::<String>("k").await.unwrap().as_deref(), Some("value"));
    assert_eq!(proxy.accepted(), 1);
}

/// The same under load: many calls of each kind wait at the same time, and all is well after two deadlines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_under_load_is_replaced() {
    let (_redis, proxy, cache) = behind_a_proxy(NO_BREAKER).await;
    let strict = cache.strict();
    proxy.swallow_open();
    let mut rounds = 0;
    let back = until("all work", async || {
        rounds += 1;
        let (res, took) = timed(join_all((0..64).map(|_| strict.get::<String>("k")))).await;
        assert!(took < LONG, "{took:?}");
        res.into_iter().all(|it| match it {
            Ok(value) => value.as_deref() == Some("value"),
            Err(error) => {
                assert!(is_outage(&error), "{error}");
                false
            }
        })
    })
    .await;
    report("half open, 64 calls at a time", &format!("{} rounds fail", rounds - 1), back);
    assert!(rounds < 10);
}

/// A reply that ends in the middle, with the connection, wherever it does: each call that waited gets its own value or an error,
/// and the next ones get theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_reply_is_an_error_and_nobody_gets_anothers_value() {
    let (_redis, proxy, cache) = behind_a_proxy(NO_BREAKER).await;
    let strict = cache.strict();
    let keys = keys("key", 16);
    // The first is large, so that others wait behind it.
    let value = |key: &str| key.repeat(if key == "key0" { 200_000 } else { 3 });
    for key in &keys {
        strict.set(key, &value(key), None).await.unwrap();
    }
    let mut errors = 0;
    let mut longest = Duration::ZERO;
    for bytes in [0, 1, 2, 5, 9, 10, 100, 5000, 65_536, 400_000, 800_020, 800_100] {
        proxy.truncate_after(bytes);
        let (answers, took) = timed(join_all(keys.iter().map(|it| strict.get::<String>(it)))).await;
        longest = longest.max(took);
        for (key, answer) in keys.iter().zip(answers) {
            match answer {
                Ok(read) => assert!(read == Some(value(key)), "another's value for {key}"),
                Err(error) => {
                    errors += 1;
                    assert!(is_outage(&error), "{error}");
                }
            }
        }
        proxy.pass();
        until("it works", async || strict.get::<String>("k").await.is_ok()).await;
        for key in &keys {
            assert!(strict.get::<String>(key).await.unwrap() == Some(value(key)));
        }
    }
    assert!(errors >= 12, "{errors}");
    report("a reply is cut short", &format!("{errors} of 192 calls are errors"), longest);
}

/// A batch whose answers are cut off in the middle lists all that it has not written, and reads what it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_cut_off_lists_what_it_did_not_write() {
    let (_redis, proxy, cache) = behind_a_proxy(NO_BREAKER).await;
    let strict = cache.strict();
    let keys = keys("key", 3000);
    let mut listed = Vec::new();
    for (round, bytes) in [3, 2000, 5003, 5010, 9000, 14_999].into_iter().enumerate() {
        proxy.truncate_after(bytes);
        let items = keys.iter().map(|it| (it, round));
        let (failed, took) = timed(cache.set_many(items, None)).await;
        let failed: Vec<_> = failed.unwrap().into_iter().map(|it| it.key).collect();
        report("a batch of 3000 is cut off", &format!("{} keys are listed", failed.len()), took);
        proxy.pass();
        until("it works", async || strict.get::<String>("k").await.is_ok()).await;
        let stored = strict.get_many::<usize, _>(&keys).await.unwrap();
        for key in keys.iter().filter(|it| !failed.contains(it)) {
            assert_eq!(stored.get(&key), Some(&round), "{key}");
        }
        listed.push(failed.len());
        // As much as one answer in three: what came before is there.
        proxy.truncate_after(bytes);
        let found = cache.get_many::<usize, _>(&keys).await.unwrap();
        assert!(found.iter().all(|(key, value)| stored.get(key) == Some(value)));
        proxy.pass();
        until("it works", async || strict.get::<String>("k").await.is_ok()).await;
    }
    assert!(listed.iter().all(|it| *it > 0), "{listed:?}");
}

/// A connection that is reset while a large value is on its way: an error at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_in_the_middle_of_a_reply_is_an_error() {
    let (redis, proxy, cache) = behind_a_proxy("deadline = \"30s\"\n").await;
    let strict = cache.strict();
    let large = "large".repeat(1_000_000);
    strict.set("large", &large, None).await.unwrap();
    for _ in 0..3 {
        redis.command(&["CONFIG", "RESETSTAT"]).unwrap();
        // So it takes seconds, piece by piece.
        proxy.delay(Duration::from_millis(100));
        let calls = ["large", "k", "large"].map(|key| {
            let strict = strict.clone();
            tokio::spawn(async move { timed(strict.get::<String>(key)).await })
        });
        until("the server has answered", async || {
            let stats = redis.command(&["INFO", "commandstats"]).unwrap().text();
            stats.contains("cmdstat_get:calls=3")
        })
        .await;
        proxy.cut();
        let ((), took) = timed(async {
            for it in calls {
                // The small one may have had its answer.
                match it.await.unwrap().0 {
                    Ok(value) => assert_eq!(value.as_deref(), Some("value")),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                }
            }
        })
        .await;
        report("reset in the middle of a reply", "`Unavailable`", took);
        assert!(took < LONG);
        proxy.pass();
        until("it works", async || strict.get::<String>("k").await.is_ok()).await;
        assert!(strict.get::<String>("large").await.unwrap().as_ref() == Some(&large));
    }
}

/// Answers that are slow, but not too slow, are answers. Those that come after the deadline are `TimedOut`, or misses, and when
/// they come they are nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_nobody_elses() {
    let (_redis, proxy, cache) = behind_a_proxy(NO_BREAKER).await;
    let strict = cache.strict();
    let keys = keys("key", 8);
    for key in &keys {
        strict.set(key, key, None).await.unwrap();
    }
    proxy.delay(Duration::from_millis(20));
    for key in &keys {
        let (res, took) = timed(strict.get::<String>(key)).await;
        assert_eq!(res.unwrap().as_ref(), Some(key));
        assert!(took >= Duration::from_millis(20));
    }
    // Later than the deadline of 0.5 s, earlier than the end of the next call.
    proxy.delay(Duration::from_millis(650));
    for key in &keys[..4] {
        let (res, took) = timed(strict.get::<String>(key)).await;
        match res {
            Ok(value) => assert_eq!(value.as_ref(), Some(key)),
            Err(error) => {
                assert!(is_outage(&error), "{error}");
                report("answers after 0.65 s, strict", &format!("{:?}", error.kind()), took);
            }
        }
        assert!(took < LONG);
    }
    let (res, took) = timed(cache.get::<String>(&keys[4])).await;
    assert!(res.unwrap().is_none_or(|it| it == keys[4]));
    report("answers after 0.65 s, failing open", "a miss", took);
    proxy.pass();
    until("it works", async || strict.get::<String>("k").await.is_ok()).await;
    for key in &keys {
        assert_eq!(strict.get::<String>(key).await.unwrap().as_ref(), Some(key));
    }
}

/// Batches, and reads in transactions, whose answers break off anywhere, beside calls that are dropped: no key gets the value of another,
/// then or later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_are_cut_off_give_no_key_the_value_of_another() {
    let (_redis, proxy, cache) = behind_a_proxy(NO_BREAKER).await;
    let store = cache.backend();
    let keys = keys("k", 50);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let items: Vec<_> = keys.iter().map(|it| (*it, (*it).to_owned().into())).collect();
    assert!(store.set_many(&items, Expiry::Never).await.iter().all(Result::is_ok));
    let mut failed = 0;
    for bytes in (1..900).step_by(23) {
        proxy.truncate_after(bytes);
        let (values, entries) = tokio::join!(store.get_many(&keys), store.get_entries(&keys));
        failed += values.iter().filter(|it| it.is_err()).count();
        for (key, answer) in keys.iter().zip(values) {
            assert!(answer.map_or(true, |it| it.unwrap() == *key));
        }
        for (key, answer) in keys.iter().zip(entries) {
            assert!(answer.map_or(true, |it| it.unwrap().value == *key));
        }
        proxy.delay(Duration::from_millis(2));
        for key in &keys[..10] {
            let _ = tokio::time::timeout(Duration::from_micros(500), store.get(key)).await;
        }
        proxy.pass();
        until("it works", async || store.get("k0").await.is_ok()).await;
        for key in &keys {
            assert_eq!(store.get(key).await.unwrap().unwrap(), *key);
        }
    }
    assert!(failed > 0);
}
