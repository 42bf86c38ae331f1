//! What was given up on and is still on its way: it must not be done after what was acknowledged later.

use cache_core::{Cache, Timeout};
use test_servers::{Proxy, Server as _};

use crate::{
    NO_BREAKER, PATIENT, Stage, cache_on, is_outage, network::behind_a_proxy, promises, until,
};

promises!($ late:
    a_write_that_the_network_delivers_late_does_not_undo_a_delete,
    an_add_that_the_network_delivers_late_takes_nothing,
    a_write_that_a_frozen_server_finds_later_does_not_undo_a_delete,
    a_delete_of_an_outage_is_made_up_for_and_takes_nothing_that_came_later,
);

const ROUNDS: usize = 12;
/// Short, as each round waits for some of them.
const DEADLINE: &str = "deadline = \"200ms\"\n";

/// Answers once a call has got through. No call of it is about the keys that are looked at.
async fn works(cache: &Cache) {
    until("it works", async || cache.get::<String>("other").await.is_ok()).await;
}

/// A call that must not fail, on a machine that may be slow.
async fn done<T>(mut call: impl AsyncFnMut() -> cache_core::Result<T>) -> T {
    let mut answer = None;
    until("it is done", async || {
        answer = call().await.ok();
        answer.is_some()
    })
    .await;
    answer.unwrap()
}

async fn deliver(proxy: &Proxy) {
    proxy.release();
    until("what was held back has arrived", async || proxy.held() == 0).await;
}

/// A `set` fails open while the network holds it back; the `delete` after it is acknowledged; then the network delivers.
async fn a_write_that_the_network_delivers_late_does_not_undo_a_delete<S: Stage>() {
    let more = format!("{DEADLINE}{NO_BREAKER}");
    let (server, proxy, cache) = behind_a_proxy::<S>(&more).await;
    let strict = cache.strict();
    for round in 0..ROUNDS {
        let key = format!("key{round}");
        done(async || strict.set(&key, &"first", Timeout::Default).await).await;
        proxy.hold_open();
        cache.set(&key, &"late", Timeout::Default).await.unwrap();
        works(&strict).await;
        done(async || strict.delete(&key).await).await;
        deliver(&proxy).await;
        assert_eq!(done(async || strict.get::<String>(&key).await).await, None, "round {round}");
        assert_eq!(S::stored(&server, &key), None, "round {round}");
    }
}

/// The same with an `add` that has failed: whoever came later has won, and has let go again.
async fn an_add_that_the_network_delivers_late_takes_nothing<S: Stage>() {
    let more = format!("{DEADLINE}{NO_BREAKER}");
    let (server, proxy, cache) = behind_a_proxy::<S>(&more).await;
    let strict = cache.strict();
    for round in 0..ROUNDS {
        let key = format!("key{round}");
        works(&strict).await;
        proxy.hold_open();
        assert!(is_outage(&strict.add(&key, &"late", Timeout::Default).await.unwrap_err()));
        works(&strict).await;
        match strict.add(&key, &"winner", Timeout::Default).await {
            Ok(won) => assert!(won, "round {round}"),
            // Of a slow machine; it may have been done.
            Err(error) => assert!(is_outage(&error), "{error}"),
        }
        done(async || strict.delete(&key).await).await;
        deliver(&proxy).await;
        works(&strict).await;
        assert_eq!(S::stored(&server, &key), None, "round {round}");
    }
}

/// The server stands still; what its system has received is there when it goes on.
async fn a_write_that_a_frozen_server_finds_later_does_not_undo_a_delete<S: Stage>() {
    let server = S::start();
    let cache = cache_on::<S>(&server, &format!("{DEADLINE}{NO_BREAKER}"));
    let strict = cache.strict();
    for round in 0..ROUNDS {
        let key = format!("key{round}");
        done(async || strict.set(&key, &"first", Timeout::Default).await).await;
        server.freeze();
        cache.set(&key, &"late", Timeout::Default).await.unwrap();
        for _ in 0..3 {
            assert!(is_outage(&strict.get::<String>("other").await.unwrap_err()));
        }
        server.thaw();
        works(&strict).await;
        done(async || strict.delete(&key).await).await;
        assert_eq!(done(async || strict.get::<String>(&key).await).await, None, "round {round}");
        assert_eq!(S::stored(&server, &key), None, "round {round}");
    }
}

/// A `delete` fails open while the way to the server is closed. When it is open again, the old value goes without a call on its
/// key; what another process then writes stays, whatever the first one asks about it.
async fn a_delete_of_an_outage_is_made_up_for_and_takes_nothing_that_came_later<S: Stage>() {
    let more = format!("{DEADLINE}{NO_BREAKER}");
    let (server, proxy, mine) = behind_a_proxy::<S>(&more).await;
    // Another process, whose way stays open.
    let theirs = cache_on::<S>(&server, PATIENT).strict();
    for round in 0..ROUNDS {
        let (key, counter) = (format!("key{round}"), format!("counter{round}"));
        theirs.set(&key, &"old", Timeout::Default).await.unwrap();
        theirs.set(&counter, &5, Timeout::Default).await.unwrap();
        works(&mine.strict()).await;
        proxy.refuse();
        proxy.cut();
        for it in [&key, &counter] {
            assert!(!mine.delete(it).await.unwrap(), "round {round}");
            assert!(S::stored(&server, it).is_some(), "round {round}");
        }
        proxy.pass();
        for it in [&key, &counter] {
            until("it is made up for", async || S::stored(&server, it).is_none()).await;
        }
        assert!(theirs.add(&key, &"won", Timeout::Default).await.unwrap(), "round {round}");
        assert_eq!(
            theirs.incr_or(&counter, 1, 0, Timeout::Default).await.unwrap(),
            1,
            "round {round}"
        );
        for it in [&key, &counter] {
            until("they are seen", async || mine.ttl(it).await.is_ok_and(|it| it.is_some())).await;
            until("they are seen", async || mine.has_key(it).await.unwrap()).await;
        }
        let won = done(async || mine.strict().add(&key, &"late", Timeout::Default).await).await;
        assert!(!won, "round {round}");
        assert_eq!(theirs.get::<String>(&key).await.unwrap().as_deref(), Some("won"));
        assert_eq!(theirs.incr(&counter, 1).await.unwrap(), 2, "round {round}");
    }
}
