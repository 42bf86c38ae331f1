//! A network that loses packets, cuts connections and delays.

use std::time::{Duration, Instant};

use cache_core::store::Expiry;
use fault_tests::{NO_BREAKER, PATIENT, keys, network::cache_behind_proxy, timed, until};

use crate::support::OnRedis;

fault_tests::network!(OnRedis);
fault_tests::late!(OnRedis);
fault_tests::idle!(OnRedis);

/// Callers with a shorter deadline than a round trip do not cause a reconnect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_deadlines_of_callers_do_not_cause_a_reconnect() {
    let (_redis, proxy, cache) = cache_behind_proxy::<OnRedis>("deadline = \"1s\"\n").await;
    let strict = cache.strict();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        let call = strict.get::<String>("k");
        let _ = tokio::time::timeout(Duration::ZERO, call).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(strict.get::<String>("k").await.unwrap().as_deref(), Some("value"));
    assert_eq!(proxy.accepted(), 1);
}

/// The deadline of a batch ends when nothing arrives for so long, also in the middle of a reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_whose_reply_arrives_slowly_is_not_cut_off() {
    // A call may also take the time to connect.
    let more = format!("connect_deadline = \"20s\"\n{NO_BREAKER}");
    let (_redis, proxy, cache) = cache_behind_proxy::<OnRedis>(&more).await;
    let store = cache.backend();
    let keys = keys("k", 20);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let items: Vec<_> = keys.iter().map(|it| (*it, vec![b'x'; 100_000].into())).collect();
    until("the values are stored", async || {
        store.set_many(&items, Expiry::Never).await.iter().all(Result::is_ok)
    })
    .await;
    // One `MGET`, whose reply arrives in pieces for longer than the deadline of 0.5 s.
    proxy.delay(Duration::from_millis(40));
    let (values, took) = timed(store.get_many(&keys)).await;
    assert!(values.into_iter().all(|it| it.unwrap().is_some_and(|it| it.len() == 100_000)));
    assert!(took > Duration::from_millis(500), "{took:?}");

    proxy.swallow_open();
    let (values, took) = timed(store.get_many(&keys)).await;
    assert!(values.iter().all(Result::is_err) && took < Duration::from_secs(5), "{took:?}");
}

/// Batches and transactional reads whose replies are cut off anywhere, beside dropped calls: no key
/// receives the value of another key, then or later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_batch_gives_no_key_the_value_of_another() {
    let more = format!("{PATIENT}{NO_BREAKER}");
    let (_redis, proxy, cache) = cache_behind_proxy::<OnRedis>(&more).await;
    let store = cache.backend();
    let keys = keys("k", 50);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let items: Vec<_> = keys.iter().map(|it| (*it, (*it).to_owned().into())).collect();
    assert!(store.set_many(&items, Expiry::Never).await.iter().all(Result::is_ok));
    let mut failed = 0;
    for bytes in (1..900).step_by(23) {
        proxy.truncate_after(bytes);
        let (values, entries) = tokio::join!(store.get_many(&keys), store.get_entries(&keys));
        failed += values.iter().filter(|it| it.is_err()).count();
        for (key, answer) in keys.iter().zip(values) {
            assert!(answer.map_or(true, |it| it.unwrap() == *key));
        }
        for (key, answer) in keys.iter().zip(entries) {
            assert!(answer.map_or(true, |it| it.unwrap().value == *key));
        }
        proxy.delay(Duration::from_millis(2));
        for key in &keys[..10] {
            let _ = tokio::time::timeout(Duration::from_micros(500), store.get(key)).await;
        }
        proxy.pass();
        until("it works", async || store.get("k0").await.is_ok()).await;
        for key in &keys {
            assert_eq!(store.get(key).await.unwrap().unwrap(), *key);
        }
    }
    assert!(failed > 0);
}
