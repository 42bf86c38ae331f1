//! Errors of the server: those that a real server can be made to send.

use std::{fs, time::Duration};

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
        if one.try_ask("mn").as_deref() != Some("MN") {
            return all;
        }
        all.push(one);
        assert!(all.len() < 64, "it has no limit");
    }
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

/// 64 callers, 16 connections in the settings, and a server with eleven or two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_for_existing_connections_if_the_server_accepts_no_more() {
    for left in [0, 2] {
        let server = small();
        let mut others = fill(&server);
        others.truncate(if left == 0 { 0 } else { others.len() - left });
        let cache = cache(&[server.address().to_string()], PATIENT).strict();
        // The server needs a moment to notice closed connections.
        until("it works", async || cache.set("k", &0, secs(600)).await.is_ok()).await;
        for _ in 0..5 {
            let calls = (0..64).map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.get::<i32>("k").await })
            });
            for answer in join_all(calls).await {
                assert_eq!(answer.unwrap().unwrap(), Some(0));
            }
            cache.check().await.unwrap();
        }
        drop(others);
    }
}

#[tokio::test]
async fn server_with_a_password_is_an_error_with_the_reason() {
    let file = std::env::temp_dir().join(format!("cache-memcached-{}", std::process::id()));
    fs::write(&file, "user:marked\n").unwrap();
    let server = Memcached::options().args(&["-Y", file.to_str().unwrap()]).start().unwrap();
    let cache = cache(&[server.address().to_string()], PATIENT).strict();
    let error = cache.get::<i32>("k").await.unwrap_err();
    fs::remove_file(file).unwrap();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(error.message().contains("password"), "{error}");
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

/// The callers of a pool wait for each other, which does not mean that the server has failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_connection_is_ignored_by_the_breaker() {
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
    let mut late = 0;
    for answer in join_all(calls).await {
        if let Err(error) = answer.unwrap() {
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            assert!(!error.counts_for_breaker(), "{error}");
            late += 1;
        }
    }
    assert!(late > 10, "{late}");
    assert_eq!(cache.get("k").await.unwrap(), Some(1));
}
