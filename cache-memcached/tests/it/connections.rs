//! Several connections to a server that does not accept all of them.

use std::time::Duration;

use cache_core::{ErrorKind, Timeout, secs, testing::FakeClock};
use fault_tests::{slowly_by, until_by};
use futures_util::future::join_all;
use test_servers::{Memcached, Proxy, Server as _, proxy::Direction};

use crate::{
    raw::Raw,
    support::{PATIENT, cache, cache_by, raw, servers, until},
};

/// The server has about eleven connections, depending on its other descriptors.
fn small() -> Memcached {
    Memcached::options().args(&["-t", "1", "-c", "24"]).start().unwrap()
}

/// Opens connections until the server rejects one, and returns them.
///
/// The server rejects a connection also while it has yet to notice that others were closed, so the
/// clients that it counts are compared before each attempt.
fn fill(server: &Memcached) -> Vec<Raw> {
    let mut all = Vec::new();
    loop {
        let only_ours = all.first_mut().map(connections) == Some(all.len());
        let mut one = raw(server);
        if one.try_ask("mn").as_deref() == Some("MN") {
            all.push(one);
            assert!(all.len() < 64, "it has no limit");
        } else if only_ours {
            return all;
        }
    }
}

/// Returns how many clients the server counts.
fn connections(raw: &mut Raw) -> usize {
    let mut line = raw.ask("stats").0;
    let mut count = None;
    while line != "END" {
        count = line.strip_prefix("STAT curr_connections ").map(str::to_owned).or(count);
        line = raw.line();
    }
    count.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_at_its_connection_limit_is_unavailable_until_it_has_one() {
    let server = small();
    let cache = cache(&[server.address().to_string()], PATIENT).strict();
    for _ in 0..3 {
        let others = fill(&server);
        for error in
            [cache.get::<i32>("k").await.map(drop).unwrap_err(), cache.check().await.unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.message().contains("too many open connections"), "{error}");
            assert!(error.message().contains("options.connections"), "{error}");
        }
        drop(others);
        until("it works", async || cache.set("k", &1, Timeout::Default).await.is_ok()).await;
        cache.check().await.unwrap();
        cache.close().await.unwrap();
    }
}

/// 64 keys, 16 connections in the settings, and a server with eleven or two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_uses_another_connection_while_the_server_rejects_its_own() {
    for left in [0, 2] {
        let server = small();
        let mut others = fill(&server);
        others.truncate(if left == 0 { 0 } else { others.len() - left });
        let more = format!("{PATIENT}[caches.default.options]\nconnections = 16\n");
        let cache = cache(&[server.address().to_string()], &more).strict();
        // The server needs a moment to notice closed connections. The generation is read on the
        // first connection.
        until("it works", async || cache.clear().await.is_ok()).await;
        for round in 0..5 {
            let calls = (0..64).map(|i| {
                let (cache, key) = (cache.clone(), format!("k{i}"));
                tokio::spawn(async move {
                    cache.set(&key, &round, secs(600)).await?;
                    cache.get::<i32>(&key).await
                })
            });
            for answer in join_all(calls).await {
                assert_eq!(answer.unwrap().unwrap(), Some(round));
            }
            cache.check().await.unwrap();
        }
        drop(others);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_connection_is_made_when_the_server_has_room() {
    let server = small();
    let mut others = fill(&server);
    others.pop();
    let more = format!("{PATIENT}[caches.default.options]\nconnections = 2\n");
    let cache = cache(&[server.address().to_string()], &more).strict();
    // The generation is read on the first connection, which takes the last place.
    until("it works", async || cache.clear().await.is_ok()).await;
    let keys: Vec<_> = (0..20).map(|i| format!("k{i}")).collect();
    for key in &keys {
        cache.set(key, &1, secs(600)).await.unwrap();
    }
    others.truncate(1);
    until("both connections are used", async || {
        for key in &keys {
            assert_eq!(cache.get(key).await.unwrap(), Some(1));
        }
        connections(&mut others[0]) == 1 + 2
    })
    .await;
}

/// By a clock that moves only until the attempt ends, which takes a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_whose_attempt_timed_out_is_tried_again() {
    const ATTEMPT: Duration = Duration::from_millis(1200);
    const STEP: Duration = Duration::from_millis(50);
    /// A call that is answered has a thousand of them.
    const CREEP: Duration = Duration::from_micros(20);
    let servers = servers(1);
    let proxy = Proxy::to(servers[0].address()).unwrap();
    let more = "deadline = \"1s\"\n[caches.default.options]\nconnections = 2\n";
    let clock = FakeClock::new();
    // Keys without a version need no generation.
    let cache = cache_by(&clock, &[proxy.address().to_string()], more);
    let store = cache.backend().clone();
    // On the first connection.
    slowly_by(&clock, store.check()).await.unwrap();
    let (mut first, mut second) = (None, None);
    for key in (0..64).map(|i| format!("k{i}")) {
        let before = proxy.accepted();
        slowly_by(&clock, store.get(&key)).await.unwrap();
        let number = if proxy.accepted() == before { &mut first } else { &mut second };
        number.get_or_insert(key);
    }
    let (first, second) = (first.unwrap(), second.unwrap());
    proxy.cut();
    until_by(&clock, "the first one is made", async || store.check().await.is_ok()).await;

    proxy.swallow(Direction::ToServer);
    let call = tokio::spawn({
        let (store, second) = (store.clone(), second.clone());
        async move { store.get(&second).await }
    });
    while proxy.swallowed() == 0 {
        // sleeps: the proxy has no event for this
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.pass();
    // The server has not answered the second one, and answers on the first one.
    let began = clock.clock().now();
    while !call.is_finished() {
        slowly_by(&clock, store.get(&first)).await.unwrap();
        let is_over = clock.clock().now() > began + ATTEMPT;
        clock.advance(if is_over { CREEP } else { STEP });
    }
    assert_eq!(call.await.unwrap().unwrap(), None);
    until("the second one is made", async || {
        clock.advance(STEP);
        slowly_by(&clock, store.get(&second)).await.unwrap();
        proxy.open() == 2
    })
    .await;
}
