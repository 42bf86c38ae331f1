//! Limits of the server, and limits of the settings.

use std::{sync::Arc, time::Duration};

use cache_core::{
    ErrorKind, Timeout,
    store::{Backend, Expiry, SetMode},
};
use fault_tests::timed;
use test_servers::{Memcached, Proxy, Server as _};
use tokio::task::JoinSet;

use crate::support::{PATIENT, at, cache, servers, store};

/// The server accepts 1 MiB.
const MORE: &str = "deadline = \"20s\"\nconnect_deadline = \"20s\"\n[caches.default.options]\nmax_value_bytes = \"2MiB\"\n";
const HOUR: Expiry = Expiry::After(Duration::from_secs(3600));

async fn put(store: &Arc<dyn Backend>, key: &str, value: &'static str) {
    assert!(store.set(key, value.into(), HOUR, SetMode::Always).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_compare_and_swap_is_an_error_at_once() {
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
async fn value_too_large_for_the_server_fails_alone_in_a_batch() {
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
async fn calls_on_one_slow_connection_do_not_open_the_breaker() {
    let servers = servers(1);
    let proxy = Proxy::to(servers[0].address()).unwrap();
    // Long enough for a machine that stands still for a moment, and too short for 40 round trips.
    let more =
        "deadline = \"8s\"\nconnect_deadline = \"20s\"\n[caches.default.options]\nconnections = 1";
    let store = store(&[proxy.address().to_string()], more);
    put(&store, "p:1:k", "v").await;
    proxy.delay(Duration::from_millis(240));
    let mut all = JoinSet::new();
    for _ in 0..40 {
        let store = Arc::clone(&store);
        all.spawn(async move { store.get("p:1:k").await });
    }
    for answer in all.join_all().await {
        assert_eq!(answer.unwrap().unwrap(), "v");
    }
    let next = store.get("p:1:k").await;
    assert!(next.is_ok(), "it has answered all it was asked: {next:?}");
}

/// If only the server finds a value too large, the server deletes the old entry, whatever the
/// condition. Therefore, `check` reports settings that allow more than the server accepts.
#[tokio::test]
async fn check_reports_settings_that_exceed_the_server_limit() {
    let servers = servers(1);
    let error = cache(&at(&servers), MORE).check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.message().contains("options.max_value_bytes"), "{error}");
    cache(&at(&servers), PATIENT).check().await.unwrap();
}

/// The deadline applies to each reply, not to all of them together: 40 values of a megabyte over a
/// slow connection. It is long enough for a machine that stands still for a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_batch_in_progress_is_not_cut_off_by_the_deadline() {
    const DEADLINE: Duration = Duration::from_secs(5);
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
    // The time to connect is added to the time of the call.
    let more = "deadline = \"5s\"\nconnect_deadline = \"60s\"";
    let far = cache(&[proxy.address().to_string()], more).strict();
    far.has_key("k0").await.unwrap();
    // For each 64 KiB at most.
    proxy.delay(Duration::from_millis(12));
    let (found, took) = timed(far.get_many::<String, _>(&keys)).await;
    let found = found.unwrap();
    assert!(took > DEADLINE, "{took:?}");
    assert_eq!(found.len(), 40);
    assert!(found.values().all(|it| it.len() == value.len()));
}
