//! Errors of the server: those that a real server can be made to send.

use std::time::Duration;

use cache_core::{ErrorKind, Timeout};
use futures_util::future::join_all;
use test_servers::{Memcached, Proxy, Server as _};

use crate::support::{PATIENT, cache, servers};

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
    // Too short for 40 round trips.
    let more =
        "deadline = \"8s\"\nconnect_deadline = \"20s\"\n[caches.default.options]\nconnections = 1";
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
