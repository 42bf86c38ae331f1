//! Futures that are not polled any more: they hold nothing that other calls need.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use cache_core::{Cache, secs};
use futures_util::{StreamExt as _, future::join_all, stream};
use test_servers::{Memcached, Proxy, Server as _};
use tokio::sync::Notify;

use crate::support::{PATIENT, at, cache, servers, until};

/// Long enough for a busy machine. A call that waits for a future without polls fails by it.
const MORE: &str =
    "deadline = \"20s\"\nconnect_deadline = \"20s\"\n[caches.default.options]\nconnections = 2\n";

type Call<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Polls each future once, and returns those that are not ready.
async fn poll_once(calls: Vec<Call<'_>>) -> Vec<Call<'_>> {
    let mut aside = Vec::new();
    for mut call in calls {
        if poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await {
            aside.push(call);
        }
    }
    aside
}

async fn all_serve(cache: &Cache) {
    let calls = (0..160).map(|i| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get::<i32>(&format!("k{}", i % 20)).await })
    });
    for answer in join_all(calls).await {
        assert!(answer.unwrap().unwrap().is_some());
    }
}

async fn filled(more: &str) -> (Vec<Memcached>, Cache) {
    let servers = servers(1);
    let cache = cache(&at(&servers), more).strict();
    for i in 0..20 {
        cache.set(&format!("k{i}"), &i, secs(600)).await.unwrap();
    }
    (servers, cache)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_with_a_slow_handler_does_not_starve_other_calls() {
    let (_servers, cache) = filled(MORE).await;
    let is_done = Arc::new(Notify::new());
    let (handled, others) = (Arc::clone(&is_done), cache.clone());
    let (say, begun) = tokio::sync::oneshot::channel();
    let stream = tokio::spawn(async move {
        let calls = (0..64).map(|i| {
            let cache = cache.clone();
            async move { cache.get::<i32>(&format!("k{}", i % 20)).await }
        });
        let mut answers = stream::iter(calls).buffered(32);
        let mut say = Some(say);
        let mut count = 0;
        while let Some(answer) = answers.next().await {
            assert!(answer.unwrap().is_some());
            // The first item is handled until the other calls are done.
            if let Some(say) = say.take() {
                say.send(()).unwrap();
                handled.notified().await;
            }
            count += 1;
        }
        count
    });
    begun.await.unwrap();
    all_serve(&others).await;
    is_done.notify_one();
    assert_eq!(stream.await.unwrap(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unpolled_calls_hold_no_connection_and_no_permit() {
    let (_servers, cache) = filled(MORE).await;
    let mut aside: Vec<Call<'_>> = Vec::new();
    for i in 0..20 {
        let (cache, key) = (&cache, format!("k{i}"));
        aside.push(match i % 5 {
            0 => Box::pin(async move { cache.get::<i32>(&key).await.is_ok() }),
            1 => Box::pin(async move { cache.touch(&key, secs(60)).await.is_ok() }),
            2 => Box::pin(async move { cache.get_many::<i32, _>([&key, "x"]).await.is_ok() }),
            3 => Box::pin(async move { cache.incr(&key, 1).await.is_ok() }),
            _ => Box::pin(async move { cache.check().await.is_ok() }),
        });
    }
    let aside = poll_once(aside).await;
    all_serve(&cache).await;
    assert!(join_all(aside).await.into_iter().all(|it| it), "they have their answers");
}

/// Changes of one key wait for each other, but not for callers that do not poll for their results.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unpolled_increment_does_not_block_others() {
    let (_servers, cache) = filled(MORE).await;
    let mut aside: Vec<Call<'_>> = Vec::new();
    for _ in 0..8 {
        let cache = &cache;
        aside.push(Box::pin(async move { cache.incr("k0", 1).await.is_ok() }));
    }
    let aside = poll_once(aside).await;
    for _ in 0..20 {
        cache.incr("k0", 1).await.unwrap();
    }
    assert!(join_all(aside).await.into_iter().all(|it| it));
    assert_eq!(cache.get("k0").await.unwrap(), Some(28), "all of them have counted");
}

/// The probe that finds out whether an ejected server is up again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unpolled_probe_does_not_keep_a_server_ejected() {
    let servers = servers(2);
    let more = format!("{PATIENT}breaker = {{ open_for = '100ms' }}\n");
    let cache = cache(&at(&servers), &more).strict();
    let keys: Vec<_> = (0..64).map(|i| format!("k{i}")).collect();
    for key in &keys {
        cache.set(key, &1, secs(600)).await.unwrap();
    }
    servers[1].kill();
    let is_refused = async |key: &str| match cache.get::<i32>(key).await {
        Err(error) => error.to_string().contains("circuit breaker"),
        Ok(_) => false,
    };
    let mut its = Vec::new();
    for key in keys {
        if cache.get::<i32>(&key).await.is_err() {
            its.push(key);
        }
    }
    until("it is ejected", async || is_refused(&its[0]).await).await;
    servers[1].restart().unwrap();
    let mut aside: Vec<Call<'_>> = Vec::new();
    for _ in 0..3 {
        // sleeps: until the breaker admits a probe, which is not visible
        tokio::time::sleep(Duration::from_millis(150)).await;
        let (cache, key) = (&cache, its[0].clone());
        let probe: Call<'_> = Box::pin(async move { cache.get::<i32>(&key).await.is_ok() });
        aside.extend(poll_once(vec![probe]).await);
    }
    until("it is back", async || cache.get::<i32>(&its[0]).await.is_ok()).await;
    drop(aside);
}

/// A dropped write must not be executed after the caller's next write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_write_is_not_executed_after_the_next_write() {
    let servers = servers(1);
    let proxy = Proxy::to(servers[0].address()).unwrap();
    let more = "deadline = \"20s\"\nconnect_deadline = \"20s\"\n[caches.default.options]\nconnections = 1\n";
    let cache = cache(&[proxy.address().to_string()], more).strict();
    cache.set("k", &0, secs(600)).await.unwrap();
    proxy.delay(Duration::from_millis(50));
    for round in 1..8 {
        let busy = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get::<i32>("k").await }
        });
        tokio::task::yield_now().await;
        let writes = async { cache.set("k", &-1, secs(600)).await.is_ok() };
        drop(poll_once(vec![Box::pin(writes)]).await);
        cache.set("k", &round, secs(600)).await.unwrap();
        busy.await.unwrap().unwrap();
        assert_eq!(cache.get("k").await.unwrap(), Some(round));
    }
}
