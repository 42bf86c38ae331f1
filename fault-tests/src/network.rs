//! A network that loses, cuts and delays.

use std::time::Duration;

use cache_core::{Cache, ErrorKind, Timeout};
use futures_util::future::join_all;
use test_servers::{Proxy, Server as _};

use crate::{
    LONG, NO_BREAKER, PATIENT, Stage, answered, cache_through, is_outage, keys, promises, report,
    timed, until,
};

promises!($ network:
    a_half_open_connection_is_replaced,
    a_half_open_connection_is_replaced_though_nobody_waits_for_long,
    a_half_open_connection_under_load_is_replaced,
    a_truncated_reply_is_an_error_and_nobody_gets_anothers_value,
    a_batch_that_is_cut_off_lists_what_it_did_not_write,
    a_reset_in_the_middle_of_a_reply_is_an_error,
    a_late_answer_is_nobody_elses,
);

const BEGINNINGS: u32 = 20;

/// A server, a proxy in front of it, and a cache that goes through it and has stored `k` over its one connection.
pub async fn behind_a_proxy<S: Stage>(more: &str) -> (S::Server, Proxy, Cache) {
    let server = S::start();
    // Who begins with a call that a slow machine was too slow for begins anew: these are tests of what comes after it.
    for _ in 0..BEGINNINGS {
        let proxy = Proxy::to(server.address()).unwrap();
        let cache = cache_through::<S>(&proxy, more);
        match cache.strict().set("k", &"value", Timeout::Default).await {
            Ok(()) => return (server, proxy, cache),
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
        }
    }
    panic!("no first call is answered in time");
}

/// A patient twin: it asks the same server on the same way.
fn twin<S: Stage>(proxy: &Proxy) -> impl AsyncFnMut() {
    let patient = cache_through::<S>(proxy, PATIENT).strict();
    async move || drop(patient.get::<String>("k").await.unwrap())
}

/// The way to the server is gone without a word, for the connections that are open only: a call or two take their deadline, then
/// there is a new connection. With breaker and without.
async fn a_half_open_connection_is_replaced<S: Stage>() {
    for more in ["", NO_BREAKER] {
        let (_server, proxy, cache) = behind_a_proxy::<S>(more).await;
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
async fn a_half_open_connection_is_replaced_though_nobody_waits_for_long<S: Stage>() {
    let (_server, proxy, cache) = behind_a_proxy::<S>("").await;
    let strict = cache.strict();
    proxy.swallow_open();
    let (mut dropped, mut moment) = (0, Duration::from_millis(50));
    let back = until("it works", async || {
        let call = strict.get::<String>("k");
        let res = tokio::time::timeout(moment, call).await;
        dropped += u32::from(res.is_err());
        // Where the machine is slow all leave a little later, and always before the deadline.
        moment = (moment + Duration::from_millis(5)).min(Duration::from_millis(300));
        let Ok(Ok(value)) = res else { return false };
        assert_eq!(value.as_deref(), Some("value"));
        true
    })
    .await;
    report("half open, calls dropped early", &format!("{dropped} are dropped"), back);
}

/// The same under load: many calls of each kind wait at the same time, and all is well after little more than a deadline.
async fn a_half_open_connection_under_load_is_replaced<S: Stage>() {
    let (_server, proxy, cache) = behind_a_proxy::<S>(NO_BREAKER).await;
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
async fn a_truncated_reply_is_an_error_and_nobody_gets_anothers_value<S: Stage>() {
    let (_server, proxy, cache) = behind_a_proxy::<S>(&format!("{PATIENT}{NO_BREAKER}")).await;
    let strict = cache.strict();
    let keys = keys("key", 16);
    // The first is large, so that others wait behind it.
    let value = |key: &str| key.repeat(if key == "key0" { 200_000 } else { 3 });
    for key in &keys {
        strict.set(key, &value(key), Timeout::Default).await.unwrap();
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
    // Where each has its own, it may also end between two answers.
    assert!(errors >= if S::SHARES_CONNECTIONS { 12 } else { 6 }, "{errors}");
    report("a reply is cut short", &format!("{errors} of 192 calls are errors"), longest);
}

/// A batch whose answers are cut off in the middle lists all that it has not written, and reads what it can.
async fn a_batch_that_is_cut_off_lists_what_it_did_not_write<S: Stage>() {
    let (_server, proxy, cache) = behind_a_proxy::<S>(&format!("{PATIENT}{NO_BREAKER}")).await;
    let strict = cache.strict();
    let keys = keys("key", 3000);
    let mut listed = Vec::new();
    for (round, bytes) in [3, 2000, 5003, 5010, 9000, 14_999].into_iter().enumerate() {
        proxy.truncate_after(bytes);
        let items = keys.iter().map(|it| (it, round));
        let (failed, took) = timed(cache.set_many(items, Timeout::Default)).await;
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
        proxy.pass();
        until("it works", async || strict.get::<String>("k").await.is_ok()).await;
        // A busy server may do only now what it was told on the connection that was cut.
        let later = strict.get_many::<usize, _>(&keys).await.unwrap();
        let is_stored = |key, value| [stored.get(key), later.get(key)].contains(&Some(value));
        assert!(found.iter().all(|(key, value)| is_stored(key, value)));
    }
    assert!(listed.iter().all(|it| *it > 0), "{listed:?}");
}

/// Connections that are reset while large values are on their way: an error at once.
async fn a_reset_in_the_middle_of_a_reply_is_an_error<S: Stage>() {
    let (server, proxy, cache) = behind_a_proxy::<S>("deadline = \"30s\"\n").await;
    let strict = cache.strict();
    let large = "x".repeat(S::LARGE.len);
    strict.set("large", &large, Timeout::Default).await.unwrap();
    for _ in 0..3 {
        // So it takes seconds, piece by piece.
        proxy.delay(S::LARGE.piece);
        let before = S::reads(&server);
        let calls = ["large", "k", "large"].map(|key| {
            let strict = strict.clone();
            tokio::spawn(async move { timed(strict.get::<String>(key)).await })
        });
        until("the server answers", async || S::reads(&server) >= before + 3).await;
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
async fn a_late_answer_is_nobody_elses<S: Stage>() {
    let (_server, proxy, cache) = behind_a_proxy::<S>(NO_BREAKER).await;
    let strict = cache.strict();
    let mut twin = twin::<S>(&proxy);
    let keys = keys("key", 8);
    for key in &keys {
        answered(&mut twin, async || strict.set(key, key, Timeout::Default).await).await;
    }
    proxy.delay(Duration::from_millis(20));
    for key in &keys {
        let (found, took) = answered(&mut twin, async || {
            let (res, took) = timed(strict.get::<String>(key)).await;
            res.map(|it| (it, took))
        })
        .await;
        assert_eq!(found.as_ref(), Some(key));
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
        let found = answered(&mut twin, async || strict.get::<String>(key).await).await;
        assert_eq!(found.as_ref(), Some(key));
    }
}
