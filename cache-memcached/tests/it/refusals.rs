//! Errors of the server: those that a real server can be made to send.

use std::time::Duration;

use cache_core::{ErrorKind, Timeout, secs};
use futures_util::future::join_all;
use test_servers::{Memcached, Proxy, Server as _};

use crate::{
    raw::Raw,
    support::{PATIENT, cache, raw, servers, until},
};

/// The server has about eleven connections, depending on its other descriptors.
fn small() -> Memcached {
    Memcached::options().args(&["-t", "1", "-c", "24"]).start().unwrap()
}

/// Opens connections until the server rejects one, and returns them.
fn fill(server: &Memcached) -> Vec<Raw> {
    let mut all = Vec::new();
    loop {
        let mut one = raw(server);
        if one.try_ask("mn").as_deref() == Some("MN") {
            all.push(one);
            assert!(all.len() < 64, "it has no limit");
        } else if all.first_mut().map(connections) == Some(all.len()) {
            return all;
        }
        // The server rejects a connection also while it has yet to notice that others were closed.
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
async fn calls_use_the_first_connection_if_the_server_accepts_no_more() {
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

#[tokio::test]
async fn server_without_flush_all_clears_prefixes_only() {
    let server = Memcached::options().args(&["-F"]).start().unwrap();
    let cache = cache(&[server.address().to_string()], PATIENT).strict();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    let error = cache.clear_store().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("-F"), "{error}");
    assert_eq!(cache.get("k").await.unwrap(), Some(1));
    cache.clear().await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
}

#[tokio::test]
async fn full_server_without_eviction_is_out_of_memory_and_still_answers() {
    let server = Memcached::options().memory(8).args(&["-M"]).start().unwrap();
    let cache = cache(&[server.address().to_string()], PATIENT).strict();
    let value = "x".repeat(100_000);
    cache.set("small", &1, Timeout::Default).await.unwrap();
    let mut refused = 0;
    for i in 0..200 {
        if let Err(error) = cache.set(&format!("k{i}"), &value, Timeout::Default).await {
            assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
            assert!(error.message().contains("out of memory"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 50, "{refused} of 200");
    assert_eq!(cache.get("small").await.unwrap(), Some(1));
}

/// Many callers of one connection on a slow network are answered together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_one_slow_connection_do_not_wait_for_each_other() {
    let servers = servers(1);
    let proxy = Proxy::to(servers[0].address()).unwrap();
    let more = "deadline = \"2s\"\n[caches.default.options]\nconnections = 1";
    let cache = cache(&[proxy.address().to_string()], more).strict();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    proxy.delay(Duration::from_millis(300));
    let calls = (0..40).map(|_| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get::<i32>("k").await })
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap().unwrap(), Some(1));
    }
}
