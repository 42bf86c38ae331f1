//! What a server does not take or cannot do, and what the settings say of it.

use std::{sync::Arc, time::Duration};

use cache_core::{
    ErrorKind, Timeout,
    store::{Backend, Expiry, SetMode},
};
use test_servers::{Memcached, Proxy, Server as _};
use tokio::task::JoinSet;

use crate::support::{PATIENT, at, cache, servers, store};

/// The server takes 1 MiB.
const MORE: &str = "deadline = \"20s\"\n[caches.default.options]\nmax_value_bytes = \"2MiB\"\n";
const HOUR: Expiry = Expiry::After(Duration::from_secs(3600));

async fn put(store: &Arc<dyn Backend>, key: &str, value: &'static str) {
    assert!(store.set(key, value.into(), HOUR, SetMode::Always).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_compare_and_swap_is_refused_at_once() {
    let server = Memcached::options().args(&["-C"]).start().unwrap();
    let store = store(&[server.address().to_string()], PATIENT);
    put(&store, "p:1:n", "1").await;
    for error in
        [store.incr("p:1:n", 1, None).await.unwrap_err(), store.take("p:1:n").await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("-C"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_finds_too_large_fails_alone_in_a_batch() {
    let servers = servers(1);
    let store = store(&at(&servers), MORE);
    put(&store, "p:1:k1", "old").await;
    let items: Vec<_> = (0..4).map(|i| format!("p:1:k{i}")).collect();
    let items: Vec<(&str, bytes::Bytes)> = items
        .iter()
        .enumerate()
        .map(|(i, key)| (key.as_str(), vec![b'x'; if i == 1 { 1_500_000 } else { 10 }].into()))
        .collect();
    let written: Vec<_> = store.set_many(&items, HOUR).await;
    let written: Vec<_> = written.into_iter().map(|it| it.map_err(|it| it.kind())).collect();
    assert_eq!(written, [Ok(()), Err(ErrorKind::TooLarge), Ok(()), Ok(())]);
    let keys: Vec<_> = items.iter().map(|it| it.0).collect();
    let found = store.get_many(&keys).await;
    let found: Vec<_> = found.into_iter().map(|it| it.unwrap().map(|it| it.len())).collect();
    assert_eq!(found, [Some(10), None, Some(10), Some(10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_connections_are_not_taken_for_a_server_that_fails() {
    let servers = servers(1);
    let proxy = Proxy::to(servers[0].address()).unwrap();
    // Long enough for a machine that stands still for a moment, and short enough for most to wait in vain.
    let more = "deadline = \"2s\"\n[caches.default.options]\nconnections = 1";
    let store = store(&[proxy.address().to_string()], more);
    put(&store, "p:1:k", "v").await;
    proxy.delay(Duration::from_millis(240));
    let mut all = JoinSet::new();
    for _ in 0..40 {
        let store = Arc::clone(&store);
        all.spawn(async move { store.get("p:1:k").await });
    }
    all.join_all().await;
    let next = store.get("p:1:k").await;
    assert!(next.is_ok(), "it has answered all it was asked: {next:?}");
}

/// Of a value that only the server finds too large, it removes the old one, whatever the condition: so `check` looks whether the settings
/// allow more than the server takes.
#[tokio::test]
async fn check_says_that_the_settings_allow_more_than_the_server_takes() {
    let servers = servers(1);
    let error = cache(&at(&servers), MORE).check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.message().contains("options.max_value_bytes"), "{error}");
    cache(&at(&servers), PATIENT).check().await.unwrap();
}

/// Each answer has the deadline, and not all of them together: 40 values of a megabyte over a slow line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_batch_that_goes_on_is_not_cut_off_by_the_deadline() {
    let servers = servers(1);
    let keys: Vec<_> = (0..40).map(|i| format!("k{i}")).collect();
    let value = "x".repeat(1_000_000);
    let near = cache(&at(&servers), PATIENT).strict();
    assert!(
        near.set_many(keys.iter().map(|it| (it, &value)), Timeout::Default)
            .await
            .unwrap()
            .is_empty()
    );
    let proxy = Proxy::to(servers[0].address()).unwrap();
    // The time to connect is that of the whole call besides.
    let more = "deadline = \"1s\"\nconnect_deadline = \"60s\"";
    let far = cache(&[proxy.address().to_string()], more).strict();
    far.has_key("k0").await.unwrap();
    // For each 64 KiB at the most.
    proxy.delay(Duration::from_millis(5));
    let found = far.get_many::<String, _>(&keys).await.unwrap();
    assert_eq!(found.len(), 40);
    assert!(found.values().all(|it| it.len() == value.len()));
}
