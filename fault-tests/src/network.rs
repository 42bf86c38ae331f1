//! Networks that lose, cut and delay connections.

use std::time::Duration;

use cache_core::{Cache, ErrorKind, Timeout};
use futures_util::future::join_all;
use test_servers::{Proxy, Server as _};

use crate::{
    Harness, LONG, NO_BREAKER, PATIENT, answered, cache_through, is_outage, keys, promises, report,
    timed, until,
};

promises!($ network:
    half_open_connection_is_replaced,
    half_open_connection_is_replaced_though_all_calls_are_dropped_early,
    half_open_connection_under_load_is_replaced,
    truncated_reply_is_an_error_and_no_call_gets_another_value,
    batch_that_is_cut_off_lists_the_keys_it_did_not_write,
    reset_in_the_middle_of_a_reply_is_an_error,
    late_reply_is_not_given_to_another_call,
);

const ATTEMPTS: u32 = 20;

/// Starts a server, a proxy in front of it, and a cache behind the proxy that has stored `k` over
/// its only connection.
pub async fn cache_behind_proxy<S: Harness>(more: &str) -> (S::Server, Proxy, Cache) {
    let server = S::start();
    // If the first call times out on a slow machine, start again: the tests begin after it.
    for _ in 0..ATTEMPTS {
        let proxy = Proxy::to(server.address()).unwrap();
        let cache = cache_through::<S>(&proxy, more);
        match cache.strict().set("k", &"value", Timeout::Default).await {
            Ok(()) if proxy.accepted() == 1 => return (server, proxy, cache),
            // The first attempt to connect took too long.
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
        }
    }
    panic!("every first attempt to connect timed out");
}

/// Returns control calls: through the same proxy, with a long deadline.
fn control<S: Harness>(proxy: &Proxy) -> impl AsyncFnMut() {
    let patient = cache_through::<S>(proxy, PATIENT).strict();
    async move || drop(patient.get::<String>("k").await.unwrap())
}

/// The network silently drops the packets of open connections: one or two calls time out, then
/// there is a new connection. With and without a circuit breaker.
async fn half_open_connection_is_replaced<S: Harness>() {
    for more in ["", NO_BREAKER] {
        let (_server, proxy, cache) = cache_behind_proxy::<S>(more).await;
        let strict = cache.strict();
        assert_eq!(proxy.accepted(), 1);
        proxy.swallow_open();
        let (res, took) = timed(cache.get::<String>("k")).await;
        assert_eq!(res.unwrap(), None);
        report("half open, first get, failing open", "a miss", took);
        let mut failed = 1;
        let back = until("calls succeed", async || {
            let (res, took) = timed(strict.get::<String>("k")).await;
            assert!(took < LONG, "{took:?}");
            match res {
                Ok(value) => {
                    assert_eq!(value.as_deref(), Some("value"));
                    return true;
                }
                Err(error) => {
                    assert!(is_outage(&error), "{error}");
                    // On a busy machine the new connection takes so long that the breaker opens.
                    failed += u32::from(!error.message().contains("circuit breaker"));
                }
            }
            false
        })
        .await;
        report("half open", &format!("{failed} calls in a row fail"), took + back);
        assert!(failed < 10, "{failed} calls failed");
        // The breaker may open, but it must not stay open.
        assert!(took + back < LONG, "{:?}", took + back);
        assert!(proxy.accepted() > 1);
    }
}

/// Like above, for callers that never wait for the whole deadline: no call times out, and the
/// connection is replaced nevertheless.
async fn half_open_connection_is_replaced_though_all_calls_are_dropped_early<S: Harness>() {
    let (_server, proxy, cache) = cache_behind_proxy::<S>("").await;
    let strict = cache.strict();
    proxy.swallow_open();
    let (mut dropped, mut moment) = (0, Duration::from_millis(50));
    let back = until("calls succeed", async || {
        let call = strict.get::<String>("k");
        let res = tokio::time::timeout(moment, call).await;
        dropped += u32::from(res.is_err());
        // On a slow machine the calls are dropped later, but always before the deadline.
        moment = (moment + Duration::from_millis(5)).min(Duration::from_millis(300));
        let Ok(Ok(value)) = res else { return false };
        assert_eq!(value.as_deref(), Some("value"));
        true
    })
    .await;
    report("half open, calls dropped early", &format!("{dropped} are dropped"), back);
}

