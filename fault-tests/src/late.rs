//! Writes that timed out and are delivered late: they must not take effect after a later
//! acknowledged call.

use cache_core::{Cache, Timeout};
use test_servers::{Proxy, Server as _};

use crate::{
    Harness, NO_BREAKER, PATIENT, cache_on, is_outage, network::cache_behind_proxy, promises, until,
};

promises!($ late:
    write_delivered_late_by_the_network_does_not_undo_a_delete,
    add_delivered_late_by_the_network_stores_nothing,
    write_received_by_a_frozen_server_does_not_undo_a_delete,
    delete_of_an_outage_is_sent_later_and_removes_no_newer_value,
);

const ROUNDS: usize = 12;
/// Short, as each round waits for several deadlines.
const DEADLINE: &str = "deadline = \"200ms\"\n";

/// Waits until a call succeeds. It uses a key that the tests do not check.
async fn until_calls_succeed(cache: &Cache) {
    until("calls succeed", async || cache.get::<String>("other").await.is_ok()).await;
}

/// Repeats a call until it succeeds, on a machine that may be slow.
async fn repeated<T>(mut call: impl AsyncFnMut() -> cache_core::Result<T>) -> T {
    let mut value = None;
    until("the call succeeds", async || {
        value = call().await.ok();
        value.is_some()
    })
    .await;
    value.unwrap()
}

async fn deliver(proxy: &Proxy) {
    proxy.release();
    until("the held bytes are delivered", async || proxy.held() == 0).await;
}

/// A `set` fails open while the network holds it back; a later `delete` is acknowledged; then the
/// network delivers the `set`.
async fn write_delivered_late_by_the_network_does_not_undo_a_delete<S: Harness>() {
    let more = format!("{DEADLINE}{NO_BREAKER}");
    let (server, proxy, cache) = cache_behind_proxy::<S>(&more).await;
    let strict = cache.strict();
    for round in 0..ROUNDS {
        let key = format!("key{round}");
        repeated(async || strict.set(&key, &"first", Timeout::Default).await).await;
        proxy.hold_open();
        cache.set(&key, &"late", Timeout::Default).await.unwrap();
        until_calls_succeed(&strict).await;
        repeated(async || strict.delete(&key).await).await;
        deliver(&proxy).await;
        assert_eq!(
            repeated(async || strict.get::<String>(&key).await).await,
            None,
            "round {round}"
        );
        assert_eq!(S::stored(&server, &key), None, "round {round}");
    }
}

/// Like above with an `add` that failed: a later `add` has won, and its key was deleted since.
async fn add_delivered_late_by_the_network_stores_nothing<S: Harness>() {
    let more = format!("{DEADLINE}{NO_BREAKER}");
    let (server, proxy, cache) = cache_behind_proxy::<S>(&more).await;
    let strict = cache.strict();
    for round in 0..ROUNDS {
        let key = format!("key{round}");
        // The connection of this key is open: a new one would not be held.
        assert_eq!(repeated(async || strict.get::<String>(&key).await).await, None);
        proxy.hold_open();
        assert!(is_outage(&strict.add(&key, &"late", Timeout::Default).await.unwrap_err()));
        until_calls_succeed(&strict).await;
        match strict.add(&key, &"winner", Timeout::Default).await {
            Ok(won) => assert!(won, "round {round}"),
            // The machine is slow; the server may have executed the call.
            Err(error) => assert!(is_outage(&error), "{error}"),
        }
        repeated(async || strict.delete(&key).await).await;
        deliver(&proxy).await;
        until_calls_succeed(&strict).await;
        assert_eq!(S::stored(&server, &key), None, "round {round}");
    }
}

/// The server is frozen; its kernel receives the write, and the server reads it when it continues.
async fn write_received_by_a_frozen_server_does_not_undo_a_delete<S: Harness>() {
    let server = S::start();
    let cache = cache_on::<S>(&server, &format!("{DEADLINE}{NO_BREAKER}"));
    let strict = cache.strict();
    for round in 0..ROUNDS {
        let key = format!("key{round}");
        repeated(async || strict.set(&key, &"first", Timeout::Default).await).await;
        server.freeze();
        cache.set(&key, &"late", Timeout::Default).await.unwrap();
        for _ in 0..3 {
            assert!(is_outage(&strict.get::<String>("other").await.unwrap_err()));
        }
        server.thaw();
        until_calls_succeed(&strict).await;
        repeated(async || strict.delete(&key).await).await;
        assert_eq!(
            repeated(async || strict.get::<String>(&key).await).await,
            None,
            "round {round}"
        );
        assert_eq!(S::stored(&server, &key), None, "round {round}");
    }
}

/// A `delete` fails open while the server is unreachable. When it is reachable again, the old value
/// is deleted without a call on its key. A value that another process writes afterwards stays, for
/// any call of the first process on the key.
async fn delete_of_an_outage_is_sent_later_and_removes_no_newer_value<S: Harness>() {
    let more = format!("{DEADLINE}{NO_BREAKER}");
    let (server, proxy, mine) = cache_behind_proxy::<S>(&more).await;
    // The cache of another process, which is not behind the proxy.
    let theirs = cache_on::<S>(&server, PATIENT).strict();
    for round in 0..ROUNDS {
        let (key, counter) = (format!("key{round}"), format!("counter{round}"));
        theirs.set(&key, &"old", Timeout::Default).await.unwrap();
        theirs.set(&counter, &5, Timeout::Default).await.unwrap();
        until_calls_succeed(&mine.strict()).await;
        proxy.refuse();
        proxy.cut();
        for it in [&key, &counter] {
            assert!(!mine.delete(it).await.unwrap(), "round {round}");
            assert!(S::stored(&server, it).is_some(), "round {round}");
        }
        proxy.pass();
        for it in [&key, &counter] {
            until("the delete is sent", async || S::stored(&server, it).is_none()).await;
        }
        assert!(theirs.add(&key, &"won", Timeout::Default).await.unwrap(), "round {round}");
        assert_eq!(
            theirs.incr_or(&counter, 1, 0, Timeout::Default).await.unwrap(),
            1,
            "round {round}"
        );
        for it in [&key, &counter] {
            until("the new value is found", async || {
                mine.ttl(it).await.is_ok_and(|it| it.is_some())
            })
            .await;
            until("the new value is found", async || mine.has_key(it).await.unwrap()).await;
        }
        let won = repeated(async || mine.strict().add(&key, &"late", Timeout::Default).await).await;
        assert!(!won, "round {round}");
        assert_eq!(theirs.get::<String>(&key).await.unwrap().as_deref(), Some("won"));
        assert_eq!(theirs.incr(&counter, 1).await.unwrap(), 2, "round {round}");
    }
}
