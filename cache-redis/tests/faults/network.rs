//! A network that loses packets, cuts connections and delays.

use std::time::{Duration, Instant};

use cache_core::store::Expiry;
use fault_tests::{
    NO_BREAKER, PATIENT, keys, network::cache_behind_proxy, timed, until, with_lateness,
};

use crate::support::OnRedis;

fault_tests::network!(OnRedis);
fault_tests::late!(OnRedis);
fault_tests::idle!(OnRedis);

/// How often a test is repeated on a machine that stands still.
const ATTEMPTS: u32 = 10;

/// Callers with a shorter deadline than a round trip do not cause a reconnect. On one thread, which
/// measures the delays of the machine.
#[tokio::test]
async fn short_deadlines_of_callers_do_not_cause_a_reconnect() {
    for _ in 0..ATTEMPTS {
        let (_redis, proxy, cache) = cache_behind_proxy::<OnRedis>("deadline = \"1s\"\n").await;
        let strict = cache.strict();
        let calls = async {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(2500) {
                let call = strict.get::<String>("k");
                let _ = tokio::time::timeout(Duration::ZERO, call).await;
                tokio::task::yield_now().await;
            }
            strict.get::<String>("k").await
        };
        let (found, late) = with_lateness(calls).await;
        if proxy.accepted() == 1 {
            assert_eq!(found.unwrap().as_deref(), Some("value"));
            return;
        }
        // A connection without a reply for longer than the deadline is replaced.
        assert!(late > Duration::from_secs(1), "{} connections", proxy.accepted());
    }
    panic!("the machine always stands still");
}

/// The deadline of a batch ends when nothing arrives for so long, also in the middle of a reply. On
/// one thread, which measures the delays of the machine.
#[tokio::test]
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
    let mut attempts = 0;
    loop {
        let ((values, took), late) = with_lateness(timed(store.get_many(&keys))).await;
        if let Some(Err(error)) = values.iter().find(|it| it.is_err()) {
            // Nothing arrived for so long, because the machine stood still.
            attempts += 1;
            assert!(late > Duration::from_millis(500) && attempts < ATTEMPTS, "{error}");
            continue;
        }
        assert!(values.into_iter().all(|it| it.unwrap().is_some_and(|it| it.len() == 100_000)));
        assert!(took > Duration::from_millis(500), "{took:?}");
        break;
    }

    proxy.swallow_open();
    let ((values, took), late) = with_lateness(timed(store.get_many(&keys))).await;
    assert!(values.iter().all(Result::is_err));
    assert!(took < Duration::from_secs(5) + late, "{took:?}, late by {late:?}");
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