/// Like above, under load: many calls wait at the same time, and all calls succeed after little
/// more than a deadline.
async fn half_open_connection_under_load_is_replaced<S: Harness>() {
    let (_server, proxy, cache) = cache_behind_proxy::<S>(NO_BREAKER).await;
    let strict = cache.strict();
    proxy.swallow_open();
    let mut rounds = 0;
    let back = until("all calls succeed", async || {
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

/// The connection ends in the middle of a reply, at any byte: each waiting call gets its own value
/// or an error, and later calls get their own values.
async fn truncated_reply_is_an_error_and_no_call_gets_another_value<S: Harness>() {
    let (_server, proxy, cache) = cache_behind_proxy::<S>(&format!("{PATIENT}{NO_BREAKER}")).await;
    let strict = cache.strict();
    let keys = keys("key", 16);
    // The first value is large, so that other replies are queued after it.
    let value = |key: &str| key.repeat(if key == "key0" { 200_000 } else { 3 });
    for key in &keys {
        strict.set(key, &value(key), Timeout::Default).await.unwrap();
    }
    let mut errors = 0;
    let mut longest = Duration::ZERO;
    for bytes in [0, 1, 2, 5, 9, 10, 100, 5000, 65_536, 400_000, 800_020, 800_100] {
        proxy.truncate_after(bytes);
        let (results, took) = timed(join_all(keys.iter().map(|it| strict.get::<String>(it)))).await;
        longest = longest.max(took);
        for (key, result) in keys.iter().zip(results) {
            match result {
                Ok(read) => assert!(read == Some(value(key)), "wrong value for {key}"),
                Err(error) => {
                    errors += 1;
                    assert!(is_outage(&error), "{error}");
                }
            }
        }
        proxy.pass();
        until("calls succeed", async || strict.get::<String>("k").await.is_ok()).await;
        for key in &keys {
            assert!(strict.get::<String>(key).await.unwrap() == Some(value(key)));
        }
    }
    // If each call has its own connection, the end may also fall between two replies.
    assert!(errors >= if S::SHARES_CONNECTIONS { 12 } else { 6 }, "{errors}");
    report("a reply is cut short", &format!("{errors} of 192 calls are errors"), longest);
}

/// The connection ends in the middle of a batch's replies: `set_many` lists all keys that were not
/// written, and `get_many` returns what it has read.
async fn batch_that_is_cut_off_lists_the_keys_it_did_not_write<S: Harness>() {
    let (_server, proxy, cache) = cache_behind_proxy::<S>(&format!("{PATIENT}{NO_BREAKER}")).await;
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
        until("calls succeed", async || strict.get::<String>("k").await.is_ok()).await;
        let stored = strict.get_many::<usize, _>(&keys).await.unwrap();
        for key in keys.iter().filter(|it| !failed.contains(it)) {
            assert_eq!(stored.get(&key), Some(&round), "{key}");
        }
        listed.push(failed.len());
        // Cut after about a third of the replies: the values before the cut are returned.
        proxy.truncate_after(bytes);
        let found = cache.get_many::<usize, _>(&keys).await.unwrap();
        proxy.pass();
        until("calls succeed", async || strict.get::<String>("k").await.is_ok()).await;
        // A busy server may execute commands of the cut connection only now.
        let later = strict.get_many::<usize, _>(&keys).await.unwrap();
        let is_stored = |key, value| [stored.get(key), later.get(key)].contains(&Some(value));
        assert!(found.iter().all(|(key, value)| is_stored(key, value)));
    }
    assert!(listed.iter().all(|it| *it > 0), "{listed:?}");
}

/// Connections are reset while large values are transferred: the calls fail at once.
async fn reset_in_the_middle_of_a_reply_is_an_error<S: Harness>() {
    let (server, proxy, cache) = cache_behind_proxy::<S>("deadline = \"30s\"\n").await;
    let strict = cache.strict();
    let large = "x".repeat(S::LARGE.len);
    strict.set("large", &large, Timeout::Default).await.unwrap();
    for _ in 0..3 {
        // The transfer takes seconds.
        proxy.delay(S::LARGE.piece);
        let before = S::reads(&server);
        let calls = ["large", "k", "large"].map(|key| {
            let strict = strict.clone();
            tokio::spawn(async move { timed(strict.get::<String>(key)).await })
        });
        until("the server has replied", async || S::reads(&server) >= before + 3).await;
        proxy.cut();
        let ((), took) = timed(async {
            for it in calls {
                // The small value may have arrived.
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
        until("calls succeed", async || strict.get::<String>("k").await.is_ok()).await;
        assert!(strict.get::<String>("large").await.unwrap().as_ref() == Some(&large));
    }
}

/// A reply within the deadline is used, however slow. A call without a reply by its deadline is
/// `TimedOut`, or a miss, and no other call gets the reply when it arrives.
async fn late_reply_is_not_given_to_another_call<S: Harness>() {
    let (_server, proxy, cache) = cache_behind_proxy::<S>(NO_BREAKER).await;
    let strict = cache.strict();
    let mut control = control::<S>(&proxy);
    let keys = keys("key", 8);
    for key in &keys {
        answered(&mut control, async || strict.set(key, key, Timeout::Default).await).await;
    }
    proxy.delay(Duration::from_millis(20));
    for key in &keys {
        let (found, took) = answered(&mut control, async || {
            let (res, took) = timed(strict.get::<String>(key)).await;
            res.map(|it| (it, took))
        })
        .await;
        assert_eq!(found.as_ref(), Some(key));
        assert!(took >= Duration::from_millis(20));
    }
    // After the deadline of 0.5 s and before that of the next call.
    proxy.delay(Duration::from_millis(650));
    for key in &keys[..4] {
        let (res, took) = timed(strict.get::<String>(key)).await;
        match res {
            Ok(value) => assert_eq!(value.as_ref(), Some(key)),
            Err(error) => {
                assert!(is_outage(&error), "{error}");
                report("replies after 0.65 s, strict", &format!("{:?}", error.kind()), took);
            }
        }
        assert!(took < LONG);
    }
    let (res, took) = timed(cache.get::<String>(&keys[4])).await;
    assert!(res.unwrap().is_none_or(|it| it == keys[4]));
    report("replies after 0.65 s, failing open", "a miss", took);
    proxy.pass();
    until("calls succeed", async || strict.get::<String>("k").await.is_ok()).await;
    for key in &keys {
        let found = answered(&mut control, async || strict.get::<String>(key).await).await;
        assert_eq!(found.as_ref(), Some(key));
    }
}
