//! Client tracking: any writer counts.

use std::time::Duration;

use cache_core::{Caches, NearInvalidation, secs};
use test_servers::{Proxy, Redis, Server as _};

use crate::support::{cache, caches, near, tracking, visible, wait_until, warm};

#[tokio::test]
async fn write_of_any_client_is_visible() {
    for redis in [Redis::start().unwrap(), Redis::options().valkey().start().unwrap()] {
        let reader = tracking(&redis.url()).await;
        let writer = cache(&redis.url(), "invalidation = 'none'", "");
        writer.set("k", &1, secs(600)).await.unwrap();
        let writes: [(&[&str], Option<i64>); 6] = [
            (&["SET", ":1:k", "2"], Some(2)),
            (&["INCRBY", ":1:k", "5"], Some(7)),
            (&["EVAL", "redis.call('SET', KEYS[1], 8)", "1", ":1:k"], Some(8)),
            (&["UNLINK", ":1:k"], None),
            (&["SET", ":1:k", "9"], Some(9)),
            (&["FLUSHDB"], None),
        ];
        for (write, expected) in writes {
            if reader.get::<i64>("k").await.unwrap().is_some() {
                warm(&reader).await;
            }
            redis.command(write).unwrap();
            visible(&reader, expected).await;
        }
        writer.set("k", &10, secs(600)).await.unwrap();
        visible(&reader, Some(10)).await;
        warm(&reader).await;
        writer.delete("k").await.unwrap();
        visible(&reader, None).await;
        let near = near(&reader);
        assert!(near.invalidations >= 5 && near.resets >= 2 && !near.is_bypassed, "{near:?}");
    }
}

/// The heartbeat measures how far the messages are behind the server.
#[tokio::test]
async fn lag_grows_with_the_delay_of_the_network() {
    const DELAY: Duration = Duration::from_millis(300);
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let reader = tracking(&format!("redis://{}", proxy.address())).await;
    wait_until("a heartbeat", async || near(&reader).lag.is_some()).await;
    proxy.delay(DELAY);
    wait_until("a slow heartbeat", async || near(&reader).lag >= Some(DELAY)).await;
    proxy.pass();
    wait_until("a fast heartbeat", async || near(&reader).lag < Some(DELAY)).await;
    assert!(!near(&reader).is_bypassed && near(&reader).lag.is_some());
}

#[tokio::test]
async fn foreign_keys_do_not_count() {
    let redis = Redis::start().unwrap();
    let reader = tracking(&redis.url()).await;
    reader.set("k", &1, secs(600)).await.unwrap();
    wait_until("the message of the own write", async || near(&reader).invalidations > 0).await;
    warm(&reader).await;
    let before = near(&reader).invalidations;
    redis.command(&["SET", "other", "1"]).unwrap();
    redis.command(&["SET", ":1:l", "1"]).unwrap();
    wait_until("a message", async || near(&reader).invalidations > before).await;
    assert_eq!(near(&reader).invalidations, before + 1);
    assert_eq!(near(&reader).resets, 1, "at the beginning of the stream");
}

#[tokio::test]
async fn tracking_is_chosen_where_it_works() {
    let redis = Redis::start().unwrap();
    let caches = caches(&redis.url(), "", "");
    let report = caches.check().await;
    assert_eq!(report.to_string(), "default: ok, near tier with invalidation tracking");

    let text = |invalidation: &str| {
        format!(
            "[caches.default]\nbackend = 'redis'\nlocation = 'redis://h'\noptions.resp = 2\n\
             near.invalidation = '{invalidation}'"
        )
    };
    let error = Caches::from_toml(&text("tracking")).unwrap_err().to_string();
    assert!(error.contains("near.invalidation") && error.contains("RESP3"), "{error}");
    let caches = Caches::from_toml(&text("auto")).unwrap();
    let near = near(caches.get("default").unwrap());
    assert_eq!((near.invalidation, near.is_bypassed), (NearInvalidation::PubSub, true));
}

/// The user may use no channel either.
#[tokio::test]
async fn server_that_refuses_tracking_leaves_the_timeout() {
    let rules = ["~*", "+@all", "-client|tracking"];
    let redis = Redis::options().user("shop", "pw", &rules).start().unwrap();
    let location = redis.url();
    let auto = cache(&location, "", "");
    auto.check().await.unwrap();
    assert_eq!(
        (near(&auto).invalidation, near(&auto).is_bypassed),
        (NearInvalidation::None, false)
    );
    auto.set("k", &1, secs(600)).await.unwrap();
    warm(&auto).await;

    let strict = cache(&location, "invalidation = 'tracking'", "");
    let error = strict.check().await.unwrap_err().to_string();
    assert!(error.contains("refuses client tracking") && error.contains("NOPERM"), "{error}");
    assert_eq!(strict.get::<i64>("k").await.unwrap(), Some(1));
    assert!(near(&strict).is_bypassed);
}
